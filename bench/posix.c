#include "posix.h"

#include "bench.h"

#include <errno.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/wait.h>

extern char **environ;

double posix_rate(uint32_t count, uint32_t at_once)
{
    static char name[] = "true";
    char *const argv[] = {name, NULL};
    uint32_t begun = 0, running = 0;
    uint64_t begin_ns = bench_now_ns();
    while (begun < count || running) {
        pid_t pid;
        if (begun < count && running < at_once) {
            if (posix_spawnp(&pid, name, NULL, NULL, argv, environ) != 0) {
                return 0;
            }
            begun++;
            running++;
        } else if (wait(NULL) > 0) {
            running--;
        } else if (errno != EINTR) {
            return 0;
        }
    }
    return count * 1e9 / (double)(bench_now_ns() - begin_ns);
}
