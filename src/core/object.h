/* Finding what a ref means on this rank, and who holds it. */
#ifndef CORE_OBJECT_H
#define CORE_OBJECT_H

#include "core/rank.h"

/* What a ref names here: an output of a task we own, an element of a map we own, or a borrow. */
struct target {
    struct object *object; /* NULL: not known here */
    uint32_t output;       /* of a task */
    int64_t element;       /* of a map; -1: not an element */
};

static inline struct task *object_task(struct object *object)
{
    return MT_CONTAINER(object, struct task, object);
}

static inline struct borrow *object_borrow(struct object *object)
{
    return MT_CONTAINER(object, struct borrow, object);
}

static inline struct base_key core_key(uint64_t parent, uint32_t position)
{
    return (struct base_key){parent, position};
}

/* The id that a task's own children carry as parent. Never one of a root scope, never 0. */
static inline uint64_t core_task_id(uint64_t parent, uint32_t position)
{
    uint64_t id = base_mix64(parent + base_mix64(position + UINT64_C(0x9e3779b97f4a7c15)));
    return (id >> 1) ? id >> 1 : 1;
}

/* Root scopes: the top bit and the rank. They die with it. */
#define CORE_ROOT_BIT (UINT64_C(1) << 63)
static inline bool core_is_root_id(uint64_t id)
{
    return id & CORE_ROOT_BIT;
}

struct target target_find(struct rank *rank, manta_ref ref);
bool target_is_done(const struct target *target);
int target_code(const struct target *target);
/* Value of a done target without failure. */
struct content target_content(const struct target *target);
/* The value of a done target lies in the store of another node. */
static inline bool target_is_elsewhere(const struct target *target)
{
    const struct object *object = target->object;
    return object->kind != OBJECT_MAP && object->value &&
           !object->value->output[target->output].data;
}
/* The error record of a failed target, made from the code when there is none. */
void target_error(struct rank *rank, const struct target *target, manta_error *ret_error);
/* Tells `watch` when it is done (now, if it is). False: memory is out. */
bool target_watch(struct rank *rank, const struct target *target, struct watch *watch);
void target_unwatch(struct rank *rank, const struct target *target, struct watch *watch);

/* Finds the target, or makes a borrow for a ref of another rank that has just come in. One hold.
 * NULL: unknown or no memory. */
struct object *object_get_held(struct rank *rank, manta_ref ref);
/* The same of what target_find has just said. */
struct object *target_hold(struct rank *rank, manta_ref ref, struct target target);
static inline void object_hold(struct object *object)
{
    object->holds++;
}
/*
 * Refs name the owner that protects them for us. After a death two ranks may own the same parent
 * for a while, each with records of its own, so what we hand on must name the one that we are
 * registered with: until the receiver is, too, only our share is there. Bytes of refs that nobody
 * else reads yet.
 */
void object_name_owners(struct rank *rank, void *refs, size_t bytes);
/* Nobody holds it, or it is a stream's, which only its run may hold. */
void object_check_last(struct rank *rank, struct object *object);
/* Frees it if nothing holds it. */
static inline void object_check(struct rank *rank, struct object *object)
{
    if (object->holds == 0 || MT_UNLIKELY(object->is_stream)) {
        object_check_last(rank, object);
    }
}
/* Ends one hold; frees at the last. */
static inline void object_drop(struct rank *rank, struct object *object)
{
    object->holds--;
    object_check(rank, object);
}

/* Tells the owner of a borrowed ref that this rank holds it; `guard` (consumed, may be NULL) is
 * released at its acknowledgement. */
void object_register(struct rank *rank, struct borrow *borrow, struct guard *guard);
/* Until the owner acknowledges what it was told, something else keeps the ref alive already. */
static inline bool borrow_is_guarded(const struct borrow *borrow)
{
    return borrow->is_registered && !base_list_is_empty(&borrow->guards) &&
           !MT_CONTAINER(borrow->guards.next, const struct guard, link)->settles;
}
void guard_release(struct rank *rank, struct guard *guard);
/* Tells the owner of a ref that another rank holds it too. */
void object_tell_holder(struct rank *rank, uint32_t owner, manta_ref ref, uint32_t holder,
                        uint32_t instance);

/* The owner's side of holds by other ranks. */
void holder_add(struct rank *rank, struct task *task, uint32_t position, uint32_t holder,
                uint32_t instance);
/* Of one that was added before. */
void holder_end(struct rank *rank, struct task *task, uint32_t position, uint32_t holder,
                uint32_t instance);
void holders_forget(struct rank *rank, struct task *task, uint32_t holder);

/* Marks done and tells the watchers. value is consumed (may be NULL), error too. */
void object_finish(struct rank *rank, struct object *object, int code, struct value *value,
                   manta_error *error);
void watchers_fire(struct rank *rank, struct watch *watchers);

/* Asks the owner of a borrow for its value, once. */
void borrow_request(struct rank *rank, struct borrow *borrow);

/*
 * Its owner is told of it by somebody else. While it is not known here who that is, it must not go:
 * nobody could be told that it has.
 */
void borrow_keep(struct rank *rank, struct borrow *borrow);

/* The owner has heard of every hold we told it: what waited for that goes on. */
void borrow_acknowledged(struct rank *rank, struct borrow *borrow);

/* Sends the value or error of a done target to a holder; WATCH_REMOTE's and a plain refusal. */
void object_answer(struct rank *rank, const struct target *target, manta_ref ref, uint32_t peer);
void remote_notify(struct rank *rank, const struct watch *watch);
struct message_request;
/* To whom asks for what will never be here. */
void object_answer_lost(struct rank *rank, uint32_t peer, const struct message_request *request);

/* Holds for the refs inside a value that has just arrived or been made here. Registrations of them
 * guard `task` (counted in its extra's unacked, which must be there); NULL: nothing. */
void value_hold_refs(struct rank *rank, const struct value *value, struct task *task);
void value_drop_refs(struct rank *rank, const struct value *value);
/* object_name_owners for the refs in a value that nobody reads yet. */
void value_name_owners(struct rank *rank, const struct value *value);

#endif
