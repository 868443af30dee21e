#include "core/baton.h"

enum { SPINS_BEFORE_YIELD = 200 };

MT_COLD bool baton_take_until(struct baton *baton, const struct base_host *host,
                              uint64_t deadline_ns)
{
    unsigned spins = 0;
    bool is_late = false, is_ours;
    atomic_fetch_add_explicit(&baton->wanted, 1, memory_order_relaxed);
    while (!(is_ours = baton_try(baton)) && !is_late) {
        base_cpu_relax();
        if (++spins % SPINS_BEFORE_YIELD == 0) {
            host->yield(host->self);
            is_late = deadline_ns != BASE_FOREVER && base_now_ns(host) >= deadline_ns;
        }
    }
    atomic_fetch_sub_explicit(&baton->wanted, 1, memory_order_relaxed);
    return is_ours;
}

MT_COLD void baton_contend(struct baton *baton, const struct base_host *host)
{
    (void)baton_take_until(baton, host, BASE_FOREVER);
}
