/* The end of a job: until nothing is left anywhere, then everybody stops. */
#ifndef CORE_FINISH_H
#define CORE_FINISH_H

#include "core/rank.h"

/* Stops this rank's threads now. Baton held. */
void finish_stop(struct rank *rank, int code);

#endif
