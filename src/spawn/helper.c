/*
 * The process of the spawner as the rank sees it: started, replaced, ended.
 *
 * It is started from /proc/self/exe, which is this very program even if its file has been
 * replaced, with nothing but standard streams and its socket. One that cannot be started is tried
 * again after a second. Three failures in a row, or ends before it has reported, and it is not.
 */
#include "spawn/ask.h"
#include "spawn/cgroup.h"
#include "spawn/channel.h"
#include "spawn/rank.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    TRIES_MAX = 3,
    READY_SECONDS = 30,
    RETRY_SECONDS = 1,
    END_MS = 4000,
    FREE_FDS_FROM = 10,
    GROUP_TRIES = 200
};

static int spawn_self(struct spawn *spawn, int socket)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    char *argv[] = {program_invocation_name, NULL};
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, socket, TAKEOVER_FD);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    int error =
        posix_spawn(&spawn->pid, "/proc/self/exe", &actions, &attributes, argv, spawn->environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    spawn->pid = error ? 0 : spawn->pid;
    return error;
}

static void set_timer(struct spawn *spawn, time_t seconds)
{
    const struct itimerspec after = {.it_value.tv_sec = seconds};
    timerfd_settime(spawn->timer, 0, &after, NULL);
}

static int adopt(struct spawn *spawn, int socket)
{
    const int fds[2] = {spawn->log.data, spawn->log.index};
    struct iovec piece = {&spawn->hello, sizeof spawn->hello};
    struct epoll_event event = {.events = EPOLLIN};
    int code = channel_send(socket, &piece, 1, fds);
    if (code == MANTA_OK && epoll_ctl(spawn->epoll, EPOLL_CTL_ADD, socket, &event) != 0) {
        code = MANTA_E_SYSTEM;
    }
    return code;
}

int helper_start(struct spawn *spawn, manta_error *ret_error)
{
    int sockets[2], code = channel_pair(sockets);
    spawn->tries++;
    if (code != MANTA_OK) {
        return spawn_fail(ret_error, code, "cannot make a socket to the spawner: check ulimit -n");
    }
    int other = fcntl(sockets[1], F_DUPFD_CLOEXEC, FREE_FDS_FROM);
    close(sockets[1]);
    code = other < 0 ? MANTA_E_LIMIT : adopt(spawn, sockets[0]);
    int error = code ? 0 : spawn_self(spawn, other);
    if (other >= 0) {
        close(other);
    }
    if (code != MANTA_OK || error) {
        close(sockets[0]);
        return spawn_fail(ret_error, code ? code : MANTA_E_SYSTEM,
                          "cannot start the spawner of commands (%s): check ulimit -u and -n",
                          strerror(error ? error : EMFILE));
    }
    spawn->socket = sockets[0];
    spawn->is_ready = spawn->is_watching_room = false;
    set_timer(spawn, READY_SECONDS);
    return MANTA_OK;
}

/* The application may have waited for all children itself: then there is nothing to wait for. */
static void wait_for(pid_t pid)
{
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
}

/* A killed spawner could not remove the groups of its children itself. Dying takes a moment. */
static void remove_groups(const struct spawn *spawn)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    char prefix[CGROUP_NAME_BYTES];
    struct cgroup group;
    cgroup_prefix(spawn->pid, prefix);
    for (int version = 1; version <= 2 && spawn->hello.memory_kind == SPAWN_MEMORY_GROUPS;
         version++) {
        cgroup_find(NULL, version, &group);
        for (int tries = 0; tries < GROUP_TRIES && !cgroup_remove_below(&group, prefix); tries++) {
            nanosleep(&pause, NULL);
        }
    }
}

/* Its children have gone with it, by PDEATHSIG; the rest of their groups goes here. */
static void bury(struct spawn *spawn)
{
    kill(spawn->pid, SIGKILL);
    wait_for(spawn->pid);
    BASE_LIST_EACH(&spawn->sent, node)
    {
        struct pending *pending = MT_CONTAINER(node, struct pending, node);
        if (pending->pid > 0) {
            kill(-pending->pid, SIGKILL);
        }
    }
    remove_groups(spawn);
    close(spawn->socket);
    spawn->socket = -1;
    spawn->pid = 0;
    spawn->is_ready = false;
    set_timer(spawn, 0);
}

void helper_replace(struct spawn *spawn)
{
    if (spawn->socket >= 0) {
        bury(spawn);
    }
    pending_doom_all(spawn, &spawn->sent, SPAWN_ENDED_LOST, MANTA_E_CRASH);
    if (spawn->tries >= TRIES_MAX) {
        spawn->is_broken = true;
        pending_doom_all(spawn, &spawn->queue, SPAWN_ENDED_REFUSED, MANTA_E_SYSTEM);
    } else if (helper_start(spawn, NULL) != MANTA_OK) {
        set_timer(spawn, RETRY_SECONDS);
    }
}

void helper_is_ready(struct spawn *spawn)
{
    spawn->is_ready = true;
    spawn->tries = 0;
    set_timer(spawn, 0);
    pending_flush(spawn);
}

/* It ends when it sees the end of the requests; what it still says then is not heard. */
static void wait_for_end(struct spawn *spawn)
{
    struct pollfd socket = {.fd = spawn->socket, .events = POLLIN};
    struct packet packet = {.buffer = spawn->buffer};
    uint64_t until_ns = base_now_ns(&spawn->host) + END_MS * UINT64_C(1000000);
    shutdown(spawn->socket, SHUT_WR);
    for (uint64_t now_ns; (now_ns = base_now_ns(&spawn->host)) < until_ns;) {
        int code = MANTA_E_AGAIN;
        if (poll(&socket, 1, (int)((until_ns - now_ns) / 1000000) + 1) > 0) {
            code = channel_receive(spawn->socket, &packet);
        }
        if (code == MANTA_E_SHUTDOWN) {
            return;
        }
        if (code == MANTA_OK) {
            channel_release(&packet);
        }
    }
}

void helper_end(struct spawn *spawn)
{
    if (spawn->socket >= 0) {
        wait_for_end(spawn);
        bury(spawn);
    }
}
