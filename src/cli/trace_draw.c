#include "cli/trace_draw.h"

#include "base/alloc.h"

#include <manta/error.h>

#include <inttypes.h>
#include <string.h>

#define SUBMIT_NS_MAX UINT64_C(1000)

/* A body that has begun and not ended, on its worker's stack or put aside with it. */
struct open_body {
    struct base_timeline_record begin; /* its ticks: of this piece */
    uint32_t piece;
};

struct stack {
    struct open_body *bodies;
    uint32_t count, capacity;
};

/* Of one track. */
struct drawn_track {
    struct stack stack;
    struct base_timeline_record submit; /* not drawn yet; kind 0: none */
    uint64_t last_ticks;
};

struct drawing {
    const struct trace_set *set;
    const struct trace_options *options;
    const struct trace_rank *rank;
    FILE *out;
    struct drawn_track *tracks;
    struct base_map parked; /* ref of the innermost -> struct stack, owned */
    struct trace_counts counts;
    bool has_events, is_out_of_memory;
};

/* ---- Text ----------------------------------------------------------------------------------- */

static void put_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            fprintf(out, "\\%c", byte);
        } else if (byte < 0x20 || byte == 0x7f) {
            fprintf(out, "\\u%04x", byte);
        } else {
            fputc(byte, out);
        }
    }
    fputc('"', out);
}

static void begin_event(struct drawing *drawing, const char *phase, uint32_t thread)
{
    fprintf(drawing->out, "%s{\"ph\":\"%s\",\"pid\":%u,\"tid\":%u",
            drawing->has_events ? ",\n" : "", phase, drawing->rank->head.rank, thread);
    drawing->has_events = true;
}

static void put_time(struct drawing *drawing, const char *name, uint64_t ns)
{
    fprintf(drawing->out, ",\"%s\":%" PRIu64 ".%03u", name, ns / 1000, (unsigned)(ns % 1000));
}

static uint64_t time_of(const struct drawing *drawing, uint64_t ticks)
{
    return trace_time_ns(drawing->set, drawing->rank, ticks);
}

static void put_name(struct drawing *drawing, enum base_timeline_naming of, uint32_t key)
{
    const char *name = trace_name(drawing->set, of, key);
    char number[32];
    snprintf(number, sizeof number, "%s %08x", of == BASE_TIMELINE_FUNCTION ? "task" : "message",
             key);
    fputs(",\"name\":", drawing->out);
    put_text(drawing->out, name ? name : number);
}

static uint64_t id_of(const struct base_timeline_record *record)
{
    return base_mix64(record->parent ^ base_mix64(record->position));
}

static void put_arrow(struct drawing *drawing, const char *phase, uint32_t thread,
                      const struct base_timeline_record *record)
{
    begin_event(drawing, phase, thread);
    put_time(drawing, "ts", time_of(drawing, record->ticks));
    fprintf(drawing->out,
            ",\"bp\":\"e\",\"cat\":\"submit\",\"name\":\"submit\",\"id\":\"%" PRIx64 "\"}",
            id_of(record));
}

/* ---- Threads -------------------------------------------------------------------------------- */

static uint32_t driver_thread(const struct drawing *drawing)
{
    return drawing->rank->head.tracks - 1;
}

static uint32_t message_thread(const struct drawing *drawing)
{
    return drawing->rank->head.tracks;
}

static void name_thread(struct drawing *drawing, uint32_t thread, const char *name)
{
    begin_event(drawing, "M", thread);
    fprintf(drawing->out, ",\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}", name);
    begin_event(drawing, "M", thread);
    fprintf(drawing->out, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%u}}",
            thread == driver_thread(drawing) ? 0 : thread + 1);
}

static void name_rank(struct drawing *drawing)
{
    const struct base_timeline_head *head = &drawing->rank->head;
    char name[32];
    begin_event(drawing, "M", 0);
    fputs(",\"name\":\"process_name\",\"args\":{\"name\":", drawing->out);
    char text[BASE_TIMELINE_HOST_MAX + 64];
    snprintf(text, sizeof text, "rank %u on %s, process %u", head->rank, head->host, head->pid);
    put_text(drawing->out, text);
    fputs("}}", drawing->out);
    begin_event(drawing, "M", 0);
    fprintf(drawing->out, ",\"name\":\"process_sort_index\",\"args\":{\"sort_index\":%u}}",
            head->rank);
    for (uint32_t i = 0; i + 1 < head->tracks; i++) {
        snprintf(name, sizeof name, "worker %u", i);
        name_thread(drawing, i, name);
    }
    name_thread(drawing, driver_thread(drawing), "driver");
    if (drawing->options->has_messages) {
        name_thread(drawing, message_thread(drawing), "messages");
    }
}

/* ---- Bodies --------------------------------------------------------------------------------- */

enum piece_end { PIECE_ENDS, PIECE_WAITS, PIECE_IS_CUT };

static void put_slice(struct drawing *drawing, uint32_t thread, const struct open_body *body,
                      uint64_t end_ticks, enum piece_end end)
{
    const struct base_timeline_record *begin = &body->begin;
    uint64_t from_ns = time_of(drawing, begin->ticks), to_ns = time_of(drawing, end_ticks);
    bool is_node = begin->extra == BASE_TIMELINE_GRAPH;
    begin_event(drawing, "X", thread);
    put_name(drawing, BASE_TIMELINE_FUNCTION, begin->value);
    fprintf(drawing->out, ",\"cat\":\"%s\"", is_node ? "graph" : begin->extra ? "map" : "task");
    put_time(drawing, "ts", from_ns);
    put_time(drawing, "dur", to_ns > from_ns ? to_ns - from_ns : 0);
    fprintf(drawing->out, ",\"args\":{\"%s\":\"%016" PRIx64 ".%u\",\"%s\":%u",
            is_node ? "node" : "ref", begin->parent, begin->position, is_node ? "round" : "owner",
            begin->peer);
    if (begin->detail > 1) {
        fprintf(drawing->out, ",\"attempt\":%u", begin->detail);
    }
    if (body->piece || end != PIECE_ENDS) {
        fprintf(drawing->out, ",\"piece\":%u", body->piece);
    }
    fputs(end == PIECE_IS_CUT ? ",\"end\":\"unknown\"}}" : "}}", drawing->out);
}

static bool push(struct drawing *drawing, struct stack *stack, struct open_body body)
{
    if (stack->count == stack->capacity) {
        uint32_t capacity = stack->capacity ? 2 * stack->capacity : 8;
        void *more =
            base_realloc(stack->bodies, stack->capacity * sizeof body, capacity * sizeof body);
        if (!more) {
            drawing->is_out_of_memory = true;
            return false;
        }
        stack->bodies = more;
        stack->capacity = capacity;
    }
    stack->bodies[stack->count++] = body;
    return true;
}

/* Pieces from the top down to `left`. */
static void close_pieces(struct drawing *drawing, uint32_t thread, struct stack *stack,
                         uint32_t left, uint64_t ticks, enum piece_end end)
{
    for (uint32_t i = stack->count; i > left; i--) {
        put_slice(drawing, thread, &stack->bodies[i - 1], ticks, end);
        drawing->counts.open += end == PIECE_IS_CUT;
    }
}

static void cut(struct drawing *drawing, uint32_t thread, uint64_t ticks)
{
    struct stack *stack = &drawing->tracks[thread].stack;
    close_pieces(drawing, thread, stack, 0, ticks, PIECE_IS_CUT);
    stack->count = 0;
}

static bool is_same(const struct base_timeline_record *a, const struct base_timeline_record *b)
{
    return a->parent == b->parent && a->position == b->position && a->value == b->value;
}

static void draw_begin(struct drawing *drawing, uint32_t thread,
                       const struct base_timeline_record *record)
{
    if (drawing->options->has_arrows && record->detail <= 1 && !record->extra) {
        put_arrow(drawing, "f", thread, record);
    }
    (void)push(drawing, &drawing->tracks[thread].stack, (struct open_body){.begin = *record});
}

static void draw_end(struct drawing *drawing, uint32_t thread,
                     const struct base_timeline_record *record)
{
    struct stack *stack = &drawing->tracks[thread].stack;
    uint32_t at = stack->count;
    while (at && !is_same(&stack->bodies[at - 1].begin, record)) {
        at--;
    }
    if (at == 0) {
        drawing->counts.strays++;
        return;
    }
    close_pieces(drawing, thread, stack, at, record->ticks, PIECE_IS_CUT);
    put_slice(drawing, thread, &stack->bodies[at - 1], record->ticks, PIECE_ENDS);
    stack->count = at - 1;
}

static struct base_key key_of(const struct base_timeline_record *record)
{
    return (struct base_key){record->parent, (uint64_t)record->value << 32 | record->position};
}

static void draw_park(struct drawing *drawing, uint32_t thread,
                      const struct base_timeline_record *record)
{
    struct stack *stack = &drawing->tracks[thread].stack;
    if (!stack->count || !is_same(&stack->bodies[stack->count - 1].begin, record)) {
        drawing->counts.strays++;
        return;
    }
    close_pieces(drawing, thread, stack, 0, record->ticks, PIECE_WAITS);
    struct stack *aside = base_alloc(sizeof *aside);
    if (!aside || base_map_insert(&drawing->parked, key_of(record), aside) != MANTA_OK) {
        base_free(aside);
        drawing->is_out_of_memory = true;
        return;
    }
    *aside = *stack;
    *stack = (struct stack){0};
}

static void draw_resume(struct drawing *drawing, uint32_t thread,
                        const struct base_timeline_record *record)
{
    struct stack *stack = &drawing->tracks[thread].stack;
    struct stack *aside = base_map_remove(&drawing->parked, key_of(record));
    if (!aside) {
        drawing->counts.strays++;
        return;
    }
    cut(drawing, thread, record->ticks);
    base_free(stack->bodies);
    *stack = *aside;
    base_free(aside);
    for (uint32_t i = 0; i < stack->count; i++) {
        stack->bodies[i].begin.ticks = record->ticks;
        stack->bodies[i].piece++;
    }
}

/* ---- All else ------------------------------------------------------------------------------- */

/* A submission by a body needs no slice: the body is one. */
static void draw_submit(struct drawing *drawing, uint32_t thread, uint64_t next_ticks)
{
    struct base_timeline_record *record = &drawing->tracks[thread].submit;
    if (thread == driver_thread(drawing)) {
        uint64_t from_ns = time_of(drawing, record->ticks), to_ns = time_of(drawing, next_ticks);
        begin_event(drawing, "X", thread);
        put_name(drawing, BASE_TIMELINE_FUNCTION, record->value);
        fputs(",\"cat\":\"submit\"", drawing->out);
        put_time(drawing, "ts", from_ns);
        put_time(drawing, "dur", to_ns > from_ns ? MT_MIN(to_ns - from_ns, SUBMIT_NS_MAX) : 0);
        fputc('}', drawing->out);
    }
    if (drawing->options->has_arrows) {
        put_arrow(drawing, "s", thread, record);
    }
    record->kind = 0;
}

static void draw_message(struct drawing *drawing, const struct base_timeline_record *record)
{
    bool is_sent = record->kind == BASE_TIMELINE_SENT;
    begin_event(drawing, "i", message_thread(drawing));
    put_name(drawing, BASE_TIMELINE_MESSAGE, record->detail);
    put_time(drawing, "ts", time_of(drawing, record->ticks));
    fprintf(drawing->out, ",\"s\":\"t\",\"cat\":\"message\",\"args\":{\"%s\":%u,\"bytes\":%u}}",
            is_sent ? "to" : "from", record->peer, record->value);
}

static void draw_death(struct drawing *drawing, const struct base_timeline_record *record)
{
    begin_event(drawing, "i", driver_thread(drawing));
    put_time(drawing, "ts", time_of(drawing, record->ticks));
    fprintf(drawing->out, ",\"s\":\"p\",\"cat\":\"death\",\"name\":\"rank %u is dead\"}",
            record->peer);
}

static void draw_outside(struct drawing *drawing, const char *phase,
                         const struct base_timeline_record *record)
{
    begin_event(drawing, phase, driver_thread(drawing));
    put_name(drawing, BASE_TIMELINE_FUNCTION, record->value);
    put_time(drawing, "ts", time_of(drawing, record->ticks));
    fprintf(drawing->out, ",\"cat\":\"process\",\"id\":\"%" PRIx64 "\"}",
            id_of(record) ^ record->detail);
}

static void draw_record(struct drawing *drawing, uint32_t thread,
                        const struct base_timeline_record *record)
{
    struct drawn_track *track = &drawing->tracks[thread];
    if (track->submit.kind) {
        draw_submit(drawing, thread, record->ticks);
    }
    drawing->counts.kinds[record->kind < BASE_TIMELINE_KINDS ? record->kind : 0]++;
    switch (record->kind) {
    case BASE_TIMELINE_SUBMIT:
        track->submit = *record;
        break;
    case BASE_TIMELINE_BEGIN:
        draw_begin(drawing, thread, record);
        break;
    case BASE_TIMELINE_END:
        draw_end(drawing, thread, record);
        break;
    case BASE_TIMELINE_PARK:
        draw_park(drawing, thread, record);
        break;
    case BASE_TIMELINE_RESUME:
        draw_resume(drawing, thread, record);
        break;
    case BASE_TIMELINE_STARTED:
    case BASE_TIMELINE_ENDED:
        draw_outside(drawing, record->kind == BASE_TIMELINE_STARTED ? "b" : "e", record);
        break;
    case BASE_TIMELINE_SENT:
    case BASE_TIMELINE_RECEIVED:
        if (drawing->options->has_messages) {
            draw_message(drawing, record);
        }
        break;
    case BASE_TIMELINE_DEATH:
        draw_death(drawing, record);
        break;
    case BASE_TIMELINE_GAP:
        cut(drawing, thread, track->last_ticks);
        drawing->counts.lost += record->value;
        break;
    default:
        break;
    }
    track->last_ticks = record->ticks;
}

/* ---- A rank --------------------------------------------------------------------------------- */

/* Where its file ends. */
static void end_rank(struct drawing *drawing)
{
    struct base_key key;
    void *aside;
    for (uint32_t i = 0; i < drawing->rank->head.tracks; i++) {
        if (drawing->tracks[i].submit.kind) {
            draw_submit(drawing, i, drawing->tracks[i].submit.ticks);
        }
        cut(drawing, i, drawing->rank->last_ticks);
        base_free(drawing->tracks[i].stack.bodies);
    }
    for (uint32_t at = 0; base_map_next(&drawing->parked, &at, &key, &aside);) {
        struct stack *stack = aside;
        drawing->counts.open += stack->count;
        base_free(stack->bodies);
        base_free(stack);
    }
    base_map_fini(&drawing->parked);
    base_free(drawing->tracks);
    drawing->tracks = NULL;
}

static int draw_rank(struct drawing *drawing)
{
    struct base_timeline_reader *reader;
    struct base_timeline_block block;
    int code = base_timeline_open(drawing->rank->path, &reader);
    if (code != MANTA_OK) {
        return code;
    }
    drawing->tracks = base_alloc(drawing->rank->head.tracks * sizeof *drawing->tracks);
    drawing->is_out_of_memory = !drawing->tracks;
    if (drawing->tracks) {
        name_rank(drawing);
        while (!drawing->is_out_of_memory && base_timeline_next(reader, &block)) {
            for (uint32_t i = 0; i < block.count; i++) {
                draw_record(drawing, block.track, &block.records[i]);
            }
        }
        end_rank(drawing);
    }
    base_timeline_close(reader);
    return drawing->is_out_of_memory ? MANTA_E_NOMEM : MANTA_OK;
}

static void put_counts(FILE *out, const struct trace_rank *rank, const struct trace_counts *counts)
{
    static const char *const names[BASE_TIMELINE_KINDS] = {
        [BASE_TIMELINE_SUBMIT] = "submitted",    [BASE_TIMELINE_BEGIN] = "begun",
        [BASE_TIMELINE_END] = "ended",           [BASE_TIMELINE_PARK] = "parked",
        [BASE_TIMELINE_RESUME] = "resumed",      [BASE_TIMELINE_STARTED] = "started_outside",
        [BASE_TIMELINE_ENDED] = "ended_outside", [BASE_TIMELINE_SENT] = "sent",
        [BASE_TIMELINE_RECEIVED] = "received",   [BASE_TIMELINE_DEATH] = "deaths",
    };
    fprintf(out, "{\"rank\":%u,\"host\":", rank->head.rank);
    put_text(out, rank->head.host);
    for (int i = 0; i < BASE_TIMELINE_KINDS; i++) {
        if (names[i]) {
            fprintf(out, ",\"%s\":%" PRIu64, names[i], counts->kinds[i]);
        }
    }
    fprintf(out,
            ",\"open\":%" PRIu64 ",\"strays\":%" PRIu64 ",\"lost\":%" PRIu64
            ",\"damaged_bytes\":%" PRIu64 ",\"complete\":%s}",
            counts->open, counts->strays, counts->lost, rank->skipped_bytes,
            rank->is_complete ? "true" : "false");
}

static void add(struct trace_counts *sum, const struct trace_counts *one)
{
    for (int i = 0; i < BASE_TIMELINE_KINDS; i++) {
        sum->kinds[i] += one->kinds[i];
    }
    sum->lost += one->lost;
    sum->open += one->open;
    sum->strays += one->strays;
}

int trace_draw(const struct trace_set *set, const struct trace_options *options, FILE *out,
               struct trace_counts *ret_counts)
{
    struct drawing drawing = {.set = set, .options = options, .out = out};
    struct trace_counts *counts = base_alloc(set->count * sizeof *counts), sum = {0};
    int code = counts ? MANTA_OK : MANTA_E_NOMEM;
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n", out);
    for (uint32_t i = 0; i < set->count && code == MANTA_OK; i++) {
        drawing.rank = &set->ranks[i];
        drawing.counts = (struct trace_counts){0};
        code = draw_rank(&drawing);
        counts[i] = drawing.counts;
        add(&sum, &drawing.counts);
    }
    fputs("\n],\"otherData\":{\"ranks\":[\n", out);
    for (uint32_t i = 0; i < set->count && code == MANTA_OK; i++) {
        put_counts(out, &set->ranks[i], &counts[i]);
        fputs(i + 1 < set->count ? ",\n" : "\n", out);
    }
    fputs("]}}\n", out);
    base_free(counts);
    *ret_counts = sum;
    return code != MANTA_OK ? code : fflush(out) || ferror(out) ? MANTA_E_SYSTEM : MANTA_OK;
}
