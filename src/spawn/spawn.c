/*
 * The rank's side: requests out, results in.
 *
 * Only the thread in spawn_poll takes a request out for good, and calls `ended` after it has,
 * without the lock; that is why each is answered once.
 *
 * The descriptor that is watched is an epoll set of the socket, an eventfd that says that a
 * doomed request waits, and a timer for a spawner that does not report.
 */
#include "spawn/spawn.h"

#include "base/alloc.h"
#include "spawn/ask.h"
#include "spawn/channel.h"
#include "spawn/environment.h"
#include "spawn/rank.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PACKETS_PER_POLL = 64 };

extern char **environ;

/* ---- Results: the polling thread */

static const char *doom_text(const struct pending *doomed)
{
    switch (doomed->code) {
    case MANTA_E_SHUTDOWN:
        return "the rank is shutting down; its commands have been ended";
    case MANTA_E_CANCELLED:
        return "ended on request before it began";
    case MANTA_E_CRASH:
        return "the spawner of this rank was killed, and its commands with it: run it again (out "
               "of "
               "memory on the node? see dmesg)";
    default:
        return SPAWN_NO_SPAWNER;
    }
}

static bool deliver_doomed(struct spawn *spawn)
{
    pthread_mutex_lock(&spawn->lock);
    struct pending doomed, *first = NULL;
    if (!base_list_is_empty(&spawn->doomed)) {
        first = MT_CONTAINER(spawn->doomed.next, struct pending, node);
        doomed = *first;
        pending_give(spawn, first);
    }
    pthread_mutex_unlock(&spawn->lock);
    if (!first) {
        return false;
    }
    struct spawn_result result = {
        .end = doomed.end, .pid = doomed.pid, .error = {.code = doomed.code}};
    snprintf(result.error.text, sizeof result.error.text, "%s", doom_text(&doomed));
    doomed.done.ended(doomed.done.arg, &result);
    return true;
}

static void on_started(struct spawn *spawn, const struct reply_head *head)
{
    struct spawn_done done = {.started = NULL};
    pthread_mutex_lock(&spawn->lock);
    struct pending *pending = pending_find(spawn, head->token);
    if (pending && pending->list == IN_SENT && pending->pid == 0) {
        pending->pid = head->pid;
        done = pending->done;
    }
    pthread_mutex_unlock(&spawn->lock);
    if (done.started) {
        done.started(done.arg, head->pid);
    }
}

/* Sealed, or a process that is left over could cut it under the reader. */
static void map_reply(const struct packet *packet, struct spawn_result *result)
{
    struct stat status;
    int seals = packet->fds[0] >= 0 ? fcntl(packet->fds[0], F_GET_SEALS) : -1;
    void *bytes = MAP_FAILED;
    if (result->reply_bytes && seals >= 0 && (seals & F_SEAL_SHRINK) &&
        fstat(packet->fds[0], &status) == 0 && (uint64_t)status.st_size >= result->reply_bytes) {
        bytes = mmap(NULL, result->reply_bytes, PROT_READ, MAP_PRIVATE, packet->fds[0], 0);
    }
    if (bytes != MAP_FAILED) {
        result->reply = bytes;
    } else if (result->reply_bytes) {
        result->reply_bytes = 0;
        result->has_returned = false;
        spawn_fail(&result->error, MANTA_E_NOMEM, "no memory for the reply of an isolated task");
    }
}

static void on_ended(struct spawn *spawn, const struct packet *packet,
                     const struct reply_head *head, struct spawn_result *result)
{
    struct spawn_done done = {.ended = NULL};
    if (head->pid > 0) {
        on_started(spawn, head); /* a short one has not been told before */
    }
    pthread_mutex_lock(&spawn->lock);
    struct pending *pending = pending_find(spawn, head->token);
    if (pending && pending->list == IN_SENT) {
        done = pending->done;
        pending_give(spawn, pending);
    }
    pthread_mutex_unlock(&spawn->lock);
    if (!done.ended) {
        return;
    }
    map_reply(packet, result);
    done.ended(done.arg, result);
    if (result->reply) {
        munmap((void *)(uintptr_t)result->reply, result->reply_bytes);
    }
}

static void on_ready(struct spawn *spawn)
{
    pthread_mutex_lock(&spawn->lock);
    helper_is_ready(spawn);
    pthread_mutex_unlock(&spawn->lock);
}

static int hear(struct spawn *spawn, const struct packet *packet)
{
    struct reply_head head;
    struct spawn_result result;
    int code = reply_decode(packet->body, packet->size, &head, &result);
    if (code != MANTA_OK) {
        return MANTA_E_SHUTDOWN; /* what else it says cannot be believed either */
    }
    if (head.kind == REPLY_READY) {
        on_ready(spawn);
    } else if (head.kind == REPLY_STARTED) {
        on_started(spawn, &head);
    } else {
        on_ended(spawn, packet, &head, &result);
    }
    return MANTA_OK;
}

static void hear_all(struct spawn *spawn)
{
    struct packet packet = {.buffer = spawn->buffer};
    for (int i = 0; i < PACKETS_PER_POLL && spawn->socket >= 0; i++) {
        int code = channel_receive(spawn->socket, &packet);
        if (code == MANTA_E_AGAIN) {
            return;
        }
        if (code == MANTA_OK) {
            code = hear(spawn, &packet);
            channel_release(&packet);
        }
        if (code != MANTA_OK) {
            pthread_mutex_lock(&spawn->lock);
            helper_replace(spawn);
            pthread_mutex_unlock(&spawn->lock);
            return;
        }
    }
}

static void check_timer(struct spawn *spawn)
{
    uint64_t count;
    if (read(spawn->timer, &count, sizeof count) == (ssize_t)sizeof count && !spawn->is_ready) {
        pthread_mutex_lock(&spawn->lock);
        helper_replace(spawn);
        pthread_mutex_unlock(&spawn->lock);
    }
}

int spawn_poll(struct spawn *spawn, uint64_t timeout_ns)
{
    struct epoll_event event;
    uint64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0), count;
    int rc = epoll_wait(spawn->epoll, &event, 1, ms > INT32_MAX ? -1 : (int)ms);
    if (rc <= 0) {
        return MANTA_E_TIMEOUT;
    }
    (void)!read(spawn->kick, &count, sizeof count);
    check_timer(spawn);
    hear_all(spawn);
    pthread_mutex_lock(&spawn->lock);
    pending_flush(spawn);
    pthread_mutex_unlock(&spawn->lock);
    while (deliver_doomed(spawn)) {}
    return MANTA_OK;
}

/* ---- Asking: any thread */

int spawn_ask(struct spawn *spawn, struct request_head *head, const struct iovec *pieces,
              const struct spawn_done *done, uint64_t *ret_handle)
{
    pthread_mutex_lock(&spawn->lock);
    struct pending *pending = spawn->is_broken ? NULL : pending_take(spawn, done);
    int code = spawn->is_broken ? MANTA_E_SYSTEM : MANTA_E_NOMEM;
    if (pending) {
        uint64_t handle = head->token = pending_token(pending);
        code = pending_post(spawn, pending, pieces, MESSAGE_PIECES);
        if (code == MANTA_OK && ret_handle) {
            *ret_handle = handle;
        } else if (code != MANTA_OK) {
            pending_give(spawn, pending);
        }
    }
    pthread_mutex_unlock(&spawn->lock);
    return code;
}

int spawn_kill(struct spawn *spawn, uint64_t handle, uint64_t grace_ns)
{
    int code = MANTA_OK;
    pthread_mutex_lock(&spawn->lock);
    struct pending *pending = pending_find(spawn, handle);
    if (!pending || pending->list == IN_DOOM) {
        code = MANTA_E_NOTFOUND;
    } else if (pending->list == IN_QUEUE) {
        pending_doom(spawn, pending, SPAWN_ENDED_KILLED, MANTA_E_CANCELLED);
    } else {
        pending->has_kill = spawn->has_kills = true;
        pending->kill_grace_ns = grace_ns;
        pending_flush(spawn);
    }
    pthread_mutex_unlock(&spawn->lock);
    return code;
}

enum spawn_state spawn_state(struct spawn *spawn)
{
    pthread_mutex_lock(&spawn->lock);
    enum spawn_state state = spawn->is_broken  ? SPAWN_BROKEN
                             : spawn->is_ready ? SPAWN_READY
                                               : SPAWN_STARTING;
    pthread_mutex_unlock(&spawn->lock);
    return state;
}

int32_t spawn_pid(struct spawn *spawn)
{
    pthread_mutex_lock(&spawn->lock);
    int32_t pid = (int32_t)spawn->pid;
    pthread_mutex_unlock(&spawn->lock);
    return pid;
}

int spawn_fd(const struct spawn *spawn)
{
    return spawn->epoll;
}

/* ---- Together */

static int open_watch(struct spawn *spawn)
{
    struct epoll_event event = {.events = EPOLLIN};
    spawn->epoll = epoll_create1(EPOLL_CLOEXEC);
    spawn->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    spawn->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return spawn->epoll >= 0 && spawn->kick >= 0 && spawn->timer >= 0 &&
                   epoll_ctl(spawn->epoll, EPOLL_CTL_ADD, spawn->kick, &event) == 0 &&
                   epoll_ctl(spawn->epoll, EPOLL_CTL_ADD, spawn->timer, &event) == 0
               ? MANTA_OK
               : MANTA_E_LIMIT;
}

static int fill(struct spawn *spawn, const struct spawn_options *options)
{
    const char *const *environment =
        options->environment ? options->environment : (const char *const *)environ;
    spawn->hello.magic = MESSAGE_MAGIC;
    spawn->hello.rank = options->rank;
    spawn->hello.has_log = options->log_path != NULL;
    spawn->hello.memory_kind = (uint32_t)options->memory_kind;
    for (size_t at = 0; at < MESSAGE_TOKEN_BYTES; at += sizeof(uint64_t)) {
        uint64_t random = spawn->host.random(spawn->host.self);
        memcpy(spawn->hello.token + at, &random, sizeof random);
    }
    if (options->cpus && options->cpu_bytes <= sizeof spawn->hello.cpus) {
        memcpy(spawn->hello.cpus, options->cpus, options->cpu_bytes);
        spawn->hello.cpu_bytes = options->cpu_bytes;
    }
    takeover_variable(spawn->hello.token, spawn->variable);
    spawn->environment = environment_clean(environment, spawn->variable);
    spawn->buffer = base_alloc(CHANNEL_PACKET_MAX);
    return spawn->environment && spawn->buffer ? MANTA_OK : MANTA_E_NOMEM;
}

static struct spawn *make(const struct spawn_options *options)
{
    struct spawn *spawn = base_alloc(sizeof *spawn);
    if (spawn) {
        spawn->host = *options->host;
        spawn->socket = spawn->epoll = spawn->kick = spawn->timer = -1;
        spawn->log = (struct log_writer){.data = -1, .index = -1};
        pthread_mutex_init(&spawn->lock, NULL);
        base_slab_init(&spawn->requests, sizeof(struct pending));
        base_list_init(&spawn->queue);
        base_list_init(&spawn->sent);
        base_list_init(&spawn->doomed);
    }
    return spawn;
}

static int open_all(struct spawn *spawn, const struct spawn_options *options,
                    manta_error *ret_error)
{
    char text[MANTA_ERROR_TEXT_MAX];
    int code = log_writer_open(options->log_path, &spawn->log, text, sizeof text);
    if (code != MANTA_OK) {
        return spawn_fail(ret_error, code, "%s", text);
    }
    code = open_watch(spawn);
    if (code != MANTA_OK) {
        return spawn_fail(ret_error, code, "no descriptors for the spawner: raise ulimit -n");
    }
    code = fill(spawn, options);
    return code ? spawn_fail(ret_error, code, "no memory for the spawner")
                : helper_start(spawn, ret_error);
}

int spawn_create(const struct spawn_options *options, struct spawn **ret_spawn,
                 manta_error *ret_error)
{
    takeover_if_due();
    struct spawn *spawn = make(options);
    if (!spawn) {
        return spawn_fail(ret_error, MANTA_E_NOMEM, "no memory for the spawner");
    }
    int code = open_all(spawn, options, ret_error);
    if (code != MANTA_OK) {
        spawn_destroy(spawn);
        return code;
    }
    *ret_spawn = spawn;
    return MANTA_OK;
}

static void close_all(struct spawn *spawn)
{
    const int fds[] = {spawn->epoll, spawn->kick, spawn->timer};
    for (size_t i = 0; i < MT_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    log_writer_close(&spawn->log);
}

void spawn_destroy(struct spawn *spawn)
{
    if (!spawn) {
        return;
    }
    helper_end(spawn);
    pending_doom_all(spawn, &spawn->sent, SPAWN_ENDED_KILLED, MANTA_E_SHUTDOWN);
    pending_doom_all(spawn, &spawn->queue, SPAWN_ENDED_KILLED, MANTA_E_SHUTDOWN);
    spawn->is_broken = true; /* what an `ended` asks for now is refused */
    while (deliver_doomed(spawn)) {}
    close_all(spawn);
    base_slab_fini(&spawn->requests);
    base_free(spawn->environment);
    base_free(spawn->buffer);
    pthread_mutex_destroy(&spawn->lock);
    base_free(spawn);
}
