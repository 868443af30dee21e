/* The timeline's rings and file: what is added is read back, what is lost is told, damage costs its
 * own block. */
#include "../../folder.h"
#include "base/timeline.h"

#include "base/alloc.h"

#include <manta/error.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRACKS = 2, SMALL = 1000 };

static char file[300];

/* ---- A host whose flusher can be held ------------------------------------------------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct base_host host;

static bool held_park(void *self, struct base_park *park, uint64_t deadline_ns)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return base_host_real.park(self, park, deadline_ns);
}

static int set_up(void **state)
{
    assert_int_equal(folder_make(state), 0);
    snprintf(file, sizeof file, "%s/rank-3.timeline", folder);
    host = base_host_real;
    host.park = held_park;
    return 0;
}

static int tear_down(void **state)
{
    unlink(file);
    return rmdir(folder);
}

static struct base_timeline *create(void)
{
    static const struct base_timeline_name names[] = {
        {.of = BASE_TIMELINE_FUNCTION, .key = 77, .name = "square"},
        {.of = BASE_TIMELINE_MESSAGE, .key = 1, .name = "TASK"},
    };
    struct base_timeline_options options = {.host = &host,
                                            .directory = folder,
                                            .rank = 3,
                                            .size = 5,
                                            .tracks = TRACKS,
                                            .job = 11,
                                            .machine = 12,
                                            .host_name = "here",
                                            .names = names,
                                            .name_count = 2};
    struct base_timeline *timeline;
    char text[512];
    assert_int_equal(base_timeline_create(&options, &timeline, text, sizeof text), MANTA_OK);
    return timeline;
}

static void add(struct base_timeline *timeline, uint32_t track, uint32_t position)
{
    base_timeline_add(&base_timeline_tracks(timeline)[track],
                      (struct base_timeline_record){
                          .kind = BASE_TIMELINE_BEGIN, .parent = track + 1, .position = position});
}

struct seen {
    uint32_t records[TRACKS], next[TRACKS], names;
    uint64_t lost, skipped, ticks;
    bool is_in_order, is_complete;
};

static void see_record(struct seen *seen, uint32_t track, const struct base_timeline_record *record)
{
    if (record->kind == BASE_TIMELINE_GAP) {
        seen->lost += record->value;
        return;
    }
    seen->is_in_order &= record->parent == track + 1 && record->position >= seen->next[track];
    seen->next[track] = record->position + 1;
    seen->records[track]++;
}

static struct seen read_file(void)
{
    struct seen seen = {.is_in_order = true};
    struct base_timeline_reader *reader;
    struct base_timeline_block block;
    struct base_timeline_name name;
    assert_int_equal(base_timeline_open(file, &reader), MANTA_OK);
    const struct base_timeline_head *head = base_timeline_get_head(reader);
    assert_true(head->rank == 3 && head->size == 5 && head->tracks == TRACKS);
    assert_true(head->job == 11 && head->machine == 12 && head->pid == (uint32_t)getpid());
    assert_string_equal(head->host, "here");
    while (base_timeline_next(reader, &block)) {
        assert_true(block.ticks >= seen.ticks);
        seen.ticks = block.ticks;
        for (uint32_t i = 0; i < block.count; i++) {
            see_record(&seen, block.track, &block.records[i]);
        }
        for (uint32_t at = 0; base_timeline_next_name(&block, &at, &name); seen.names++) {
            assert_true((name.key == 77 && name.length == 6 && !memcmp(name.name, "square", 6)) ||
                        (name.key == 1 && name.length == 4 && !memcmp(name.name, "TASK", 4)));
        }
        seen.is_complete |= block.what == BASE_TIMELINE_LAST;
    }
    seen.skipped = base_timeline_skipped(reader);
    base_timeline_close(reader);
    return seen;
}

/* In one block for each track. */
static void write_small(void)
{
    pthread_mutex_lock(&gate);
    struct base_timeline *timeline = create();
    for (uint32_t i = 0; i < SMALL; i++) {
        add(timeline, i % TRACKS, i);
    }
    pthread_mutex_unlock(&gate);
    assert_int_equal(base_timeline_destroy(timeline, NULL), 0);
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void what_is_added_is_read_back_in_order(void **state)
{
    write_small();
    struct seen seen = read_file();
    assert_true(seen.is_in_order && seen.is_complete);
    assert_int_equal(seen.records[0] + seen.records[1], SMALL);
    assert_int_equal(seen.names, 2);
    assert_int_equal(seen.lost + seen.skipped, 0);
}

static void a_ring_goes_round_many_times_while_the_flusher_follows(void **state)
{
    struct base_timeline *timeline = create();
    uint32_t count = 6 * BASE_TIMELINE_RECORDS;
    for (uint32_t i = 0; i < count; i++) {
        add(timeline, 1, i);
        if (i % 1024 == 0) {
            usleep(50);
        }
    }
    uint64_t lost = base_timeline_destroy(timeline, NULL);
    struct seen seen = read_file();
    assert_true(seen.is_in_order && seen.is_complete);
    assert_int_equal(seen.records[1] + lost, count);
}

static void a_full_ring_loses_what_comes_and_says_how_much(void **state)
{
    uint32_t more = 100;
    pthread_mutex_lock(&gate);
    struct base_timeline *timeline = create();
    for (uint32_t i = 0; i < BASE_TIMELINE_RECORDS + more; i++) {
        add(timeline, 0, i);
    }
    pthread_mutex_unlock(&gate);
    struct base_timeline_track *track = &base_timeline_tracks(timeline)[0];
    while (atomic_load(&track->flushed) < BASE_TIMELINE_RECORDS) {
        usleep(100);
    }
    add(timeline, 0, BASE_TIMELINE_RECORDS + more);
    assert_int_equal(base_timeline_destroy(timeline, NULL), more);
    struct seen seen = read_file();
    assert_true(seen.is_in_order);
    assert_int_equal(seen.records[0], BASE_TIMELINE_RECORDS + 1);
    assert_int_equal(seen.lost, more);
}

static void put_byte(long at, int byte)
{
    FILE *out = fopen(file, "r+");
    assert_non_null(out);
    fseek(out, at, SEEK_SET);
    fputc(byte, out);
    fclose(out);
}

static int get_byte(long at)
{
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    fseek(in, at, SEEK_SET);
    int byte = fgetc(in);
    fclose(in);
    return byte;
}

static long file_size(void)
{
    struct stat about;
    assert_int_equal(stat(file, &about), 0);
    return (long)about.st_size;
}

/* The first block says whose file it is; without it there is none. */
static void any_damaged_byte_costs_its_block_and_no_other(void **state)
{
    write_small();
    struct base_timeline_reader *reader;
    long size = file_size(), head = 40 + (long)sizeof(struct base_timeline_head);
    for (long at = 0; at < size; at += 37) {
        int byte = get_byte(at);
        put_byte(at, byte ^ 0x10);
        if (at < head) {
            assert_int_equal(base_timeline_open(file, &reader), MANTA_E_TYPE);
        } else {
            struct seen seen = read_file();
            uint32_t whole = (seen.records[0] == SMALL / 2) + (seen.records[1] == SMALL / 2) +
                             seen.names + seen.is_complete;
            assert_true(seen.is_in_order && seen.skipped > 0);
            assert_int_equal(whole, 4); /* of five blocks */
        }
        put_byte(at, byte);
    }
    assert_int_equal(read_file().skipped, 0);
}

static void a_file_that_ends_early_is_read_to_its_last_whole_block(void **state)
{
    write_small();
    struct base_timeline_reader *reader;
    for (long size = file_size() - 1; size >= 0; size -= 41) {
        assert_int_equal(truncate(file, size), 0);
        if (size >= 40 + (long)sizeof(struct base_timeline_head)) {
            struct seen seen = read_file();
            assert_true(seen.is_in_order && !seen.is_complete);
        } else {
            assert_int_equal(base_timeline_open(file, &reader), MANTA_E_TYPE);
        }
    }
}

static void a_file_size_limit_ends_the_file_and_not_the_program(void **state)
{
    struct rlimit before, limit;
    int error = 0;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 64 * 1024;
    struct base_timeline *timeline = create();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (uint32_t i = 0; i < 5 * SMALL; i++) {
        add(timeline, 0, i);
    }
    uint64_t lost = base_timeline_destroy(timeline, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(lost > 0 && lost <= 5 * SMALL);
    assert_true(error == EFBIG || error == ENOSPC);
    assert_false(read_file().is_complete);
    sigset_t pending;
    assert_int_equal(sigpending(&pending), 0);
    assert_false(sigismember(&pending, SIGXFSZ));
}

/* From the first byte on: no block is cut, the kernel sends its signal. */
static void a_limit_that_is_reached_already_does_not_either(void **state)
{
    struct rlimit before, limit;
    int error = 0;
    struct stat status;
    struct base_timeline *timeline = create();
    assert_int_equal(stat(file, &status), 0);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = (rlim_t)status.st_size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    add(timeline, 0, 1);
    uint64_t lost = base_timeline_destroy(timeline, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(lost, 1);
    assert_int_equal(error, EFBIG);
}

static void what_cannot_be_written_is_refused_with_the_reason(void **state)
{
    struct base_timeline *timeline;
    char text[512];
    struct base_timeline_options options = {.host = &base_host_real,
                                            .directory = "/no/such/place",
                                            .size = 1,
                                            .tracks = 1,
                                            .host_name = "here"};
    assert_int_equal(base_timeline_create(&options, &timeline, text, sizeof text), MANTA_E_SYSTEM);
    assert_non_null(strstr(text, "/no/such/place"));
    assert_non_null(strstr(text, "MANTA_TIMELINE"));
    assert_int_equal(base_timeline_destroy(NULL, NULL), 0);
}

static void nothing_is_left_when_memory_ends(void **state)
{
    uint64_t live = base_alloc_live();
    struct base_timeline_options options = {.host = &base_host_real,
                                            .directory = folder,
                                            .rank = 3,
                                            .size = 5,
                                            .tracks = TRACKS,
                                            .host_name = "here"};
    char text[512];
    for (uint64_t k = 1; k < 4; k++) {
        struct base_timeline *timeline = NULL;
        base_alloc_fail_at(k);
        int code = base_timeline_create(&options, &timeline, text, sizeof text);
        base_alloc_fail_at(0);
        if (code == MANTA_OK) {
            (void)base_timeline_destroy(timeline, NULL);
        }
        assert_int_equal(base_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_read_back_in_order),
        cmocka_unit_test(a_ring_goes_round_many_times_while_the_flusher_follows),
        cmocka_unit_test(a_full_ring_loses_what_comes_and_says_how_much),
        cmocka_unit_test(any_damaged_byte_costs_its_block_and_no_other),
        cmocka_unit_test(a_file_that_ends_early_is_read_to_its_last_whole_block),
        cmocka_unit_test(a_file_size_limit_ends_the_file_and_not_the_program),
        cmocka_unit_test(a_limit_that_is_reached_already_does_not_either),
        cmocka_unit_test(what_cannot_be_written_is_refused_with_the_reason),
        cmocka_unit_test(nothing_is_left_when_memory_ends),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
