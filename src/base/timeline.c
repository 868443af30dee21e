/* Writing a timeline: rings, the flusher, the file. */
#include "base/timeline.h"

#include "base/alloc.h"
#include "base/timeline_file.h"

#include <manta/error.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FLUSH_NS UINT64_C(50000000)
enum { PATH_BYTES = 4096, MASK = BASE_TIMELINE_RECORDS - 1, WAKE_EACH = BASE_TIMELINE_RECORDS / 4 };

_Static_assert((BASE_TIMELINE_RECORDS & MASK) == 0, "a power of two");
_Static_assert(WAKE_EACH * sizeof(struct base_timeline_record) <= TIMELINE_BLOCK_BYTES_MAX, "fits");

struct base_timeline {
    const struct base_host *host;
    int fd;
    uint32_t track_count;
    struct base_timeline_track *tracks;
    uint64_t unwritten; /* records that the file did not take */
    struct base_thread flusher;
    struct base_park park;
    atomic_bool is_ending;
    bool is_flushing; /* the thread was started */
    int error;        /* errno of a block that was not written whole: no more are */
};

/* ---- The file ------------------------------------------------------------------------------- */

/* At the file-size limit the signal that would end the program is taken away again. */
static ssize_t write_at_most(int fd, const struct iovec *parts, int count)
{
    sigset_t only, before;
    const struct timespec now = {0};
    sigemptyset(&only);
    sigaddset(&only, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &only, &before);
    ssize_t written = writev(fd, parts, count);
    if (written < 0 && errno == EFBIG) {
        (void)sigtimedwait(&only, NULL, &now);
        errno = EFBIG;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return written;
}

/* `bytes` is a multiple of 8. False: the file is broken. */
static bool write_block(struct base_timeline *timeline, enum base_timeline_what what,
                        uint32_t track, const void *body, size_t bytes)
{
    struct timeline_block_head head = {.magic = TIMELINE_MAGIC,
                                       .what = what,
                                       .track = track,
                                       .bytes = (uint32_t)bytes,
                                       .ticks = timeline->host->ticks(timeline->host->self),
                                       .now_ns = base_now_ns(timeline->host)};
    head.digest = timeline_digest(&head, body);
    struct iovec parts[] = {{&head, sizeof head}, {(void *)(uintptr_t)body, bytes}};
    if (timeline->error == 0) {
        ssize_t written = write_at_most(timeline->fd, parts, MT_COUNT(parts));
        bool is_whole = written == (ssize_t)(sizeof head + bytes);
        timeline->error = is_whole ? 0 : written < 0 ? errno : ENOSPC;
    }
    return timeline->error == 0;
}

static void write_head(struct base_timeline *timeline, const struct base_timeline_options *options)
{
    struct base_timeline_head head = {.version = TIMELINE_VERSION,
                                      .rank = options->rank,
                                      .size = options->size,
                                      .tracks = options->tracks,
                                      .pid = (uint32_t)getpid(),
                                      .job = options->job,
                                      .machine = options->machine,
                                      .since_1970_ns = base_since_1970_ns(),
                                      .ticks = options->host->ticks(options->host->self),
                                      .now_ns = base_now_ns(options->host)};
    snprintf(head.host, sizeof head.host, "%s", options->host_name);
    (void)write_block(timeline, BASE_TIMELINE_HEAD, 0, &head, sizeof head);
}

static void write_name(struct base_timeline *timeline, const struct base_timeline_name *name)
{
    uint8_t body[512] = {0};
    struct timeline_name_head head = {name->of, name->key, (uint32_t)strlen(name->name)};
    head.length = MT_MIN(head.length, (uint32_t)(sizeof body - sizeof head));
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, name->name, head.length);
    (void)write_block(timeline, BASE_TIMELINE_NAMES, 0, body,
                      MT_ALIGN_UP(sizeof head + head.length, (size_t)8));
}

/* ---- The flusher ---------------------------------------------------------------------------- */

static void flush_track(struct base_timeline *timeline, uint32_t number)
{
    struct base_timeline_track *track = &timeline->tracks[number];
    uint64_t from = atomic_load_explicit(&track->flushed, memory_order_relaxed);
    uint64_t to = atomic_load_explicit(&track->written, memory_order_acquire);
    while (from < to) {
        uint64_t count = MT_MIN(to - from, BASE_TIMELINE_RECORDS - (from & MASK));
        count = MT_MIN(count, (uint64_t)WAKE_EACH);
        if (!write_block(timeline, BASE_TIMELINE_PART, number, &track->records[from & MASK],
                         count * sizeof *track->records)) {
            timeline->unwritten += count;
        }
        from += count;
        /* Pairs with the acquire of the writer that uses the places again. */
        atomic_store_explicit(&track->flushed, from, memory_order_release);
    }
}

static void flush_all(struct base_timeline *timeline)
{
    for (uint32_t i = 0; i < timeline->track_count; i++) {
        flush_track(timeline, i);
    }
}

static void flusher_main(void *arg)
{
    struct base_timeline *timeline = arg;
    while (!atomic_load_explicit(&timeline->is_ending, memory_order_acquire)) {
        (void)base_park_wait(timeline->host, &timeline->park,
                             base_now_ns(timeline->host) + FLUSH_NS);
        flush_all(timeline);
    }
}

/* ---- Its life ------------------------------------------------------------------------------- */

static int open_file(const struct base_timeline_options *options, char *text, size_t text_size)
{
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/rank-%u" BASE_TIMELINE_SUFFIX, options->directory,
                          options->rank);
    bool is_short = length < (int)sizeof path;
    bool is_there = mkdir(options->directory, 0700) == 0 || errno == EEXIST;
    int fd = is_short && is_there ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        snprintf(text, text_size,
                 "cannot write the timeline %.200s (MANTA_TIMELINE): %s; name a directory that can "
                 "be written to and whose parent exists",
                 path, strerror(is_short ? errno : ENAMETOOLONG));
    }
    return fd;
}

static bool make_tracks(struct base_timeline *timeline, uint32_t count)
{
    timeline->tracks = base_alloc_aligned(MT_CACHE_LINE, count * sizeof *timeline->tracks);
    for (uint32_t i = 0; timeline->tracks && i < count; i++) {
        struct base_timeline_track *track = &timeline->tracks[i];
        track->timeline = timeline;
        track->records = base_alloc_pages(BASE_TIMELINE_RECORDS * sizeof *track->records);
        if (!track->records) {
            return false;
        }
        timeline->track_count++;
    }
    return timeline->tracks != NULL;
}

static int start(struct base_timeline *timeline, const struct base_timeline_options *options,
                 char *text, size_t text_size)
{
    struct base_thread_options thread = {.name = "manta-timeline", .stack_bytes = 128 * 1024};
    timeline->fd = open_file(options, text, text_size);
    if (timeline->fd < 0) {
        return MANTA_E_SYSTEM;
    }
    snprintf(text, text_size, "no memory, or no thread, for the timeline (MANTA_TIMELINE)");
    if (!make_tracks(timeline, options->tracks)) {
        return MANTA_E_NOMEM;
    }
    write_head(timeline, options);
    for (uint32_t i = 0; i < options->name_count; i++) {
        write_name(timeline, &options->names[i]);
    }
    int code = options->host->thread_start(options->host->self, &timeline->flusher, &thread,
                                           flusher_main, timeline);
    timeline->is_flushing = code == MANTA_OK;
    return code;
}

int base_timeline_create(const struct base_timeline_options *options,
                         struct base_timeline **ret_timeline, char *text, size_t text_size)
{
    struct base_timeline *timeline = base_alloc(sizeof *timeline);
    if (!timeline) {
        snprintf(text, text_size, "no memory for the timeline (MANTA_TIMELINE)");
        return MANTA_E_NOMEM;
    }
    timeline->host = options->host;
    int code = start(timeline, options, text, text_size);
    if (code != MANTA_OK) {
        (void)base_timeline_destroy(timeline, NULL);
        return code;
    }
    *ret_timeline = timeline;
    return MANTA_OK;
}

static uint64_t count_lost(const struct base_timeline *timeline)
{
    uint64_t lost = timeline->unwritten;
    for (uint32_t i = 0; i < timeline->track_count; i++) {
        lost += timeline->tracks[i].lost_in_all;
    }
    return lost;
}

uint64_t base_timeline_destroy(struct base_timeline *timeline, int *ret_error)
{
    if (!timeline) {
        return 0;
    }
    if (timeline->is_flushing) {
        atomic_store_explicit(&timeline->is_ending, true, memory_order_release);
        base_park_wake(timeline->host, &timeline->park);
        timeline->host->thread_join(timeline->host->self, &timeline->flusher);
        flush_all(timeline);
        (void)write_block(timeline, BASE_TIMELINE_LAST, 0, NULL, 0);
    }
    uint64_t lost = count_lost(timeline);
    if (ret_error) {
        *ret_error = timeline->error;
    }
    for (uint32_t i = 0; i < timeline->track_count; i++) {
        base_free_pages(timeline->tracks[i].records,
                        BASE_TIMELINE_RECORDS * sizeof *timeline->tracks[i].records);
    }
    if (timeline->fd >= 0) {
        close(timeline->fd);
    }
    base_free(timeline->tracks);
    base_free(timeline);
    return lost;
}

struct base_timeline_track *base_timeline_tracks(struct base_timeline *timeline)
{
    return timeline ? timeline->tracks : NULL;
}

/* ---- Writers -------------------------------------------------------------------------------- */

static bool has_room(struct base_timeline_track *track, uint64_t at, uint64_t count)
{
    uint64_t flushed = atomic_load_explicit(&track->flushed, memory_order_acquire);
    return at + count - flushed <= BASE_TIMELINE_RECORDS;
}

void base_timeline_add(struct base_timeline_track *track, struct base_timeline_record record)
{
    struct base_timeline *timeline = track->timeline;
    uint64_t at = atomic_load_explicit(&track->written, memory_order_relaxed);
    uint64_t first = at;
    record.ticks = timeline->host->ticks(timeline->host->self);
    if (MT_UNLIKELY(!has_room(track, at, track->lost ? 2 : 1))) {
        track->lost++;
        track->lost_in_all++;
        return;
    }
    if (MT_UNLIKELY(track->lost)) {
        track->records[at++ & MASK] =
            (struct base_timeline_record){.ticks = record.ticks,
                                          .kind = BASE_TIMELINE_GAP,
                                          .value = (uint32_t)MT_MIN(track->lost, UINT32_MAX)};
        track->lost = 0;
    }
    track->records[at++ & MASK] = record;
    /* Pairs with the acquire of the flusher. */
    atomic_store_explicit(&track->written, at, memory_order_release);
    if (MT_UNLIKELY(first / WAKE_EACH != at / WAKE_EACH)) {
        base_park_wake(timeline->host, &timeline->park);
    }
}
