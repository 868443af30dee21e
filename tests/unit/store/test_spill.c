/*
 * Blocks that go to real files and come back: the same bytes or an error, to the rank that
 * wrote them or to its heir; and what may be spilled to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../folder.h"
#include "store/crc32c.h"
#include "store/disk.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <manta/error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

enum { RANKS = 2, BLOCKS = 24 };

static const uint64_t bound = 16 * MIB;
static int memory = -1;
static struct disk_files files;

static int set_up(void **state)
{
    char text[200];
    umask(0); /* what the files let others do is their own choice */
    memory = memfd_create("test", MFD_CLOEXEC);
    return ftruncate(memory, (off_t)store_bytes(RANKS, bound)) ||
           store_format(memory, 0, RANKS, bound) != MANTA_OK ||
           disk_make_files(folder, store_bytes(RANKS, bound), &files, text, sizeof text) !=
               MANTA_OK;
}

static int tear_down(void **state)
{
    disk_close_files(&files);
    return close(memory);
}

/* With descriptors of its own, as another process has them. */
static struct store *open_as(uint32_t index, struct disk **ret_disk)
{
    struct disk_files own = files;
    struct store *store = NULL;
    for (int i = 0; i < own.count; i++) {
        own.fds[i] = dup(files.fds[i]);
    }
    assert_int_equal(disk_open(&own, ret_disk), MANTA_OK);
    struct store_options options = {memory, 0, index, RANKS, disk_face(*ret_disk)};
    assert_int_equal(store_open(&options, &store), MANTA_OK);
    return store;
}

static void close_both(struct store *store, struct disk *disk)
{
    store_close(store);
    disk_close(disk);
}

static void fill(uint64_t *data, uint64_t bytes, uint64_t key)
{
    for (uint64_t i = 0; i < bytes / 8; i++) {
        data[i] = key * 1000003 + i;
    }
}

static void assert_filled(const uint64_t *data, uint64_t bytes, uint64_t key)
{
    for (uint64_t i = 0; i < bytes / 8; i++) {
        if (data[i] != key * 1000003 + i) {
            fail_msg("word %llu of block %llu is wrong", (unsigned long long)i,
                     (unsigned long long)key);
        }
    }
}

static struct store_place put(struct store *store, uint32_t index, uint64_t bytes, uint64_t key)
{
    struct store_tag tag = {.parent = key};
    struct store_room room;
    assert_int_equal(store_create(store, bytes, &tag, &room), MANTA_OK);
    assert_int_equal(store_populate(store, &room), MANTA_OK);
    fill(room.data, bytes, key);
    return (struct store_place){index, store_seal(store, room.data)};
}

static uint64_t bytes_of(uint64_t key)
{
    return 70000 + key * 8888;
}

/* As the core does; returns what was given back. */
static uint64_t spill(struct store *store, const struct store_place *places, uint32_t count)
{
    uint64_t sums[BLOCKS], bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        store_leave(store, places[i]);
        assert_int_equal(store_get_state(store, places[i]), STORE_LEAVING);
    }
    assert_int_equal(store_write(store, places, count, sums), MANTA_OK);
    for (uint32_t i = 0; i < count; i++) {
        store_note_written(store, places[i], sums[i]);
        bytes += store_spill(store, places[i]);
        assert_int_equal(store_get_state(store, places[i]), STORE_SPILLED);
    }
    return bytes;
}

static int restore(struct store *store, struct store_place place)
{
    assert_int_equal(store_refill(store, place), MANTA_OK);
    int code = store_read(store, place);
    (code == MANTA_OK ? store_refilled : store_unfill)(store, place);
    return code;
}

static uint64_t disk_bytes(void)
{
    struct stat status;
    assert_int_equal(fstat(files.fds[0], &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

static void what_left_comes_back_to_its_place_as_it_was(void **state)
{
    struct store_place places[BLOCKS];
    const void *before[BLOCKS];
    struct disk *disk;
    struct store *store = open_as(1, &disk);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        places[i] = put(store, 1, bytes_of(i), i);
        before[i] = store_at(store, 1, places[i].place);
    }
    uint64_t held = store_get_stats(store).held_bytes;
    uint64_t gone = spill(store, places, BLOCKS);
    assert_int_equal(store_get_stats(store).held_bytes, held - gone);
    assert_int_equal(store_get_slot(store, 1).held_bytes, held - gone);
    assert_true(gone > BLOCKS * 60000);
    for (uint64_t i = BLOCKS; i-- > 0;) {
        assert_int_equal(restore(store, places[i]), MANTA_OK);
        assert_ptr_equal(store_at(store, 1, places[i].place), before[i]);
        assert_filled(before[i], bytes_of(i), i);
    }
    assert_int_equal(store_get_stats(store).held_bytes, held);
    close_both(store, disk);
}

static void what_is_freed_leaves_memory_and_disk(void **state)
{
    struct store_place places[BLOCKS];
    struct disk *disk;
    struct store *store = open_as(0, &disk);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        places[i] = put(store, 0, bytes_of(i), i);
    }
    (void)spill(store, places, BLOCKS);
    fsync(files.fds[0]);
    assert_true(disk_bytes() >= BLOCKS * 60000);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        assert_true(store_is_written(store, places[i]));
        struct store_extent extent = store_extent(store, places[i]);
        store_free(store, places[i].place);
        store_discard(store, extent);
    }
    assert_true(disk_bytes() <= BLOCKS * 2 * 4096); /* what lay between neighbours */
    assert_int_equal(store_get_stats(store).blocks, 0);
    struct store_place again = put(store, 0, 10 * MIB, 7);
    assert_false(store_is_written(store, again));
    close_both(store, disk);
}

static void more_than_the_bound_by_far_can_be_kept(void **state)
{
    enum { COUNT = 200 };
    static struct store_place places[COUNT];
    struct disk *disk;
    struct store *store = open_as(0, &disk);
    for (uint64_t i = 0; i < COUNT; i++) {
        places[i] = put(store, 0, MIB, i);
        assert_true(spill(store, &places[i], 1) >= MIB - 8192);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(restore(store, places[i]), MANTA_OK);
        assert_filled(store_at(store, 0, places[i].place), MIB, i);
        store_free(store, places[i].place);
    }
    close_both(store, disk);
}

static void other_bytes_than_were_written_are_a_loss(void **state)
{
    struct disk *disk;
    struct store *store = open_as(0, &disk);
    struct store_place places[2] = {put(store, 0, MIB, 1), put(store, 0, MIB, 2)};
    (void)spill(store, places, 2);
    uint64_t held = store_get_stats(store).held_bytes;
    struct store_extent extent = store_extent(store, places[0]);
    uint8_t byte = 0;
    off_t at = (off_t)(extent.offset + extent.bytes / 2);
    assert_int_equal(pread(files.fds[0], &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(files.fds[0], &byte, 1, at), 1);
    assert_int_equal(restore(store, places[0]), MANTA_E_LOST);
    assert_int_equal(store_get_state(store, places[0]), STORE_SPILLED);
    assert_int_equal(store_get_stats(store).held_bytes, held);
    assert_int_equal(restore(store, places[1]), MANTA_OK);
    assert_filled(store_at(store, 0, places[1].place), MIB, 2);
    assert_int_equal(ftruncate(files.fds[0], (off_t)extent.offset + 5000), 0);
    assert_int_equal(restore(store, places[0]), MANTA_E_LOST); /* cut short */
    close_both(store, disk);
}

static bool stays(void *arg, uint64_t place, const struct store_tag *tag)
{
    ((uint64_t *)arg)[tag->parent] = place;
    return true;
}

/* At any moment of spilling and bringing back: what the heir finds is whole, and the count of pages
 * is exact. */
static void be_a_writer(void)
{
    struct store_place places[BLOCKS];
    struct disk *disk;
    struct store *store = open_as(1, &disk);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        places[i] = put(store, 1, bytes_of(i), i);
    }
    for (uint64_t round = 0;; round++) {
        (void)spill(store, &places[round % 8], 8);
        for (uint64_t i = round % 8; i < round % 8 + 8; i++) {
            if (restore(store, places[i]) != MANTA_OK) {
                _exit(1);
            }
        }
    }
}

static void an_heir_has_what_the_dead_had_spilled(void **state)
{
    for (unsigned round = 0; round < 12; round++) {
        struct disk *disk;
        struct store *store = open_as(0, &disk);
        uint64_t found[BLOCKS] = {0};
        pid_t pid = fork();
        if (pid == 0) {
            be_a_writer();
        }
        usleep(20000 + round * 700);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(store_inherit(store, 1, stays, found), MANTA_OK);
        for (uint64_t i = 0; i < BLOCKS && found[i]; i++) {
            struct store_place place = {1, found[i]};
            if (store_get_state(store, place) == STORE_SPILLED) {
                assert_int_equal(restore(store, place), MANTA_OK);
            }
            assert_int_equal(store_get_state(store, place), STORE_SEALED);
            assert_filled(store_at(store, 1, place.place), bytes_of(i), i);
            store_free_inherited(store, 1, place.place);
        }
        assert_int_equal(store_get_stats(store).held_bytes, store_get_slot(store, 1).held_bytes);
        close_both(store, disk);
        (void)tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

/* ---- Disks ---------------------------------------------------------------------------------- */

static void only_a_directory_on_a_local_disk_will_do(void **state)
{
    char text[300];
    const char *path = folder_path("file");
    assert_int_equal(disk_check(folder, text, sizeof text), MANTA_OK);
    assert_int_equal(disk_check("/nowhere/at/all", text, sizeof text), MANTA_E_NOTFOUND);
    assert_non_null(strstr(text, "/nowhere/at/all"));
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(disk_check(path, text, sizeof text), MANTA_E_NOTFOUND);
    assert_non_null(strstr(text, "is not a directory"));
    unlink(path);
    assert_int_equal(disk_check("/dev/shm", text, sizeof text), MANTA_E_STATE);
    assert_non_null(strstr(text, "tmpfs"));
}

static void the_files_are_for_their_user_alone_and_have_no_name(void **state)
{
    struct stat status;
    assert_true(files.count > 0);
    for (int i = 0; i < files.count; i++) {
        assert_int_equal(fstat(files.fds[i], &status), 0);
        assert_int_equal(status.st_mode, S_IFREG | 0600);
        assert_int_equal(status.st_nlink, 0);
    }
}

/* A small file system of its own. */
static void a_full_disk_is_said_and_what_is_on_it_stays(void **state)
{
    char text[300];
    const char *small = folder_path("small");
    assert_int_equal(mkdir(small, 0700), 0);
    if (mount("test", small, "tmpfs", 0, "size=3m") != 0) {
        rmdir(small);
        print_message("skipped: mounting a small file system: %s\n", strerror(errno));
        skip();
    }
    struct disk_files full;
    struct disk *disk;
    assert_int_equal(disk_make_files(small, 64 * MIB, &full, text, sizeof text), MANTA_OK);
    assert_int_equal(disk_open(&full, &disk), MANTA_OK);
    const struct store_disk *face = disk_face(disk);
    uint64_t *data = malloc(2 * MIB), *back = malloc(2 * MIB);
    fill(data, 2 * MIB, 5);
    struct iovec parts[] = {{data, MIB}, {data + MIB / 8, MIB}};
    assert_int_equal(face->write(face->self, 4 * MIB, parts, 2), MANTA_OK);
    assert_int_equal(face->write(face->self, 32 * MIB, parts, 2), MANTA_E_LIMIT);
    assert_int_equal(face->read(face->self, 4 * MIB, back, 2 * MIB), MANTA_OK);
    assert_filled(back, 2 * MIB, 5);
    face->discard(face->self, 32 * MIB, 2 * MIB);
    face->discard(face->self, 4 * MIB, MIB);
    assert_int_equal(face->write(face->self, 40 * MIB, parts, 1), MANTA_OK);
    free(data);
    free(back);
    disk_close(disk);
    umount(small);
    rmdir(small);
}

static void an_offset_at_the_end_of_a_file_goes_on_in_the_next(void **state)
{
    char text[300];
    struct disk_files two;
    struct disk *disk;
    uint64_t data[3000], back[3000];
    if (disk_make_files(folder, DISK_FILE_BYTES + MIB, &two, text, sizeof text) != MANTA_OK) {
        print_message("skipped: no files of 8 TiB here: %s\n", text);
        skip();
    }
    assert_int_equal(two.count, 2);
    assert_int_equal(disk_open(&two, &disk), MANTA_OK);
    const struct store_disk *face = disk_face(disk);
    fill(data, sizeof data, 9);
    struct iovec parts[] = {{data, 8000}, {data + 1000, sizeof data - 8000}};
    assert_int_equal(face->write(face->self, DISK_FILE_BYTES - 4096, parts, 2), MANTA_OK);
    assert_int_equal(face->read(face->self, DISK_FILE_BYTES - 4096, back, sizeof back), MANTA_OK);
    assert_memory_equal(back, data, sizeof data);
    disk_close(disk);
}

/* The check value of the polynomial's definition. */
static void the_sum_is_crc32c(void **state)
{
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_left_comes_back_to_its_place_as_it_was, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_freed_leaves_memory_and_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_the_bound_by_far_can_be_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_bytes_than_were_written_are_a_loss, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_heir_has_what_the_dead_had_spilled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_files_are_for_their_user_alone_and_have_no_name, set_up,
                                        tear_down),
        cmocka_unit_test(only_a_directory_on_a_local_disk_will_do),
        cmocka_unit_test(a_full_disk_is_said_and_what_is_on_it_stays),
        cmocka_unit_test(an_offset_at_the_end_of_a_file_goes_on_in_the_next),
        cmocka_unit_test(the_sum_is_crc32c),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
