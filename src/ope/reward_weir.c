/* reward_weir.c: weir's own estimators as reward models, on at most MOST_ROWS rows of dense features.
 *
 * Each row has one cell, the chosen model's; all others are missing. Rows that aren't needed are left out by a hash of
 * their number, so that the sample doesn't depend on outcomes. A final fit's setting is the one of least squared error
 * on the first of its inner groups, fitted on the others. Row weights aren't known to these estimators: for a more
 * robust fit rows are drawn in proportion to their weights instead (one that weighs as much as several stands there as
 * often, up to MOST_COPIES). SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/estimator.h"
#include "src/linalg/parallel.h"
#include "src/ope/reward_sample.h"

enum { MOST_ROWS = 40000, ALIGNMENT = 64 };

typedef struct weir_reward {
    const weirp_reward_frame *frame;
    weirp_estimator *fit[WEIRP_REWARD_MAX_FOLDS];
    size_t scratch;
} weir_reward;

static void weir_free(weirp_reward_other *self) {
    weir_reward *r = (weir_reward *)self;
    if (!r) return;
    for (size_t f = 0; f < WEIRP_REWARD_MAX_FOLDS; f++)
        if (r->fit[f]) r->fit[f]->class->free(r->fit[f]);
    free(r);
}

/* Rows of the sample by what a fit sees: `group` -2 all that f may see, -1 all of those but group 0, 0 only group 0. */
static weir_status gather(const weirp_reward_sample *s, const weirp_reward_frame *o, size_t f, int group,
                          weirp_sample *out, weir_error *err) {
    size_t n = 0, models = o->n_models;
    float *dense = weirp_array(s->n * s->dim, sizeof *dense);
    double *target = weirp_array(s->n * models, sizeof *target);
    if (!dense || !target) {
        free(dense);
        free(target);
        return weirp_nomem(err);
    }
    for (size_t i = 0; i < s->n; i++) {
        int own = o->folds.group[f][s->part[i]];
        if (own < 0 || (group == -1 && own == 0) || (group == 0 && own != 0)) continue;
        memcpy(dense + n * s->dim, s->dense + i * s->dim, s->dim * sizeof *dense);
        for (size_t m = 0; m < models; m++) target[n * models + m] = NAN;
        target[n++ * models + s->chosen[i]] = s->y[i];
    }
    *out = (weirp_sample){.n = n,
                          .n_models = models,
                          .dim = s->dim,
                          .dense = dense,
                          .target = target,
                          .lo = o->lo[f],
                          .hi = o->hi[f],
                          .seed = o->seed,
                          .n_threads = o->n_threads};
    return WEIR_OK;
}

static void drop(weirp_sample *s) {
    free((float *)s->dense);
    free((double *)s->target);
    *s = (weirp_sample){0};
}

static weir_status best_setting(const weirp_estimator_class *class, const weirp_sample *train, const weirp_sample *test,
                                size_t *best, weir_error *err) {
    size_t cells = test->n * test->n_models;
    *best = class->n_settings / 2;
    if (class->n_settings < 2 || !train->n || !test->n) return WEIR_OK;
    double *predicted = weirp_array(class->n_settings * cells, sizeof *predicted), least = INFINITY;
    if (!predicted) return weirp_nomem(err);
    weir_status st = class->fit_predict(train, test, predicted, err);
    for (size_t k = 0; st == WEIR_OK && k < class->n_settings; k++) {
        double error = 0;
        for (size_t c = 0; c < cells; c++) {
            double d = test->target[c] - predicted[k * cells + c];
            if (isfinite(test->target[c])) error += d * d;
        }
        if (error < least) least = error, *best = k;
    }
    free(predicted);
    return st;
}

static weir_status fit_one(weir_reward *r, const weirp_estimator_class *class, const weirp_reward_sample *s, size_t f,
                           weir_error *err) {
    weirp_sample all = {0}, train = {0}, test = {0};
    size_t setting = 0;
    weir_status st = WEIR_OK;
    WEIRP_TRY(gather(s, r->frame, f, -2, &all, err));
    WEIRP_TRY(gather(s, r->frame, f, -1, &train, err));
    WEIRP_TRY(gather(s, r->frame, f, 0, &test, err));
    WEIRP_TRY(best_setting(class, &train, &test, &setting, err));
    if (all.n) WEIRP_TRY(class->fit(&r->fit[f], &all, setting, err));
    if (r->fit[f]) {
        size_t need = class->scratch_size(r->fit[f]);
        if (need > r->scratch) r->scratch = need;
    }
done:
    drop(&all);
    drop(&train);
    drop(&test);
    return st;
}

static weir_status weir_fit(weirp_reward_other **out, const weirp_reward_frame *frame, weirp_ope_target *robust_for,
                            const char *name, weir_error *err) {
    const weirp_estimator_class *class = weirp_estimator_class_find(name);
    weirp_reward_sample s = {0};
    *out = NULL;
    if (!frame->dim) return WEIR_OK;
    weir_reward *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    r->frame = frame;
    weir_status st = weirp_reward_sample_take(&s, frame, robust_for, MOST_ROWS, true, err);
    for (size_t f = 0; st == WEIR_OK && f < frame->folds.n_folds; f++) st = fit_one(r, class, &s, f, err);
    weirp_reward_sample_free(&s);
    if (st == WEIR_OK)
        *out = (weirp_reward_other *)r;
    else
        weir_free((weirp_reward_other *)r);
    return st;
}

/* One scratch a thread, made when it is first needed. */
static bool weir_row(const weirp_reward_other *self, size_t f, const weirp_ope_block *b, size_t i, double *q,
                     weirp_reward_scratch *scratch) {
    const weir_reward *r = (const weir_reward *)self;
    if (!r->fit[f] || !b->dense || b->dim < r->frame->dim || !isfinite(b->dense[i * b->dim])) return false;
    if (!scratch->bytes) {
        scratch->bytes = aligned_alloc(ALIGNMENT, (r->scratch / ALIGNMENT + 1) * ALIGNMENT);
        if (!scratch->bytes) return false;
    }
    weirp_features x = {.dim = r->frame->dim, .dense = b->dense + i * b->dim};
    r->fit[f]->class->predict(r->fit[f], &x, scratch->bytes, q, NULL);
    return true;
}

const weirp_reward_class weirp_reward_weir = {weir_fit, weir_row, weir_free};
