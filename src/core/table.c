#include "core/table.h"

#include "core/context.h"
#include "core/dispatch.h"
#include "core/fetch.h"
#include "core/heirs.h"
#include "core/message.h"
#include "core/node.h"
#include "core/pin.h"
#include "core/registry.h"
#include "core/replica.h"
#include "core/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PART_ENTRIES = 1024 };

/* Of a place: `rank` says what it is for. In the order in which a file's line needs them. */
enum entry_kind { ENTRY_BLOCK, ENTRY_OWNER, ENTRY_HOLDER, ENTRY_READER };

/* What a rank is asked for by one call. */
struct table {
    struct base_list link; /* in rank->tables */
    struct waiter waiter;  /* missing: ranks that have not said all */
    uint32_t serial;
    uint8_t *is_asked; /* by rank */
    struct table_entry *entries;
    uint64_t count, room;
    bool is_short; /* memory was out */
};

/* ---- What this rank knows ------------------------------------------------------------------- */

/* Pieces on their way to `to`. */
struct part {
    struct rank *rank;
    uint32_t to, serial, count;
    struct table_entry entries[PART_ENTRIES];
};

static void send_part(struct part *part, bool is_last)
{
    struct wire_header about = {.token = part->serial, .position = is_last};
    message_send(part->rank, part->to, MESSAGE_TABLE_PART, about, part->entries,
                 part->count * sizeof part->entries[0]);
    part->count = 0;
}

static void add(struct part *part, enum entry_kind kind, uint32_t of, const struct location *place,
                const struct table_entry *more)
{
    struct table_entry entry = more ? *more : (struct table_entry){0};
    entry.kind = kind;
    entry.rank = of;
    entry.parent = place->parent;
    entry.position = place->position;
    entry.share = place->rank;
    entry.offset = place->offset;
    entry.bytes = place->bytes;
    part->entries[part->count++] = entry;
    if (part->count == PART_ENTRIES) {
        send_part(part, false);
    }
}

/* Of the own share, and of those that it has inherited. */
static void add_block(void *arg, const struct store_entry *block)
{
    struct part *part = arg;
    uint32_t share = node_rank_at(part->rank, block->index);
    struct location place = {block->tag.parent, block->tag.position, share, block->place,
                             block->bytes};
    struct table_entry more = {.function = block->tag.function,
                               .where = !block->is_sealed   ? MANTA_BEING_WRITTEN
                                        : block->is_spilled ? MANTA_ON_DISK
                                                            : MANTA_IN_MEMORY};
    if (share < part->rank->size && heirs_server(part->rank, share) == part->rank->number) {
        add(part, ENTRY_BLOCK, share, &place, &more);
    }
}

static void add_holders(struct part *part, const struct task *task, uint32_t output)
{
    const struct location *place = &task->object.value->output[output].place;
    add(part, ENTRY_OWNER, part->rank->number, place, NULL);
    for (const struct remote_holder *holder = task->extra ? task->extra->holders : NULL; holder;
         holder = holder->next) {
        if (holder->position == task->position + output && holder->added > holder->dropped) {
            add(part, ENTRY_HOLDER, holder->rank, place, NULL);
        }
    }
}

static void add_owned(struct part *part)
{
    const struct base_slab *tasks = &part->rank->tasks;
    for (uint32_t i = 1; i < tasks->fresh; i++) {
        const struct task *task = base_slab_at(tasks, i);
        const struct value *value = task->object.kind == OBJECT_TASK ? task->object.value : NULL;
        for (uint32_t output = 0; value && output < value->outputs; output++) {
            if (value->output[output].is_stored) {
                add_holders(part, task, output);
            }
        }
    }
}

static void add_read(struct part *part)
{
    struct rank *rank = part->rank;
    struct base_key key;
    void *found;
    for (uint32_t at = 0; base_map_next(&rank->pins, &at, &key, &found);) {
        struct location place;
        if (pin_is_counted(found, &place)) {
            add(part, ENTRY_READER, rank->number, &place, NULL);
        }
    }
    for (uint32_t at = 0; base_map_next(&rank->copies, &at, &key, &found);) {
        const struct copy *copy = found;
        struct location place = {copy->of.parent, copy->of.position, copy->agent, copy->offset,
                                 copy->of.bytes};
        if (copy->data && base_list_is_empty(&copy->idle)) {
            add(part, ENTRY_READER, rank->number, &place, NULL);
        }
    }
}

void table_on_table(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct part *part = base_alloc(sizeof *part);
    if (!part) {
        message_send(rank, from, MESSAGE_TABLE_PART,
                     (struct wire_header){.token = header->token, .position = 1}, NULL, 0);
        return;
    }
    part->rank = rank;
    part->to = from;
    part->serial = header->token;
    if (rank->options.store) {
        store_each(rank->options.store, add_block, part);
        add_owned(part);
        add_read(part);
    }
    send_part(part, true);
    base_free(part);
}

/* ---- Gathering ------------------------------------------------------------------------------ */

static void has_said_all(struct rank *rank, struct table *table, uint32_t of)
{
    if (table->is_asked[of]) {
        table->is_asked[of] = 0;
        waiter_notify(rank, &table->waiter, 0);
    }
}

static struct table_entry *make_room(struct table *table, uint64_t more)
{
    if (table->count + more > table->room) {
        uint64_t room = 2 * (table->count + more);
        struct table_entry *entries = base_alloc(room * sizeof *entries);
        if (!entries) {
            return NULL;
        }
        if (table->count) {
            memcpy(entries, table->entries, table->count * sizeof *entries);
        }
        base_free(table->entries);
        table->entries = entries;
        table->room = room;
    }
    return table->entries + table->count;
}

void table_on_table_part(struct rank *rank, uint32_t from, const struct wire_header *header,
                         struct wire_reader *body)
{
    size_t bytes = wire_left(body) / sizeof(struct table_entry) * sizeof(struct table_entry);
    const void *entries = wire_take(body, bytes);
    BASE_LIST_EACH(&rank->tables, link)
    {
        struct table *table = MT_CONTAINER(link, struct table, link);
        if (table->serial != header->token || !table->is_asked[from]) {
            continue;
        }
        struct table_entry *room = bytes ? make_room(table, bytes / sizeof *room) : NULL;
        if (room) {
            memcpy(room, entries, bytes);
            table->count += bytes / sizeof *room;
        }
        table->is_short |= bytes && !room;
        if (header->position) {
            has_said_all(rank, table, from);
        }
        return;
    }
}

void table_peer_down(struct rank *rank, uint32_t dead)
{
    BASE_LIST_EACH(&rank->tables, link)
    {
        has_said_all(rank, MT_CONTAINER(link, struct table, link), dead);
    }
}

static int gather(struct context *context, struct table *table)
{
    struct rank *rank = context->rank;
    table->waiter = (struct waiter){.context = context};
    table->serial = ++rank->table_serial;
    base_list_init(&table->link);
    if (!(table->is_asked = base_alloc(rank->size))) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for the table of values");
    }
    base_list_push_back(&rank->tables, &table->link);
    for (uint32_t i = 0; i < rank->size; i++) {
        if (!rank->down[i]) {
            table->is_asked[i] = 1;
            table->waiter.missing++;
        }
    }
    for (uint32_t i = 0; i < rank->size; i++) {
        if (table->is_asked[i]) {
            message_send(rank, i, MESSAGE_TABLE, (struct wire_header){.token = table->serial}, NULL,
                         0);
        }
    }
    dispatch_flush(rank);
    int code = wait_for(context, &table->waiter, BASE_FOREVER);
    base_list_remove(&table->link);
    base_free(table->is_asked);
    if (code == MANTA_OK && table->is_short) {
        code = MANTA_E_NOMEM;
    }
    return code == MANTA_OK ? code : context_fail(context, code, "gathering the table of values");
}

/* ---- The file ------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    const struct table_entry *a = left, *b = right;
    const uint64_t of_a[] = {a->share, a->offset, a->kind, a->rank};
    const uint64_t of_b[] = {b->share, b->offset, b->kind, b->rank};
    for (size_t i = 0; i < MT_COUNT(of_a); i++) {
        if (of_a[i] != of_b[i]) {
            return of_a[i] < of_b[i] ? -1 : 1;
        }
    }
    return 0;
}

static bool is_about(const struct table_entry *entry, const struct table_entry *block)
{
    return entry->share == block->share && entry->offset == block->offset;
}

/* The ranks of the entries of one kind: "0,3"; "-": none. */
static uint64_t write_ranks(FILE *file, const struct table *table, uint64_t at,
                            const struct table_entry *block, enum entry_kind kind)
{
    const char *between = "";
    for (; at < table->count && is_about(&table->entries[at], block) &&
           table->entries[at].kind <= kind;
         at++) {
        const struct table_entry *entry = &table->entries[at];
        if (entry->kind == kind && entry->parent == block->parent &&
            entry->position == block->position) {
            fprintf(file, "%s%" PRIu32, between, entry->rank);
            between = ",";
        }
    }
    fprintf(file, "%s\t", *between ? "" : "-");
    return at;
}

static void write_line(FILE *file, const struct table *table, uint64_t at)
{
    static const char *const wheres[] = {
        [MANTA_IN_MEMORY] = "memory", [MANTA_ON_DISK] = "disk", [MANTA_BEING_WRITTEN] = "written"};
    const struct table_entry *block = &table->entries[at];
    const manta_function *function = registry_find(block->function);
    bool is_copy = block->function == REPLICA_TAG;
    const char *where = block->where < MT_COUNT(wheres) ? wheres[block->where] : "?";
    fprintf(file, "%" PRIu64 "\t%s\t%" PRIu32 "\t", block->bytes, where, block->share);
    for (enum entry_kind kind = ENTRY_OWNER; kind <= ENTRY_READER; kind++) {
        at = write_ranks(file, table, at, block, kind);
    }
    fprintf(file, "%016" PRIx64 ":%" PRIu32 "\t%s\t", block->parent, block->position,
            function  ? function->name
            : is_copy ? "copy"
                      : "-");
    if (function) {
        fprintf(file, "%s:%" PRIu32 "\n", function->file, function->line);
    } else {
        fprintf(file, "-\n");
    }
}

static int write_file(const struct table *table, const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file) {
        return errno;
    }
    fprintf(file, "bytes\twhere\tshare\towner\tholders\treaders\tref\ttask\tplace\n");
    for (uint64_t i = 0; i < table->count; i++) {
        if (table->entries[i].kind == ENTRY_BLOCK) {
            write_line(file, table, i);
        }
    }
    int wrong = ferror(file) ? EIO : 0;
    return fclose(file) != 0 ? errno : wrong;
}

int manta_store_dump(const char *path)
{
    struct context *context = context_enter();
    struct table table = {0};
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!path || !*path) {
        return context_fail(context, MANTA_E_INVALID, "path is %s", path ? "empty" : "NULL");
    }
    context_take(context);
    int code = gather(context, &table);
    context_give(context);
    if (code == MANTA_OK) {
        if (table.count) {
            qsort(table.entries, table.count, sizeof table.entries[0], compare);
        }
        int wrong = write_file(&table, path);
        if (wrong) {
            code = context_fail(context, MANTA_E_SYSTEM, "%s cannot be written: %s", path,
                                strerror(wrong));
        }
    }
    base_free(table.entries);
    return code;
}
