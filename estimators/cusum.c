/* cusum.c: drift 0.4, threshold 14. On yes-or-no outcomes that means a false alarm in 36,000 (at a share of 0.83) to
 * some 10^6 observations (at 0.5), and 20 observations from 0.83 to 0.45: by simulation, tests/unit/cusum_test.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/cusum.h"

#include <math.h>
#include <stddef.h>

#define ALLOWANCE 0.4
#define THRESHOLD 14.0
/* One surprise counts at most so many standard deviations. */
#define CLIP 3.0

static void step(weirp_cusum_side *side, double z, double expected, double seen) {
    side->sum += z - ALLOWANCE;
    if (!(side->sum > 0)) {
        *side = (weirp_cusum_side){0};
        return;
    }
    side->expected += expected;
    side->seen += seen;
    side->n++;
}

const weirp_cusum_side *weirp_cusum_step(weirp_cusum *c, double expected, double seen, double sd) {
    double z = fmin(fmax((seen - expected) / sd, -CLIP), CLIP);
    step(&c->up, z, expected, seen);
    step(&c->down, -z, expected, seen);
    if (c->up.sum > THRESHOLD) return &c->up;
    return c->down.sum > THRESHOLD ? &c->down : NULL;
}
