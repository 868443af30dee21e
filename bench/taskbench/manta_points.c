#include "manta_points.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SHAPES = POINTS_IN_MAX + 2, /* 0 ... POINTS_IN_MAX inputs, or an array of refs */
    MANY = SHAPES - 1,
    FIXED_BYTES = TB_PAIR_BYTES,
    MESSAGE_MAX = 4096, /* of one input */
    FAILED = 1          /* a point's own code */
};

enum kind { FIXED, VARIABLE, KINDS };

static const struct tb_app *app;
static manta_function functions[SHAPES][KINDS];
static manta_param params[SHAPES][KINDS][MANTA_PARAM_MAX];
static char names[SHAPES][KINDS][32];

/* ---- The body ------------------------------------------------------------------------------- */

static int take_slots(const manta_slot *slots, const struct tb_graph *graph, uint32_t count,
                      const void **inputs)
{
    for (uint32_t i = 0; i < count; i++) {
        if (slots[i].count < graph->output_bytes) {
            return manta_fail(FAILED, "expected an input of %llu bytes, found %zu",
                              (unsigned long long)graph->output_bytes, slots[i].count);
        }
        inputs[i] = slots[i].data;
    }
    return MANTA_OK;
}

static int take_refs(const manta_slot *slot, const struct tb_graph *graph, const void **inputs)
{
    const manta_ref *refs = slot->data;
    for (size_t i = 0; i < slot->count; i++) {
        size_t bytes;
        MANTA_TRY(manta_view(refs[i], &inputs[i], &bytes));
        if (bytes < graph->output_bytes) {
            return manta_fail(FAILED, "expected an input of %llu bytes, found %zu",
                              (unsigned long long)graph->output_bytes, bytes);
        }
    }
    return MANTA_OK;
}

/* Where the output goes; NULL as manta_last_error says. */
static void *take_output(const struct tb_graph *graph, bool is_recorded, const manta_slot *slot)
{
    size_t bytes = graph->output_bytes;
    if (bytes == FIXED_BYTES) {
        return slot->data;
    }
    bool is_stored = !is_recorded && bytes > MESSAGE_MAX && bytes <= MANTA_INLINE_MAX;
    return manta_outv_alloc(slot->data, is_stored ? MANTA_INLINE_MAX + TB_PAIR_BYTES : bytes);
}

static int execute(const struct point_job *job, uint32_t step, const manta_slot *slot,
                   const void *const *inputs, uint32_t input_count)
{
    const struct tb_graph *graph = &app->graphs[job->graph];
    char why[TB_WHY_BYTES];
    void *output = take_output(graph, job->period > 0, slot);
    if (!output) {
        return manta_last_error()->code;
    }
    if (tb_execute(graph, step, job->point, output, inputs, input_count, why) != 0) {
        return manta_fail(FAILED, "%s", why);
    }
    return MANTA_OK;
}

/* What the first row of a recorded graph reads before there is anything is no input. */
static int run_few(const manta_slot *slots)
{
    const struct point_job *job = slots[0].data;
    uint32_t step = job->step;
    const void *inputs[POINTS_IN_MAX];
    if (job->period) {
        step += job->period * (uint32_t)manta_map_index();
    }
    uint32_t count = step ? job->input_count : 0;
    MANTA_TRY(take_slots(slots + 1, &app->graphs[job->graph], count, inputs));
    return execute(job, step, &slots[job->input_count + 1], inputs, count);
}

static int run_many(const manta_slot *slots)
{
    const struct point_job *job = slots[0].data;
    const void **inputs = malloc(job->input_count * sizeof *inputs);
    int code = inputs ? take_refs(&slots[1], &app->graphs[job->graph], inputs) : MANTA_E_NOMEM;
    if (code == MANTA_OK) {
        code = execute(job, job->step, &slots[2], inputs, job->input_count);
    }
    free(inputs);
    return code;
}

/* ---- Descriptors ---------------------------------------------------------------------------- */

static void describe(uint32_t shape, enum kind kind)
{
    manta_param *param = params[shape][kind];
    uint32_t inputs = shape == MANY ? 1 : shape;
    *param++ = (manta_param){.kind = MANTA_KIND_VAL,
                             .size = sizeof(struct point_job),
                             .align = _Alignof(struct point_job),
                             .type = "struct point_job",
                             .name = "job"};
    for (uint32_t i = 0; i < inputs; i++) {
        *param++ = shape == MANY ? (manta_param){.kind = MANTA_KIND_REFS,
                                                 .size = sizeof(manta_ref),
                                                 .align = _Alignof(manta_ref),
                                                 .type = "manta_ref",
                                                 .name = "inputs"}
                                 : (manta_param){.kind = MANTA_KIND_IN,
                                                 .size = 1,
                                                 .align = 8,
                                                 .type = "uint8_t",
                                                 .name = "input"};
    }
    *param++ = kind == FIXED ? (manta_param){.kind = MANTA_KIND_OUT,
                                             .size = FIXED_BYTES,
                                             .align = 8,
                                             .type = "struct pair",
                                             .name = "output"}
                             : (manta_param){.kind = MANTA_KIND_OUTV,
                                             .size = 1,
                                             .align = 1,
                                             .type = "uint8_t",
                                             .name = "output"};
    snprintf(names[shape][kind], sizeof names[shape][kind], "point_%u%s", shape,
             kind == FIXED ? "" : "_variable");
    functions[shape][kind] = (manta_function){.name = names[shape][kind],
                                              .file = __FILE__,
                                              .line = __LINE__,
                                              .param_count = inputs + 2,
                                              .params = params[shape][kind],
                                              .run = shape == MANY ? run_many : run_few};
}

void points_register(const struct tb_app *of)
{
    app = of;
    for (uint32_t shape = 0; shape < SHAPES; shape++) {
        for (enum kind kind = 0; kind < KINDS; kind++) {
            describe(shape, kind);
            manta_function_register(&functions[shape][kind]);
        }
    }
}

/* ---- Submitting ----------------------------------------------------------------------------- */

manta_ref points_submit(const manta_options *options, const struct point_job *job,
                        const manta_ref *inputs)
{
    uint32_t count = job->input_count;
    bool is_many = count > POINTS_IN_MAX;
    enum kind kind = app->graphs[job->graph].output_bytes == FIXED_BYTES ? FIXED : VARIABLE;
    manta_slot slots[MANTA_PARAM_MAX];
    manta_ref ref;
    slots[0] = (manta_slot){(void *)job, 1};
    for (uint32_t i = 0; !is_many && i < count; i++) {
        slots[i + 1] = (manta_slot){(void *)&inputs[i], 1};
    }
    if (is_many) {
        slots[1] = (manta_slot){(void *)inputs, count};
    }
    slots[is_many ? 2 : count + 1] = (manta_slot){NULL, 0};
    manta_submit(&functions[is_many ? MANY : count][kind], options, slots, &ref);
    return ref;
}

uint32_t points_rank(const struct tb_graph *graph, uint32_t point, uint32_t ranks)
{
    return (uint32_t)((uint64_t)point * ranks / graph->width);
}

int points_finish(const manta_ref *refs, uint32_t count)
{
    manta_error error;
    int code = manta_wait(refs, count, count, MANTA_FOREVER, NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (code == MANTA_OK && manta_ref_error(refs[i], &error) == MANTA_OK) {
            fprintf(stderr, "%s\n", error.text);
            code = error.code;
        }
    }
    return code;
}

/* ---- The main of a program ------------------------------------------------------------------ */

static const struct points_program *program;

static int driver(int argc, char **argv)
{
    int code = MANTA_OK;
    tb_display(app);
    for (uint32_t i = 0; i < app->graph_count && code == MANTA_OK; i++) {
        code = program->make(&app->graphs[i]);
    }
    if (code == MANTA_OK) {
        code = tb_measure(app, true, program->pass, NULL);
    }
    for (uint32_t i = 0; i < app->graph_count; i++) {
        program->free(i);
    }
    return code == MANTA_OK ? 0 : 1;
}

int points_main(int argc, char **argv, struct tb_app *of, const struct points_program *what)
{
    if (tb_open(of, argc, argv) != 0) {
        return 2;
    }
    points_register(of);
    program = what;
    return manta_run(argc, argv, driver);
}
