/*
 * The timeline: what the threads of a rank did and when, for `manta trace`.
 *
 * A rank that has one (MANTA_TIMELINE) has a track for each worker and one more, for everything
 * that is done under its baton. A track has one writer at a time, so adding a record is a store
 * into the track's own ring and one release store: no lock, no system call but a wake of the
 * flusher each few thousand records. The flusher, a thread of its own, appends what is new to the
 * rank's file each 50 ms or when a ring is a quarter full. A ring that is full because the flusher
 * does not keep up loses what comes, and says so with a record (GAP) as soon as there is room: a
 * task never waits.
 *
 * A file is a row of blocks. Each has a head with a digest over all of it, so that a torn or
 * damaged block is skipped and nothing else; the first says who wrote the file, the next have the
 * names of functions and messages, the others records of one track, in order. Every head has the
 * counter (ticks) and the monotonic clock at the same moment, from which a reader converts the
 * stamps. Numbers are in host byte order.
 */
#ifndef BASE_TIMELINE_H
#define BASE_TIMELINE_H

#include "base/host.h"

#define BASE_TIMELINE_HOST_MAX 64
#define BASE_TIMELINE_RECORDS 32768 /* of a track in memory: 1 MiB */
#define BASE_TIMELINE_SUFFIX ".timeline"

enum base_timeline_kind {
    BASE_TIMELINE_SUBMIT = 1, /* value: the function */
    BASE_TIMELINE_BEGIN, /* a body; value: the function; peer: the owner; detail: the attempt */
    BASE_TIMELINE_END,   /* the same; extra: its code */
    BASE_TIMELINE_PARK,  /* the body that its worker was in waits on a stack put aside */
    BASE_TIMELINE_RESUME,
    BASE_TIMELINE_STARTED,  /* in a process of its own; as BEGIN */
    BASE_TIMELINE_ENDED,    /* as END */
    BASE_TIMELINE_SENT,     /* detail: the message's kind; value: bytes of its body */
    BASE_TIMELINE_RECEIVED, /* the same */
    BASE_TIMELINE_DEATH,    /* of peer, heard here */
    BASE_TIMELINE_GAP,      /* value: so many records before this one are lost */
    BASE_TIMELINE_KINDS
};

/* What a body is called for. */
enum base_timeline_body {
    BASE_TIMELINE_TASK,
    BASE_TIMELINE_MAP,  /* part of one */
    BASE_TIMELINE_GRAPH /* a node of a recorded graph, named by the graph's number and its own; peer
                           is the round */
};

/* The ref's parent and position name the task. */
struct base_timeline_record {
    uint64_t ticks;
    uint64_t parent;
    uint32_t position;
    uint32_t peer;
    uint32_t value;
    uint8_t kind;
    uint8_t detail;
    int16_t extra; /* BEGIN: enum base_timeline_body */
};
_Static_assert(sizeof(struct base_timeline_record) == 32, "two to a cache line");

/* ---- Writing -------------------------------------------------------------------------------- */

struct base_timeline;

/* Of one writer. */
struct base_timeline_track {
    _Atomic uint64_t written; /* by the writer; the flusher reads it */
    uint64_t lost;            /* the writer's: since the last GAP */
    struct base_timeline_record *records;
    struct base_timeline *timeline;
    uint64_t lost_in_all;
    _Atomic uint64_t flushed MT_ALIGNED(MT_CACHE_LINE); /* by the flusher */
};

enum base_timeline_naming { BASE_TIMELINE_FUNCTION = 1, BASE_TIMELINE_MESSAGE };

struct base_timeline_name {
    enum base_timeline_naming of;
    uint32_t key;
    const char *name; /* borrowed; not terminated when read */
    uint32_t length;
};

struct base_timeline_options {
    const struct base_host *host;
    const char *directory; /* made if it is not there */
    uint32_t rank, size;
    uint32_t tracks;
    uint64_t job;     /* the same on all ranks, another for each job */
    uint64_t machine; /* equal where ranks have one monotonic clock */
    const char *host_name;
    const struct base_timeline_name *names; /* borrowed for the call */
    uint32_t name_count;
};

/* Makes directory/rank-N.timeline and starts the flusher. On failure the reason is in text. */
int base_timeline_create(const struct base_timeline_options *options,
                         struct base_timeline **ret_timeline, char *text,
                         size_t text_size) MT_CHECKED;
/* Writes what is left. No writer may be at it any more. Accepts NULL. Returns how many records were
 * lost, because the flusher did not keep up or the file could not be written; for that the errno is
 * in *ret_error, which may be NULL, else 0. A file-size limit (SIGXFSZ) ends the file, no more. */
uint64_t base_timeline_destroy(struct base_timeline *timeline, int *ret_error);

struct base_timeline_track *base_timeline_tracks(struct base_timeline *timeline);

/* The stamp is made here. By the track's writer alone; never waits. */
void base_timeline_add(struct base_timeline_track *track, struct base_timeline_record record);

/* ---- Reading -------------------------------------------------------------------------------- */

struct base_timeline_head {
    uint32_t version, rank, size, tracks;
    uint32_t pid, unused;
    uint64_t job, machine;
    uint64_t ticks, now_ns, since_1970_ns; /* at one moment */
    char host[BASE_TIMELINE_HOST_MAX];
};

enum base_timeline_what {
    BASE_TIMELINE_HEAD = 1,
    BASE_TIMELINE_NAMES,
    BASE_TIMELINE_PART,
    BASE_TIMELINE_LAST, /* the file is complete */
};

/* One block. What it points to stays until the next one is read. */
struct base_timeline_block {
    enum base_timeline_what what;
    uint32_t track;
    uint64_t ticks, now_ns;
    const struct base_timeline_record *records; /* PART */
    uint32_t count;
    const uint8_t *bytes; /* NAMES: see base_timeline_next_name */
    uint32_t size;
};

struct base_timeline_reader;

/* MANTA_E_NOTFOUND: it cannot be read; MANTA_E_TYPE: it does not begin as a timeline of this
 * version; MANTA_E_NOMEM. */
int base_timeline_open(const char *path, struct base_timeline_reader **ret_reader);
void base_timeline_close(struct base_timeline_reader *reader); /* accepts NULL */
const struct base_timeline_head *base_timeline_get_head(const struct base_timeline_reader *reader);
/* The next whole block; false at the end. */
bool base_timeline_next(struct base_timeline_reader *reader, struct base_timeline_block *ret_block);
/* Back to the first block. */
void base_timeline_rewind(struct base_timeline_reader *reader);
/* Bytes that were passed over since the first block because no whole block begins there. */
uint64_t base_timeline_skipped(const struct base_timeline_reader *reader);
/* *at starts at 0; false after the last. */
bool base_timeline_next_name(const struct base_timeline_block *block, uint32_t *at,
                             struct base_timeline_name *ret_name);

#endif
