/* Declared here, defined in C by task_shared.c, called from C and from C++. */
#ifndef TASK_SHARED_H
#define TASK_SHARED_H

#include <manta/manta.h>

struct point {
    double x, y;
};

MANTA_TASK_DECLARE(shared_add, val(struct point, a), val(struct point, b), out(struct point, sum));
MANTA_TASK_DECLARE(shared_nothing);

#endif
