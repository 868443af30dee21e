#include "pretend.h"

#include "base/alloc.h"
#include "base/list.h"
#include "core/outside.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SHORT_NS = 50000, KILL_NS = 10000 };

struct job {
    struct base_list link;
    struct pretend *pretend;
    struct spawn_done done;
    uint64_t handle;
    uint32_t events; /* to come */
    bool is_ended, is_killed;
    struct spawn_result result; /* when nobody ends it before */
    void *bytes;                /* of an isolated one */
    size_t size;
};

struct pretend {
    struct sim *sim;
    uint32_t rank, lost_percent;
    struct rank *core;
    struct core_processes face;
    struct base_list jobs;
    uint64_t handles;
    bool is_woken;
    struct pretend_counts counts;
};

static bool is_there(const struct pretend *pretend)
{
    return pretend->core && sim_is_alive(pretend->sim, pretend->rank);
}

static void turn(void *arg)
{
    struct pretend *pretend = arg;
    pretend->is_woken = false;
    if (is_there(pretend)) {
        (void)core_outside_turn(pretend->core);
    }
}

static int wake(void *self, struct rank *rank)
{
    struct pretend *pretend = self;
    if (!pretend->is_woken) {
        pretend->is_woken = true;
        return sim_at(pretend->sim, sim_now_ns(pretend->sim), turn, pretend);
    }
    return MANTA_OK;
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void free_job(struct job *job)
{
    base_list_remove(&job->link);
    base_free(job->bytes);
    base_free(job);
}

/* What the function replies, in a mapped file as the spawner's. */
static void call_isolated(struct job *job, int fd)
{
    struct spawn_result *result = &job->result;
    if (isolated_main(job->bytes, job->size, fd) == 0) {
        result->reply_bytes = (size_t)lseek(fd, 0, SEEK_END);
        result->reply = mmap(NULL, result->reply_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        result->has_returned = result->reply != MAP_FAILED;
    }
}

static void tell(struct job *job)
{
    struct pretend *pretend = job->pretend;
    int fd = -1;
    if (job->is_killed) {
        job->result.end = SPAWN_ENDED_KILLED;
        job->result.error.code = MANTA_E_CANCELLED;
    } else if (sim_draw(pretend->sim, 100) < pretend->lost_percent ||
               job->result.end == SPAWN_ENDED_LOST) {
        job->result.end = SPAWN_ENDED_LOST;
        job->result.error.code = MANTA_E_CRASH;
        pretend->counts.lost++;
    } else if (job->bytes) {
        fd = memfd_create("reply", MFD_CLOEXEC);
        call_isolated(job, fd);
    }
    job->done.ended(job->done.arg, &job->result);
    if (job->result.has_returned) {
        munmap((void *)(uintptr_t)job->result.reply, job->result.reply_bytes);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void end(void *arg)
{
    struct job *job = arg;
    struct pretend *pretend = job->pretend;
    job->events--;
    if (!job->is_ended && is_there(pretend)) {
        job->is_ended = true;
        pretend->counts.running--;
        pretend->counts.ended++;
        tell(job);
    }
    if (!job->events && job->is_ended) {
        free_job(job);
    }
}

static void kill_one(void *self, uint64_t handle, uint64_t grace_ns)
{
    struct pretend *pretend = self;
    BASE_LIST_EACH(&pretend->jobs, link)
    {
        struct job *job = MT_CONTAINER(link, struct job, link);
        if (job->handle == handle && !job->is_ended && !job->is_killed) {
            job->is_killed = true;
            job->events++;
            pretend->counts.killed++;
            (void)sim_at(pretend->sim, sim_now_ns(pretend->sim) + KILL_NS + grace_ns, end, job);
        }
    }
}

/* ---- Starts ---------------------------------------------------------------------------------- */

static struct job *begin(struct pretend *pretend, const struct spawn_done *done,
                         uint64_t *ret_handle)
{
    struct job *job = base_alloc(sizeof *job);
    job->pretend = pretend;
    job->done = *done;
    job->events = 1;
    *ret_handle = job->handle = ++pretend->handles;
    base_list_push_back(&pretend->jobs, &job->link);
    pretend->counts.begun++;
    pretend->counts.running++;
    if (pretend->counts.running > pretend->counts.most) {
        pretend->counts.most = pretend->counts.running;
    }
    return job;
}

static void fail_with(struct spawn_result *result, enum spawn_end how, int code, const char *text)
{
    result->end = how;
    result->error.code = code;
    snprintf(result->error.text, sizeof result->error.text, "%s", text);
}

static int start_command(void *self, const struct spawn_command *command,
                         const struct spawn_done *done, uint64_t *ret_handle,
                         manta_error *ret_error)
{
    struct pretend *pretend = self;
    const char *name = command->argv[0];
    long number = command->argv[1] ? atol(command->argv[1]) : 0;
    uint64_t now_ns = sim_now_ns(pretend->sim), time_ns = sim_draw(pretend->sim, SHORT_NS);
    if (strcmp(name, "refused") == 0) {
        *ret_error = (manta_error){.code = MANTA_E_LIMIT, .text = "no place for it"};
        return MANTA_E_LIMIT;
    }
    struct job *job = begin(pretend, done, ret_handle);
    struct spawn_result *result = &job->result;
    bool is_early = command->attempt < (uint32_t)number;
    if (strcmp(name, "sleep") == 0) {
        time_ns = (uint64_t)number;
    } else if (strcmp(name, "crash") == 0) {
        fail_with(result, SPAWN_ENDED_SIGNAL, MANTA_E_CRASH, "signal 11");
    } else if (strcmp(name, "lost") == 0 && is_early) {
        fail_with(result, SPAWN_ENDED_LOST, MANTA_E_CRASH, "the spawner died");
    } else if (strcmp(name, "exit") == 0 || (strcmp(name, "flaky") == 0 && is_early)) {
        result->exit_code = strcmp(name, "exit") == 0 ? (int32_t)number : 1;
        fail_with(result, SPAWN_ENDED_EXIT, result->exit_code ? MANTA_E_TASK : MANTA_OK,
                  "ended with an exit code");
    }
    if (command->limits.wall_ns && command->limits.wall_ns < time_ns) {
        time_ns = command->limits.wall_ns;
        fail_with(result, SPAWN_ENDED_TIMEOUT, MANTA_E_TIMEOUT, "its limit");
    }
    return sim_at(pretend->sim, now_ns + time_ns, end, job);
}

static int start_isolated(void *self, const struct spawn_isolated *isolated,
                          const struct spawn_done *done, uint64_t *ret_handle,
                          manta_error *ret_error)
{
    struct pretend *pretend = self;
    uint64_t time_ns = sim_draw(pretend->sim, SHORT_NS);
    struct job *job = begin(pretend, done, ret_handle);
    job->bytes = base_alloc(isolated->size);
    job->size = isolated->size;
    memcpy(job->bytes, isolated->bytes, isolated->size);
    return sim_at(pretend->sim, sim_now_ns(pretend->sim) + time_ns, end, job);
}

/* ---- Together -------------------------------------------------------------------------------- */

struct pretend *pretend_create(struct sim *sim, uint32_t rank, uint32_t lost_percent)
{
    struct pretend *pretend = base_alloc(sizeof *pretend);
    if (pretend) {
        pretend->sim = sim;
        pretend->rank = rank;
        pretend->lost_percent = lost_percent;
        pretend->face =
            (struct core_processes){wake, start_command, start_isolated, kill_one, pretend};
        base_list_init(&pretend->jobs);
    }
    return pretend;
}

void pretend_destroy(struct pretend *pretend)
{
    if (pretend) {
        BASE_LIST_EACH(&pretend->jobs, link)
        {
            free_job(MT_CONTAINER(link, struct job, link));
        }
        base_free(pretend);
    }
}

const struct core_processes *pretend_face(struct pretend *pretend)
{
    return &pretend->face;
}

void pretend_set_core(struct pretend *pretend, struct rank *core)
{
    pretend->core = core;
}

static void press(void *arg)
{
    struct pretend *pretend = arg;
    if (is_there(pretend)) {
        (void)core_outside_relieve(pretend->core, 1 << 20);
    }
}

void pretend_press_at(struct pretend *pretend, uint64_t time_ns)
{
    (void)sim_at(pretend->sim, time_ns, press, pretend);
}

struct pretend_counts pretend_count(const struct pretend *pretend)
{
    return pretend->counts;
}
