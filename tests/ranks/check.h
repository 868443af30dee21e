/* For jobs that check themselves: names the line that does not hold, and ends the function. */
#ifndef TESTS_RANKS_CHECK_H
#define TESTS_RANKS_CHECK_H

#include <stdio.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

#endif
