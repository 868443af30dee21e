/* The conformance suite over the simulator, with a small window so that ways are often full. */
#include "comm/sim.h"
#include "conformance.h"

struct member {
    struct end end;
    struct sim *sim;
    void (*body)(struct end *);
};

static void kill_hook(void *arg)
{
    struct member *member = arg;
    sim_kill(member->sim, member->end.rank);
    free(member->end.next_in);
    free(member->end.next_out);
    free(member->end.downs);
}

static void die(struct end *end)
{
    struct member *member = end->world;
    sim_at(member->sim, sim_now_ns(member->sim), kill_hook, member);
    end->host->work(end->host->self, SLEPT_THROUGH_NS);
}

static void member_main(void *arg)
{
    struct member *member = arg;
    run_body(&member->end, member->body);
}

static void run_seed(uint64_t seed, uint32_t ranks, void (*body)(struct end *),
                     struct shared *shared)
{
    struct sim *sim = sim_create(&(struct sim_options){.seed = seed, .ranks = ranks, .window = 32});
    struct member *members = calloc(ranks, sizeof *members);
    for (uint32_t i = 0; i < ranks; i++) {
        members[i].sim = sim;
        members[i].body = body;
        members[i].end = (struct end){.comm = sim_comm(sim, i),
                                      .host = sim_host(sim, i),
                                      .shared = shared,
                                      .rank = i,
                                      .ranks = ranks,
                                      .die = die,
                                      .world = &members[i]};
        assert_int_equal(sim_start(sim, i, member_main, &members[i]), 0);
    }
    assert_int_equal(sim_run(sim), 0);
    sim_destroy(sim);
    free(members);
}

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    for (uint64_t seed = 1; seed <= 3 && !shared->failed_line; seed++) {
        shared->go = 0;
        run_seed(seed, ranks, body, shared);
    }
}

int main(void)
{
    const struct world world = {
        .name = "comm sim", .max_ranks = 2000, .crowd = 2000, .can_kill = true, .run = run};
    return conformance_run(&world);
}
