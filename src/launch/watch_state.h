/* What watch.c and watch_lines.c share; nobody else's. */
#ifndef LAUNCH_WATCH_STATE_H
#define LAUNCH_WATCH_STATE_H

#include "core/core.h"
#include "launch/watch.h"

#include <pthread.h>

enum { CODE_TERMINATED = 143, CODE_DIED = 1 };

enum source { SOURCE_SIGNAL, SOURCE_COMMAND, SOURCE_PARENT, SOURCE_PROCESS, SOURCE_LINE };

enum note_kind {
    NOTE_HERE = 1,
    NOTE_GO,
    NOTE_END,
    NOTE_LEAVE,
    NOTE_DEATH,
    NOTE_ALIVE,
    NOTE_WARNING,
    NOTE_LOST,
    NOTE_OUT
};

#define NOBODY UINT32_MAX

/* What is said on a line. */
struct note {
    uint32_t kind;
    int32_t code;     /* NOTE_DEATH: whose; NOTE_LOST: who cannot be reached */
    uint32_t speaker; /* NOTE_DEATH: who can tell what it ran; NOBODY */
    char text[MANTA_ERROR_TEXT_MAX + MANTA_ERROR_HOST_MAX];
};

struct other {
    struct link link;
    uint32_t pid;
    uint32_t node; /* the lowest rank of its node */
    bool has_left;
    char host[MANTA_ERROR_HOST_MAX];
    uint64_t heard_ns; /* when it last said something */
    uint32_t got;      /* bytes of the note that is coming; over TCP it may come in pieces */
    union {
        struct note note;
        uint8_t bytes[sizeof(struct note)];
    } coming;
};

struct watch {
    struct watch_options options;
    struct base_thread thread;
    int epoll, signals, commands, parent;
    pthread_mutex_t
        lock; /* guards all below; held for moments, never while waiting for another rank */
    struct rank *core;
    struct far *far;
    bool has_warned;      /* rank 0: of a slow way */
    struct other *others; /* by rank; a rank that is not 0 has only that one */
    uint32_t rank, size, other_count;
    bool is_stopping, has_left;
    void (*tell)(void *arg, uint32_t rank); /* of deaths; NULL: they end the job */
    void *tell_arg;
    uint32_t deaths;  /* survived */
    uint8_t *is_told; /* by rank: of whose death the core was told */
    uint32_t lost;    /* whom the core had lost at the last beat, untold; NOBODY */

    uint32_t arrivals; /* rank 0: of the meeting in course */
    uint32_t failed_rank;
    struct note meeting; /* rank 0: the answer so far; elsewhere: the answer */
    uint32_t meetings_over, meetings_joined;
    struct base_park park; /* of the one who meets */

    bool has_ended;
    int end_code;
    char end_text[sizeof((struct note){0}.text)];
    uint64_t force_at_ns;    /* BASE_FOREVER: not ended */
    uint64_t beat_ns;        /* of the last sign of life */
    uint64_t judge_ns;       /* when somebody may have been silent for too long */
    struct core_pulse pulse; /* of the own core, at a beat */
    uint64_t pulse_ns;       /* since when it is like this */
};

uint64_t watch_now(const struct watch *watch);
int watch_listen_to(struct watch *watch, int fd, enum source source, uint32_t index);

/* All below with the lock held. A line that cannot take a note any more is as good as cut: both
 * sides see its end. */
void watch_say(const struct watch *watch, uint32_t other, const struct note *note);
void watch_say_all(const struct watch *watch, const struct note *note);

/* The job is over before its time: everybody is told, the core stops, force follows. */
void watch_end_job(struct watch *watch, int code, const char *text);

/* Rank 0: one more has come to the meeting. */
void watch_arrive(struct watch *watch, uint32_t rank, const struct note *note);

/* Something is on a line, or a process has ended. */
void watch_on_line(struct watch *watch, uint32_t other);
void watch_on_process_end(struct watch *watch, uint32_t other);

/* A slow way that was noticed is told to rank 0. */
void watch_take_warning(struct watch *watch);

/* Says and expects a sign of life, when it is time; and when that is again. */
void watch_beat(struct watch *watch);
uint64_t watch_next_beat_ns(const struct watch *watch);

#endif
