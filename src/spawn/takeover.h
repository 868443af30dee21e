/* How a copy of the program becomes its spawner before main; see takeover.c. */
#ifndef SPAWN_TAKEOVER_H
#define SPAWN_TAKEOVER_H

#include "spawn/message.h"

/* Where the spawner finds its socket. */
#define TAKEOVER_FD 3
#define TAKEOVER_NAME "MANTA_SPAWNER"

/* "MANTA_SPAWNER=" and the token in hexadecimal. */
#define TAKEOVER_VARIABLE_BYTES (sizeof TAKEOVER_NAME + 2 * MESSAGE_TOKEN_BYTES + 1)
void takeover_variable(const uint8_t token[MESSAGE_TOKEN_BYTES],
                       char text[TAKEOVER_VARIABLE_BYTES]);

/* Does not return if this process was started as a spawner but main runs in it all the same. */
void takeover_if_due(void);

/* What the spawner does; ends the process. In spawner.c. */
void spawner_main(int socket, spawn_run_isolated *run) __attribute__((noreturn));

#endif
