/* adaptive_bench.c: how long the corrections take, and how large their state is. Models' memories are touched in turn,
 * as in use, so that a model's matrices come from where the caches left them.
 *
 *   adaptive_bench [MODELS [DIM]]
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "estimators/adaptive.h"

enum { PROMPTS = 256, UPDATES = 40000, PREDICTIONS = 100000, SCALARS = 14 };

static void fill(float *dense, size_t dim) {
    for (uint64_t t = 0; t < PROMPTS; t++)
        for (size_t i = 0; i < dim; i++) dense[t * dim + i] = 0.125f * (float)weirp_random_normal(1, t, i);
}

static double microseconds(uint64_t since, uint64_t n) {
    return (double)(weirp_cpu_ns() - since) / 1e3 / (double)n;
}

static void run(size_t n_models, size_t dim, bool trained, const float *dense, double *numbers) {
    weirp_adaptive *a = NULL;
    weir_error err = {0};
    if (weirp_adaptive_new(&a, n_models, dim, SCALARS, trained, &err) != WEIR_OK) {
        fprintf(stderr, "adaptive_bench: %s\n", err.text);
        exit(1);
    }
    double *prior = numbers, *quality = numbers + n_models, *sd = numbers + 2 * n_models, sum = 0;
    for (size_t m = 0; m < n_models; m++) prior[m] = 0.6;
    uint64_t start = weirp_cpu_ns();
    for (uint64_t t = 0; t < UPDATES; t++) {
        weirp_alarm alarm;
        const float *x = dense + t % PROMPTS * dim;
        weirp_adaptive_update(a, x, (size_t)(t % n_models), 0.6, weirp_random_uniform(2, 0, t) < 0.6, &alarm);
        weirp_adaptive_tick(a, x);
    }
    double update = microseconds(start, UPDATES);
    start = weirp_cpu_ns();
    for (uint64_t t = 0; t < PREDICTIONS; t++) {
        weirp_adaptive_predict(a, dense + t % PROMPTS * dim, prior, quality, sd);
        sum += quality[t % n_models];
    }
    double predict = microseconds(start, PREDICTIONS);
    weirp_writer w = {0};
    weirp_adaptive_save(a, &w);
    printf("%s: %zu models, %zu features: %.2f us a label, %.2f us a prediction, %.0f KiB (mean %.3f)\n",
           trained ? "trained" : "cold", n_models, dim, update, predict, (double)w.size / 1024, sum / PREDICTIONS);
    weirp_writer_free(&w);
    weirp_adaptive_free(a);
}

int main(int argc, char **argv) {
    size_t n_models = argc > 1 ? strtoul(argv[1], NULL, 10) : 11, dim = argc > 2 ? strtoul(argv[2], NULL, 10) : 78;
    if (!n_models || dim < SCALARS) return 2;
    float *dense = weirp_array(PROMPTS * dim, sizeof *dense);
    double *numbers = weirp_array(3 * n_models, sizeof *numbers);
    if (!dense || !numbers) return 1;
    fill(dense, dim);
    run(n_models, dim, false, dense, numbers);
    run(n_models, dim, true, dense, numbers);
    free(dense);
    free(numbers);
    return 0;
}
