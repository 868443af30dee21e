#include "core/spill_disk.h"

#include "core/dispatch.h"
#include "core/idle.h"

#include <stdlib.h>

enum job_kind { JOB_WRITE, JOB_READ, JOB_DISCARD };

struct job {
    struct base_list link;
    enum job_kind kind;
    int code;
    struct store_extent extent; /* to be discarded */
    uint32_t count;
    struct block *blocks[BATCH_MAX];
    struct store_place places[BATCH_MAX];
    uint64_t sums[BATCH_MAX];
};

/* ---- The thread ----------------------------------------------------------------------------- */

static void do_job(struct store *store, struct job *job)
{
    switch (job->kind) {
    case JOB_WRITE:
        job->code = store_write(store, job->places, job->count, job->sums);
        break;
    case JOB_READ:
        job->code = store_read(store, job->places[0]);
        break;
    case JOB_DISCARD:
        store_discard(store, job->extent);
        break;
    }
}

static void end_job(struct spill *spill, struct job *job)
{
    for (uint32_t i = 0; i < job->count; i++) {
        if (job->kind == JOB_WRITE) {
            spill_written(spill, job->blocks[i], job->code, job->sums[i]);
        } else {
            spill_read(spill, job->blocks[i], job->code);
        }
    }
    if (job->kind == JOB_WRITE && job->code != MANTA_OK) {
        spill_write_failed(spill, job->code);
    }
    base_free(job);
}

static void sleep_at_park(struct spill *spill)
{
    const struct base_host *host = spill->rank->host;
    spill->is_asleep = 1;
    baton_give(&spill->rank->baton);
    (void)base_park_wait(host, &spill->park, BASE_FOREVER);
    baton_take(&spill->rank->baton, host);
    spill->is_asleep = 0;
}

static void disk_main(void *arg)
{
    struct spill *spill = arg;
    struct rank *rank = spill->rank;
    baton_take(&rank->baton, rank->host);
    while (!spill->is_ending) {
        if (base_list_is_empty(&spill->jobs)) {
            sleep_at_park(spill);
            continue;
        }
        struct job *job = MT_CONTAINER(spill->jobs.next, struct job, link);
        baton_give(&rank->baton);
        do_job(rank->options.store, job);
        baton_take(&rank->baton, rank->host);
        base_list_remove(&job->link);
        spill->job_count--;
        end_job(spill, job);
        room_try(rank);
        idle_rouse_rarely(rank);
        dispatch_pump(rank);
        dispatch_flush(rank);
    }
    baton_give(&rank->baton);
}

/* ---- Jobs ----------------------------------------------------------------------------------- */

static bool has_thread(struct spill *spill)
{
    const struct base_host *host = spill->rank->host;
    const struct base_thread_options options = {.name = "manta-disk"};
    if (!spill->has_thread && !spill->is_ending) {
        spill->has_thread =
            host->thread_start(host->self, &spill->thread, &options, disk_main, spill) == MANTA_OK;
    }
    return spill->has_thread;
}

static struct job *make_job(struct spill *spill, enum job_kind kind)
{
    struct job *job = has_thread(spill) ? base_alloc(sizeof *job) : NULL;
    if (job) {
        job->kind = kind;
    }
    return job;
}

static void begin(struct spill *spill, struct job *job)
{
    base_list_push_back(&spill->jobs, &job->link);
    spill->job_count++;
    if (spill->is_asleep) {
        base_park_wake(spill->rank->host, &spill->park);
    }
}

static void add(struct job *job, struct block *block)
{
    job->blocks[job->count] = block;
    job->places[job->count++] = block->at;
    block->is_busy = 1;
}

static int compare(const void *left, const void *right)
{
    const struct block *a = *(struct block *const *)left, *b = *(struct block *const *)right;
    return a->at.index != b->at.index ? (a->at.index < b->at.index ? -1 : 1)
                                      : (a->at.place < b->at.place ? -1 : 1);
}

bool spill_begin_write(struct spill *spill, struct block *const *blocks, uint32_t count)
{
    struct block *sorted[BATCH_MAX];
    struct job *job = make_job(spill, JOB_WRITE);
    if (!job) {
        return false;
    }
    memcpy(sorted, blocks, count * sizeof(struct block *));
    qsort(sorted, count, sizeof sorted[0], compare);
    for (uint32_t i = 0; i < count; i++) {
        add(job, sorted[i]);
    }
    begin(spill, job);
    return true;
}

bool spill_begin_read(struct spill *spill, struct block *block)
{
    struct job *job = make_job(spill, JOB_READ);
    if (job) {
        add(job, block);
        begin(spill, job);
    }
    return job != NULL;
}

void spill_begin_discard(struct spill *spill, struct store_extent extent)
{
    struct job *job = make_job(spill, JOB_DISCARD);
    if (job) {
        job->extent = extent;
        begin(spill, job);
    }
}

static void free_unfinished(struct job *job)
{
    for (uint32_t i = 0; i < job->count; i++) {
        if (job->blocks[i]->is_freed) { /* nobody else knows it */
            base_free(job->blocks[i]);
        }
    }
    base_free(job);
}

void spill_stop(struct rank *rank)
{
    struct spill *spill = rank->spill;
    if (!spill) {
        return;
    }
    baton_take(&rank->baton, rank->host);
    spill->is_ending = 1;
    base_park_wake(rank->host, &spill->park);
    baton_give(&rank->baton);
    if (spill->has_thread) {
        rank->host->thread_join(rank->host->self, &spill->thread);
    }
    struct base_list *link;
    while ((link = base_list_pop_front(&spill->jobs))) {
        free_unfinished(MT_CONTAINER(link, struct job, link));
    }
}
