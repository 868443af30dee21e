/* What happens when a rank dies. The story is on top of recover.c. */
#ifndef CORE_RECOVER_H
#define CORE_RECOVER_H

#include "core/scope.h"

/* comm's sink: a peer is down. Once per peer. */
void recover_peer_down(void *rank, uint32_t peer);

/* ---- Holders of refs whose owner died */
void recover_borrow(struct rank *rank, struct borrow *borrow);
void recover_note_new_borrow(struct rank *rank, struct borrow *borrow);
/* One registration that a death had made necessary is acknowledged. */
void recover_settle_one(struct rank *rank);

/* ---- Re-executed parents */
/*
 * A run of a task that may have run before. True: it need not be queued now, because it waits until
 * the id's home knows this rank and has told what survived, or because an earlier run of it is
 * still here and goes on in its place (run is freed).
 */
bool recover_takes_over(struct rank *rank, struct run *run);
/*
 * A task that its owner runs for the first time has been run again here already, for another owner:
 * this one is the child of an orphan. Refs of both runs' children are the same, so there can only
 * be one of them on a rank, and the new one has to be taken over like one that runs again.
 */
static inline bool recover_has_met(struct rank *rank, uint64_t id)
{
    return MT_UNLIKELY(rank->has_taken_over) && scope_find(rank, id);
}
/* Keeps a child of a re-executed parent until every survivor of the death has had time to say that
 * it holds it. */
void recover_grace(struct rank *rank, struct scope *scope, struct task *task);
/* A submission at a position whose record survived on this rank: its refs are given out again. */
struct task *recover_resubmit(struct rank *rank, struct scope *scope,
                              const manta_function *function);
/* Refs of a task are held again: if its value is gone by now, it is made again. */
void recover_revive(struct rank *rank, struct task *task);
/* A submission at a position that may have survived: true when the surviving run was adopted for
 * it. */
bool recover_adopt(struct rank *rank, struct scope *scope, struct task *task);
/* The task (NULL: every one of the scope) is done: other runs of it, refused before, may stop. */
void recover_stop_refused(struct rank *rank, struct scope *scope, const struct task *task);
/*
 * A new record of a scope that may be borrowed from. Refs of it that are borrowed here already,
 * from another owner that may be dead or alive, are held on this rank through the borrows. These
 * hold the record until they go, so that it is there when that owner dies, and its own owner knows
 * that it is needed. A re-executed parent's is kept in grace too.
 */
void recover_note_record(struct rank *rank, struct scope *scope, struct task *task);
void recover_part_from(struct rank *rank, const struct borrow *borrow);
/* Requests of holders that have waited for this record. */
void recover_answer_lookups(struct rank *rank, struct scope *scope, const struct task *task);
/* Keeps a holder's request until the re-executed parent reaches the position again. False: it never
 * will. */
bool recover_park_request(struct rank *rank, uint32_t from, const struct wire_header *header,
                          const void *message, size_t size);
void recover_fail_lookups(struct rank *rank, struct scope *scope);
void recover_forget_scope(struct rank *rank, struct scope *scope);
bool recover_is_diverged(const struct task *task);
void recover_diverged_error(struct rank *rank, const struct task *task, manta_error *ret_error);
/* The parent itself: a re-run for its children has ended. */
void recover_rerun_ended(struct rank *rank, struct task *task, bool has_children);
/* It will not run again: what is left of its run stops, and who looks for its children is told. */
void recover_give_up(struct rank *rank, struct task *task);

/* ---- Shared with home.c */
struct message_offer;
struct message_register {
    uint32_t what, number; /* of the owner's registrations */
};
enum register_what {
    REGISTER_OWNER,
    REGISTER_GONE,
    REGISTER_GIVEN_UP,
    REGISTER_WAS_GIVEN_UP, /* at an earlier home: who has registered since knows better */
};

/* ---- Between recover.c, settle.c and takeover.c */
void recover_send_register(struct rank *rank, uint64_t id, uint32_t home, enum register_what what,
                           uint32_t number);
/* A holder asks us about a ref that we do not own (any more): it looks at the home again. */
void recover_refuse_holder(struct rank *rank, uint32_t holder, const struct wire_header *header);
/* Nobody adopts it; `is_over`: and nobody will. */
void recover_drop_orphan(struct rank *rank, struct run *run, bool is_over);
/* Its owner, if it has one and it has not ended, is to place its task again. */
void recover_displace_owner(struct rank *rank, struct run *run);
/* Registers everything borrowed here because of a death, and says so when all is acknowledged. */
void recover_settle(struct rank *rank, uint32_t dead);
void recover_settle_with(struct rank *rank, struct borrow *borrow);

uint32_t recover_home(const struct rank *rank, uint64_t id);
/* An offer has reached the rank that runs the parent again. */
void recover_take_offer(struct rank *rank, struct scope *scope, uint32_t position,
                        const struct message_offer *offer);
/* The id will not run again: says so to its home, and to the next ones when that dies. */
void home_give_up(struct rank *rank, uint64_t id);
void home_repeat_given_up(struct rank *rank, uint32_t dead);
void home_forget_given_up(struct rank *rank);
void home_forget_owner(struct rank *rank, uint32_t dead);
void home_clear(struct rank *rank);
void recover_fini(struct rank *rank);

#endif
