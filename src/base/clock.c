/* clock.c: time. SPDX-License-Identifier: GPL-3.0-or-later */
#include <time.h>

#include "src/base/base.h"

static uint64_t read_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t weirp_monotonic_ns(void) {
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t weirp_cpu_ns(void) {
    return read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t weirp_unix_ms(void) {
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000000u);
}
