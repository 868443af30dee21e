/*
 * One child of the spawner, from the request to its result.
 *
 * The spawner is the parent, so a pid stays the child's until child_reap has waited for it:
 * signals to it and its group reach nobody else, and no pidfd is needed. What stops a child
 * is a stage: SIGTERM to its group, then SIGKILL when the grace is over; the first cause is
 * the one that is reported, even if the child then ends by itself.
 *
 * The order at an end matters: the group is killed while its leader is still a zombie and
 * holds the number; then the leader is waited for; then the pipes are emptied, since all
 * who wrote to them are gone.
 */
#include "spawn/spawner.h"

#include "base/alloc.h"
#include "spawn/reason.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A message and a wake-up less for each command that is shorter. */
#define TELL_NS UINT64_C(3000000)

static struct capture_sink sink_of(const struct spawner *spawner, const struct child *child,
                                   uint32_t stream)
{
    return (struct capture_sink){
        .log = &spawner->log,
        .part = {.id = child->id, .attempt = child->attempt, .stream = stream},
        .bytes_max = child->limits.output_bytes};
}

static void on_output(struct spawner *spawner, struct source *source)
{
    struct output *output = MT_CONTAINER(source, struct output, source);
    struct capture_sink sink = sink_of(spawner, output->child, output->stream);
    if (!capture_read(&output->capture, &sink)) {
        spawner_unwatch(spawner, output->capture.pipe);
        close(output->capture.pipe);
        output->capture.pipe = -1;
    }
}

/* ---- The beginning */

static struct child *make(const struct request *request)
{
    const struct request_head *head = &request->head;
    struct child *child = base_alloc(sizeof *child);
    if (!child) {
        return NULL;
    }
    child->token = head->token;
    child->id = head->id;
    child->attempt = head->attempt;
    child->cause = SPAWN_ENDED_EXIT;
    child->reply = -1;
    child->limits = (struct spawn_limits){.wall_ns = head->wall_ns,
                                          .memory_bytes = head->memory_bytes,
                                          .grace_ns = head->grace_ns,
                                          .output_bytes = head->output_bytes,
                                          .tail_bytes = head->tail_bytes};
    child->out = (struct output){{on_output}, child, {.pipe = -1}, SPAWN_STDOUT};
    child->err = (struct output){{on_output}, child, {.pipe = -1}, SPAWN_STDERR};
    base_list_init(&child->node);
    snprintf(child->name, sizeof child->name, "%s",
             request->argv.count ? request->argv.texts : "an isolated task");
    return child;
}

static void free_child(struct spawner *spawner, struct child *child)
{
    spawner_leave(spawner, child);
    base_list_remove(&child->node);
    capture_fini(&child->out.capture);
    capture_fini(&child->err.capture);
    if (child->reply >= 0) {
        close(child->reply);
    }
    base_free(child);
}

static int open_pipes(struct child *child, const struct request *request, struct start_order *order)
{
    const struct request_head *head = &request->head;
    if (head->out_to == SPAWN_TO_LOG &&
        capture_open(&child->out.capture, head->tail_bytes, &order->out) != 0) {
        return -1;
    }
    if (head->err_to == SPAWN_TO_LOG &&
        capture_open(&child->err.capture, head->tail_bytes, &order->err) != 0) {
        return -1;
    }
    if (head->kind == REQUEST_ISOLATED) {
        child->reply = memfd_create("manta-reply", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        order->reply = child->reply;
        return child->reply < 0 ? -1 : 0;
    }
    return 0;
}

static void enter_group(struct spawner *spawner, struct child *child, int *ret_procs)
{
    char prefix[CGROUP_NAME_BYTES], name[2 * CGROUP_NAME_BYTES];
    if (!child->limits.memory_bytes) {
        return;
    }
    cgroup_prefix(getpid(), prefix);
    snprintf(name, sizeof name, "%s%llu", prefix, (unsigned long long)child->sequence);
    for (size_t i = 0; i < MT_COUNT(spawner->groups); i++) {
        struct cgroup *parent = &spawner->groups[i];
        if (cgroup_make(parent, name, child->limits.memory_bytes, &child->group, ret_procs)) {
            return;
        }
        parent->mount[0] = '\0'; /* it will not be possible later either */
    }
    child->group.mount[0] = '\0';
}

static void close_ends(const struct start_order *order)
{
    const int ends[] = {order->out, order->err, order->group};
    for (size_t i = 0; i < MT_COUNT(ends); i++) {
        if (ends[i] >= 0) {
            close(ends[i]);
        }
    }
}

static int start(struct spawner *spawner, struct child *child, const struct request *request,
                 struct start_failure *ret_failure)
{
    struct start_order order = {.request = request,
                                .environment = spawner->environment,
                                .run = spawner->run,
                                .out = -1,
                                .err = -1,
                                .reply = -1,
                                .group = -1,
                                .files = spawner->has_raised_files ? &spawner->files : NULL};
    int rc = open_pipes(child, request, &order);
    if (rc != 0) {
        *ret_failure = (struct start_failure){START_PIPE, errno};
    } else if (request->head.kind == REQUEST_ISOLATED && !spawner->run) {
        *ret_failure = (struct start_failure){START_EXEC, ENOSYS};
        rc = -1;
    } else {
        enter_group(spawner, child, &order.group);
        child->begun_ns = spawner_now_ns();
        rc = start_child(&order, &child->pid, ret_failure);
    }
    close_ends(&order);
    return rc;
}

static void remove_group(struct spawner *spawner, struct child *child);

static void refuse(struct spawner *spawner, const struct request *request,
                   const struct start_failure *failure)
{
    char text[MANTA_ERROR_TEXT_MAX];
    struct reply_head head = {.magic = MESSAGE_MAGIC,
                              .kind = REPLY_ENDED,
                              .token = request->head.token,
                              .end = SPAWN_ENDED_REFUSED};
    head.code = reason_refused(request, failure, text, sizeof text);
    head.text_bytes = (uint32_t)strlen(text);
    struct iovec pieces[] = {{&head, sizeof head}, {text, head.text_bytes}};
    answer(spawner, pieces, 2, -1);
}

static void tell_started(struct spawner *spawner, const struct child *child)
{
    struct reply_head head = {
        .magic = MESSAGE_MAGIC, .kind = REPLY_STARTED, .token = child->token, .pid = child->pid};
    struct iovec piece = {&head, sizeof head};
    answer(spawner, &piece, 1, -1);
}

/* What cannot be watched cannot be kept: the rank will report it as lost. */
static void enlist(struct spawner *spawner, struct child *child)
{
    uint64_t wall_ns = child->limits.wall_ns;
    if (spawner_enter(spawner, child) != MANTA_OK ||
        (child->out.capture.pipe >= 0 &&
         !spawner_watch(spawner, child->out.capture.pipe, &child->out.source)) ||
        (child->err.capture.pipe >= 0 &&
         !spawner_watch(spawner, child->err.capture.pipe, &child->err.source))) {
        spawner_end(spawner);
    }
    spawner->next_sweep_ns = MT_MIN(spawner->next_sweep_ns, child->begun_ns + SPAWNER_SAMPLE_NS);
    base_list_push_back(&spawner->children, &child->node);
    child->next_ns = wall_ns ? base_deadline_after(child->begun_ns, wall_ns) : BASE_FOREVER;
    spawner->next_limit_ns = MT_MIN(spawner->next_limit_ns, child->next_ns);
    spawner->sampled += child->limits.memory_bytes && !child->group.mount[0];
}

void child_begin(struct spawner *spawner, const struct request *request)
{
    struct start_failure failure = {START_MEMORY, ENOMEM};
    struct child *child = make(request);
    if (!child) {
        refuse(spawner, request, &failure);
        return;
    }
    child->sequence = ++spawner->sequence;
    if (start(spawner, child, request, &failure) != 0) {
        remove_group(spawner, child);
        refuse(spawner, request, &failure);
        free_child(spawner, child);
        return;
    }
    enlist(spawner, child);
    spawner->next_tell_ns = MT_MIN(spawner->next_tell_ns, child->begun_ns + TELL_NS);
}

void children_tell(struct spawner *spawner, uint64_t now_ns)
{
    if (now_ns < spawner->next_tell_ns) {
        return;
    }
    spawner->next_tell_ns = BASE_FOREVER;
    for (struct base_list *node = spawner->children.prev; node != &spawner->children;
         node = node->prev) {
        struct child *child = MT_CONTAINER(node, struct child, node);
        if (child->is_told) {
            break; /* and so are all that are older */
        }
        tell_started(spawner, child);
        child->is_told = true;
    }
}

/* ---- Limits */

/* A child that has not got as far as setsid is no group yet. */
static void signal_group(const struct child *child, int number)
{
    if (kill(-child->pid, number) != 0) {
        kill(child->pid, number);
    }
}

void child_stop(struct spawner *spawner, struct child *child, enum spawn_end cause,
                uint64_t grace_ns)
{
    if (child->cause == SPAWN_ENDED_EXIT) {
        child->cause = cause;
    }
    if (grace_ns && child->stage == CHILD_RUNS) {
        child->stage = CHILD_TERMINATED;
        child->next_ns = base_deadline_after(spawner_now_ns(), grace_ns);
        spawner->next_limit_ns = MT_MIN(spawner->next_limit_ns, child->next_ns);
        signal_group(child, SIGTERM);
        signal_group(child, SIGCONT); /* a stopped one would not see it */
    } else if (!grace_ns) {
        child->stage = CHILD_KILLED;
        child->next_ns = BASE_FOREVER;
        signal_group(child, SIGKILL);
    }
}

void children_check(struct spawner *spawner, uint64_t now_ns)
{
    if (now_ns < spawner->next_limit_ns) {
        return;
    }
    spawner->next_limit_ns = BASE_FOREVER;
    BASE_LIST_EACH(&spawner->children, node)
    {
        struct child *child = MT_CONTAINER(node, struct child, node);
        if (child->next_ns <= now_ns) {
            uint64_t grace_ns = child->stage == CHILD_RUNS ? child->limits.grace_ns : 0;
            child_stop(spawner, child, SPAWN_ENDED_TIMEOUT, grace_ns);
        }
        spawner->next_limit_ns = MT_MIN(spawner->next_limit_ns, child->next_ns);
    }
}

/* ---- The end */

static uint64_t nanoseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_usec * 1000;
}

/* The reply file without its trailer; sealed, so that the rank can map it safely. */
static void take_reply(struct child *child, struct reply_head *head, struct start_failure *failure)
{
    struct start_trailer trailer;
    struct stat status;
    if (child->reply < 0 || fstat(child->reply, &status) != 0 ||
        status.st_size < (off_t)sizeof trailer) {
        return;
    }
    off_t size = status.st_size - (off_t)sizeof trailer;
    if (pread(child->reply, &trailer, sizeof trailer, size) != (ssize_t)sizeof trailer ||
        trailer.magic != START_TRAILER_MAGIC) {
        return;
    }
    if (trailer.step > START_NONE && trailer.step < START_STEPS) {
        *failure = (struct start_failure){(enum start_step)trailer.step, trailer.error};
    } else if (ftruncate(child->reply, size) == 0 &&
               fcntl(child->reply, F_ADD_SEALS, F_SEAL_SHRINK) == 0) {
        head->has_returned = 1;
        head->returned = trailer.returned;
        head->reply_bytes = (uint64_t)size;
    }
}

static void fill_head(const struct child *child, int status, const struct rusage *usage,
                      struct reply_head *head)
{
    *head = (struct reply_head){.magic = MESSAGE_MAGIC,
                                .kind = REPLY_ENDED,
                                .token = child->token,
                                .pid = child->pid,
                                .end = (int32_t)child->cause,
                                .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                                .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                                .wall_ns = spawner_now_ns() - child->begun_ns,
                                .user_ns = nanoseconds(usage->ru_utime),
                                .system_ns = nanoseconds(usage->ru_stime),
                                .max_rss_bytes = (uint64_t)usage->ru_maxrss << 10,
                                .out_bytes = child->out.capture.bytes,
                                .err_bytes = child->err.capture.bytes,
                                .lost_bytes = child->out.capture.lost + child->err.capture.lost};
    if (child->cause == SPAWN_ENDED_EXIT && child->group.mount[0] &&
        cgroup_has_killed(&child->group)) {
        head->end = SPAWN_ENDED_MEMORY;
    } else if (child->cause == SPAWN_ENDED_EXIT && WIFSIGNALED(status)) {
        head->end = SPAWN_ENDED_SIGNAL;
    }
}

static void copy_last(const struct iovec pieces[2], char *text, size_t size)
{
    size_t skip = pieces[0].iov_len + pieces[1].iov_len, at = 0;
    skip = skip > size - 1 ? skip - (size - 1) : 0;
    for (int i = 0; i < 2; i++) {
        const char *bytes = pieces[i].iov_base;
        for (size_t b = 0; b < pieces[i].iov_len; b++) {
            if (skip) {
                skip--;
            } else {
                text[at++] = bytes[b] ? bytes[b] : ' ';
            }
        }
    }
    text[at] = '\0';
}

static void tell_ended(struct spawner *spawner, struct child *child, struct reply_head *head)
{
    char text[MANTA_ERROR_TEXT_MAX], last[128];
    struct spawn_result result = {.end = (enum spawn_end)head->end,
                                  .exit_code = head->exit_code,
                                  .signal = head->signal,
                                  .wall_ns = head->wall_ns};
    struct iovec pieces[6] = {{head, sizeof *head}};
    head->out_tail_bytes = capture_tail(&child->out.capture, &pieces[1]);
    head->err_tail_bytes = capture_tail(&child->err.capture, &pieces[3]);
    copy_last(&pieces[3], last, sizeof last);
    head->code = reason_ended(child->name, &child->limits, &result, last, text, sizeof text);
    head->text_bytes = (uint32_t)strlen(text);
    pieces[5] = (struct iovec){text, head->text_bytes};
    answer(spawner, pieces, 6, head->reply_bytes ? child->reply : -1);
}

/* A set-up that failed in a forked child is told in the words of one that never began. */
static void tell_not_begun(struct spawner *spawner, const struct child *child,
                           const struct start_failure *failure)
{
    struct request request = {.head = {.kind = REQUEST_ISOLATED, .token = child->token}};
    refuse(spawner, &request, failure);
}

static void remove_group(struct spawner *spawner, struct child *child)
{
    if (!child->group.mount[0] || cgroup_remove(&child->group)) {
        return;
    }
    struct left *left = base_alloc(sizeof *left); /* without memory it stays until the node ends */
    if (left) {
        left->group = child->group;
        base_list_push_back(&spawner->left, &left->node);
    }
}

static void finish_output(struct spawner *spawner, struct output *output)
{
    struct capture_sink sink = sink_of(spawner, output->child, output->stream);
    if (output->capture.pipe >= 0) {
        spawner_unwatch(spawner, output->capture.pipe);
        capture_finish(&output->capture, &sink);
    }
}

void child_reap(struct spawner *spawner, struct child *child)
{
    struct reply_head head;
    struct rusage usage = {{0}};
    struct start_failure failure = {START_NONE, 0};
    int status = 0;
    kill(-child->pid, SIGKILL);
    wait4(child->pid, &status, 0, &usage);
    finish_output(spawner, &child->out);
    finish_output(spawner, &child->err);
    fill_head(child, status, &usage, &head);
    take_reply(child, &head, &failure);
    spawner->sampled -= child->limits.memory_bytes && !child->group.mount[0];
    remove_group(spawner, child);
    if (failure.step != START_NONE) {
        tell_not_begun(spawner, child, &failure);
    } else {
        tell_ended(spawner, child, &head);
    }
    free_child(spawner, child);
}
