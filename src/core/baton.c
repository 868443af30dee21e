#include "core/baton.h"

enum { SPINS_BEFORE_YIELD = 200 };

MT_COLD void baton_contend(struct baton *baton, const struct base_host *host)
{
    unsigned spins = 0;
    atomic_fetch_add_explicit(&baton->wanted, 1, memory_order_relaxed);
    while (!baton_try(baton)) {
        base_cpu_relax();
        if (++spins % SPINS_BEFORE_YIELD == 0) {
            host->yield(host->self);
        }
    }
    atomic_fetch_sub_explicit(&baton->wanted, 1, memory_order_relaxed);
}
