/*
 * A writer of comm/shm that sleeps while its overflow waits for room in a full ring.
 *
 * The writer puts MESSAGES one-line messages through a ring of LINES lines. Full, it
 * sets `waits` and `asleep`, fences, rereads the reader's position and its doorbell,
 * and sleeps if neither has anything new. The reader publishes its position only
 * every STEP lines, then fences and looks at `waits`; it clears it, sets the
 * doorbell bit, and rings the bell of a sleeper. The bit matters: the clearing may
 * hit a `waits` set anew by a writer that has refilled the ring and is not yet
 * asleep. Stores pass through store buffers as in sleep.pml.
 *
 * Proved: all messages come through; in no state both sleep for good.
 *
 * -DBREAK=1: the writer does not fence before it looks again.
 * -DBREAK=2: the reader does not fence before it looks at `waits`.
 * -DBREAK=3: the reader rings before it clears `waits`.
 * -DBREAK=4: the position is published so rarely that a full ring stays full.
 * -DBREAK=5: the reader sets no doorbell bit.
 */
#ifndef BREAK
#define BREAK 0
#endif

#define LINES 4
#if BREAK == 4
#define STEP 5
#else
#define STEP 4 /* the worst that ring.pml allows: one publication per ring */
#endif
#define MESSAGES 17

byte published, head; /* positions: written, and consumed as the reader tells */
bool waits, asleep, doorbell, bell;

/* Store buffers: the reader's of head and waits, in order; the writer's of waits and asleep. */
bool h_pending, w_pending, c_pending, a_pending;
byte h_value;

active proctype memory()
{
end:
    do
    :: atomic { h_pending -> head = h_value; h_pending = false }
    :: atomic { c_pending && !h_pending -> waits = false; c_pending = false }
    :: atomic { w_pending -> waits = true; w_pending = false }
    :: atomic { a_pending && !w_pending -> asleep = true; a_pending = false }
    od
}

active proctype writer()
{
    byte tail = 0, head_seen = 0;

    do
    :: tail == MESSAGES -> break
    :: tail < MESSAGES && tail - head_seen < LINES -> tail++; published = tail
    :: tail < MESSAGES && tail - head_seen == LINES ->
        head_seen = head;
        if
        :: tail - head_seen < LINES -> skip
        :: else ->
            atomic { !w_pending -> w_pending = true }
            atomic { !a_pending -> a_pending = true }
#if BREAK != 1
            (!w_pending && !a_pending);
#endif
            if
            :: head != head_seen || doorbell -> skip
            :: else -> bell; bell = false
            fi;
            atomic { !a_pending -> asleep = false }
            doorbell = false
        fi
    od
}

inline ring_writer()
{
#if BREAK != 5
    doorbell = true;
#endif
    if
    :: atomic { asleep -> asleep = false }; bell = true
    :: !asleep
    fi
}

active proctype reader()
{
    byte at = 0, told = 0;
    bool saw;

    do
    :: at == MESSAGES -> break
    :: at < MESSAGES ->
        (published > at);
        at++;
        if
        :: at - told >= STEP ->
            told = at;
            atomic { !h_pending && !c_pending -> h_value = at; h_pending = true }
#if BREAK != 2
            (!h_pending);
#endif
            saw = waits;
            if
            :: saw ->
#if BREAK == 3
                (!h_pending && !c_pending);
                ring_writer();
                c_pending = true
#else
                c_pending = true;
                (!h_pending && !c_pending); /* the doorbell is a read-modify-write */
                ring_writer()
#endif
            :: else
            fi
        :: else
        fi
    od
}
