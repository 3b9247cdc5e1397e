/* folds.c: out-of-fold predictions. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/folds.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

weir_status weirp_folds_make(weirp_folds *f, const weirp_sample *sample, size_t n_folds, uint64_t seed,
                             weir_error *err) {
    if (n_folds > sample->n) n_folds = sample->n;
    if (n_folds < 2) n_folds = 2;
    f->n = sample->n;
    f->n_folds = n_folds;
    f->fold = weirp_array(sample->n, sizeof *f->fold);
    if (!f->fold) return weirp_nomem(err);
    for (size_t i = 0; i < sample->n; i++) {
        uint64_t h = XXH3_64bits_withSeed(sample->dense + i * sample->dim, sample->dim * sizeof(float), seed);
        f->fold[i] = (uint32_t)(h % n_folds);
    }
    return WEIR_OK;
}

void weirp_folds_free(weirp_folds *f) {
    free(f->fold);
    memset(f, 0, sizeof *f);
}

/* One fold's rows in or out, copied together. */
typedef struct part {
    weirp_sample sample;
    float *dense;
    double *target;
    size_t *row;
} part;

static void part_free(part *p) {
    free(p->dense);
    free(p->target);
    free(p->row);
    memset(p, 0, sizeof *p);
}

static weir_status part_gather(part *p, const weirp_folds *f, const weirp_sample *s, size_t fold, bool held_out,
                               weir_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += (f->fold[i] == fold) == held_out;
    p->sample = *s;
    p->sample.n = n;
    p->dense = weirp_array(n * s->dim, sizeof(float));
    p->target = weirp_array(n * s->n_models, sizeof(double));
    p->row = weirp_array(n, sizeof(size_t));
    if (!p->dense || !p->target || !p->row) return weirp_nomem(err);
    for (size_t i = 0, k = 0; i < s->n; i++) {
        if ((f->fold[i] == fold) != held_out) continue;
        memcpy(p->dense + k * s->dim, s->dense + i * s->dim, s->dim * sizeof(float));
        memcpy(p->target + k * s->n_models, s->target + i * s->n_models, s->n_models * sizeof(double));
        p->row[k++] = i;
    }
    p->sample.dense = p->dense;
    p->sample.target = p->target;
    return WEIR_OK;
}

static weir_status predict_fold(const weirp_folds *f, const weirp_estimator_class *class, const weirp_sample *s,
                                size_t fold, double *out, weir_error *err) {
    part train = {0}, test = {0};
    double *predicted = NULL;
    weir_status st;
    WEIRP_TRY(part_gather(&train, f, s, fold, false, err));
    WEIRP_TRY(part_gather(&test, f, s, fold, true, err));
    if (!test.sample.n) goto done;
    predicted = weirp_array(class->n_settings * test.sample.n * s->n_models, sizeof(double));
    if (!predicted) {
        st = weirp_nomem(err);
        goto done;
    }
    WEIRP_TRY(class->fit_predict(&train.sample, &test.sample, predicted, err));
    size_t width = s->n_models * sizeof(double);
    for (size_t k = 0; k < class->n_settings; k++)
        for (size_t i = 0; i < test.sample.n; i++)
            memcpy(out + (k * s->n + test.row[i]) * s->n_models, predicted + (k * test.sample.n + i) * s->n_models,
                   width);
done:
    free(predicted);
    part_free(&train);
    part_free(&test);
    return st;
}

weir_status weirp_folds_predict(const weirp_folds *f, const weirp_estimator_class *class, const weirp_sample *sample,
                                double **out, weir_progress_fn progress, void *user, const char *stage,
                                weir_error *err) {
    double *all = weirp_array(class->n_settings * sample->n * sample->n_models, sizeof(double));
    if (!all) return weirp_nomem(err);
    for (size_t fold = 0; fold < f->n_folds; fold++) {
        weir_status st = WEIR_OK;
        if (progress && progress(user, stage, fold, f->n_folds)) st = weirp_fail(err, WEIR_CANCELED, 0, "canceled");
        if (st == WEIR_OK) st = predict_fold(f, class, sample, fold, all, err);
        if (st != WEIR_OK) {
            free(all);
            return st;
        }
    }
    if (progress) progress(user, stage, f->n_folds, f->n_folds);
    *out = all;
    return WEIR_OK;
}
