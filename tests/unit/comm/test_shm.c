/*
 * What is particular to shm: the layout of messages in lines, who looks where and who
 * rings whom, and that no garbage in shared memory does more than end a peer. One
 * thread plays both ranks; only one of them sleeps, and then it is woken already.
 */
#include "base/alloc.h"
#include "comm/backends.h"
#include "comm/shm.h"
#include "manta/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define RANKS 3

struct node {
    int fd;
    uint8_t *segment;
    struct comm *comm[RANKS];
    unsigned messages[RANKS], downs[RANKS];
    uint32_t last_length;
};

struct owner {
    struct node *node;
    uint32_t rank;
};

static struct owner owners[RANKS];

static void on_message(void *arg, uint32_t from, const struct wire_header *header, const void *body)
{
    struct owner *owner = arg;
    owner->node->messages[owner->rank]++;
    owner->node->last_length = header->length;
}

static void on_down(void *arg, uint32_t peer)
{
    struct owner *owner = arg;
    owner->node->downs[owner->rank]++;
}

static int setup(void **state)
{
    struct node *node = calloc(1, sizeof *node);
    *state = node;
    assert_int_equal(comm_shm_segment_create(RANKS, 0, &node->fd), 0);
    node->segment =
        mmap(NULL, comm_shm_segment_bytes(RANKS), PROT_READ | PROT_WRITE, MAP_SHARED, node->fd, 0);
    assert_ptr_not_equal(node->segment, MAP_FAILED);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        owners[rank] = (struct owner){.node = node, .rank = rank};
        assert_int_equal(comm_create_shm(&base_host_real, node->fd, rank, RANKS, &node->comm[rank]),
                         0);
        comm_set_sink(node->comm[rank], &(struct comm_sink){.message = on_message,
                                                            .peer_down = on_down,
                                                            .owner = &owners[rank]});
    }
    return 0;
}

static int teardown(void **state)
{
    struct node *node = *state;
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        comm_destroy(node->comm[rank]);
    }
    munmap(node->segment, comm_shm_segment_bytes(RANKS));
    close(node->fd);
    free(node);
    assert_int_equal(base_alloc_live(), 0);
    return 0;
}

static struct shm_ring *ring(struct node *node, uint32_t reader, uint32_t writer)
{
    return (struct shm_ring *)(node->segment + comm_shm_ring_offset(RANKS, reader, writer));
}

static struct shm_control *control(struct node *node, uint32_t rank)
{
    return (struct shm_control *)(node->segment + comm_shm_control_offset(RANKS, rank));
}

static void send(struct node *node, uint32_t from, uint32_t to, size_t bytes)
{
    struct wire_header *header = comm_prepare(node->comm[from], to, bytes);
    assert_non_null(header);
    *header = (struct wire_header){.kind = 1};
    memset(comm_body(header), 0xff, bytes);
    comm_commit(node->comm[from]);
}

static void send_now(struct node *node, uint32_t from, uint32_t to, size_t bytes)
{
    send(node, from, to, bytes);
    comm_flush(node->comm[from]);
}

static void test_wrong_segments_and_ranks_are_refused(void **state)
{
    struct node *node = *state;
    struct comm *comm = NULL;
    int fd = -1;
    assert_int_equal(comm_shm_segment_create(0, 0, &fd), MANTA_E_INVALID);
    assert_int_equal(comm_create_shm(&base_host_real, -1, 0, RANKS, &comm), MANTA_E_SYSTEM);
    assert_int_equal(comm_create_shm(&base_host_real, node->fd, 0, RANKS + 1, &comm),
                     MANTA_E_INVALID);
    assert_int_equal(comm_create_shm(&base_host_real, node->fd, RANKS, RANKS, &comm),
                     MANTA_E_INVALID);
    struct shm_segment *head = (struct shm_segment *)node->segment;
    head->magic++;
    assert_int_equal(comm_create_shm(&base_host_real, node->fd, 0, RANKS, &comm), MANTA_E_INVALID);
    head->magic--;
    assert_null(comm);
    assert_int_equal(fd, -1);
    assert_int_equal(ftruncate(node->fd, 0), -1); /* sealed */
}

static void test_making_an_end_fails_cleanly_at_every_allocation(void **state)
{
    struct node *node = *state;
    int rc = MANTA_E_NOMEM;
    uint64_t k = 1;
    for (uint64_t live = base_alloc_live(); rc; k++) {
        struct comm *comm = NULL;
        base_alloc_fail_at(k);
        rc = comm_create_shm(&base_host_real, node->fd, 0, RANKS, &comm);
        base_alloc_fail_at(0);
        assert_true(rc == 0 || rc == MANTA_E_NOMEM);
        comm_destroy(comm);
        assert_int_equal(base_alloc_live(), live);
    }
    assert_true(k > 3);
}

static void test_pairs_that_never_talked_cost_no_memory(void **state)
{
    int fd;
    struct stat status;
    struct comm *comm;
    assert_int_equal(comm_shm_segment_create(512, 0, &fd), 0);
    assert_int_equal(comm_create_shm(&base_host_real, fd, 7, 512, &comm), 0);
    assert_false(comm_arm(comm) && comm_progress(comm, 1));
    for (uint32_t peer = 100; peer < 110; peer++) {
        struct wire_header *header = comm_prepare(comm, peer, 0);
        *header = (struct wire_header){.kind = 1};
        comm_commit(comm);
    }
    comm_flush(comm);
    assert_int_equal(fstat(fd, &status), 0);
    assert_true((size_t)status.st_size > (size_t)4 << 30);
    assert_true(status.st_blocks * 512 <= 60 * 4096);
    comm_destroy(comm);
    close(fd);
}

static void test_up_to_32_bytes_of_body_take_one_line(void **state)
{
    struct node *node = *state;
    struct shm_line *lines = ring(node, 1, 0)->lines;
    send(node, 0, 1, 32);
    assert_int_equal(lines[0].sequence, 0 | 1);
    assert_int_equal(lines[0].info, SHM_INFO(COMM_FRAME_WHOLE, 32));
    assert_int_equal(lines[1].sequence, 0);
    send(node, 0, 1, 33);
    send(node, 0, 1, 0);
    assert_int_equal(lines[1].sequence, 1 | 1);
    assert_int_equal(lines[2].sequence & 0xff, 0xff); /* body */
    assert_int_equal(lines[3].sequence, 3 | 1);
    comm_flush(node->comm[0]);
    assert_int_equal(comm_progress(node->comm[1], 10), 3);
    assert_int_equal(lines[2].sequence, 0); /* cleared by the reader */
}

static void test_no_message_wraps_around_the_end(void **state)
{
    struct node *node = *state;
    struct shm_line *lines = ring(node, 1, 0)->lines;
    for (uint32_t i = 0; i < SHM_RING_LINES - 1; i++) {
        send_now(node, 0, 1, 8);
        assert_int_equal(comm_progress(node->comm[1], 10), 1);
    }
    send_now(node, 0, 1, 500);
    assert_int_equal(lines[SHM_RING_LINES - 1].info, SHM_INFO(SHM_KIND_PAD, 1));
    assert_int_equal(lines[0].sequence, SHM_RING_LINES | 1);
    assert_int_equal(comm_progress(node->comm[1], 10), 1);
    assert_int_equal(node->last_length, 500);
}

static void test_a_hot_ring_is_never_belled_and_a_quiet_one_is(void **state)
{
    struct node *node = *state;
    _Atomic uint64_t *doorbell = &control(node, 1)->doorbell[0];
    send_now(node, 0, 1, 8);
    assert_int_equal(*doorbell, 1); /* rings are quiet at first */
    assert_int_equal(comm_progress(node->comm[1], 10), 1);
    assert_int_equal(ring(node, 1, 0)->polled, 1);
    for (int i = 0; i < 1000; i++) {
        send_now(node, 0, 1, 8);
        assert_int_equal(*doorbell, 0);
        assert_int_equal(comm_progress(node->comm[1], 10), 1);
    }
    for (int i = 0; i < 10000; i++) {
        comm_progress(node->comm[1], 10);
    }
    assert_int_equal(ring(node, 1, 0)->polled, 0);
    send_now(node, 0, 1, 8);
    assert_int_equal(*doorbell, 1);
    assert_int_equal(comm_progress(node->comm[1], 10), 1);
    assert_int_equal(comm_get_stats(node->comm[0]).bells_rung, 0);
}

static void test_only_a_sleeper_is_rung_and_only_once(void **state)
{
    struct node *node = *state;
    assert_true(comm_arm(node->comm[1]));
    send(node, 0, 1, 8);
    send(node, 0, 1, 8);
    assert_int_equal(control(node, 1)->bell, SHM_BELL_SILENT); /* not flushed */
    comm_flush(node->comm[0]);
    send_now(node, 2, 1, 8);
    assert_int_equal(control(node, 1)->bell, SHM_BELL_RUNG);
    assert_int_equal(comm_get_stats(node->comm[0]).bells_rung, 1);
    assert_int_equal(comm_get_stats(node->comm[2]).bells_rung, 0);
    comm_sleep(node->comm[1], BASE_FOREVER);
    assert_int_equal(comm_progress(node->comm[1], 10), 3);
}

static void test_a_turn_cut_short_by_its_budget_loses_nothing(void **state)
{
    struct node *node = *state;
    for (int i = 0; i < 100; i++) {
        send(node, 0, 1, 8);
        send(node, 2, 1, 8);
    }
    comm_flush(node->comm[0]);
    comm_flush(node->comm[2]);
    for (int i = 0; i < 20; i++) {
        assert_false(comm_arm(node->comm[1]));
        assert_int_equal(comm_progress(node->comm[1], 10), 10);
    }
    assert_int_equal(comm_progress(node->comm[1], 10), 0);
    assert_true(comm_arm(node->comm[1]));
}

static void test_room_made_wakes_a_writer_asleep_on_a_full_ring(void **state)
{
    struct node *node = *state;
    while (!comm_is_congested(node->comm[0], 1)) {
        send(node, 0, 1, 8);
    }
    comm_flush(node->comm[0]);
    assert_int_equal(comm_progress(node->comm[0], 10), 0);
    assert_true(comm_arm(node->comm[0]));
    while (comm_progress(node->comm[1], 16)) {}
    assert_int_equal(control(node, 0)->bell, SHM_BELL_RUNG);
    comm_sleep(node->comm[0], BASE_FOREVER);
    assert_int_equal(comm_progress(node->comm[0], 10), 1); /* the end of congestion */
    assert_int_equal(comm_progress(node->comm[1], 16), 1);
}

static void test_what_the_dead_had_published_arrives_before_its_death(void **state)
{
    struct node *node = *state;
    for (int i = 0; i < 50; i++) {
        send(node, 2, 1, 8);
    }
    comm_report_death(node->comm[1], 2);
    comm_report_death(node->comm[1], 2);
    comm_report_death(node->comm[1], 1);
    comm_report_death(node->comm[1], RANKS);
    assert_false(comm_arm(node->comm[1]));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(comm_progress(node->comm[1], 10), 10);
        assert_int_equal(node->downs[1], 0);
    }
    assert_int_equal(comm_progress(node->comm[1], 10), 1);
    assert_int_equal(node->downs[1], 1);
    send(node, 2, 1, 8);
    comm_flush(node->comm[2]);
    comm_report_death(node->comm[1], 2);
    comm_progress(node->comm[1], 10);
    assert_int_equal(node->downs[1], 1);
    assert_int_equal(node->messages[1], 50);
}

struct garbage {
    const char *what;
    uint32_t line;
    uint32_t info, length;
};

/* Puts frames at the beginning of the ring from 2 to 1, each behind the one before. */
static void forge(struct node *node, const struct garbage *frames, size_t count)
{
    struct shm_line *lines = ring(node, 1, 2)->lines;
    for (size_t i = 0; i < count; i++) {
        struct shm_line *line = &lines[frames[i].line];
        line->info = frames[i].info;
        line->header = (struct wire_header){.kind = 1, .length = frames[i].length};
        atomic_store(&line->sequence, frames[i].line | 1);
    }
    atomic_fetch_or(&control(node, 1)->doorbell[0], 1u << 2);
}

static void expect_broken(struct node *node, const char *what)
{
    for (int i = 0; i < 10; i++) {
        comm_progress(node->comm[1], 100);
    }
    if (node->downs[1] != 1 || node->messages[1] != 0 || !comm_is_down(node->comm[1], 2)) {
        fail_msg("%s: %u downs, %u messages", what, node->downs[1], node->messages[1]);
    }
}

#define WHOLE(bytes) SHM_INFO(COMM_FRAME_WHOLE, bytes)
#define BEGIN(bytes) SHM_INFO(COMM_FRAME_BEGIN, bytes)
#define MORE(bytes) SHM_INFO(COMM_FRAME_MORE, bytes)
#define END(bytes) SHM_INFO(COMM_FRAME_END, bytes)

static const struct garbage garbage[][2] = {
    {{"an unknown kind", 0, SHM_INFO(15, 8), 8}},
    {{"more than a frame", 0, WHOLE(SHM_FRAGMENT_BYTES + 1), SHM_FRAGMENT_BYTES + 1}},
    {{"a huge length", 0, WHOLE(0x0fffffff), 0x0fffffff}},
    {{"two lengths", 0, WHOLE(8), 9}},
    {{"a pad that ends early", 0, SHM_INFO(SHM_KIND_PAD, 10), 0}},
    {{"a pad of nothing", 0, SHM_INFO(SHM_KIND_PAD, 0), 0}},
    {{"a pad that wraps", 0, SHM_INFO(SHM_KIND_PAD, 257), 0}},
    {{"a middle without beginning", 0, MORE(8), 100}},
    {{"an end without beginning", 0, END(8), 8}},
    {{"a beginning that is all", 0, BEGIN(8), 8}},
    {{"too long a message", 0, BEGIN(8), WIRE_BODY_MAX + 1}},
    {{"two beginnings", 0, BEGIN(8), 100}, {"", 1, BEGIN(8), 100}},
    {{"a whole one inside", 0, BEGIN(8), 100}, {"", 1, WHOLE(8), 8}},
    {{"more than announced", 0, BEGIN(8), 30}, {"", 1, MORE(32), 30}},
    {{"an end too early", 0, BEGIN(8), 100}, {"", 1, END(8), 100}},
    {{"a middle that is the end", 0, BEGIN(8), 16}, {"", 1, MORE(8), 16}},
};

static void test_garbage_in_a_ring_marks_the_peer_down(void **state)
{
    for (size_t i = 0; i < MT_COUNT(garbage); i++) {
        if (i > 0) {
            setup(state);
        }
        struct node *node = *state;
        forge(node, garbage[i], garbage[i][1].what ? 2 : 1);
        expect_broken(node, garbage[i][0].what);
        send_now(node, 0, 1, 8);
        assert_int_equal(comm_progress(node->comm[1], 10), 1); /* the others go on */
        if (i + 1 < MT_COUNT(garbage)) {
            teardown(state);
        }
    }
}

static void test_a_frame_past_the_rings_end_marks_the_peer_down(void **state)
{
    struct node *node = *state;
    for (uint32_t i = 0; i < SHM_RING_LINES - 1; i++) {
        send_now(node, 2, 1, 8);
        comm_progress(node->comm[1], 1);
    }
    node->messages[1] = 0;
    forge(node, &(struct garbage){"", SHM_RING_LINES - 1, WHOLE(33), 33}, 1);
    expect_broken(node, "a frame that wraps");
}

static void test_random_bytes_in_a_ring_never_do_more_than_end_the_peer(void **state)
{
    struct node *node = *state;
    uint32_t random = 1, *words = (uint32_t *)ring(node, 1, 2)->lines;
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(struct shm_line) / 4; i++) {
            words[i] = random = random * 1664525 + 1013904223;
        }
        words[0] = 1;
        words[1] &= round % 2 ? 0x30000fff : 0xffffffff;
        atomic_fetch_or(&control(node, 1)->doorbell[0], 1u << 2);
        comm_progress(node->comm[1], 1000);
        teardown(state);
        setup(state);
        node = *state;
        words = (uint32_t *)ring(node, 1, 2)->lines;
    }
}

static void test_an_impossible_reader_position_marks_the_peer_down(void **state)
{
    struct node *node = *state;
    const uint32_t heads[] = {SHM_RING_LINES + 1, UINT32_MAX, 1u << 31};
    for (size_t i = 0; i < MT_COUNT(heads); i++) {
        if (i > 0) {
            teardown(state);
            setup(state);
            node = *state;
        }
        ring(node, 1, 0)->head = heads[i];
        for (uint32_t n = 0; n <= SHM_RING_LINES; n++) {
            send(node, 0, 1, 8);
        }
        comm_progress(node->comm[0], 10);
        assert_int_equal(node->downs[0], 1);
    }
}

static void test_impossible_doorbells_are_ignored(void **state)
{
    struct node *node = *state;
    atomic_store(&control(node, 1)->doorbell[0], ~UINT64_C(0));
    assert_int_equal(comm_progress(node->comm[1], 10), 0);
    assert_int_equal(node->downs[1], 0);
    assert_true(comm_arm(node->comm[1]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wrong_segments_and_ranks_are_refused),
        TEST(test_making_an_end_fails_cleanly_at_every_allocation),
        cmocka_unit_test(test_pairs_that_never_talked_cost_no_memory),
        TEST(test_up_to_32_bytes_of_body_take_one_line),
        TEST(test_no_message_wraps_around_the_end),
        TEST(test_a_hot_ring_is_never_belled_and_a_quiet_one_is),
        TEST(test_only_a_sleeper_is_rung_and_only_once),
        TEST(test_a_turn_cut_short_by_its_budget_loses_nothing),
        TEST(test_room_made_wakes_a_writer_asleep_on_a_full_ring),
        TEST(test_what_the_dead_had_published_arrives_before_its_death),
        TEST(test_garbage_in_a_ring_marks_the_peer_down),
        TEST(test_a_frame_past_the_rings_end_marks_the_peer_down),
        TEST(test_random_bytes_in_a_ring_never_do_more_than_end_the_peer),
        TEST(test_an_impossible_reader_position_marks_the_peer_down),
        TEST(test_impossible_doorbells_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
