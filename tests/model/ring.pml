/*
 * The ring of comm/shm: publication by a sequence word inside the line, clearing of
 * continuation lines, pads at the end, and a reader's position published lazily.
 *
 * A ring of LINES lines, messages of 1 to MAXLINES lines drawn by the model checker,
 * positions counted for ever. What is modelled of a line is its first word, which is
 * the sequence word (position | 1) in a head line and arbitrary body in a
 * continuation line; the worst body is chosen: the very word that a head line there
 * would have in a later lap. Memory is sequentially consistent here, which stands
 * for the release and acquire that shm.c uses for these words; what it does not stand
 * for, store before load across two words, is in sleep.pml.
 *
 * Proved: the reader takes exactly the messages sent, in order, whole, and never a
 * word that is not a published head; the writer never writes a line that is not yet
 * consumed; no deadlock: room always comes.
 *
 * -DBREAK=1: continuation lines are not cleared.
 * -DBREAK=2: the position is published before the lines are cleared.
 * -DBREAK=3: the sequence word is stored before the body.
 * -DBREAK=4: frames are too long for a lazily published position.
 */
#ifndef BREAK
#define BREAK 0
#endif

#define LINES 8
#define STEP 4 /* the reader publishes each half ring */
#if BREAK == 4
#define MAXLINES 5
#else
#define MAXLINES 3 /* 2 * MAXLINES - 1 <= LINES - STEP + 1 */
#endif
#define MESSAGES 6
#define SEQUENCE(p) ((p) | 1)
#define PAD 99

int word[LINES];   /* first word of each line */
byte size[LINES];  /* info word of a head line: lines, or PAD */
byte owner[LINES]; /* ghost: number of the message whose body lies here, 0 none */
byte body_done[LINES]; /* ghost: the body behind this head line is written */
int head;          /* shared, published by the reader */
byte sent_lines[MESSAGES + 1]; /* ghost */

active proctype writer()
{
    int tail = 0, head_seen = 0;
    byte n, i, pad, number = 1;

    do
    :: number <= MESSAGES ->
        select(n : 1 .. MAXLINES);
        pad = (tail % LINES + n > LINES -> LINES - tail % LINES : 0);
        do
        :: tail - head_seen + pad + n <= LINES -> break
        :: else ->
            (head != head_seen); /* sleeps until room comes: a deadlock here is one there */
            head_seen = head
        od;
        if
        :: pad > 0 ->
            size[tail % LINES] = PAD;
            word[tail % LINES] = SEQUENCE(tail);
            tail = tail + pad
        :: else
        fi;
        sent_lines[number] = n;
        size[tail % LINES] = n;
        body_done[tail % LINES] = 0;
#if BREAK == 3
        word[tail % LINES] = SEQUENCE(tail);
#endif
        i = 0;
        do
        :: i < n ->
            assert(owner[(tail + i) % LINES] == 0); /* consumed before it is written again */
            owner[(tail + i) % LINES] = number;
            if
            :: i > 0 -> word[(tail + i) % LINES] = SEQUENCE(tail + i + LINES)
            :: else
            fi;
            i++
        :: else -> break
        od;
        body_done[tail % LINES] = 1;
#if BREAK != 3
        word[tail % LINES] = SEQUENCE(tail);
#endif
        tail = tail + n;
        number++
    :: else -> break
    od
}

active proctype reader()
{
    int at = 0, published = 0;
    byte n, i, number = 1;

    do
    :: number <= MESSAGES ->
        (word[at % LINES] == SEQUENCE(at));
        n = size[at % LINES];
        if
        :: n == PAD -> n = LINES - at % LINES
        :: else ->
            assert(body_done[at % LINES] == 1);
            assert(n == sent_lines[number]);
            assert(at % LINES + n <= LINES);
            i = 0;
            do
            :: i < n ->
                assert(owner[(at + i) % LINES] == number);
                owner[(at + i) % LINES] = 0;
                i++
            :: else -> break
            od;
#if BREAK == 2
            if
            :: at + n - published >= STEP -> published = at + n; head = published
            :: else
            fi;
#endif
#if BREAK != 1
            i = 1;
            do
            :: i < n -> word[(at + i) % LINES] = 0; i++
            :: else -> break
            od;
#endif
            number++
        fi;
        at = at + n;
        if
        :: at - published >= STEP -> published = at; head = published
        :: else
        fi
    :: else -> break
    od
}
