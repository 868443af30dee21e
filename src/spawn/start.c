/*
 * The beginning of a child.
 *
 * A command's child shares the spawner's memory until it has called exec (CLONE_VM and
 * CLONE_VFORK, on a stack of its own), which is what makes posix_spawn fast, and is needed
 * here by hand because posix_spawn has no word for PDEATHSIG, rlimits, affinity and cgroups.
 * So everything that needs memory is made before, in one plan, and the child only makes
 * system calls; it leaves its failure in the plan, where the spawner, which the kernel keeps
 * asleep meanwhile, reads it.
 *
 * An isolated function's child is a plain fork of the single-threaded spawner, goes through
 * the same set-up, closes every descriptor but its reply, and calls the function.
 *
 * All signals are blocked in the spawner and have their default dispositions, so a child
 * only has to empty its mask. PDEATHSIG is set first, then the parent is checked: whichever
 * way a dying spawner and the child interleave, the child does not stay.
 */
#include "spawn/start.h"

#include "base/alloc.h"
#include "spawn/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_BYTES = 64 << 10, CANNOT = 127, REPLY_FD = 3 };

struct plan {
    const struct start_order *order;
    const struct request *request;
    pid_t parent;
    int input; /* -1: input_path, or /dev/null */
    char **argv, **environment;
    char *candidates; /* paths to try, one after the other; ends with an empty one */
    struct spawn_rlimit rlimits[SPAWN_RLIMITS_MAX];
    cpu_set_t cpus[SPAWN_CPU_BYTES_MAX / sizeof(cpu_set_t)];
    volatile struct start_failure failure;
};

/* ---- The child: system calls only */

MT_NO_SANITIZE static int fail(struct plan *plan, enum start_step step)
{
    plan->failure.error = errno;
    plan->failure.step = step;
    return -1;
}

/* Opening a FIFO must not make the spawner wait; reading and writing it may wait. */
MT_NO_SANITIZE static int redirect(const char *path, int flags, int target)
{
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    if (fd < 0 || fcntl(fd, F_SETFL, flags & O_APPEND) != 0) {
        return -1;
    }
    return dup2(fd, target);
}

MT_NO_SANITIZE static int direct(uint8_t to, const char *path, int captured, int target)
{
    switch (to) {
    case SPAWN_TO_LOG:
        return dup2(captured, target);
    case SPAWN_TO_NOTHING:
        return redirect("/dev/null", O_WRONLY, target);
    case SPAWN_TO_FILE:
        return redirect(path, O_WRONLY | O_CREAT | O_TRUNC, target);
    case SPAWN_TO_APPEND:
        return redirect(path, O_WRONLY | O_CREAT | O_APPEND, target);
    case SPAWN_TO_STDOUT:
        return dup2(STDOUT_FILENO, target);
    default:
        return 0;
    }
}

MT_NO_SANITIZE static int set_input(const struct plan *plan)
{
    const char *path = plan->request->input_path;
    return plan->input >= 0 ? dup2(plan->input, STDIN_FILENO)
                            : redirect(path ? path : "/dev/null", O_RDONLY, STDIN_FILENO);
}

MT_NO_SANITIZE static int set_limits(struct plan *plan)
{
    if (plan->order->files && setrlimit(RLIMIT_NOFILE, plan->order->files) != 0) {
        return fail(plan, START_RLIMIT);
    }
    for (uint32_t i = 0; i < plan->request->rlimit_count; i++) {
        struct rlimit limit = {plan->rlimits[i].soft, plan->rlimits[i].hard};
        if (setrlimit((__rlimit_resource_t)plan->rlimits[i].resource, &limit) != 0) {
            return fail(plan, START_RLIMIT);
        }
    }
    if (plan->request->cpu_bytes &&
        sched_setaffinity(0, plan->request->cpu_bytes, plan->cpus) != 0) {
        return fail(plan, START_CPUS);
    }
    return 0;
}

MT_NO_SANITIZE static int set_streams(struct plan *plan)
{
    const struct request *request = plan->request;
    if (set_input(plan) < 0) {
        return fail(plan, START_INPUT);
    }
    if (direct(request->head.out_to, request->out_path, plan->order->out, STDOUT_FILENO) < 0) {
        return fail(plan, START_OUT);
    }
    if (direct(request->head.err_to, request->err_path, plan->order->err, STDERR_FILENO) < 0) {
        return fail(plan, START_ERR);
    }
    return 0;
}

MT_NO_SANITIZE static int set_up(struct plan *plan)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != plan->parent) {
        return fail(plan, START_ORPHANED);
    }
    setsid();
    if (plan->order->group >= 0 && write(plan->order->group, "0", 1) != 1) {
        return fail(plan, START_CGROUP);
    }
    if (plan->request->directory && chdir(plan->request->directory) != 0) {
        return fail(plan, START_DIRECTORY);
    }
    if (set_streams(plan) != 0 || set_limits(plan) != 0) {
        return -1;
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return 0;
}

/* execve calls a directory a lack of permission. */
MT_NO_SANITIZE static bool is_directory(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 && S_ISDIR(file.st_mode);
}

/* The first that can be run; of the failures the one that says most: not "not found". */
MT_NO_SANITIZE static int run_command(void *arg)
{
    struct plan *plan = arg;
    if (set_up(plan) != 0) {
        _exit(CANNOT);
    }
    int error = ENOENT;
    for (const char *path = plan->candidates; *path; path += strlen(path) + 1) {
        execve(path, plan->argv, plan->environment);
        if (errno != ENOENT && errno != ENOTDIR) {
            error = errno == EACCES && is_directory(path) ? EISDIR : errno;
        }
        if (error != ENOENT && error != EACCES && error != EISDIR) {
            break;
        }
    }
    errno = error;
    fail(plan, START_EXEC);
    _exit(CANNOT);
}

static void close_all_but_reply(void)
{
    if (close_range(REPLY_FD + 1, ~0u, 0) != 0) {
        for (long fd = REPLY_FD + 1, end = sysconf(_SC_OPEN_MAX); fd < end; fd++) {
            close((int)fd);
        }
    }
}

MT_NORETURN static void run_function(struct plan *plan)
{
    struct start_trailer trailer = {.magic = START_TRAILER_MAGIC};
    const struct request *request = plan->request;
    int reply = -1;
    if (set_up(plan) == 0 && dup2(plan->order->reply, REPLY_FD) >= 0) {
        close_all_but_reply();
        reply = REPLY_FD;
        trailer.returned = plan->order->run(request->bytes, request->byte_count, reply);
        fflush(NULL);
    } else {
        reply = plan->order->reply;
        trailer.step = (int32_t)plan->failure.step;
        trailer.error = plan->failure.error;
    }
    lseek(reply, 0, SEEK_END);
    _exit(write(reply, &trailer, sizeof trailer) == (ssize_t)sizeof trailer ? 0 : CANNOT);
}

/* ---- The plan */

static const char *find_variable(char *const *environment, const char *name, size_t length)
{
    for (; *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') {
            return *environment + length + 1;
        }
    }
    return NULL;
}

static bool is_overridden(const char *variable, char *const *additions, uint32_t count)
{
    size_t length = strcspn(variable, "=");
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(additions[i], variable, length) == 0 &&
            (additions[i][length] == '=' || additions[i][length] == '\0')) {
            return true;
        }
    }
    return false;
}

static char **list_texts(const struct text_list *list)
{
    char **texts = base_alloc((list->count + 1) * sizeof *texts);
    const char *at = list->texts;
    for (uint32_t i = 0; texts && i < list->count; i++, at += strlen(at) + 1) {
        texts[i] = (char *)(uintptr_t)at;
    }
    return texts;
}

static int plan_environment(struct plan *plan, char *const *base)
{
    uint32_t count = 0, added = plan->request->environment.count;
    bool is_whole = plan->request->head.environment_kind == SPAWN_ENVIRONMENT_WHOLE;
    while (base[count]) {
        count++;
    }
    char **additions = list_texts(&plan->request->environment);
    plan->environment = base_alloc((count + added + 1) * sizeof *plan->environment);
    char **at = plan->environment;
    if (!additions || !at) {
        base_free(additions);
        return -1;
    }
    for (uint32_t i = 0; i < count && !is_whole; i++) {
        if (!is_overridden(base[i], additions, added)) {
            *at++ = base[i];
        }
    }
    for (uint32_t i = 0; i < added; i++) {
        if (strchr(additions[i], '=')) {
            *at++ = additions[i];
        }
    }
    base_free(additions);
    return 0;
}

/* A name with a slash is the path; others are looked for in the command's own PATH. */
static int plan_candidates(struct plan *plan)
{
    const char *name = plan->argv[0];
    const char *path =
        strchr(name, '/') || !*name ? "" : find_variable(plan->environment, "PATH", 4);
    path = path ? path : "/usr/local/bin:/usr/bin:/bin";
    size_t parts = 1, length = strlen(name);
    for (const char *c = path; *c; c++) {
        parts += *c == ':';
    }
    char *at = plan->candidates = base_alloc(strlen(path) + parts * (length + 2) + 1);
    if (!at) {
        return -1;
    }
    if (!*path) {
        strcpy(at, name);
        return 0;
    }
    for (const char *part = path;; part += strcspn(part, ":") + 1) {
        size_t size = strcspn(part, ":");
        at += sprintf(at, "%.*s%s%s", (int)size, part, size ? "/" : "", name) + 1;
        if (!part[size]) {
            return 0;
        }
    }
}

static int plan_command(struct plan *plan)
{
    plan->argv = list_texts(&plan->request->argv);
    return plan->argv && plan_environment(plan, plan->order->environment) == 0 &&
                   plan_candidates(plan) == 0
               ? 0
               : -1;
}

static int plan_input(struct plan *plan)
{
    const struct request *request = plan->request;
    struct iovec piece = {(void *)(uintptr_t)request->bytes, request->byte_count};
    if (request->head.kind != REQUEST_COMMAND || !request->byte_count) {
        return 0;
    }
    plan->input = channel_file(&piece, 1);
    return plan->input < 0 || lseek(plan->input, 0, SEEK_SET) != 0 ? -1 : 0;
}

static int plan_all(struct plan *plan)
{
    const struct request *request = plan->request;
    if (request->rlimit_count) {
        memcpy(plan->rlimits, request->rlimits,
               request->rlimit_count * sizeof(struct spawn_rlimit));
    }
    if (request->cpu_bytes) {
        memcpy(plan->cpus, request->cpus, request->cpu_bytes);
    }
    if (request->head.kind == REQUEST_COMMAND && plan_command(plan) != 0) {
        errno = ENOMEM;
        return fail(plan, START_MEMORY);
    }
    return plan_input(plan) ? fail(plan, START_INPUT_BYTES) : 0;
}

static void free_plan(struct plan *plan)
{
    if (plan->input >= 0) {
        close(plan->input);
    }
    base_free(plan->argv);
    base_free(plan->environment);
    base_free(plan->candidates);
    base_free(plan);
}

/* ---- The two ways */

static int clone_command(struct plan *plan, pid_t *ret_pid)
{
    static char *stack; /* one child at a time is on it */
    stack = stack ? stack : base_alloc_pages(STACK_BYTES);
    if (!stack) {
        errno = ENOMEM;
        return fail(plan, START_MEMORY);
    }
    pid_t pid = clone(run_command, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, plan);
    if (pid < 0) {
        return fail(plan, START_FORK);
    }
    if (plan->failure.step != START_NONE) {
        waitpid(pid, NULL, 0);
        return -1;
    }
    *ret_pid = pid;
    return 0;
}

static int fork_function(struct plan *plan, pid_t *ret_pid)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_function(plan);
    }
    if (pid < 0) {
        return fail(plan, START_FORK);
    }
    *ret_pid = pid;
    return 0;
}

int start_child(const struct start_order *order, pid_t *ret_pid, struct start_failure *ret_failure)
{
    struct plan *plan = base_alloc(sizeof *plan);
    if (!plan) {
        *ret_failure = (struct start_failure){START_MEMORY, ENOMEM};
        return -1;
    }
    plan->order = order;
    plan->request = order->request;
    plan->parent = getpid();
    plan->input = -1;
    int rc = plan_all(plan);
    if (rc == 0) {
        rc = order->request->head.kind == REQUEST_COMMAND ? clone_command(plan, ret_pid)
                                                          : fork_function(plan, ret_pid);
    }
    *ret_failure = (struct start_failure){plan->failure.step, plan->failure.error};
    free_plan(plan);
    return rc;
}
