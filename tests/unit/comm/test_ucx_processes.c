/*
 * The conformance suite over UCX with the ranks as processes. Nobody tells the survivors
 * of a death but UCX itself.
 */
#include "ucx_world.h"

#include <signal.h>
#include <sys/wait.h>

static void die(struct end *end)
{
    atomic_fetch_add(&the_exchange->gone, 1);
    raise(SIGKILL);
}

static void child(uint32_t rank, uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    struct end end = {
        .host = &base_host_real, .shared = shared, .rank = rank, .ranks = ranks, .die = die};
    if (exchange_create(rank, ranks, &end.comm) || !exchange_publish(end.comm)) {
        _exit(1);
    }
    exchange_await(ranks);
    comm_ucx_set_table(end.comm, &the_exchange->table);
    run_body(&end, body);
    exchange_leave(end.comm, ranks);
    comm_destroy(end.comm);
    _exit(0);
}

static void bury(uint32_t ranks)
{
    for (uint32_t left = ranks; left; left--) {
        int status;
        assert_true(wait(&status) > 0);
        assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
    }
}

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    exchange_reset();
    for (uint32_t rank = 0; rank < ranks; rank++) {
        pid_t pid = fork();
        if (pid == 0) {
            child(rank, ranks, body, shared);
        }
        assert_true(pid > 0);
    }
    bury(ranks);
}

int main(void)
{
    const struct world world = {
        .name = "comm ucx, processes", .max_ranks = 64, .crowd = 64, .can_kill = true, .run = run};
    return conformance_run(&world);
}
