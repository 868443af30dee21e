#include "cli/trace_ranks.h"

#include "base/alloc.h"

#include <manta/error.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

static char *copy_text(const char *text, size_t length)
{
    char *copy = base_alloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
    }
    return copy;
}

/* ---- Names ---------------------------------------------------------------------------------- */

const char *trace_name(const struct trace_set *set, enum base_timeline_naming of, uint32_t key)
{
    return base_map_find(&set->names, (struct base_key){of, key});
}

static bool is_message(const struct trace_set *set, uint32_t kind, const char *called)
{
    const char *name = trace_name(set, BASE_TIMELINE_MESSAGE, kind);
    return name && strcmp(name, called) == 0;
}

static int take_names(struct trace_set *set, const struct base_timeline_block *block)
{
    struct base_timeline_name name;
    for (uint32_t at = 0; base_timeline_next_name(block, &at, &name);) {
        struct base_key key = {name.of, name.key};
        if (base_map_find(&set->names, key)) {
            continue;
        }
        char *copy = copy_text(name.name, name.length);
        if (!copy || base_map_insert(&set->names, key, copy) != MANTA_OK) {
            base_free(copy);
            return MANTA_E_NOMEM;
        }
    }
    return MANTA_OK;
}

/* ---- The first reading ---------------------------------------------------------------------- */

static void note_round(uint64_t *ticks, uint32_t *count, const struct base_timeline_record *record)
{
    if (*count < TRACE_ROUNDS) {
        ticks[(*count)++] = record->ticks;
    }
}

static void note_rounds(struct trace_set *set, struct trace_rank *rank,
                        const struct base_timeline_record *record)
{
    bool is_sent = record->kind == BASE_TIMELINE_SENT;
    if ((!is_sent && record->kind != BASE_TIMELINE_RECEIVED) || record->peer >= set->size) {
        return;
    }
    bool is_question = is_message(set, record->detail, "QUIET");
    bool is_answer = !is_question && is_message(set, record->detail, "QUIET_ANSWER");
    struct trace_rounds *first = &set->rounds[record->peer];
    if (rank->head.rank == 0 && is_question && is_sent) {
        note_round(first->asked, &first->asked_count, record);
    } else if (rank->head.rank == 0 && is_answer && !is_sent) {
        note_round(first->answered, &first->answered_count, record);
    } else if (is_question && !is_sent) {
        note_round(rank->asked, &rank->asked_count, record);
    } else if (is_answer && is_sent) {
        note_round(rank->answered, &rank->answered_count, record);
    }
}

static int scan_blocks(struct trace_set *set, struct trace_rank *rank,
                       struct base_timeline_reader *reader, bool has_machines)
{
    struct base_timeline_block block;
    int code = MANTA_OK;
    while (code == MANTA_OK && base_timeline_next(reader, &block)) {
        rank->last_ticks = block.ticks;
        rank->last_ns = block.now_ns;
        rank->is_complete |= block.what == BASE_TIMELINE_LAST;
        if (block.what == BASE_TIMELINE_NAMES) {
            code = take_names(set, &block);
        }
        for (uint32_t i = 0; has_machines && i < block.count; i++) {
            note_rounds(set, rank, &block.records[i]);
        }
    }
    rank->skipped_bytes = base_timeline_skipped(reader);
    return code;
}

static int scan(struct trace_set *set, bool has_machines, char *text, size_t text_size)
{
    int code = MANTA_OK;
    for (uint32_t i = 0; i < set->count && code == MANTA_OK; i++) {
        struct base_timeline_reader *reader;
        code = base_timeline_open(set->ranks[i].path, &reader);
        if (code == MANTA_OK) {
            code = scan_blocks(set, &set->ranks[i], reader, has_machines);
            base_timeline_close(reader);
        }
        if (code != MANTA_OK) {
            snprintf(text, text_size, "cannot read %s: %s", set->ranks[i].path,
                     manta_error_text(code));
        }
    }
    return code;
}

/* ---- Clocks --------------------------------------------------------------------------------- */

static int64_t own_ns(const struct trace_rank *rank, uint64_t ticks)
{
    int64_t ran = (int64_t)(rank->last_ticks - rank->head.ticks);
    int64_t took_ns = (int64_t)(rank->last_ns - rank->head.now_ns);
    double speed = ran > 0 && took_ns > 0 ? (double)took_ns / (double)ran : 1;
    return (int64_t)rank->head.now_ns +
           (int64_t)((double)(int64_t)(ticks - rank->head.ticks) * speed);
}

uint64_t trace_time_ns(const struct trace_set *set, const struct trace_rank *rank, uint64_t ticks)
{
    int64_t ns = own_ns(rank, ticks) + rank->offset_ns - (int64_t)set->origin_ns;
    return ns > 0 ? (uint64_t)ns : 0;
}

static int64_t offset_by_calendar(const struct trace_rank *first, const struct trace_rank *rank)
{
    return (int64_t)(rank->head.since_1970_ns - rank->head.now_ns) -
           (int64_t)(first->head.since_1970_ns - first->head.now_ns);
}

/* The least time a round took on its way, and what that one says. False: there was none. */
static bool offset_by_rounds(const struct trace_set *set, const struct trace_rank *first,
                             const struct trace_rank *rank, int64_t *way_ns, int64_t *ret_offset_ns)
{
    const struct trace_rounds *rounds = &set->rounds[rank->head.rank];
    uint32_t count = MT_MIN(MT_MIN(rounds->asked_count, rounds->answered_count),
                            MT_MIN(rank->asked_count, rank->answered_count));
    bool is_better = false;
    for (uint32_t i = 0; i < count && first->head.rank == 0; i++) {
        int64_t out = own_ns(first, rounds->asked[i]), in = own_ns(rank, rank->asked[i]);
        int64_t back = own_ns(rank, rank->answered[i]), end = own_ns(first, rounds->answered[i]);
        int64_t way = end - out - (back - in);
        if (way < *way_ns) {
            *way_ns = way;
            *ret_offset_ns = (out - in + end - back) / 2;
            is_better = true;
        }
    }
    return is_better;
}

/* Of all ranks of the machine that this one is on. */
static void set_offset(struct trace_set *set, struct trace_rank *rank)
{
    const struct trace_rank *first = &set->ranks[0];
    int64_t way_ns = INT64_MAX;
    rank->offset_ns = 0;
    if (rank->head.machine == first->head.machine) {
        return;
    }
    rank->offset_ns = offset_by_calendar(first, rank);
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->ranks[i].head.machine == rank->head.machine) {
            (void)offset_by_rounds(set, first, &set->ranks[i], &way_ns, &rank->offset_ns);
        }
    }
}

static void set_clocks(struct trace_set *set)
{
    int64_t origin_ns = INT64_MAX;
    for (uint32_t i = 0; i < set->count; i++) {
        struct trace_rank *rank = &set->ranks[i];
        bool is_alike = i && rank->head.machine == rank[-1].head.machine;
        if (is_alike) {
            rank->offset_ns = rank[-1].offset_ns;
        } else {
            set_offset(set, rank);
        }
        origin_ns = MT_MIN(origin_ns, (int64_t)rank->head.now_ns + rank->offset_ns);
    }
    set->origin_ns = (uint64_t)origin_ns;
}

/* ---- The files ------------------------------------------------------------------------------ */

static int add_file(struct trace_set *set, const char *path, char *text, size_t text_size)
{
    struct base_timeline_reader *reader;
    int code = base_timeline_open(path, &reader);
    if (code != MANTA_OK) {
        snprintf(text, text_size,
                 code == MANTA_E_TYPE ? "%s is no timeline of this version: it is damaged at its "
                                        "beginning, or was not written by MANTA_TIMELINE"
                                      : "cannot read %s",
                 path);
        set->unread += code == MANTA_E_TYPE;
        return code == MANTA_E_TYPE ? MANTA_OK : code;
    }
    void *more = base_realloc(set->ranks, set->count * sizeof *set->ranks,
                              (set->count + 1) * sizeof *set->ranks);
    char *copy = copy_text(path, strlen(path));
    set->ranks = more ? more : set->ranks;
    if (more && copy) {
        set->ranks[set->count++] =
            (struct trace_rank){.path = copy, .head = *base_timeline_get_head(reader)};
    } else {
        base_free(copy);
        code = MANTA_E_NOMEM;
        snprintf(text, text_size, "no memory for the files' names");
    }
    base_timeline_close(reader);
    return code;
}

static bool is_timeline(const char *name)
{
    size_t length = strlen(name), suffix = strlen(BASE_TIMELINE_SUFFIX);
    return strncmp(name, "rank-", 5) == 0 && length > suffix &&
           strcmp(name + length - suffix, BASE_TIMELINE_SUFFIX) == 0;
}

static int list_files(struct trace_set *set, const char *directory, char *text, size_t text_size)
{
    DIR *folder = opendir(directory);
    struct dirent *entry;
    int code = MANTA_OK;
    if (!folder) {
        snprintf(text, text_size, "cannot read the directory %s, expected what MANTA_TIMELINE was",
                 directory);
        return MANTA_E_NOTFOUND;
    }
    while (code == MANTA_OK && (entry = readdir(folder))) {
        char path[PATH_BYTES];
        if (is_timeline(entry->d_name)) {
            snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
            code = add_file(set, path, text, text_size);
        }
    }
    closedir(folder);
    if (code == MANTA_OK && set->count == 0 && set->unread) {
        return MANTA_E_TYPE; /* the text is about the last of them */
    }
    if (code == MANTA_OK && set->count == 0) {
        snprintf(text, text_size,
                 "%s has no files rank-N" BASE_TIMELINE_SUFFIX
                 ": run the program with MANTA_TIMELINE=%s",
                 directory, directory);
        code = MANTA_E_NOTFOUND;
    }
    return code;
}

static int compare_ranks(const void *a, const void *b)
{
    uint32_t left = ((const struct trace_rank *)a)->head.rank;
    uint32_t right = ((const struct trace_rank *)b)->head.rank;
    return left < right ? -1 : left > right;
}

/* All of one job, each rank once. */
static int check_job(const struct trace_set *set, char *text, size_t text_size)
{
    const struct trace_rank *first = &set->ranks[0];
    for (uint32_t i = 1; i < set->count; i++) {
        const struct trace_rank *rank = &set->ranks[i];
        if (rank->head.job != first->head.job || rank->head.size != first->head.size ||
            rank->head.rank == rank[-1].head.rank) {
            bool is_older = rank->head.since_1970_ns < first->head.since_1970_ns;
            const struct trace_rank *stale = is_older ? rank : first,
                                    *newer = is_older ? first : rank;
            snprintf(text, text_size,
                     "%s and %s are of two jobs, and the first is older: remove it, and give each "
                     "job a directory of its own",
                     stale->path, newer->path);
            return MANTA_E_INVALID;
        }
    }
    return MANTA_OK;
}

static bool has_machines(const struct trace_set *set)
{
    for (uint32_t i = 1; i < set->count; i++) {
        if (set->ranks[i].head.machine != set->ranks[0].head.machine) {
            return true;
        }
    }
    return false;
}

static int read_all(struct trace_set *set, const char *directory, char *text, size_t text_size)
{
    int code = list_files(set, directory, text, text_size);
    if (code != MANTA_OK) {
        return code;
    }
    qsort(set->ranks, set->count, sizeof *set->ranks, compare_ranks);
    code = check_job(set, text, text_size);
    if (code != MANTA_OK) {
        return code;
    }
    set->size = set->ranks[0].head.size;
    set->rounds = base_alloc(set->size * sizeof *set->rounds);
    if (!set->rounds) {
        snprintf(text, text_size, "no memory for %u ranks", set->size);
        return MANTA_E_NOMEM;
    }
    code = scan(set, has_machines(set), text, text_size);
    if (code == MANTA_OK) {
        set_clocks(set);
    }
    return code;
}

int trace_ranks_find(const char *directory, struct trace_set *ret_set, char *text, size_t text_size)
{
    struct trace_set set = {0};
    int code = read_all(&set, directory, text, text_size);
    if (code != MANTA_OK) {
        trace_ranks_fini(&set);
        return code;
    }
    *ret_set = set;
    return MANTA_OK;
}

void trace_ranks_fini(struct trace_set *set)
{
    struct base_key key;
    void *name;
    for (uint32_t at = 0; base_map_next(&set->names, &at, &key, &name);) {
        base_free(name);
    }
    base_map_fini(&set->names);
    for (uint32_t i = 0; i < set->count; i++) {
        base_free(set->ranks[i].path);
    }
    base_free(set->ranks);
    base_free(set->rounds);
    *set = (struct trace_set){0};
}
