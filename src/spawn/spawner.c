/*
 * The spawner's main loop.
 *
 * One thread, one epoll set: the rank's socket, a signalfd, the pipes of captured output;
 * and a time-out for the next limit or sweep. One event is taken per turn, so nothing in
 * the set can belong to what the turn has just freed.
 *
 * Every signal is blocked. SIGCHLD says that somebody ended. SIGHUP is what the kernel
 * sends when the thread that started this process ends: the end of the rank, if its pid is
 * no longer the parent; otherwise only of a thread, which is nothing. The end of the rank's
 * socket is the same news by another way. After it all that descends from here is killed.
 * Nothing else ends a spawner but the lack of memory to go on; a launcher that kills the
 * rank's whole group does not reach it, for it leads a session, and so it is there to clean up.
 *
 * A malformed packet is dropped; if it is whole enough to have a token, the token is
 * answered, so that nobody waits for it.
 */
#include "spawn/spawner.h"

#include "base/alloc.h"
#include "spawn/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PACKETS_PER_TURN = 16 };

extern char **environ;

uint64_t spawner_now_ns(void)
{
    return base_now_ns(&base_host_real);
}

void spawner_end(struct spawner *spawner)
{
    sweep_all(spawner);
    _exit(0);
}

bool spawner_watch(struct spawner *spawner, int fd, struct source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(spawner->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void spawner_unwatch(struct spawner *spawner, int fd)
{
    epoll_ctl(spawner->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- The tables of children */

static struct base_key pid_key(pid_t pid)
{
    return (struct base_key){0, (uint64_t)pid};
}

static struct base_key token_key(uint64_t token)
{
    return (struct base_key){1, token};
}

struct child *spawner_find_pid(const struct spawner *spawner, pid_t pid)
{
    return base_map_find(&spawner->by_pid, pid_key(pid));
}

struct child *spawner_find_token(const struct spawner *spawner, uint64_t token)
{
    return base_map_find(&spawner->by_token, token_key(token));
}

int spawner_enter(struct spawner *spawner, struct child *child)
{
    int code = base_map_insert(&spawner->by_pid, pid_key(child->pid), child);
    return code ? code : base_map_insert(&spawner->by_token, token_key(child->token), child);
}

void spawner_leave(struct spawner *spawner, struct child *child)
{
    if (spawner_find_token(spawner, child->token) == child) {
        base_map_remove(&spawner->by_token, token_key(child->token));
        base_map_remove(&spawner->by_pid, pid_key(child->pid));
    }
}

/* ---- Requests */

static void refuse_broken(struct spawner *spawner, uint64_t token)
{
    static const char text[] = "the request could not be understood: this is an error in Manta";
    struct reply_head head = {.magic = MESSAGE_MAGIC,
                              .kind = REPLY_ENDED,
                              .token = token,
                              .end = SPAWN_ENDED_REFUSED,
                              .code = MANTA_E_INVALID,
                              .text_bytes = sizeof text - 1};
    struct iovec pieces[] = {{&head, sizeof head}, {(void *)(uintptr_t)text, sizeof text - 1}};
    if (token) {
        answer(spawner, pieces, 2, -1);
    }
}

static void on_request(struct spawner *spawner, const struct packet *packet)
{
    struct request request;
    uint64_t token = request_token(packet->body, packet->size);
    struct child *child = spawner_find_token(spawner, token);
    if (request_decode(packet->body, packet->size, &request) != MANTA_OK) {
        refuse_broken(spawner, child ? 0 : token);
    } else if (request.head.kind == REQUEST_KILL && child) {
        child_stop(spawner, child, SPAWN_ENDED_KILLED, request.head.grace_ns);
    } else if (request.head.kind != REQUEST_KILL && !child) {
        child_begin(spawner, &request);
    }
}

static void tell_ready(struct spawner *spawner)
{
    struct reply_head head = {
        .magic = MESSAGE_MAGIC, .kind = REPLY_READY, .pid = (int32_t)getpid()};
    struct iovec piece = {&head, sizeof head};
    answer(spawner, &piece, 1, -1);
}

static void on_hello(struct spawner *spawner, struct packet *packet)
{
    struct hello hello;
    if (packet->size != sizeof hello) {
        return;
    }
    memcpy(&hello, packet->body, sizeof hello);
    spawner->has_hello = true;
    spawner->log = (struct log_writer){.data = -1, .index = -1, .rank = hello.rank};
    if (hello.has_log && packet->fds[1] >= 0) {
        spawner->log.data = packet->fds[0];
        spawner->log.index = packet->fds[1];
        packet->fds[0] = packet->fds[1] = -1;
    }
    if (hello.memory_kind == SPAWN_MEMORY_GROUPS) {
        cgroup_find(NULL, 1, &spawner->groups[0]);
        cgroup_find(NULL, 2, &spawner->groups[1]);
    }
    if (hello.cpu_bytes && hello.cpu_bytes <= sizeof hello.cpus) {
        (void)sched_setaffinity(0, hello.cpu_bytes, (const cpu_set_t *)(const void *)hello.cpus);
    }
    tell_ready(spawner);
}

static void on_socket(struct spawner *spawner, struct source *source)
{
    struct packet packet = {.buffer = spawner->buffer};
    if (!answers_flush(spawner)) {
        spawner_end(spawner);
    }
    for (int i = 0; i < PACKETS_PER_TURN; i++) {
        int code = channel_receive(spawner->socket, &packet);
        if (code == MANTA_E_AGAIN) {
            return;
        }
        if (code == MANTA_E_SHUTDOWN) {
            spawner_end(spawner);
        }
        if (code == MANTA_OK) {
            if (spawner->has_hello) {
                on_request(spawner, &packet);
            } else {
                on_hello(spawner, &packet);
            }
            channel_release(&packet);
        }
    }
}

/* ---- Signals */

static void reap_all(struct spawner *spawner)
{
    siginfo_t info = {.si_pid = 0};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        pid_t pid = info.si_pid;
        struct child *child = spawner_find_pid(spawner, pid);
        if (child) {
            child_reap(spawner, child);
        } else {
            waitpid(pid, NULL, 0);
            sweep_forget(spawner, pid);
        }
        info.si_pid = 0;
    }
    if (base_list_is_empty(&spawner->children)) {
        spawner->next_sweep_ns = 0; /* before a new command could be taken for the owner */
    }
}

static void on_signal(struct spawner *spawner, struct source *source)
{
    struct signalfd_siginfo info;
    while (read(spawner->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP && getppid() != spawner->rank_pid) {
            spawner_end(spawner);
        }
    }
    reap_all(spawner);
}

/* ---- The beginning */

/* By the system call: the C library keeps its hands over signals 32 and 33, which a careless
 * parent leaves ignored all the same. */
static void reset_signals(void)
{
    const uint64_t by_default[4] = {0};
    sigset_t all;
    for (int number = 1; number < NSIG; number++) {
        syscall(SYS_rt_sigaction, number, by_default, NULL, NSIG / 8);
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static int open_signals(void)
{
    sigset_t heard;
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, SIGHUP);
    return signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Each command that is captured takes two descriptors here; the commands get the old limit. */
static void raise_files(struct spawner *spawner)
{
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &spawner->files) != 0) {
        return;
    }
    most = (struct rlimit){spawner->files.rlim_max, spawner->files.rlim_max};
    spawner->has_raised_files =
        most.rlim_cur != spawner->files.rlim_cur && setrlimit(RLIMIT_NOFILE, &most) == 0;
}

/* A rank may have closed its standard streams; their numbers are not for anything else. */
static void fill_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

static bool init(struct spawner *spawner, int socket, spawn_run_isolated *run)
{
    spawner->socket = socket;
    spawner->run = run;
    spawner->environment = environ;
    spawner->rank_pid = getppid();
    spawner->next_limit_ns = spawner->next_sweep_ns = spawner->next_tell_ns = BASE_FOREVER;
    spawner->log = (struct log_writer){.data = -1, .index = -1};
    spawner->socket_source.ready = on_socket;
    spawner->signal_source.ready = on_signal;
    base_list_init(&spawner->children);
    base_list_init(&spawner->answers);
    base_list_init(&spawner->left);
    spawner->buffer = base_alloc(CHANNEL_PACKET_MAX);
    spawner->epoll = epoll_create1(EPOLL_CLOEXEC);
    spawner->signals = open_signals();
    return spawner->buffer && spawner->epoll >= 0 && spawner->signals >= 0 &&
           spawner_watch(spawner, socket, &spawner->socket_source) &&
           spawner_watch(spawner, spawner->signals, &spawner->signal_source);
}

static int time_left_ms(const struct spawner *spawner)
{
    uint64_t next_ns = MT_MIN(spawner->next_limit_ns, spawner->next_sweep_ns);
    next_ns = MT_MIN(next_ns, spawner->next_tell_ns);
    uint64_t now_ns = spawner_now_ns();
    if (next_ns == BASE_FOREVER) {
        return -1;
    }
    uint64_t left_ms = next_ns > now_ns ? (next_ns - now_ns + 999999) / 1000000 : 0;
    return (int)MT_MIN(left_ms, UINT64_C(1000000));
}

static void turn(struct spawner *spawner)
{
    struct epoll_event event;
    if (epoll_wait(spawner->epoll, &event, 1, time_left_ms(spawner)) == 1) {
        struct source *source = event.data.ptr;
        source->ready(spawner, source);
    }
    uint64_t now_ns = spawner_now_ns();
    children_tell(spawner, now_ns);
    children_check(spawner, now_ns);
    sweep(spawner, now_ns);
}

void spawner_main(int socket, spawn_run_isolated *run)
{
    static struct spawner spawner;
    reset_signals();
    fill_standard_streams();
    setsid();
    prctl(PR_SET_NAME, "manta-spawner");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    raise_files(&spawner);
    if (!init(&spawner, socket, run)) {
        _exit(1);
    }
    for (;;) {
        turn(&spawner);
    }
}
