/*
 * What a holder wants of an owner, many in a message.
 *
 * A value may hold thousands of refs, and who looks at it comes to hold them all, mostly asks for
 * all their values, and lets them go together. So a borrow for which the owner is to do something
 * waits in the list of the owner's peer until the next flush (or until there are enough for a
 * message), and a REQUEST has an entry for each; one entry may say HOLD and ASK. A borrow that is
 * let go is out of the map at once, and its record is the entry.
 *
 * An entry waits for no longer than what was sent before it would have waited for its flush, so to
 * the protocol (object.c) it is a message that took its time. Only the order to others is another:
 * what is asked for is asked before it is let go, by the order of the list, but a message that is
 * sent at once overtakes. That harms nobody: until a HOLD is acknowledged its guard protects, and
 * one without a guard takes the list along.
 *
 * The owner handles an entry after the other. What it acknowledges, and small values, it collects
 * in an ANSWER; anything else is a message of its own.
 */
#ifndef CORE_REQUEST_H
#define CORE_REQUEST_H

#include "core/message.h"

/* Of a borrow's value. While an acknowledgement is on its way, which may bring it, nobody asks. */
enum request_state { REQUEST_SENT = 1, REQUEST_LATER };

/* Its owner, who must be known, is to hear `what` of it, and what it has been told to before. */
void request_add(struct rank *rank, struct borrow *borrow, uint32_t what);
/* The same, when nothing protects it until then. */
void request_add_now(struct rank *rank, struct borrow *borrow, uint32_t what);
/* What has not been sent is not to be: its owner is another one, or is not known. */
void request_cancel(struct rank *rank, struct borrow *borrow);
/* Nobody holds it here. The record is consumed; it has nothing but its name any more. */
void request_let_go(struct rank *rank, struct borrow *borrow);

void request_flush(struct rank *rank, struct peer *peer);
/* The peer is dead, or the rank ends. */
void request_drop_all(struct rank *rank, struct peer *peer);

/* Answers to one rank, as they are collected. */
#define ANSWERS_BYTES 3584 /* with its headers it fits in a frame of comm/shm */
#define ANSWER_VALUE_MAX 256

struct answers {
    uint32_t to, bytes;
    uint8_t data[ANSWERS_BYTES];
};

/* `content` (NULL: no value) has at most ANSWER_VALUE_MAX bytes, and they are no refs. */
void answers_add(struct rank *rank, struct answers *answers, const struct message_request *request,
                 uint32_t what, const struct content *content);
void answers_send(struct rank *rank, struct answers *answers);

#endif
