/* One option contract: what a row of the grid says. A plain value, so that a task can take it. */
#ifndef MONTECARLO_CONTRACT_H
#define MONTECARLO_CONTRACT_H

#include <stdint.h>

enum contract_kind { CONTRACT_CALL, CONTRACT_PUT };
enum contract_style { CONTRACT_EUROPEAN, CONTRACT_ASIAN };

struct contract {
    int32_t kind;    /* enum contract_kind */
    int32_t style;   /* enum contract_style: pays on the last price, or on the mean of all steps */
    double spot;     /* price today, in units of currency */
    double strike;   /* the same */
    double rate;     /* risk-free, continuously compounded, per year */
    double dividend; /* yield, continuously compounded, per year */
    double volatility; /* per square root of a year */
    double maturity;   /* years */
    uint64_t steps;    /* dates on a path, equally spaced; the last is the maturity */
    uint64_t samples;  /* paths */
};

#endif
