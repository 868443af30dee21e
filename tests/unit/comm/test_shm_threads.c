/*
 * The conformance suite over shm with the ranks as threads of one process that share
 * one mapping, so that the thread sanitizer sees both sides of every ring.
 */
#include "comm/shm.h"
#include "conformance.h"

#include <pthread.h>
#include <unistd.h>

struct member {
    struct end end;
    void (*body)(struct end *);
    pthread_t thread;
};

static struct member members[64];

static void die(struct end *end)
{
    for (uint32_t i = 0; i < end->ranks; i++) {
        if (i != end->rank) {
            comm_report_death(members[i].end.comm, end->rank);
        }
    }
}

static void *member_main(void *arg)
{
    struct member *member = arg;
    run_body(&member->end, member->body);
    return NULL;
}

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    int fd;
    assert_int_equal(comm_shm_segment_create(ranks, 0, &fd), 0);
    size_t bytes = comm_shm_segment_bytes(ranks);
    void *segment = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(segment, MAP_FAILED);
    close(fd);
    for (uint32_t i = 0; i < ranks; i++) {
        members[i] = (struct member){.body = body};
        members[i].end = (struct end){
            .host = &base_host_real, .shared = shared, .rank = i, .ranks = ranks, .die = die};
        assert_int_equal(comm_shm_attach(&base_host_real, segment, i, ranks, &members[i].end.comm),
                         0);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        assert_int_equal(pthread_create(&members[i].thread, NULL, member_main, &members[i]), 0);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        pthread_join(members[i].thread, NULL);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        comm_destroy(members[i].end.comm);
    }
    munmap(segment, bytes);
}

int main(void)
{
    const struct world world = {
        .name = "comm shm, threads", .max_ranks = 64, .crowd = 64, .can_kill = true, .run = run};
    return conformance_run(&world);
}
