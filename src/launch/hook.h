/* Start and stop hooks, as the program registered them. */
#ifndef LAUNCH_HOOK_H
#define LAUNCH_HOOK_H

#include <manta/manta.h>

/* Runs those of a moment in the order of registration, until one returns non-zero; returns that. */
int hooks_run(manta_moment moment);

#endif
