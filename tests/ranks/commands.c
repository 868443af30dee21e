/*
 * Commands and isolated tasks on all ranks of a job. Prints "right" at the end, or what was wrong.
 *
 *     commands features           everything a command can be told, on each rank
 *     commands deaths             isolated tasks that crash and exit, on each rank
 *     commands limits             isolated tasks that hang and grow, on each rank
 *     commands sweep COUNT        so many of `true`
 *     commands work COUNT         so many that take a tenth of a second; prints "running" first
 *     commands starved            while no descriptors are left, and after that
 *     commands pressed FOLDER     memory runs short while two run: /proc/meminfo is FOLDER/now, and
 *                                 the newest makes it FOLDER/plenty when it runs again
 *     commands leave              the driver ends while commands run everywhere
 *     commands hang               they run and the driver waits; prints "running"
 */
#include <manta/manta.h>

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            char line_[512];                                                                       \
            manta_error_format(manta_last_error(), line_, sizeof line_);                           \
            fprintf(stderr, "%s:%d: %s; last error %s\n", __func__, __LINE__, #what, line_);       \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

#define SECOND UINT64_C(1000000000)

static manta_ref shell(const manta_options *options, const char *script,
                       const manta_command_setup *setup)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    return manta_command(options, argv, setup);
}

static manta_options on(uint32_t rank)
{
    return (manta_options){.rank = MANTA_ON(rank)};
}

static bool error_says(const char *text)
{
    return strstr(manta_last_error()->text, text) != NULL;
}

/* ---- Features -------------------------------------------------------------------------------- */

static int streams(const manta_options *options, const char *folder)
{
    static const char words[] = "one\ntwo\n";
    char path[PATH_MAX];
    manta_command_result result;
    const manta_command_setup given = {.input = words, .input_bytes = strlen(words)};
    CHECK(manta_command_get(shell(options, "cat; echo bad >&2", &given), &result) == MANTA_OK);
    CHECK(strcmp(result.out_tail, words) == 0 && strcmp(result.err_tail, "bad\n") == 0);
    CHECK(result.out_bytes == strlen(words) && result.err_bytes == 4 && result.exit_code == 0);
    snprintf(path, sizeof path, "%s/out%u", folder, options->rank);
    const manta_command_setup file = {.out = {MANTA_STREAM_FILE, path},
                                      .err = {MANTA_STREAM_STDOUT, NULL}};
    const manta_command_setup more = {.out = {MANTA_STREAM_APPEND, path}};
    const manta_command_setup back = {.input_path = path};
    CHECK(manta_command_get(shell(options, "echo a; echo b >&2", &file), &result) == MANTA_OK);
    CHECK(result.out_bytes == 0 && result.out_tail_bytes == 0);
    CHECK(manta_command_get(shell(options, "echo c", &more), &result) == MANTA_OK);
    CHECK(manta_command_get(shell(options, "cat", &back), &result) == MANTA_OK);
    CHECK(strcmp(result.out_tail, "a\nb\nc\n") == 0);
    const manta_command_setup little = {.tail_bytes = 3};
    CHECK(manta_command_get(shell(options, "echo 12345678", &little), &result) == MANTA_OK);
    CHECK(strcmp(result.out_tail, "78\n") == 0 && result.out_bytes == 9);
    return 0;
}

static int surroundings(const manta_options *options, const char *folder)
{
    manta_command_result result;
    const char *more[] = {"COLOUR=red", "HOME", NULL}, *whole[] = {"COLOUR=red", NULL};
    const manta_command_setup added = {.environment = more, .directory = folder};
    const manta_command_setup alone = {.environment = whole, .environment_whole = 1};
    CHECK(
        manta_command_get(shell(options, "echo $COLOUR ${HOME-none} ${PATH:+path}; pwd -P", &added),
                          &result) == MANTA_OK);
    CHECK(strncmp(result.out_tail, "red none path\n/", 15) == 0);
    CHECK(strncmp(strchr(result.out_tail, '\n') + 1, folder, strlen(folder)) == 0);
    CHECK(manta_command_get(shell(options, "echo $COLOUR ${TMPDIR-none}", &alone), &result) ==
          MANTA_OK);
    CHECK(strcmp(result.out_tail, "red none\n") == 0);
    CHECK(manta_command_get(shell(options, "echo ${OMPI_COMM_WORLD_RANK-none}", NULL), &result) ==
          MANTA_OK);
    CHECK(strcmp(result.out_tail, "none\n") == 0);
    return 0;
}

static int ends(const manta_options *options)
{
    manta_command_result result;
    manta_options hurried = *options, small = *options;
    const manta_command_setup any = {.accept_codes = 1};
    const char *missing[] = {"no-such-program", NULL};
    hurried.timeout_ns = SECOND / 5;
    small.memory_bytes = 64 << 20;
    CHECK(manta_command_get(shell(options, "echo why >&2; exit 3", NULL), &result) == MANTA_E_TASK);
    CHECK(error_says("sh ended with exit code 3") && error_says("its last words: why"));
    CHECK(manta_last_error()->rank == options->rank - 1);
    CHECK(manta_command_get(shell(options, "exit 3", &any), &result) == MANTA_OK);
    CHECK(result.exit_code == 3 && result.rank == options->rank - 1 && result.pid > 0);
    CHECK(manta_command_get(shell(options, "kill -9 $$", NULL), &result) == MANTA_E_CRASH);
    CHECK(error_says("signal 9"));
    CHECK(manta_command_get(shell(&hurried, "sleep 100", NULL), &result) == MANTA_E_TIMEOUT);
    CHECK(error_says("its limit is 0.2 s"));
    CHECK(manta_command_get(shell(&small, "x=1; while :; do x=$x$x; done", NULL), &result) ==
          MANTA_E_NOMEM);
    CHECK(error_says("limit of 64 MiB"));
    CHECK(manta_command_get(manta_command(options, missing, NULL), &result) == MANTA_E_NOTFOUND);
    CHECK(error_says("no-such-program"));
    return 0;
}

MANTA_TASK(commands_of_a_task, val(int32_t, count), out(int32_t, right))
{
    manta_ref refs[16];
    for (int32_t i = 0; i < count; i++) {
        refs[i] = shell(NULL, "echo from a task", NULL);
    }
    for (int32_t i = 0; i < count; i++) {
        manta_command_result result;
        MANTA_TRY(manta_command_get(refs[i], &result));
        *right += strcmp(result.out_tail, "from a task\n") == 0;
    }
    return MANTA_OK;
}

MANTA_TASK(reads_a_result, in(char, value), out(int32_t, code))
{
    manta_command_result result;
    MANTA_TRY(manta_command_read(value, value_len, &result));
    *code = result.exit_code;
    return MANTA_OK;
}

static int together(const manta_options *options)
{
    const manta_command_setup any = {.accept_codes = 1};
    manta_ref first = shell(options, "exit 7", &any);
    const manta_command_setup later = {.after = &first, .after_len = 1};
    manta_ref second = shell(NULL, "true", &later);
    manta_command_result result;
    int32_t right, code;
    CHECK(manta_command_get(second, &result) == MANTA_OK);
    CHECK(manta_wait(&first, 1, 1, 0, NULL) == MANTA_OK);
    CHECK(reads_a_result_get(reads_a_result_async(options, first), &code) == MANTA_OK && code == 7);
    CHECK(commands_of_a_task_get(commands_of_a_task_async(options, 16), &right) == MANTA_OK);
    CHECK(right == 16);
    return 0;
}

static int features(const manta_world *world)
{
    const char *folder = getenv("TMPDIR");
    for (uint32_t rank = 0; rank < world->size; rank++) {
        manta_options options = on(rank);
        if (streams(&options, folder) || surroundings(&options, folder) || ends(&options) ||
            together(&options)) {
            return 1;
        }
    }
    return 0;
}

/* ---- Isolated tasks -------------------------------------------------------------------------- */

enum { SEGV, ABORT, EXIT, HANG, GROW, FINE };

static void grow(void)
{
    for (;;) {
        char *block = malloc(8 << 20);
        memset(block, 1, 8 << 20);
        usleep(2000);
    }
}

MANTA_TASK(behave, val(int32_t, how), out(int64_t, pid))
{
    switch (how) {
    case SEGV:
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit */
        raise(SIGSEGV);
        break;
    case ABORT:
        signal(SIGABRT, SIG_DFL);
        abort();
    case EXIT:
        exit(3);
    case HANG:
        for (;;) {
            pause();
        }
    case GROW:
        grow();
        break;
    default:
        break;
    }
    *pid = getpid();
    return MANTA_OK;
}

MANTA_TASK(fails_at_first, text(path), out(int32_t, tries))
{
    FILE *file = fopen(path, "a+");
    fputc('x', file);
    *tries = (int32_t)ftell(file);
    fclose(file);
    if (*tries < 3) {
        abort();
    }
    return MANTA_OK;
}

static int deaths(const manta_options *options)
{
    int64_t pid;
    manta_options again = *options;
    again.retry_errors = 1;
    CHECK(behave_get(behave_async(options, SEGV), &pid) == MANTA_E_CRASH &&
          error_says("signal 11"));
    CHECK(strcmp(manta_last_error()->task, "behave") == 0);
    CHECK(behave_get(behave_async(options, ABORT), &pid) == MANTA_E_CRASH &&
          error_says("signal 6"));
    CHECK(manta_last_error()->attempt == 1);
    CHECK(behave_get(behave_async(options, EXIT), &pid) == MANTA_E_CRASH);
    CHECK(error_says("exit code 3"));
    CHECK(behave_get(behave_async(&again, SEGV), &pid) == MANTA_E_CRASH);
    CHECK(manta_last_error()->attempt == 4);
    return 0;
}

static int limits(const manta_options *options)
{
    int64_t pid;
    manta_options again = *options, small = *options;
    again.retry_errors = 1;
    again.retries = 1;
    small.memory_bytes = 512 << 20;
    CHECK(behave_get(behave_async(&again, HANG), &pid) == MANTA_E_TIMEOUT);
    CHECK(error_says("its limit is 0.3 s") && manta_last_error()->attempt == 2);
    small.timeout_ns = 60 * SECOND;
    CHECK(behave_get(behave_async(&small, GROW), &pid) == MANTA_E_NOMEM);
    CHECK(error_says("limit of 512 MiB"));
    return 0;
}

static int isolated(const manta_world *world, int (*what)(const manta_options *options))
{
    for (uint32_t rank = 0; rank < world->size; rank++) {
        manta_options plain = on(rank), options = on(rank), many = on(rank);
        char path[PATH_MAX];
        int64_t before, after, apart;
        int32_t tries;
        options.isolated = many.isolated = many.retry_errors = 1;
        options.timeout_ns = SECOND * 3 / 10;
        snprintf(path, sizeof path, "%s/tries%u", getenv("TMPDIR"), rank);
        CHECK(behave_get(behave_async(&plain, FINE), &before) == MANTA_OK);
        CHECK(behave_get(behave_async(&options, FINE), &apart) == MANTA_OK && apart != before);
        if (what(&options)) {
            return 1;
        }
        CHECK(fails_at_first_get(fails_at_first_async(&many, path), &tries) == MANTA_OK &&
              tries == 3);
        CHECK(behave_get(behave_async(&plain, FINE), &after) == MANTA_OK && after == before);
    }
    return 0;
}

/* ---- Many ------------------------------------------------------------------------------------ */

static int sweep(int count, const char *script)
{
    manta_ref *refs = malloc((size_t)count * sizeof *refs);
    const char *argv[] = {"true", NULL};
    uint64_t ranks = 0;
    for (int i = 0; i < count; i++) {
        refs[i] = script ? shell(NULL, script, NULL) : manta_command(NULL, argv, NULL);
    }
    printf("running\n");
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        manta_command_result result;
        CHECK(manta_command_get(refs[i], &result) == MANTA_OK && result.exit_code == 0);
        ranks |= UINT64_C(1) << result.rank;
    }
    free(refs);
    printf("on %d ranks\n", __builtin_popcountll(ranks));
    return 0;
}

/* Again and again all are done, so that the one who starts them is asleep when the next come. */
static int bursts(int rounds)
{
    enum { EACH = 100 };
    manta_ref refs[EACH];
    const char *argv[] = {"true", NULL};
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < EACH; i++) {
            refs[i] = manta_command(NULL, argv, NULL);
        }
        for (int i = 0; i < EACH; i++) {
            manta_command_result result;
            CHECK(manta_command_get(refs[i], &result) == MANTA_OK && result.exit_code == 0);
            manta_drop(refs[i]);
        }
    }
    return 0;
}

/* Over or cancelled before they are anything but a copy of the spawner. */
static int ended_at_once(int count)
{
    manta_options limit = {.isolated = 1, .timeout_ns = 1, .retries = MANTA_NO_RETRY};
    manta_options apart = {.isolated = 1};
    int64_t after;
    for (int i = 0; i < count; i++) {
        int code = behave_get(behave_async(&limit, HANG), &after);
        CHECK(code == MANTA_E_TIMEOUT);
        manta_ref ref = behave_async(&apart, HANG);
        usleep((useconds_t)(i % 15) * 100);
        CHECK(manta_cancel(ref) == MANTA_OK);
        manta_drop(ref);
    }
    CHECK(behave_get(behave_async(&apart, FINE), &after) == MANTA_OK);
    return 0;
}

/* ---- Without descriptors --------------------------------------------------------------------- */

enum { DESCRIPTORS = 256 };

static int taken[DESCRIPTORS], taken_count;

/* All but `left`. */
static void take_descriptors(int left)
{
    int fd;
    while (taken_count < DESCRIPTORS && (fd = dup(STDIN_FILENO)) >= 0) {
        taken[taken_count++] = fd;
    }
    while (left-- && taken_count) {
        close(taken[--taken_count]);
    }
}

static void give_descriptors(void)
{
    while (taken_count) {
        close(taken[--taken_count]);
    }
}

/* One that cannot run as long as there are none; then they are given back, and it does. */
static int recovers(const char *script, manta_command_result *ret_result)
{
    manta_ref ref = shell(NULL, script, NULL);
    CHECK(manta_wait(&ref, 1, 1, SECOND / 10, NULL) == MANTA_E_TIMEOUT);
    give_descriptors();
    CHECK(manta_command_get(ref, ret_result) == MANTA_OK);
    return 0;
}

static int starved(void)
{
    struct rlimit few;
    manta_command_result result;
    getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = DESCRIPTORS;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    take_descriptors(2); /* enough for the thread, not for a spawner */
    CHECK(manta_command_get(shell(NULL, "true", NULL), &result) == MANTA_E_LIMIT);
    CHECK(error_says("ulimit -n"));
    CHECK(recovers("echo $PPID", &result) == 0);
    take_descriptors(0);
    CHECK(kill(atoi(result.out_tail), SIGKILL) == 0); /* the spawner */
    CHECK(recovers("echo again", &result) == 0 && strcmp(result.out_tail, "again\n") == 0);
    return 0;
}

/* ---- With little memory ---------------------------------------------------------------------- */

enum { SKIP = 77 };

/* In a mount namespace of this process and its children, so before it has threads. */
static int pretend_memory(const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/now", folder);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(path, "/proc/meminfo", NULL, MS_BIND, NULL) != 0) {
        printf("no mounts here: %s\n", strerror(errno));
        return SKIP;
    }
    return 0;
}

static int await_bytes(const char *path, long bytes)
{
    struct stat status = {.st_size = -1};
    for (int i = 0; i < 6000 && (stat(path, &status) != 0 || status.st_size < bytes); i++) {
        usleep(10000);
    }
    return status.st_size >= bytes ? 0 : 1;
}

/* Each says that it begins; the second attempt of the younger one finds that it was there
 * before. */
static int pressed(const char *folder)
{
    const manta_command_setup there = {.directory = folder};
    manta_command_result old, young;
    manta_ref refs[2];
    CHECK(folder && chdir(folder) == 0);
    refs[0] = shell(NULL, "echo old >>order; until [ -e over ]; do sleep 0.05; done", &there);
    CHECK(await_bytes("order", 4) == 0);
    refs[1] = shell(NULL,
                    "echo young >>order; if [ -e before ]; then cat plenty >now; exit; fi; "
                    ": >before; sleep 1000",
                    &there);
    CHECK(await_bytes("order", 4 + 6) == 0 && await_bytes("before", 0) == 0);
    CHECK(system("cat little >now") == 0);
    CHECK(manta_command_get(refs[1], &young) == MANTA_OK && young.attempt == 2);
    CHECK(system(": >over") == 0);
    CHECK(manta_command_get(refs[0], &old) == MANTA_OK);
    return 0;
}

static int begin_long(const manta_world *world)
{
    for (uint32_t rank = 0; rank < world->size; rank++) {
        manta_options options = on(rank), apart = on(rank);
        apart.isolated = 1;
        (void)shell(&options, "sleep 1000 & sleep 1000", NULL);
        (void)behave_async(&apart, HANG);
    }
    usleep(300000);
    printf("running\n");
    fflush(stdout);
    return 0;
}

static int driver(int argc, char **argv)
{
    manta_world world;
    const char *what = argc > 1 ? argv[1] : "";
    int count = argc > 2 ? atoi(argv[2]) : 1, code = 1;
    (void)manta_world_get(&world);
    if (strcmp(what, "features") == 0) {
        code = features(&world);
    } else if (strcmp(what, "deaths") == 0) {
        code = isolated(&world, deaths);
    } else if (strcmp(what, "limits") == 0) {
        code = isolated(&world, limits);
    } else if (strcmp(what, "sweep") == 0) {
        code = sweep(count, NULL);
    } else if (strcmp(what, "work") == 0) {
        code = sweep(count, "sleep 0.1");
    } else if (strcmp(what, "bursts") == 0) {
        code = bursts(count);
    } else if (strcmp(what, "at_once") == 0) {
        code = ended_at_once(count);
    } else if (strcmp(what, "starved") == 0) {
        code = starved();
    } else if (strcmp(what, "pressed") == 0) {
        code = pressed(argv[2]);
    } else if (strcmp(what, "leave") == 0) {
        code = begin_long(&world);
    } else if (strcmp(what, "hang") == 0) {
        manta_ref ref = shell(NULL, "sleep 1000", NULL);
        code = begin_long(&world) || manta_wait(&ref, 1, 1, MANTA_FOREVER, NULL);
    }
    if (code == 0) {
        printf("right\n");
    }
    return code;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "pressed") == 0 && pretend_memory(argv[2]) != 0) {
        return SKIP;
    }
    return manta_run(argc, argv, driver);
}
