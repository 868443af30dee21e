#include "task_shared.h"

MANTA_TASK_DEFINE(shared_add, val(struct point, a), val(struct point, b), out(struct point, sum))
{
    sum->x = a.x + b.x;
    sum->y = a.y + b.y;
    return MANTA_OK;
}

MANTA_TASK_DEFINE(shared_nothing)
{
    return MANTA_OK;
}
