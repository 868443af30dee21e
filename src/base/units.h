/* Durations and sizes in words, each in the unit that fits: "0.2 s", "1 ns", "64 MiB", "1 B". */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stdint.h>

/* By value, to be used where it is printed: printf("%s", base_duration(ns).text). */
struct base_quantity {
    char text[28];
};

/* Seconds from a hundredth on, which are what limits are given in. */
struct base_quantity base_duration(uint64_t ns);
struct base_quantity base_size(uint64_t bytes);

#endif
