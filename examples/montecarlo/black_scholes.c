/*
 * Both prices are expectations over one lognormal variable, so both are the same formula
 * with another mean and another deviation of the logarithm. erfc instead of 1 - erf keeps
 * all digits in the tails.
 */
#include "black_scholes.h"

#include <math.h>

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

/* The discounted mean of max(+-(X - strike), 0), where log X is normal. */
static double lognormal_price(const struct contract *contract, double log_mean, double log_sd)
{
    double sign = contract->kind == CONTRACT_CALL ? 1.0 : -1.0;
    double forward = exp(log_mean + 0.5 * log_sd * log_sd);
    double d2 = (log_mean - log(contract->strike)) / log_sd;
    double d1 = d2 + log_sd;
    double mean = forward * normal_cdf(sign * d1) - contract->strike * normal_cdf(sign * d2);
    return exp(-contract->rate * contract->maturity) * sign * mean;
}

static double log_drift(const struct contract *contract)
{
    double variance = contract->volatility * contract->volatility;
    return contract->rate - contract->dividend - 0.5 * variance;
}

double black_scholes(const struct contract *contract)
{
    double years = contract->maturity;
    double log_mean = log(contract->spot) + log_drift(contract) * years;
    return lognormal_price(contract, log_mean, contract->volatility * sqrt(years));
}

double black_scholes_geometric(const struct contract *contract)
{
    double n = (double)contract->steps;
    double mean_time = contract->maturity * (n + 1) / (2 * n);
    double time_sum = contract->maturity * (n + 1) * (2 * n + 1) / (6 * n * n);
    double log_mean = log(contract->spot) + log_drift(contract) * mean_time;
    return lognormal_price(contract, log_mean, contract->volatility * sqrt(time_sum));
}
