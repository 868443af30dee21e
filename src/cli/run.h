/* The command `manta run`. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/tell.h"

int run_command(int argc, char **argv);
void run_help(void);

#endif
