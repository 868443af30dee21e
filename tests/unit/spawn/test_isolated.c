/* Isolated functions: their reply, and every way in which a process can end instead. */
#include "harness.h"

static struct outcome outcome;
static int constructed; /* by a constructor after the library's */

static int echo(const void *bytes, size_t size, int fd)
{
    for (size_t done = 0; done < size;) {
        done += (size_t)write(fd, (const char *)bytes + done, size - done);
    }
    return 0;
}

static int look_around(int fd)
{
    int threads = 0;
    DIR *folder = opendir("/proc/self/task");
    while (readdir(folder)) {
        threads++;
    }
    closedir(folder);
    return dprintf(fd, "%d fds, %d threads, constructed %d, variable %s", count_fds("self"),
                   threads - 2, constructed, getenv("MANTA_SPAWNER") ? "there" : "gone") < 0;
}

static int run(const void *bytes, size_t size, int fd)
{
    const char *what = bytes;
    if (!size) {
        return 0;
    }
    switch (*what) {
    case 's':
        raise(SIGSEGV);
        break;
    case 'a':
        abort();
    case 'x':
        exit(3);
    case '0':
        exit(0);
    case 'l':
        for (;;) {}
    case 'p':
        printf("said");
        fprintf(stderr, "complained");
        return -7;
    case 'w':
        return look_around(fd);
    case 'c':
        return (int)write(fd, "partial", 7) > 0 ? (raise(SIGKILL), 0) : 0;
    default:
        return echo(bytes, size, fd);
    }
    return 0;
}

/* May run after the constructor of the library: the take-over waits for it. */
__attribute__((constructor)) static void enroll(void)
{
    constructed = 1;
    spawn_set_isolated(run);
}

static void run_kind(const char *kind)
{
    run_isolated(&(struct spawn_isolated){.bytes = kind,
                                          .size = strlen(kind),
                                          .limits = {.tail_bytes = 100}},
                 &outcome);
}

static void a_reply_comes_back(void **state)
{
    run_kind("echo this");
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
    assert_true(outcome.result.has_returned);
    assert_int_equal(outcome.result.returned, 0);
    assert_int_equal(outcome.result.reply_bytes, 9);
    assert_string_equal(outcome.reply, "echo this");
    free(outcome.reply);
}

static void an_empty_reply_and_no_argument_are_fine(void **state)
{
    run_isolated(&(struct spawn_isolated){.size = 0}, &outcome);
    assert_true(outcome.result.has_returned);
    assert_int_equal(outcome.result.reply_bytes, 0);
    assert_null(outcome.result.reply);
}

static void long_arguments_and_replies_arrive_whole(void **state)
{
    static const size_t sizes[] = {20000, 32000, 33000, 100000, 1 << 20, 20 << 20};
    for (size_t i = 0; i < MT_COUNT(sizes); i++) {
        char *bytes = malloc(sizes[i]);
        memset(bytes, 'e', sizes[i]);
        bytes[sizes[i] / 2] = '!';
        run_isolated(&(struct spawn_isolated){.bytes = bytes, .size = sizes[i]}, &outcome);
        assert_int_equal(outcome.result.reply_bytes, sizes[i]);
        assert_memory_equal(outcome.reply, bytes, MT_MIN(sizes[i], (size_t)1 << 20));
        free(outcome.reply);
        free(bytes);
    }
}

static void what_it_returns_and_prints_is_seen(void **state)
{
    run_kind("print");
    assert_int_equal(outcome.result.returned, -7);
    assert_string_equal(outcome.out, "said");
    assert_string_equal(outcome.err, "complained");
}

static void its_surroundings_are_those_of_a_fresh_program(void **state)
{
    run_kind("where");
#if defined(__SANITIZE_THREAD__)
    const char *threads = "2"; /* one is the sanitizer's */
#else
    const char *threads = "1";
#endif
    char expected[96];
    /* 0, 1, 2, the reply, the folder that is counted, "." and "..". */
    snprintf(expected, sizeof expected, "7 fds, %s threads, constructed 1, variable gone", threads);
    assert_string_equal(outcome.reply, expected);
    free(outcome.reply);
}

static void crashes_are_told_as_signals(void **state)
{
    run_kind("segv");
    assert_int_equal(outcome.result.end, SPAWN_ENDED_SIGNAL);
    assert_int_equal(outcome.result.signal, SIGSEGV);
    assert_int_equal(outcome.result.error.code, MANTA_E_CRASH);
    assert_false(outcome.result.has_returned);
    run_kind("abort");
    assert_int_equal(outcome.result.signal, SIGABRT);
}

static void an_exit_is_not_a_return(void **state)
{
    run_kind("x");
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
    assert_int_equal(outcome.result.exit_code, 3);
    assert_int_equal(outcome.result.error.code, MANTA_E_TASK);
    assert_false(outcome.result.has_returned);
    run_kind("0");
    assert_int_equal(outcome.result.exit_code, 0);
    assert_false(outcome.result.has_returned);
}

static void a_reply_that_was_begun_is_dropped_with_its_writer(void **state)
{
    run_kind("cut");
    assert_int_equal(outcome.result.signal, SIGKILL);
    assert_false(outcome.result.has_returned);
    assert_int_equal(outcome.result.reply_bytes, 0);
}

static void an_endless_loop_meets_its_limit(void **state)
{
    run_isolated(
        &(struct spawn_isolated){.bytes = "loop", .size = 4, .limits = {.wall_ns = 200 * MS}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_TIMEOUT);
    assert_true(outcome.result.user_ns > 1 * MS);
    assert_non_null(strstr(outcome.result.error.text, "isolated task"));
}

static void a_set_up_that_fails_is_a_refusal(void **state)
{
    run_isolated(
        &(struct spawn_isolated){.bytes = "e", .size = 1, .out = {SPAWN_TO_FILE, "/no/such/file"}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_REFUSED);
    assert_int_equal(outcome.result.error.code, MANTA_E_NOTFOUND);
}

static void the_spawner_goes_on_after_all_that(void **state)
{
    int32_t pid = spawn_pid(spawn);
    for (int i = 0; i < 50; i++) {
        run_kind(i % 2 ? "segv" : "echo");
        free(outcome.reply);
    }
    assert_int_equal(spawn_pid(spawn), pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_comes_back),
        cmocka_unit_test(an_empty_reply_and_no_argument_are_fine),
        cmocka_unit_test(long_arguments_and_replies_arrive_whole),
        cmocka_unit_test(what_it_returns_and_prints_is_seen),
        cmocka_unit_test(its_surroundings_are_those_of_a_fresh_program),
        cmocka_unit_test(crashes_are_told_as_signals),
        cmocka_unit_test(an_exit_is_not_a_return),
        cmocka_unit_test(a_reply_that_was_begun_is_dropped_with_its_writer),
        cmocka_unit_test(an_endless_loop_meets_its_limit),
        cmocka_unit_test(a_set_up_that_fails_is_a_refusal),
        cmocka_unit_test(the_spawner_goes_on_after_all_that),
    };
    return cmocka_run_group_tests(tests, set_up_spawn, tear_down_spawn);
}
