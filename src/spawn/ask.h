/* Between ask.c, which makes requests, and spawn.c, which sends them. */
#ifndef SPAWN_ASK_H
#define SPAWN_ASK_H

#include "spawn/message.h"

#define SPAWN_NO_SPAWNER                                                                           \
    "the spawner of commands does not start: the program must be linked to libmanta, and be able " \
    "to run on this node by hand"

/* Fills the record, if there is one, and returns the code. */
int spawn_fail(manta_error *ret_error, int code, const char *format, ...) MT_PRINTF(3, 4);

/* Sends or queues a request of MESSAGE_PIECES pieces, the first its head, whose token is set here.
 * Any thread. MANTA_OK, MANTA_E_NOMEM, MANTA_E_LIMIT, MANTA_E_SYSTEM when there is no spawner any
 * more. */
int spawn_ask(struct spawn *spawn, struct request_head *head, const struct iovec *pieces,
              const struct spawn_done *done, uint64_t *ret_handle) MT_CHECKED;

#endif
