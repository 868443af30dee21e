/* Ranks that registered different tasks find out which. */
#ifndef LAUNCH_DIFFER_H
#define LAUNCH_DIFFER_H

#include "launch/boot.h"

/*
 * Collective, after cards_check named `other`: writes to text which task rank 0 and that rank do
 * not have in common, with both places. MANTA_E_VERSION, or MANTA_E_NOMEM or what the exchange
 * gave.
 */
int differ_explain(const struct boot *boot, uint32_t other, uint64_t timeout_ns, char *text,
                   size_t text_size);

#define DIFFER_TEXT_MAX 384

/* The walk, without ranks: 0 when `a` and `b` describe the same task, < 0 when `a` comes first, > 0
 * when `b` does. "" comes last. */
int differ_compare(const char *a, const char *b);

#endif
