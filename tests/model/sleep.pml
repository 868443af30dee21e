/*
 * Who wakes whom in comm/shm: `polled` flags, doorbell, asleep flag, bell.
 *
 * WRITERS writers each publish MESSAGES messages, some flushes later than others; one
 * reader polls, arms quiet rings, arms itself and sleeps. Memory is weaker than the
 * order of the program in the one way that matters: each process has a store buffer
 * for its plain stores, drained at any time by the process `memory`, and emptied by a
 * fence or a read-modify-write (x86 TSO; release and acquire elsewhere allow no more
 * for these shapes, as each of them has a full fence on both sides).
 *
 * Proved: no state in which the reader sleeps for good while a flushed message is
 * unread (an invalid end state), and all are read in the end.
 *
 * -DBREAK=1: no fence between publishing and looking at `polled`.
 * -DBREAK=2: no fence between arming and the last look.
 * -DBREAK=3: the reader does not look again after arming.
 * -DBREAK=4: a turn that took the bell and ended at its budget forgets the ring.
 */
#ifndef BREAK
#define BREAK 0
#endif

#define WRITERS 2
#define MESSAGES 2

/* Shared memory, as all see it. */
byte published[WRITERS]; /* messages in the ring, ever: stands for the sequence words */
bool polled[WRITERS];
bool doorbell[WRITERS];
bool asleep;
bool bell;

/* Store buffers, one entry each: a second store to another word waits for the first. */
bool w_pending[WRITERS];
byte w_value[WRITERS];       /* of published[w] */
bool p_pending[WRITERS];     /* the reader's, of polled[w] */
bool p_value[WRITERS];
bool a_pending, a_value;     /* the reader's, of asleep */

#define WRITER_FENCE(w) (!w_pending[w])
#define READER_FENCE (!p_pending[0] && !p_pending[1] && !a_pending)

active proctype memory()
{
end:
    do
    :: atomic { w_pending[0] -> published[0] = w_value[0]; w_pending[0] = false }
    :: atomic { w_pending[1] -> published[1] = w_value[1]; w_pending[1] = false }
    :: atomic { p_pending[0] -> polled[0] = p_value[0]; p_pending[0] = false }
    :: atomic { p_pending[1] -> polled[1] = p_value[1]; p_pending[1] = false }
    :: atomic { a_pending -> asleep = a_value; a_pending = false }
    od
}

proctype writer(byte me)
{
    byte number = 0;

    do
    :: number < MESSAGES ->
        atomic { !w_pending[me] -> number++; w_value[me] = number; w_pending[me] = true }
        if
        :: number < MESSAGES -> skip /* one flush for two messages */
        :: true ->
#if BREAK != 1
            WRITER_FENCE(me);
#endif
            if
            :: !polled[me] ->
                if
                :: !doorbell[me] -> atomic { WRITER_FENCE(me) -> doorbell[me] = true }
                :: else
                fi;
                if
                :: asleep ->
                    /* exchange: one of those who see it rings */
                    if
                    :: atomic { asleep -> asleep = false }; bell = true
                    :: atomic { !asleep -> skip }
                    fi
                :: else
                fi
            :: else
            fi
        fi
    :: else -> break
    od
}

byte taken[WRITERS];
bool hot[WRITERS];

#define SET_POLLED(w, v) atomic { !p_pending[w] -> p_value[w] = v; p_pending[w] = true }
#define READY(w) (published[w] > taken[w])
#define ALL_TAKEN (taken[0] == MESSAGES && taken[1] == MESSAGES)

inline take_bell(w)
{
    if
    :: doorbell[w] ->
        atomic { READER_FENCE -> doorbell[w] = false }
#if BREAK == 4
        if
        :: SET_POLLED(w, true); hot[w] = true
        :: SET_POLLED(w, true) /* the budget was used up */
        fi
#else
        SET_POLLED(w, true);
        hot[w] = true
#endif
    :: else
    fi
}

/* At most one message: a budget. A fruitless look may arm the ring. */
inline look(w)
{
    if
    :: hot[w] && READY(w) -> taken[w]++
    :: hot[w] && !READY(w) ->
        if
        :: skip
        :: SET_POLLED(w, false);
#if BREAK != 2
           READER_FENCE;
#endif
#if BREAK != 3
           if
           :: READY(w) -> SET_POLLED(w, true)
           :: else -> hot[w] = false
           fi
#else
           hot[w] = false
#endif
        fi
    :: else
    fi
}

active proctype reader()
{
    bool work;

    do
    :: ALL_TAKEN -> break
    :: else ->
        take_bell(0);
        take_bell(1);
        look(0);
        look(1);
        if
        :: skip /* another turn */
        :: true -> /* or to sleep */
            if
            :: hot[0] -> SET_POLLED(0, false)
            :: else
            fi;
            if
            :: hot[1] -> SET_POLLED(1, false)
            :: else
            fi;
            atomic { !a_pending -> a_value = true; a_pending = true }
#if BREAK != 2
            READER_FENCE;
#endif
#if BREAK == 3
            work = false;
#else
            work = (hot[0] && READY(0)) || (hot[1] && READY(1));
            work = work || doorbell[0];
            work = work || doorbell[1];
#endif
            if
            :: work ->
                if
                :: hot[0] -> SET_POLLED(0, true)
                :: else
                fi;
                if
                :: hot[1] -> SET_POLLED(1, true)
                :: else
                fi
            :: else ->
                hot[0] = false;
                hot[1] = false;
                if
                :: ALL_TAKEN
                :: bell -> bell = false
                fi
            fi;
            atomic { !a_pending -> a_value = false; a_pending = true }
        fi
    od
}

init
{
    atomic { run writer(0); run writer(1) }
}
