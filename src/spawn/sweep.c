/*
 * Looking after what the kernel does not tell: memory, and processes that left.
 *
 * While children run, every 50 ms if the memory of one is sampled, else every 100 ms:
 * - The resident memory of each limited child's tree is summed; one above its limit is
 *   killed. Between two looks it can have used more than that.
 * - Descendants whose parent has ended come to the spawner, which is a subreaper. One that
 *   is still in the session of a running command is that command's. One that made a session
 *   of its own can be anybody's: it may live as long as any command runs that was there when
 *   it was first seen. So a command may have daemons, and none outlives it for long.
 *
 * With no command running, every orphan is killed at once.
 */
#include "spawn/spawner.h"

#include "base/alloc.h"
#include "spawn/tree.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define SWEEP_NS (100 * MS)
#define END_NS (3000 * MS)
enum { OWN_MAX = 4096 };

static struct base_key orphan_key(pid_t pid)
{
    return (struct base_key){2, (uint64_t)pid};
}

void sweep_forget(struct spawner *spawner, pid_t orphan)
{
    base_map_remove(&spawner->orphans, orphan_key(orphan));
}

/* The newest command there was when it was first seen; without memory it is as if seen now. */
static uint64_t seen_at(struct spawner *spawner, pid_t orphan)
{
    uintptr_t sequence = (uintptr_t)base_map_find(&spawner->orphans, orphan_key(orphan));
    if (!sequence) {
        sequence = (uintptr_t)spawner->sequence;
        (void)!base_map_insert(&spawner->orphans, orphan_key(orphan), (void *)sequence);
    }
    return sequence;
}

static bool may_live(struct spawner *spawner, pid_t orphan)
{
    if (base_list_is_empty(&spawner->children)) {
        return false;
    }
    struct child *oldest = MT_CONTAINER(spawner->children.next, struct child, node);
    return spawner_find_pid(spawner, getsid(orphan)) ||
           oldest->sequence <= seen_at(spawner, orphan);
}

static void kill_orphans(struct spawner *spawner, const pid_t *own, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!spawner_find_pid(spawner, own[i]) && !may_live(spawner, own[i])) {
            kill(own[i], SIGKILL);
        }
    }
}

static uint64_t resident(struct spawner *spawner, const struct child *child, const pid_t *own,
                         size_t count)
{
    uint64_t bytes = tree_resident(child->pid);
    for (size_t i = 0; i < count; i++) {
        if (!spawner_find_pid(spawner, own[i]) && getsid(own[i]) == child->pid) {
            bytes += tree_resident(own[i]);
        }
    }
    return bytes;
}

static void sample(struct spawner *spawner, const pid_t *own, size_t count)
{
    BASE_LIST_EACH(&spawner->children, node)
    {
        struct child *child = MT_CONTAINER(node, struct child, node);
        if (child->limits.memory_bytes && !child->group.mount[0] && child->stage != CHILD_KILLED &&
            resident(spawner, child, own, count) > child->limits.memory_bytes) {
            child_stop(spawner, child, SPAWN_ENDED_MEMORY, 0);
        }
    }
}

static void remove_left(struct spawner *spawner)
{
    BASE_LIST_EACH(&spawner->left, node)
    {
        struct left *left = MT_CONTAINER(node, struct left, node);
        if (cgroup_remove(&left->group)) {
            base_list_remove(node);
            base_free(left);
        }
    }
}

void sweep(struct spawner *spawner, uint64_t now_ns)
{
    pid_t own[OWN_MAX];
    if (now_ns < spawner->next_sweep_ns) {
        return;
    }
    size_t count = tree_children(getpid(), own, OWN_MAX);
    if (spawner->sampled) {
        sample(spawner, own, count);
    }
    kill_orphans(spawner, own, count);
    remove_left(spawner);
    bool is_idle =
        base_list_is_empty(&spawner->children) && count == 0 && base_list_is_empty(&spawner->left);
    spawner->next_sweep_ns =
        is_idle ? BASE_FOREVER : now_ns + (spawner->sampled ? SPAWNER_SAMPLE_NS : SWEEP_NS);
}

void sweep_all(struct spawner *spawner)
{
    pid_t own[OWN_MAX];
    const struct timespec pause = {.tv_nsec = (long)MS};
    uint64_t until_ns = spawner_now_ns() + END_NS;
    BASE_LIST_EACH(&spawner->children, node)
    {
        kill(-MT_CONTAINER(node, struct child, node)->pid, SIGKILL);
    }
    while (spawner_now_ns() < until_ns) {
        size_t count = tree_children(getpid(), own, OWN_MAX);
        for (size_t i = 0; i < count; i++) {
            kill(own[i], SIGKILL);
        }
        pid_t ended = waitpid(-1, NULL, WNOHANG);
        if (ended < 0 && errno == ECHILD) {
            break;
        }
        if (ended == 0) {
            nanosleep(&pause, NULL);
        }
    }
    BASE_LIST_EACH(&spawner->children, node)
    {
        struct child *child = MT_CONTAINER(node, struct child, node);
        if (child->group.mount[0]) {
            cgroup_remove(&child->group);
        }
    }
    remove_left(spawner);
}
