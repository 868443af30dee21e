/*
 * The node's memory between processes: what one rank seals the others read in place and cannot
 * write, the bound holds for all together, and a dead rank's share has an heir.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store.h"

#include <manta/error.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

enum { RANKS = 3, OFFSET = 8192 };

static int fd = -1;
static uint64_t bound = 64 * MIB;

static int make_file(void **state)
{
    fd = memfd_create("test", MFD_CLOEXEC);
    return ftruncate(fd, OFFSET + (off_t)store_bytes(RANKS, bound)) ||
           store_format(fd, OFFSET, RANKS, bound) != MANTA_OK;
}

static int close_file(void **state)
{
    return close(fd);
}

static struct store *open_as(uint32_t index)
{
    struct store_options options = {fd, OFFSET, index, RANKS};
    struct store *store = NULL;
    assert_int_equal(store_open(&options, &store), MANTA_OK);
    return store;
}

static uint64_t put(struct store *store, uint64_t bytes, uint8_t with, uint64_t parent)
{
    struct store_tag tag = {.parent = parent, .position = with, .function = 7};
    struct store_room room;
    assert_int_equal(store_create(store, bytes, &tag, &room), MANTA_OK);
    assert_int_equal(store_populate(store, &room), MANTA_OK);
    memset(room.data, with, bytes);
    return store_seal(store, room.data);
}

static bool is_filled(const void *data, uint64_t bytes, uint8_t with)
{
    const uint8_t *at = data;
    return at && at[0] == with && memcmp(at, at + 1, bytes - 1) == 0;
}

static void expect_success(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void others_read_in_place_what_one_has_sealed(void **state)
{
    struct store *store = open_as(0);
    uint64_t small = put(store, 100, 1, 1), large = put(store, 5 * MIB + 3, 2, 1);
    for (uint32_t rank = 1; rank < RANKS; rank++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct store *reader = open_as(rank);
            bool is_right = is_filled(store_at(reader, 0, small), 100, 1) &&
                            is_filled(store_at(reader, 0, large), 5 * MIB + 3, 2) &&
                            store_get_stats(reader).created == 0 &&
                            (uintptr_t)store_at(reader, 0, large) % 64 == 0;
            store_close(reader);
            _exit(!is_right);
        }
        expect_success(pid);
    }
    struct store_stats stats = store_get_stats(store);
    assert_int_equal(stats.blocks, 2);
    assert_true(stats.held_bytes >= 5 * MIB && stats.held_bytes < 8 * MIB);
    store_free(store, small);
    store_free(store, large);
    assert_int_equal(store_get_stats(store).used_bytes, 0);
    store_close(store);
}

static void a_stray_write_to_a_sealed_block_faults(void **state)
{
    struct store *store = open_as(0);
    uint64_t place = put(store, 1000, 3, 1);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile uint8_t *)(uintptr_t)store_at(store, 0, place) = 4;
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
#ifndef __SANITIZE_ADDRESS__
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(is_filled(store_at(store, 0, place), 1000, 3));
    store_close(store);
}

static void the_bound_holds_for_all_ranks_together(void **state)
{
    struct store_tag tag = {.parent = 1};
    pid_t pids[RANKS];
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        pids[rank] = fork();
        if (pids[rank] == 0) {
            struct store *writer = open_as(rank);
            struct store_room room;
            int code;
            while ((code = store_create(writer, 300000, &tag, &room)) == MANTA_OK) {
                memset(room.data, 1, 300000);
            }
            bool has_kept_it = store_get_stats(writer).held_bytes <= bound;
            _exit(code != MANTA_E_LIMIT || !has_kept_it);
        }
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        expect_success(pids[rank]);
    }
}

static void what_was_freed_serves_the_others_after_a_trim(void **state)
{
    struct store *a = open_as(0), *b = open_as(1);
    struct store_tag tag = {.parent = 1};
    struct store_room room;
    uint64_t place = put(a, 60 * MIB, 5, 1);
    assert_int_equal(store_create(b, 60 * MIB, &tag, &room), MANTA_E_LIMIT);
    store_free(a, place);
    assert_int_equal(store_create(b, 60 * MIB, &tag, &room), MANTA_E_LIMIT);
    assert_true(store_trim(a, 60 * MIB) >= 59 * MIB);
    assert_int_equal(store_create(b, 60 * MIB, &tag, &room), MANTA_OK);
    assert_int_equal(store_create(a, 60 * MIB, &tag, &room), MANTA_E_LIMIT);
    assert_int_equal(store_create(a, 65 * MIB, &tag, &room), MANTA_E_TOOBIG);
    store_close(a);
    store_close(b);
}

static void an_open_block_can_be_shortened_or_abandoned(void **state)
{
    struct store *store = open_as(0);
    struct store_tag tag = {.parent = 1};
    struct store_room room;
    assert_int_equal(store_create(store, 10 * MIB, &tag, &room), MANTA_OK);
    store_shorten(store, room.data, 1000);
    assert_int_equal(store_get_stats(store).used_bytes, 1024 + 64);
    store_abandon(store, &room);
    assert_int_equal(store_get_stats(store).used_bytes, 0);
    assert_int_equal(store_get_stats(store).blocks, 0);
    store_close(store);
}

static bool stays_if_of_parent_one(void *arg, uint64_t place, const struct store_tag *tag)
{
    return tag->parent == 1;
}

static void an_heir_keeps_what_is_wanted_and_frees_the_rest(void **state)
{
    uint64_t *places = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *store = open_as(2);
        struct store_tag tag = {.parent = 1};
        struct store_room open;
        places[0] = put(store, 3 * MIB, 1, 1);
        places[1] = put(store, 3 * MIB, 2, 99);
        (void)!store_create(store, 3 * MIB, &tag, &open);
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
    struct store *heir = open_as(0);
    assert_int_equal(store_inherit(heir, 1, stays_if_of_parent_one, NULL), MANTA_E_NOTFOUND);
    assert_int_equal(store_inherit(heir, 2, stays_if_of_parent_one, NULL), MANTA_OK);
    assert_int_equal(store_inherit(heir, 2, stays_if_of_parent_one, NULL), MANTA_E_INVALID);
    assert_true(is_filled(store_at(heir, 2, places[0]), 3 * MIB, 1));
    store_free_inherited(heir, 2, places[0]);
    assert_int_equal(store_get_stats(heir).freed, 1);
    store_close(heir);
    munmap(places, 4096);
}

static bool stays(void *arg, uint64_t place, const struct store_tag *tag)
{
    return true;
}

/* It counts as dead, but has not noticed: neither it nor the heir before the last changes anything.
 */
static void who_was_taken_over_lets_go(void **state)
{
    struct store *zombie = open_as(1), *first = open_as(0), *second = open_as(2);
    const struct store_tag tag = {.parent = 1, .position = 1}, other = {.parent = 2, .position = 2};
    struct store_room room;
    uint64_t kept = put(zombie, 3 * MIB, 1, 1), given = put(zombie, 3 * MIB, 2, 2);
    assert_int_equal(store_create(zombie, 100, &tag, &room), MANTA_OK);
    assert_int_equal(store_inherit(first, 1, stays, NULL), MANTA_OK);
    assert_int_equal(store_get_stats(first).blocks, 2);
    store_abandon(zombie, &room);
    store_free(zombie, kept);
    assert_int_equal(store_create(zombie, 100, &tag, &room), MANTA_E_NOMEM);
    assert_int_equal(store_inherit(second, 1, stays, NULL), MANTA_OK);
    store_free_inherited(first, 1, kept);
    store_free_inherited(second, 1, given);
    assert_int_equal(store_get_stats(second).blocks, 1);
    assert_non_null(store_find(second, 1, kept, &tag, 3 * MIB));
    assert_true(is_filled(store_at(first, 1, kept), 3 * MIB, 1));
    assert_null(store_find(second, 1, given, &other, 1));
    store_close(zombie);
    store_close(first);
    store_close(second);
}

static void count(void *arg, const struct store_entry *entry)
{
    uint64_t *seen = arg;
    seen[0]++;
    seen[1] += entry->bytes;
    assert_int_equal(entry->tag.function, 7);
}

static void a_dump_shows_the_blocks_of_all(void **state)
{
    struct store *a = open_as(0), *b = open_as(1);
    uint64_t seen[2] = {0};
    (void)put(a, 100, 1, 1);
    (void)put(b, 200, 2, 2);
    store_free(b, put(b, 300, 3, 3));
    store_each(a, count, seen);
    assert_int_equal(seen[0], 2);
    assert_int_equal(seen[1], 300);
    store_close(a);
    store_close(b);
}

static void bad_options_are_refused(void **state)
{
    struct store *store;
    struct store_options options = {fd, OFFSET, RANKS, RANKS};
    assert_int_equal(store_open(&options, &store), MANTA_E_INVALID);
    options = (struct store_options){fd, OFFSET, 0, RANKS + 1};
    assert_int_equal(store_open(&options, &store), MANTA_E_INVALID);
    options = (struct store_options){fd, 0, 0, RANKS};
    assert_int_equal(store_open(&options, &store), MANTA_E_INVALID);
    options = (struct store_options){-1, OFFSET, 0, RANKS};
    assert_int_equal(store_open(&options, &store), MANTA_E_SYSTEM);
    assert_int_equal(store_format(-1, 0, 1, bound), MANTA_E_SYSTEM);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_file, close_file)
    const struct CMUnitTest tests[] = {
        TEST(others_read_in_place_what_one_has_sealed),
        TEST(a_stray_write_to_a_sealed_block_faults),
        TEST(the_bound_holds_for_all_ranks_together),
        TEST(what_was_freed_serves_the_others_after_a_trim),
        TEST(an_open_block_can_be_shortened_or_abandoned),
        TEST(an_heir_keeps_what_is_wanted_and_frees_the_rest),
        TEST(who_was_taken_over_lets_go),
        TEST(a_dump_shows_the_blocks_of_all),
        TEST(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
