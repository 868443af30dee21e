/*
 * Ranks as forked children with a watch each: what a watch says and which deaths it tells of, and
 * how a child ended. Every wait has an end.
 */
#ifndef TESTS_LAUNCH_WATCHED_H
#define TESTS_LAUNCH_WATCHED_H

#include "deadline.h"
#include "launch/watch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[4096];
static _Atomic uint32_t deaths_told; /* a bit per rank */

static inline void collect(void *arg, int level, const char *line)
{
    size_t length = strlen(said);
    snprintf(said + length, sizeof said - length, "%s\n", line);
}

/* What is not given: the time to stop, and that what it says is collected. */
static inline struct watch *start_watch(struct watch_options options)
{
    struct watch *watch = NULL;
    options.host = host;
    options.stop_timeout_ns = 50 * MS;
    options.log = (struct base_log){collect, NULL, BASE_LOG_INFO};
    assert_int_equal(watch_start(&options, &watch), MANTA_OK);
    return watch;
}

static inline void hear_of_death(void *arg, uint32_t rank)
{
    atomic_fetch_or(&deaths_told, 1u << rank);
}

/* Of that rank alone. */
static inline bool await_death(uint32_t rank)
{
    for (uint64_t end_ns = in(5 * SECOND);
         !(atomic_load(&deaths_told) & 1u << rank) && base_now_ns(host) < end_ns;) {
        usleep(500);
    }
    return atomic_load(&deaths_told) == 1u << rank;
}

static inline int await_end(struct watch *watch)
{
    int code = 0;
    for (uint64_t end_ns = in(5 * SECOND);
         !watch_has_ended(watch, &code) && base_now_ns(host) < end_ns;) {
        usleep(500);
    }
    return code;
}

static inline int wait_for_the_end(struct watch *watch)
{
    return await_end(watch);
}

static inline int wait_long(struct watch *watch)
{
    return (int)sleep(20);
}

/* The code is minus the signal if one ended it. */
static inline void expect_exit(pid_t pid, int code)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), code);
}

#endif
