/*
 * Ranks are not children of this process: mpirun starts them here, slurmstepd does under srun,
 * and when a launcher was killed init has them. What they have in common, and share with
 * nothing else on the host, is the secret that they were started with, and the kernel shows the
 * environment of a process to its own user. So this finds every rank and what ranks have
 * started, whoever the parent is, and can never meet another job's.
 */
#include "cli/leftovers.h"

#include "base/alloc.h"
#include "base/host.h"
#include "launch/report.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 1 << 20, VARIABLES_MAX = 8192, PAUSE_NS = 20000000 };
#define MS UINT64_C(1000000)
#define PATIENCE_NS (1000 * MS)
#define FAREWELL_NS (500 * MS) /* for the launcher's helpers, who end a little after it */

struct search {
    char wanted[REPORT_VALUE_MAX + sizeof REPORT_VARIABLE];
    enum launcher_kind kind; /* only what this one has started; NONE: all */
    int signal;              /* to those found; 0: none */
    uint32_t found;
    char *room; /* ENVIRONMENT_MAX */
    const char **variables;
};

static size_t read_environment(const char *pid, char *room)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    for (ssize_t got = 1; file >= 0 && got > 0 && size < ENVIRONMENT_MAX - 1;) {
        got = read(file, room + size, ENVIRONMENT_MAX - 1 - size);
        size += got > 0 ? (size_t)got : 0;
    }
    if (file >= 0) {
        close(file);
    }
    room[size] = 0;
    return size;
}

static bool is_wanted(struct search *search, size_t size)
{
    size_t count = 0;
    bool is_ours = false;
    for (char *at = search->room; at < search->room + size && count < VARIABLES_MAX - 1;
         at += strlen(at) + 1) {
        is_ours |= strcmp(at, search->wanted) == 0;
        search->variables[count++] = at;
    }
    search->variables[count] = NULL;
    return is_ours && (search->kind == LAUNCHER_NONE ||
                       launcher_detect(search->variables).kind == search->kind);
}

static void search_all(struct search *search)
{
    DIR *processes = opendir("/proc");
    search->found = 0;
    for (struct dirent *one; processes && (one = readdir(processes));) {
        pid_t pid = isdigit((unsigned char)one->d_name[0]) ? (pid_t)atol(one->d_name) : 0;
        if (pid > 0 && pid != getpid() &&
            is_wanted(search, read_environment(one->d_name, search->room))) {
            search->found++;
            if (search->signal) {
                (void)kill(pid, search->signal);
            }
        }
    }
    if (processes) {
        closedir(processes);
    }
}

/* Without memory nobody is found. */
static bool begin(struct search *search, const char *value, enum launcher_kind kind)
{
    *search = (struct search){.kind = kind,
                              .room = base_alloc(ENVIRONMENT_MAX),
                              .variables = base_alloc(VARIABLES_MAX * sizeof(char *))};
    snprintf(search->wanted, sizeof search->wanted, REPORT_VARIABLE "=%s", value);
    return search->room && search->variables;
}

static void end(struct search *search)
{
    base_free(search->room);
    base_free(search->variables);
}

bool leftovers_has_rank(const char *value, enum launcher_kind kind)
{
    struct search search;
    if (begin(&search, value, kind)) {
        search_all(&search);
    }
    end(&search);
    return search.found > 0;
}

/* Sends once, if there is something to send; looks until nobody is there or the time is over. */
static void await_end(struct search *search, int number, uint64_t patience_ns)
{
    struct timespec pause = {0, PAUSE_NS};
    uint64_t until_ns = base_now_ns(&base_host_real) + patience_ns;
    search->signal = number;
    search_all(search);
    search->signal = 0;
    while (search->found && base_now_ns(&base_host_real) < until_ns) {
        nanosleep(&pause, NULL);
        search_all(search);
    }
}

uint32_t leftovers_end(const char *value)
{
    struct search search;
    uint32_t count = 0;
    if (begin(&search, value, LAUNCHER_NONE)) {
        await_end(&search, 0, FAREWELL_NS);
        count = search.found;
    }
    if (count) {
        await_end(&search, SIGTERM, PATIENCE_NS);
    }
    if (count && search.found) {
        await_end(&search, SIGKILL, PATIENCE_NS);
    }
    end(&search);
    return count;
}
