/* Many runs of one task over an index range, submitted at once. */
#ifndef CORE_MAP_H
#define CORE_MAP_H

#include "core/object.h"

struct message_result;

struct map {
    struct base_list link; /* in scope->maps */
    struct base_list all;  /* in rank->maps */
    struct task *task;
    uint64_t count, next, done; /* next: the first index never leased */
    uint32_t element_bytes;
    uint8_t *values;
    uint64_t *is_done;   /* bit by index */
    uint64_t *is_failed; /* bit by index; the same block */
    uint64_t failures;
    struct base_map failed;    /* index -> manta_error, where there was memory for it */
    struct base_map watchers;  /* index -> list of watch */
    struct base_map retries;   /* index -> times it was tried again */
    struct base_list returned; /* ranges to be leased again */
    struct base_list failing;  /* failed indices to be leased again, after all others */
    struct base_list leases;   /* out now */
    uint8_t is_queued;         /* in the pending queue */
};

/* That a map takes in its scope: its own, and one for each element. More than any task has. */
static inline uint32_t map_positions(uint64_t count)
{
    return (uint32_t)MT_MAX(count + 1, MANTA_PARAM_MAX + UINT64_C(1));
}

manta_ref map_submit(struct rank *rank, struct scope *scope, manta_function *function,
                     const manta_options *options, const manta_slot *args, uint64_t count);
void map_free(struct rank *rank, struct task *task);

/* A map ends as a whole before all its runs did: every other run ends with the code. */
void map_close(struct rank *rank, struct task *task, int code, const manta_error *error);

/* Owner: leases a batch to a peer; takes results; gives up; takes back what a dead rank had. */
void map_lease(struct rank *rank, struct peer *peer, struct task *task);
/* A lease that is watched, by its first index. */
void map_note_begun(struct task *task, uint32_t from, uint64_t begin);
void map_on_result(struct rank *rank, struct task *task, uint32_t from,
                   const struct message_result *result, struct wire_reader *body);
/* Results of this rank that there was no memory to hand over: those runs fail. */
void map_lose_chunk(struct rank *rank, struct task *task, uint64_t begin, uint64_t count);
void map_cancel(struct rank *rank, struct task *task);
void map_rank_lost(struct rank *rank, struct task *task, uint32_t where);

/* Elements, by index. */
bool map_element_is_done(const struct map *map, uint64_t index);
int map_element_code(const struct map *map, uint64_t index);
const manta_error *map_element_error(const struct map *map, uint64_t index);
/* index -1: all values in a row. */
struct content map_element_content(const struct map *map, int64_t index);
bool map_element_watch(struct rank *rank, struct task *task, uint64_t index, struct watch *watch);
void map_element_unwatch(struct task *task, uint64_t index, struct watch *watch);

/* Executor: results of a lease, gathered without the baton and handed over in chunks with it. */
struct lease_results;
struct lease_results *map_results_begin(struct rank *rank, struct run *run);
/* Without the baton. True: time to call map_results_send (with it). */
bool map_results_add(struct rank *rank, struct run *run, struct lease_results *results, int code,
                     const manta_slot *slots, const manta_error *error);
void map_results_send(struct rank *rank, struct run *run, struct lease_results *results);
void map_results_end(struct rank *rank, struct run *run, struct lease_results *results);
/* The run of a lease has ended, with a failure before any index if code is not 0. */
void map_lease_done(struct rank *rank, struct run *run, int code);

#endif
