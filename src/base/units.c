/* Three digits say enough of a duration, four of a size; no exponents, however large. */
#include "base/units.h"

#include "base/compiler.h"

#include <stdio.h>

static struct base_quantity write(double number, int digits, const char *unit)
{
    struct base_quantity quantity;
    if (number < 999.5) {
        snprintf(quantity.text, sizeof quantity.text, "%.*g %s", digits, number, unit);
    } else {
        snprintf(quantity.text, sizeof quantity.text, "%.0f %s", number, unit);
    }
    return quantity;
}

struct base_quantity base_duration(uint64_t ns)
{
    static const char *const units[] = {"ns", "us", "ms"};
    double number = (double)ns;
    size_t unit = 0;
    if (ns >= 10000000 || ns == 0) {
        return write(number / 1e9, 3, "s");
    }
    for (; number >= 1000; unit++) {
        number /= 1000;
    }
    return write(number, 3, units[unit]);
}

struct base_quantity base_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)bytes;
    size_t unit = 0;
    for (; number >= 1024 && unit + 1 < MT_COUNT(units); unit++) {
        number /= 1024;
    }
    return write(number, 4, units[unit]);
}
