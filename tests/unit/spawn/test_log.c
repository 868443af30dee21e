/* The log: what commands say comes back by id, attempt and stream, whatever happened to its end. */
#include "../../folder.h"
#include "harness.h"

#include "spawn/log.h"

#include <fcntl.h>
#include <sys/stat.h>

static struct outcome outcome;
static char path[300];

static const char *file_of(const char *suffix)
{
    static char name[310];
    snprintf(name, sizeof name, "%s.%s", path, suffix);
    return name;
}

static int set_up(void **state)
{
    assert_int_equal(folder_make(state), 0);
    snprintf(path, sizeof path, "%s/log", folder);
    umask(0); /* what the files let others do is their own choice */
    open_spawn(path);
    return 0;
}

static int tear_down(void **state)
{
    tear_down_spawn(state);
    unlink(file_of("data"));
    unlink(file_of("index"));
    return rmdir(folder); /* fails if there were more files than two */
}

static void check(uint64_t id, uint32_t attempt, uint32_t stream, const char *expected)
{
    struct spawn_log *log = NULL;
    char text[256] = "";
    size_t size = 0;
    struct spawn_log_part key = {.id = id, .attempt = attempt, .stream = stream};
    assert_int_equal(spawn_log_open(path, &log), MANTA_OK);
    int code = spawn_log_read(log, &key, 0, text, sizeof text - 1, &size);
    assert_int_equal(code, expected ? MANTA_OK : MANTA_E_NOTFOUND);
    if (expected) {
        assert_int_equal(size, strlen(expected));
        assert_string_equal(text, expected);
    }
    spawn_log_close(log);
}

static void say(uint64_t id, uint32_t attempt, const char *script)
{
    run_command(&(struct spawn_command){.id = id, .attempt = attempt, .argv = SHELL(script)},
                &outcome);
    assert_int_equal(outcome.result.lost_bytes, 0);
}

static void streams_and_attempts_are_apart(void **state)
{
    say(UINT64_C(0x1234567890abcdef), 1, "echo out; echo err >&2");
    say(UINT64_C(0x1234567890abcdef), 2, "echo again");
    say(7, 1, "echo other; sleep 0.05; echo late");
    check(UINT64_C(0x1234567890abcdef), 1, SPAWN_STDOUT, "out\n");
    check(UINT64_C(0x1234567890abcdef), 1, SPAWN_STDERR, "err\n");
    check(UINT64_C(0x1234567890abcdef), 2, SPAWN_STDOUT, "again\n");
    check(UINT64_C(0x1234567890abcdef), 2, SPAWN_STDERR, NULL);
    check(7, 1, SPAWN_STDOUT, "other\nlate\n");
    check(8, 1, SPAWN_STDOUT, NULL);
}

static void parts_say_who_and_when(void **state)
{
    struct spawn_log *log = NULL;
    size_t count = 0;
    time_t now = time(NULL);
    say(9, 1, "echo x");
    assert_int_equal(spawn_log_open(path, &log), MANTA_OK);
    const struct spawn_log_part *parts = spawn_log_parts(log, &count);
    assert_int_equal(count, 1);
    assert_int_equal(parts[0].rank, 5);
    assert_true(parts[0].time_ns / SECONDS >= (uint64_t)now - 1 &&
                parts[0].time_ns / SECONDS <= (uint64_t)now + 60);
    spawn_log_close(log);
}

static void output_longer_than_a_pipe_is_read_in_pieces(void **state)
{
    struct spawn_log *log = NULL;
    size_t size = 0;
    char text[12];
    struct spawn_log_part key = {.id = 1, .attempt = 0, .stream = SPAWN_STDOUT};
    say(1, 0, "seq 100000 199999");
    assert_int_equal(outcome.result.out_bytes, 700000);
    assert_int_equal(spawn_log_open(path, &log), MANTA_OK);
    for (uint64_t line = 0; line < 100000; line += 3001) {
        char expected[12];
        snprintf(expected, sizeof expected, "%d\n", (int)(100000 + line));
        assert_int_equal(spawn_log_read(log, &key, line * 7, text, 7, &size), MANTA_OK);
        assert_int_equal(size, 7);
        assert_memory_equal(text, expected, 7);
    }
    assert_int_equal(spawn_log_read(log, &key, 699998, text, sizeof text, &size), MANTA_OK);
    assert_int_equal(size, 2);
    assert_int_equal(spawn_log_read(log, &key, 700000, text, sizeof text, &size), MANTA_OK);
    assert_int_equal(size, 0);
    spawn_log_close(log);
}

static void a_bound_on_output_is_kept_and_counted(void **state)
{
    run_command(&(struct spawn_command){.id = 1,
                                        .argv = SHELL("printf 123456789; echo err >&2"),
                                        .limits = {.output_bytes = 4, .tail_bytes = 100}},
                &outcome);
    assert_int_equal(outcome.result.lost_bytes, 5);
    assert_string_equal(outcome.out, "123456789");
    check(1, 0, SPAWN_STDOUT, "1234");
    check(1, 0, SPAWN_STDERR, "err\n");
}

static void a_full_disk_is_counted_and_harms_nobody(void **state)
{
    spawn_destroy(spawn);
    unlink(file_of("data"));
    assert_int_equal(symlink("/dev/full", file_of("data")), 0);
    open_spawn(path);
    run_command(&(struct spawn_command){.id = 1,
                                        .argv = SHELL("echo hello"),
                                        .limits = {.tail_bytes = 100}},
                &outcome);
    assert_int_equal(outcome.result.exit_code, 0);
    assert_int_equal(outcome.result.lost_bytes, 6);
    assert_string_equal(outcome.out, "hello\n");
}

static void ranks_share_one_log_of_two_files(void **state)
{
    enum { RANKS = 3, EACH = 40 };
    struct spawn *ranks[RANKS];
    static struct outcome outcomes[RANKS][EACH];
    for (int r = 0; r < RANKS; r++) {
        struct spawn_options options = {
            .host = &base_host_real, .rank = (uint32_t)r, .log_path = path};
        assert_int_equal(spawn_create(&options, &ranks[r], NULL), MANTA_OK);
    }
    for (int i = 0; i < RANKS * EACH; i++) {
        char script[64];
        struct spawn_done done = done_of(&outcomes[i % RANKS][i / RANKS]);
        snprintf(script, sizeof script, "echo command %d", i);
        assert_int_equal(
            spawn_command(ranks[i % RANKS],
                          &(struct spawn_command){.id = (uint64_t)i + 1, .argv = SHELL(script)},
                          &done, NULL, NULL),
            MANTA_OK);
    }
    for (int i = 0; i < RANKS * EACH; i++) {
        while (!outcomes[i % RANKS][i / RANKS].answers) {
            spawn_poll(ranks[i % RANKS], SECONDS);
        }
    }
    for (int r = 0; r < RANKS; r++) {
        spawn_destroy(ranks[r]);
    }
    for (int i = 0; i < RANKS * EACH; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "command %d\n", i);
        check((uint64_t)i + 1, 0, SPAWN_STDOUT, expected);
    }
}

static void append(const char *suffix, const void *bytes, size_t size)
{
    int fd = open(file_of(suffix), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

static void a_torn_end_is_ignored_and_written_over(void **state)
{
    struct log_record record;
    log_record_fill(&(struct spawn_log_part){.id = 3, .stream = SPAWN_STDOUT, .bytes = 1}, &record);
    say(1, 0, "echo before");
    for (size_t torn = 1; torn < sizeof record; torn += 9) {
        append("index", &record, torn);
        check(1, 0, SPAWN_STDOUT, "before\n");
        check(3, 0, SPAWN_STDOUT, NULL);
    }
    say(2, 0, "echo after");
    check(1, 0, SPAWN_STDOUT, "before\n");
    check(2, 0, SPAWN_STDOUT, "after\n");
}

static void records_of_lost_data_are_ignored(void **state)
{
    struct stat status;
    say(1, 0, "echo kept");
    say(2, 0, "echo cut");
    assert_int_equal(stat(file_of("data"), &status), 0);
    assert_int_equal(truncate(file_of("data"), status.st_size - 1), 0);
    check(1, 0, SPAWN_STDOUT, "kept\n");
    check(2, 0, SPAWN_STDOUT, NULL);
}

static void check_none(void)
{
    struct spawn_log *log = NULL;
    assert_int_equal(spawn_log_open(path, &log), MANTA_E_TYPE);
    assert_null(log);
}

static void what_is_no_log_is_not_taken_for_one(void **state)
{
    uint8_t bytes[4096];
    struct log_record record;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 2654435761u >> 7);
    }
    check(1, 0, SPAWN_STDOUT, NULL); /* nothing has been written yet */
    append("index", bytes, 100);
    check_none();
    append("index", bytes, sizeof bytes);
    check_none();
    assert_int_equal(truncate(file_of("index"), 0), 0);
    log_record_fill(&(struct spawn_log_part){.id = 3, .stream = SPAWN_STDOUT, .bytes = 1}, &record);
    for (size_t torn = 1; torn < sizeof record; torn++) {
        append("index", &record, torn);
        check(3, 0, SPAWN_STDOUT, NULL);
        assert_int_equal(truncate(file_of("index"), 0), 0);
    }
}

static void a_flipped_bit_is_noticed(void **state)
{
    say(1, 0, "echo x");
    int fd = open(file_of("index"), O_RDWR);
    for (off_t at = 0; at < (off_t)sizeof(struct log_record); at++) {
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        if (at < 4) { /* the word that all records begin with: it is the only one */
            check_none();
        } else {
            check(1, 0, SPAWN_STDOUT, NULL);
        }
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    check(1, 0, SPAWN_STDOUT, "x\n");
    close(fd);
}

static void both_files_are_for_their_user_alone(void **state)
{
    struct stat status;
    say(1, 1, "echo x");
    assert_int_equal(stat(file_of("data"), &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | 0600);
    assert_int_equal(stat(file_of("index"), &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | 0600);
}

static void a_log_that_is_not_there_is_not_found(void **state)
{
    struct spawn_log *log = NULL;
    assert_int_equal(spawn_log_open("/no/such/log", &log), MANTA_E_NOTFOUND);
    assert_null(log);
    spawn_log_close(NULL);
}

static void a_log_that_cannot_be_written_is_told_at_once(void **state)
{
    struct spawn *none = NULL;
    manta_error error = {0};
    struct spawn_options options = {.host = &base_host_real, .log_path = "/no/such/folder/log"};
    assert_int_equal(spawn_create(&options, &none, &error), MANTA_E_SYSTEM);
    assert_non_null(strstr(error.text, "/no/such/folder/log"));
    assert_null(none);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(streams_and_attempts_are_apart),
        TEST(parts_say_who_and_when),
        TEST(output_longer_than_a_pipe_is_read_in_pieces),
        TEST(a_bound_on_output_is_kept_and_counted),
        TEST(a_full_disk_is_counted_and_harms_nobody),
        TEST(ranks_share_one_log_of_two_files),
        TEST(a_torn_end_is_ignored_and_written_over),
        TEST(records_of_lost_data_are_ignored),
        TEST(a_flipped_bit_is_noticed),
        TEST(what_is_no_log_is_not_taken_for_one),
        TEST(both_files_are_for_their_user_alone),
        TEST(a_log_that_is_not_there_is_not_found),
        TEST(a_log_that_cannot_be_written_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
