/* Who descends from whom, and how much memory they use, by /proc; see tree.c. */
#ifndef SPAWN_TREE_H
#define SPAWN_TREE_H

#include "base/compiler.h"

#include <sys/types.h>

/* The processes whose parent is pid, at most `max` of them. Returns how many. */
size_t tree_children(pid_t pid, pid_t *ret_children, size_t max);
/* Resident bytes of a process and all that descend from it. */
uint64_t tree_resident(pid_t pid);

#endif
