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

static inline struct content find(struct rank *rank, const uint8_t *at)
{
    manta_ref ref;
    memcpy(&ref, at, sizeof ref);
    struct target target = target_find(rank, ref);
    return target_content(&target);
}

MT_FLATTEN void inputs_find(struct rank *rank, struct task *task, struct inputs *ret_inputs)
{
    struct pack_piece *piece = ret_inputs->pieces;
    struct pack_own own = task_own(task);
    const manta_param *param;
    const uint8_t *data;
    uint64_t bytes;
    size_t end = 0;
    ret_inputs->is_rich = ret_inputs->is_elsewhere = false;
    ret_inputs->misfit = NULL;
    while ((param = pack_next_own(&own, &data, &bytes))) {
        if (pack_is_value(param)) {
            struct content content = find(rank, data);
            note(ret_inputs, param, &content);
            *piece = pack_value_piece(end, param, &content);
        } else {
            *piece = pack_arg_piece(end, param, data, bytes);
        }
        end = piece->at + piece->bytes;
        piece++;
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
