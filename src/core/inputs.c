#include "core/inputs.h"

#include "core/object.h"
#include "core/task.h"

static void note(struct inputs *inputs, const manta_param *param, const struct content *content)
{
    inputs->is_rich |= content->place || content->is_refs;
    inputs->is_elsewhere |= !content->data;
    if (MT_UNLIKELY(!pack_is_whole(content->bytes, param->size)) && !content->is_typed) {
        inputs->misfit = param; /* of one with a layout its reader looks */
        inputs->misfit_bytes = content->bytes;
    }
}

MT_FLATTEN void inputs_find(struct rank *rank, struct task *task, struct inputs *ret_inputs)
{
    struct pack_piece *piece = ret_inputs->pieces;
    struct pack_walk walk = task_walk(task);
    struct pack_arg arg;
    size_t end = 0;
    ret_inputs->is_rich = ret_inputs->is_elsewhere = false;
    ret_inputs->misfit = NULL;
    for (; pack_next(&walk, &arg); end = piece->at + piece->bytes, piece++) {
        if (pack_is_value(arg.param)) {
            struct target target = target_find(rank, pack_ref(&arg, 0));
            struct content content = target_content(&target);
            note(ret_inputs, arg.param, &content);
            *piece = pack_value_piece(end, arg.param, &content);
        } else {
            *piece = pack_arg_piece(end, &arg);
        }
    }
    ret_inputs->count = (uint32_t)(piece - ret_inputs->pieces);
    ret_inputs->bytes = end;
}

/* All but whole maps do: what is larger by itself lies in a store. */
bool inputs_fit(struct rank *rank, struct task *task, const struct inputs *inputs)
{
    if (MT_UNLIKELY(inputs->bytes > PACK_RESOLVED_MAX)) {
        task_fail(rank, task, MANTA_E_TOOBIG,
                  "the arguments take %zu bytes with their values; at most %u travel inside a "
                  "task: instead of a whole map, put its values as one (manta_put)",
                  inputs->bytes, PACK_RESOLVED_MAX);
        return false;
    }
    const manta_param *param = inputs->misfit;
    if (MT_UNLIKELY(param != NULL)) {
        task_fail(rank, task, MANTA_E_TYPE,
                  "argument %s has %llu bytes, which is no whole number of %s (%u bytes each)",
                  param->name, (unsigned long long)inputs->misfit_bytes, param->type, param->size);
        return false;
    }
    return true;
}

void inputs_write(const struct inputs *inputs, uint8_t *out)
{
    size_t end = 0;
    for (uint32_t i = 0; i < inputs->count; i++) {
        end = pack_put(out, end, &inputs->pieces[i]);
    }
}
