/* gate_needs.c: how many feedbacks a rollout's step takes when both policies are equally good: a table for
 * docs/evaluation.md. Run by hand. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "src/ope/gate.h"

enum { RUNS = 9, MOST = 5000000 };

static const double shares[] = {0.01, 0.05, 0.2, 0.5}, margins[] = {0.02, 0.05, 0.1}, differs[] = {1, 0.3};
#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One step; its level is what it would have as one of all. */
static double run(double margin, double differ, double share, uint64_t seed) {
    weirp_gate_plan plan = {.name = "bench",
                            .digest = 0x100,
                            .n_steps = 1,
                            .step = {share},
                            .level = 1 - 0.05 / (double)COUNT_OF(shares),
                            .margin = margin,
                            .margin_error = 1,
                            .min_feedback = 1};
    weirp_gate g;
    weirp_gate_start(&g, &plan, 0);
    uint64_t i = 0;
    for (; g.status == WEIRP_GATE_RUNNING && i < MOST; i++) {
        const bool other = weirp_random_uniform(seed, 1, i) < differ;
        const bool taken = other && weirp_random_uniform(seed, 2, i) < share;
        const double p = !other ? 1 : taken ? share : 1 - share, candidate = !other || taken;
        weirp_gate_feedback(&g, 0, p, candidate, weirp_random_uniform(seed, 3, i) < 0.7, 0);
    }
    return (double)i;
}

int main(void) {
    for (size_t m = 0; m < COUNT_OF(margins); m++)
        for (size_t d = 0; d < COUNT_OF(differs); d++) {
            printf("| %.2f | %.0f %% |", margins[m], 100 * differs[d]);
            for (size_t s = 0; s < COUNT_OF(shares); s++) {
                double n[RUNS];
                for (int r = 0; r < RUNS; r++) n[r] = run(margins[m], differs[d], shares[s], 100 + (uint64_t)r);
                qsort(n, RUNS, sizeof *n, by_size);
                printf(" %.0f |", n[RUNS / 2]);
                fflush(stdout);
            }
            printf("\n");
        }
    return 0;
}
