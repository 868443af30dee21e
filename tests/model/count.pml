/*
 * Who holds a ref: the sets of ranks at its owner (core/object.c, core/settle.c).
 *
 * Rank 0 owns an object and is the one who clears deaths. It gives the ref as an argument to
 * GIVES tasks on ranks 1 and 2. A task of depth d hands it on once, to a task of depth d - 1 on the
 * other rank, and may end before that one does. One of the two ranks may die at any moment; what
 * it had sent arrives up to some message and no further, and each survivor hears of it when it
 * likes. What rank 0 had given to it runs again on the other one, and does the same again.
 *
 * A rank has one borrow for all its uses of the ref, with an instance number that is new
 * whenever the borrow is. The owner keeps for each rank the highest instance it was told of
 * and the highest that was let go.
 *
 * How many HOLDs, HELDs and LET_GOs travel in one message (core/request.h) is no part of it: an entry that
 * waits for others is one that its way takes longer for, and of two of the same rank about the same ref the
 * earlier is sent first.
 *
 * Proved: the owner frees the object only when nobody alive has a use of it and none is on
 * its way, and frees it in the end.
 *
 * -DBREAK=1: a giver lets its own hold go before it tells the owner of the receiver's.
 * -DBREAK=2: a dead rank's share goes as soon as the owner hears of the death.
 * -DBREAK=3: the owner counts instances that it knows, and forgets a LET_GO that comes before its HOLD.
 * -DBREAK=4: a RESULT does not say that the ref was kept.
 * -DBREAK=5: a task that was lost with its rank lets go of its argument at once.
 */
#ifndef BREAK
#define BREAK 0
#endif

#ifndef GIVES
#define GIVES 1
#define DEPTH 2
#endif
#define SLOTS 6
#define ROOM 5

mtype = { TASK, RESULT, HOLD, HELD, LET_GO, SETTLED };

/* from * 3 + to: rank, instance or depth, acknowledge */
chan way[9] = [ROOM] of { mtype, byte, byte, bool };

bool dead[3];
bool heard[3]; /* of the one death, by survivor */
bool deaf[3];  /* nothing more arrives there from the dead */

/* Of ranks 1 and 2. */
byte uses[3], instance[3], serial[3];
bool is_registered[3];
byte given[3];   /* tasks handed to the other one */
byte runs[3 * SLOTS];  /* by rank: 1 + the owner; 0: none */
byte depth[3 * SLOTS];
bool handed[3 * SLOTS]; /* on, already */

/* At rank 0. */
byte holds = 1; /* its own: first the driver's */
byte to_give = GIVES;
byte sent[3];   /* tasks, by runner */
byte added[3], dropped[3];
bool is_freed, is_settled, has_driver = true;

#define LIVES(r) (!dead[r] && (uses[r] > 0))
#define IN_SET(r) (added[r] > dropped[r])

inline check()
{
    if
    :: !is_freed && holds == 0 && !IN_SET(1) && !IN_SET(2) ->
        is_freed = true;
        assert(!LIVES(1) && !LIVES(2))
    :: else
    fi
}

inline add(r, i)
{
    if
    :: i > added[r] -> added[r] = i
    :: else
    fi
}

inline let_go(r, i)
{
#if BREAK == 3
    if
    :: added[r] >= i && i > dropped[r] -> dropped[r] = i
    :: else
    fi
#else
    if
    :: i > dropped[r] -> dropped[r] = i
    :: else
    fi
#endif
}

/* When the survivor has settled the death, and rank 0 has heard of it. */
inline clear(r)
{
    if
    :: is_settled && heard[0] -> added[r] = 0; dropped[r] = 0
    :: else
    fi
}

inline give(r)
{
    sent[r]++;
    way[r]!TASK, 0, DEPTH, false
}

/* What was given to the dead runs again elsewhere. */
inline lost(r)
{
    do
    :: sent[r] > 0 ->
        sent[r]--;
#if BREAK == 5
        holds--
#else
        give(3 - r)
#endif
    :: else -> break
    od
}

proctype owner()
{
    mtype kind;
    byte rank, number, from;
    bool ack;

end:
    do
    :: atomic { to_give > 0 ->
        holds++;
        if
        :: !heard[0] || dead[2] -> give(1)
        :: !heard[0] || dead[1] -> give(2)
        fi;
        to_give-- }
    :: atomic { to_give == 0 && has_driver -> has_driver = false; holds--; check() }
    :: atomic { nempty(way[3]) || nempty(way[6]) ->
        if
        :: way[3]?kind, rank, number, ack -> from = 1
        :: way[6]?kind, rank, number, ack -> from = 2
        fi;
        if
        :: dead[from] && deaf[0] -> skip
        :: else ->
            if
            :: kind == RESULT ->
                if
                :: number -> add(from, number)
                :: else
                fi;
                sent[from]--; holds--
            :: kind == HOLD ->
                assert(!is_freed || !LIVES(rank));
                add(rank, number);
                if
                :: ack -> way[rank]!HELD, 0, 0, false
                :: else
                fi
            :: kind == LET_GO -> let_go(rank, number)
            :: kind == SETTLED -> is_settled = true; clear(3 - from)
            fi;
            check()
        fi }
    :: atomic { (dead[1] || dead[2]) && !heard[0] ->
        heard[0] = true; deaf[0] = true;
        from = (dead[1] -> 1 : 2);
        lost(from);
#if BREAK == 2
        added[from] = 0; dropped[from] = 0;
#endif
        clear(from);
        check() }
    od
}

/* One use ends. */
inline drop()
{
    uses[me]--;
    if
    :: uses[me] == 0 && is_registered[me] ->
        is_registered[me] = false;
        way[me * 3]!LET_GO, me, instance[me], false
    :: else
    fi
}

/* A task comes in, from `giver`. */
inline take(giver, d)
{
    assert(!is_freed);
    if
    :: uses[me] == 0 -> serial[me]++; instance[me] = serial[me]
    :: else
    fi;
    uses[me]++;
    slot = 0;
    do
    :: runs[me * SLOTS + slot] -> slot++
    :: else -> break
    od;
    assert(slot < SLOTS);
    runs[me * SLOTS + slot] = giver + 1;
    handed[me * SLOTS + slot] = false;
    depth[me * SLOTS + slot] = d
}

/* What its RESULT says is kept: the instance, 0: nothing. */
inline keep()
{
    number = 0;
#if BREAK != 4
    if
    :: uses[me] > 0 -> number = instance[me]; is_registered[me] = true
    :: else
    fi
#endif
}

/* To a task of its own, when it knows that it is alone. */
inline hand_on(s)
{
    handed[me * SLOTS + s] = true;
    number = depth[me * SLOTS + s] - 1;
    if
    :: heard[me] -> take(me, number)
    :: else -> uses[me]++; given[me]++; way[me * 3 + 3 - me]!TASK, 0, number, false
    fi
}

/* A task ends. */
inline finish(s)
{
    from = runs[me * SLOTS + s] - 1;
    runs[me * SLOTS + s] = 0;
    drop();
    if
    :: from == me || (from && heard[me])
    :: else -> keep(); way[me * 3 + from]!RESULT, 0, number, false
    fi
}

/* A task hands the ref on if it is to, else it ends. */
inline step(s)
{
    if
    :: depth[me * SLOTS + s] > 0 && !handed[me * SLOTS + s] -> hand_on(s)
    :: else -> finish(s)
    fi
}

proctype holder(byte me)
{
    byte other = 3 - me, rank, number, from, slot;
    mtype kind;
    bool ack;

end:
    do
    :: atomic { dead[me] && nempty(way[me]) -> way[me]?_, _, _, _ }
    :: atomic { dead[me] && nempty(way[other * 3 + me]) -> way[other * 3 + me]?_, _, _, _ }
    :: atomic { !dead[me] && nempty(way[me]) ->
        way[me]?kind, rank, number, ack;
        if
        :: kind == TASK -> take(0, number)
        :: kind == HELD -> way[me * 3]!SETTLED, 0, 0, false
        fi }
    :: atomic { !dead[me] && nempty(way[other * 3 + me]) ->
        way[other * 3 + me]?kind, rank, number, ack;
        if
        :: deaf[me] && dead[other] -> skip
        :: else ->
            if
            :: kind == TASK -> take(other, number)
            :: kind == RESULT ->
                given[me]--;
#if BREAK == 1
                drop();
#endif
                if
                :: number -> way[me * 3]!HOLD, other, number, false
                :: else
                fi;
#if BREAK != 1
                drop()
#endif
            fi
        fi }
    :: atomic { !dead[me] && runs[me * SLOTS] > 0 -> step(0) }
    :: atomic { !dead[me] && runs[me * SLOTS + 1] > 0 -> step(1) }
    :: atomic { !dead[me] && runs[me * SLOTS + 2] > 0 -> step(2) }
    :: atomic { !dead[me] && runs[me * SLOTS + 3] > 0 -> step(3) }
    :: atomic { !dead[me] && runs[me * SLOTS + 4] > 0 -> step(4) }
    :: atomic { !dead[me] && runs[me * SLOTS + 5] > 0 -> step(5) }
    :: atomic { !dead[me] && dead[other] && !heard[me] ->
        heard[me] = true; deaf[me] = true;
        do
        :: given[me] > 0 -> given[me]--; drop()
        :: else -> break
        od;
        if
        :: uses[me] > 0 ->
            is_registered[me] = true;
            way[me * 3]!HOLD, me, instance[me], true
        :: else -> way[me * 3]!SETTLED, 0, 0, false
        fi }
    od
}

active proctype fate()
{
    byte victim;

    if
    :: victim = 1
    :: victim = 2
    fi;
    if
    :: atomic { dead[victim] = true }
       if
       :: deaf[0] = true
       :: skip
       fi;
       if
       :: deaf[3 - victim] = true
       :: skip
       fi
    :: skip
    fi
}

init
{
    atomic { run owner(); run holder(1); run holder(2) }
    timeout;
    assert(is_freed)
}
