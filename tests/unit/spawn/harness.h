/* What the tests of spawn share: one spawner, requests that are waited for, results that stay. */
#ifndef TEST_SPAWN_HARNESS_H
#define TEST_SPAWN_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "spawn/spawn.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define SECONDS (1000 * MS)

/* A result, and copies of what it points to. */
struct outcome {
    int answers, starts;
    int32_t started_pid;
    struct spawn_result result;
    char out[SPAWN_TAIL_MAX + 1], err[SPAWN_TAIL_MAX + 1];
    char *reply; /* at most the first MiB */
};

static struct spawn *spawn;

static void note_started(void *arg, int32_t pid)
{
    struct outcome *outcome = arg;
    outcome->starts++;
    outcome->started_pid = pid;
}

static void note_ended(void *arg, const struct spawn_result *result)
{
    struct outcome *outcome = arg;
    outcome->answers++;
    outcome->result = *result;
    if (result->out_tail_bytes) {
        memcpy(outcome->out, result->out_tail, result->out_tail_bytes);
    }
    if (result->err_tail_bytes) {
        memcpy(outcome->err, result->err_tail, result->err_tail_bytes);
    }
    if (result->reply_bytes) {
        outcome->reply = calloc(1, (1 << 20) + 1);
        memcpy(outcome->reply, result->reply, MT_MIN(result->reply_bytes, (size_t)1 << 20));
    }
}

static inline struct spawn_done done_of(struct outcome *outcome)
{
    memset(outcome, 0, sizeof *outcome);
    return (struct spawn_done){note_started, note_ended, outcome};
}

static inline uint64_t now_ns(void)
{
    return base_now_ns(&base_host_real);
}

/* Fails the test after a minute. */
static inline void wait_answer(const struct outcome *outcome)
{
    uint64_t until_ns = now_ns() + 60 * SECONDS;
    while (!outcome->answers) {
        assert_true(now_ns() < until_ns);
        spawn_poll(spawn, SECONDS);
    }
    assert_int_equal(outcome->answers, 1);
}

static inline void wait_started(const struct outcome *outcome)
{
    while (!outcome->starts && !outcome->answers) {
        spawn_poll(spawn, SECONDS);
    }
    assert_int_equal(outcome->starts, 1);
}

static inline void run_command(const struct spawn_command *command, struct outcome *outcome)
{
    manta_error error = {0};
    struct spawn_done done = done_of(outcome);
    int code = spawn_command(spawn, command, &done, NULL, &error);
    if (code != MANTA_OK) {
        fail_msg("refused: %s", error.text);
    }
    wait_answer(outcome);
}

static inline void run_isolated(const struct spawn_isolated *isolated, struct outcome *outcome)
{
    manta_error error = {0};
    struct spawn_done done = done_of(outcome);
    assert_int_equal(spawn_isolated(spawn, isolated, &done, NULL, &error), MANTA_OK);
    wait_answer(outcome);
}

static inline void open_spawn(const char *log_path)
{
    manta_error error = {0};
    struct spawn_options options = {.host = &base_host_real, .rank = 5, .log_path = log_path};
    if (spawn_create(&options, &spawn, &error) != MANTA_OK) {
        fail_msg("no spawner: %s", error.text);
    }
}

static MT_UNUSED int set_up_spawn(void **state)
{
    open_spawn(NULL);
    return 0;
}

static MT_UNUSED int tear_down_spawn(void **state)
{
    spawn_destroy(spawn);
    spawn = NULL;
    return 0;
}

static inline void pause_ms(long ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Zombies do not count: their parent may be slow to wait. */
static inline bool is_alive(pid_t pid)
{
    char path[64], text[256] = "", state = 'X';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) {
        return false;
    }
    if (fgets(text, sizeof text, file) && strrchr(text, ')')) {
        state = strrchr(text, ')')[2];
    }
    fclose(file);
    return state != 'Z' && state != 'X';
}

static inline bool goes_within_ms(pid_t pid, int ms)
{
    for (int waited = 0; is_alive(pid); waited += 5) {
        if (waited > ms) {
            return false;
        }
        pause_ms(5);
    }
    return true;
}

static inline int count_fds_once(const char *process)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%s/fd", process);
    DIR *fds = opendir(path);
    assert_non_null(fds);
    while (readdir(fds)) {
        count++;
    }
    closedir(fds);
    return count;
}

/* The fewest of some looks: a sanitizer's own thread opens a file now and then. */
static inline int count_fds(const char *process)
{
    int fewest = count_fds_once(process);
    for (int i = 0; i < 4; i++) {
        pause_ms(1);
        fewest = MT_MIN(fewest, count_fds_once(process));
    }
    return fewest;
}

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("sh", "-c", script)

#endif
