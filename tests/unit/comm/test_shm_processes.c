/*
 * The conformance suite over shm with the ranks as processes, each with its own
 * mapping. A dead one is noticed by the parent and told by a watcher thread in each
 * survivor, as in a real job.
 */
#include "conformance.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(struct end *end)
{
    raise(SIGKILL);
}

static void *watch(void *arg)
{
    struct end *end = arg;
    for (;;) {
        for (uint32_t peer = 0; peer < end->ranks; peer++) {
            if (atomic_exchange(&end->shared->dead[end->rank * end->ranks + peer], 0)) {
                comm_report_death(end->comm, peer);
            }
        }
        usleep(1000);
    }
    return NULL;
}

static void child(int fd, uint32_t rank, uint32_t ranks, void (*body)(struct end *),
                  struct shared *shared)
{
    struct end end = {
        .host = &base_host_real, .shared = shared, .rank = rank, .ranks = ranks, .die = die};
    pthread_t watcher;
    if (comm_create_shm(end.host, fd, rank, ranks, &end.comm) ||
        (ranks == 4 && pthread_create(&watcher, NULL, watch, &end))) {
        _exit(1);
    }
    close(fd);
    run_body(&end, body);
    _exit(0);
}

static void bury(pid_t *pids, uint32_t ranks, struct shared *shared)
{
    for (uint32_t left = ranks; left; left--) {
        int status;
        pid_t pid = wait(&status);
        for (uint32_t rank = 0; rank < ranks; rank++) {
            for (uint32_t i = 0; pids[rank] == pid && WIFSIGNALED(status) && i < ranks; i++) {
                atomic_store(&shared->dead[i * ranks + rank], 1);
            }
        }
        assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
    }
}

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    int fd;
    pid_t pids[64];
    assert_int_equal(comm_shm_segment_create(ranks, 0, &fd), 0);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        pids[rank] = fork();
        if (pids[rank] == 0) {
            child(fd, rank, ranks, body, shared);
        }
        assert_true(pids[rank] > 0);
    }
    close(fd);
    bury(pids, ranks, shared);
}

int main(void)
{
    const struct world world = {
        .name = "comm shm, processes", .max_ranks = 64, .crowd = 64, .can_kill = true, .run = run};
    return conformance_run(&world);
}
