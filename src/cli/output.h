/* The command `manta output`: reads the log of commands (MANTA_COMMAND_LOG) back. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "cli/tell.h"

int output_command(int argc, char **argv);
void output_help(void);

#endif
