/*
 * Closed prices to check a simulation against. F. Black and M. Scholes, "The pricing of
 * options and corporate liabilities", J. Political Economy 81 (1973); the dividend yield
 * after R. Merton, Bell J. Economics 4 (1973).
 */
#ifndef MONTECARLO_BLACK_SCHOLES_H
#define MONTECARLO_BLACK_SCHOLES_H

#include "contract.h"

/* The price of a European call or put, in units of currency; of an Asian contract's European twin.
 */
double black_scholes(const struct contract *contract);

/*
 * The price of the option on the geometric mean of the contract's steps, by A. Kemna and
 * A. Vorst, J. Banking and Finance 14 (1990): below that on the arithmetic mean for a
 * call, above it for a put.
 */
double black_scholes_geometric(const struct contract *contract);

#endif
