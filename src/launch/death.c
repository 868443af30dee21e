/*
 * Another process's exit status is in /proc while it is a zombie and its parent has not
 * taken it yet, and behind its pidfd afterwards where the kernel is new enough
 * (PIDFD_GET_INFO with exit information, Linux 6.15). In between and on older kernels
 * nobody knows, and the text says no more than that it ended.
 */
#include "launch/death.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* linux/pidfd.h of Linux 6.15, first version of the structure. */
struct info {
    uint64_t mask, cgroup;
    uint32_t pid, tgid, ppid, ids[8];
    int32_t exit_code;
};
#define GET_INFO _IOWR(0xFF, 11, struct info)
#define INFO_EXIT (UINT64_C(1) << 3)
_Static_assert(sizeof(struct info) == 64, "as the kernel has it");

enum { TRIES = 5, TRY_PAUSE_NS = 1000000 };

/* The last field of a zombie's stat line. */
static bool read_zombie(uint32_t pid, int *ret_status)
{
    char path[32], line[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t length = read(file, line, sizeof line - 1);
    close(file);
    line[length > 0 ? length : 0] = 0;
    const char *state = strrchr(line, ')'), *last = strrchr(line, ' ');
    return state && last > state && state[1] == ' ' && state[2] == 'Z' &&
           sscanf(last, " %d", ret_status) == 1;
}

static bool read_info(int pidfd, int *ret_status)
{
    struct info info = {.mask = INFO_EXIT};
    if (pidfd < 0 || ioctl(pidfd, GET_INFO, &info) != 0 || !(info.mask & INFO_EXIT)) {
        return false;
    }
    *ret_status = info.exit_code;
    return true;
}

bool death_read(int pidfd, uint32_t pid, int *ret_status)
{
    struct timespec pause = {0, TRY_PAUSE_NS};
    for (int i = 0; i < TRIES; i++) {
        if (read_zombie(pid, ret_status) || read_info(pidfd, ret_status)) {
            return true;
        }
        nanosleep(&pause, NULL);
    }
    return false;
}

void death_describe(int pidfd, uint32_t pid, char *text, size_t size)
{
    int status;
    if (!death_read(pidfd, pid, &status)) {
        snprintf(text, size, "ended");
    } else if (WIFSIGNALED(status)) {
        snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(text, size, "ended with code %d before the job was over", WEXITSTATUS(status));
    }
}
