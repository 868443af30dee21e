/* The command `manta trace`: makes of a job's timelines (MANTA_TIMELINE) one file for a viewer. */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include "cli/tell.h"

int trace_command(int argc, char **argv);
void trace_help(void);

#endif
