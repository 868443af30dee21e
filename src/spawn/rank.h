/* The rank's side between its files: spawn.c, pending.c, helper.c. */
#ifndef SPAWN_RANK_H
#define SPAWN_RANK_H

#include "base/list.h"
#include "base/slab.h"
#include "spawn/log.h"
#include "spawn/message.h"
#include "spawn/takeover.h"

#include <pthread.h>

enum list { IN_NONE, IN_QUEUE, IN_SENT, IN_DOOM };

struct pending {
    uint32_t slab_link; /* the slab's while it is free */
    uint32_t generation, index;
    enum list list;
    struct base_list node;
    struct spawn_done done;
    int32_t pid; /* of the started child; 0 */
    char *bytes; /* queued: owned; or the file */
    size_t size;
    int file;
    bool has_kill; /* sent: a kill is still to be told */
    uint64_t kill_grace_ns;
    enum spawn_end end; /* doomed: the answer */
    int code;
};

struct spawn {
    struct base_host host;
    pthread_mutex_t lock; /* all below but what never changes */
    int epoll, kick, timer;
    int socket; /* -1: no spawner */
    pid_t pid;
    bool is_ready, is_watching_room;
    uint32_t tries;
    bool is_broken, has_kills;
    struct base_slab requests;
    struct base_list queue, sent, doomed;
    struct log_writer log; /* never changes */
    char **environment;    /* never changes; the last is `variable` */
    struct hello hello;    /* never changes */
    char *buffer;          /* the polling thread's */
    char variable[TAKEOVER_VARIABLE_BYTES];
};

/* pending.c: the requests, and their way into the socket. Under the lock. */

/* NULL when it has been answered. */
struct pending *pending_find(struct spawn *spawn, uint64_t token);
/* In no list yet; NULL when memory is out. */
struct pending *pending_take(struct spawn *spawn, const struct spawn_done *done);
uint64_t pending_token(const struct pending *pending);
void pending_give(struct spawn *spawn, struct pending *pending);
/* Its answer is this, in the next poll. */
void pending_doom(struct spawn *spawn, struct pending *pending, enum spawn_end end, int code);
void pending_doom_all(struct spawn *spawn, struct base_list *list, enum spawn_end end, int code);
/* Sends it now or keeps it. MANTA_OK, MANTA_E_NOMEM, MANTA_E_LIMIT, MANTA_E_SYSTEM. */
int pending_post(struct spawn *spawn, struct pending *pending, const struct iovec *pieces,
                 int count) MT_CHECKED;
/* Sends what is kept as far as there is room. */
void pending_flush(struct spawn *spawn);

/* helper.c: the spawner's process. Under the lock. */

int helper_start(struct spawn *spawn, manta_error *ret_error) MT_CHECKED;
/* It has died, cannot be understood, or could not be started: what it ran is lost, another one
 * takes its place. */
void helper_replace(struct spawn *spawn);
/* It has said that it is there. */
void helper_is_ready(struct spawn *spawn);
/* Asks it to end, waits for that, seconds at most; then ends it by force. */
void helper_end(struct spawn *spawn);

#endif
