/* select.c: choosing and combining estimators.
 *
 * Each class's setting is the one with the best cross-validated objective. Then every subset of classes is averaged with
 * equal weights and shrunk toward the constants by several factors; the largest subset within a hair of the best is
 * taken, for averaging lowers variance and the differences are mostly noise. Last, the gain over constants must exceed
 * its own standard error, or the constants are used: where text predicts nothing the router doesn't pay for noise.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Scores are in units of quality; differences below this are far inside what resampling the prompts would give. */
#define TOLERANCE 5e-4
#define GAIN_IN_SD 1.0

static const double shrinks[] = {1, 0.75, 0.5, 0.25};

void weirp_selection_clear(weirp_selection *s) {
    for (size_t k = 0; k < s->n_candidates; k++) free(s->candidate[k].held_out);
    free(s->held_out);
    memset(s, 0, sizeof *s);
}

static double squared_error(const weirp_sample *s, const double *p) {
    double sum = 0;
    size_t n = 0;
    for (size_t at = 0; at < s->n * s->n_models; at++)
        if (!isnan(s->target[at])) sum += (s->target[at] - p[at]) * (s->target[at] - p[at]), n++;
    return n ? sum / (double)n : 0;
}

/* The routing objective, or where too few prompts have all labels, less of squared error. */
static weir_status score_of(weirp_objective *o, const weirp_sample *s, const double *p, double *score,
                            weir_error *err) {
    weir_status st = weirp_objective_score(o, p, NULL, score, err);
    if (st == WEIR_OK && isnan(*score)) *score = -squared_error(s, p);
    return st;
}

static weir_status tune(weirp_candidate *c, const weirp_sample *s, const weirp_folds *folds, weirp_objective *o,
                        weir_progress_fn progress, void *user, weir_error *err) {
    double *all = NULL;
    size_t cells = s->n * s->n_models;
    weir_status st;
    WEIRP_TRY(weirp_folds_predict(folds, c->class, s, &all, progress, user, c->class->name, err));
    c->score = -INFINITY;
    for (size_t k = 0; k < c->class->n_settings; k++) {
        double score;
        WEIRP_TRY(score_of(o, s, all + k * cells, &score, err));
        if (score > c->score) c->score = score, c->setting = k;
    }
    c->held_out = weirp_array(cells, sizeof(double));
    if (c->held_out) memcpy(c->held_out, all + c->setting * cells, cells * sizeof(double));
    else st = weirp_nomem(err);
done:
    free(all);
    return st;
}

static void combine(const weirp_selection *s, unsigned subset, double shrink, const double *mean, size_t n_models,
                    size_t cells, double *out) {
    double share = 1.0 / (double)__builtin_popcount(subset);
    for (size_t at = 0; at < cells; at++) {
        double m = mean[at % n_models], sum = 0;
        for (size_t k = 0; k < s->n_candidates; k++)
            if (subset >> k & 1) sum += share * (s->candidate[k].held_out[at] - m);
        out[at] = fmin(fmax(m + shrink * sum, 0), 1);
    }
}

static weir_status search(weirp_selection *out, const weirp_sample *s, const double *mean, weirp_objective *o,
                          weir_error *err) {
    enum { N_SHRINKS = sizeof shrinks / sizeof *shrinks };
    unsigned n_subsets = 1u << out->n_candidates, best = 1;
    size_t cells = s->n * s->n_models, best_shrink = 0;
    double score[N_SHRINKS << WEIRP_MAX_MEMBERS], most = -INFINITY;
    for (unsigned subset = 1; subset < n_subsets; subset++)
        for (size_t h = 0; h < N_SHRINKS; h++) {
            combine(out, subset, shrinks[h], mean, s->n_models, cells, out->held_out);
            weir_status st = score_of(o, s, out->held_out, &score[subset * N_SHRINKS + h], err);
            if (st != WEIR_OK) return st;
            if (score[subset * N_SHRINKS + h] > most) most = score[subset * N_SHRINKS + h];
        }
    int best_size = 0;
    double best_score = -INFINITY;
    for (unsigned subset = 1; subset < n_subsets; subset++)
        for (size_t h = 0; h < N_SHRINKS; h++) {
            double v = score[subset * N_SHRINKS + h];
            int size = __builtin_popcount(subset);
            if (v < most - TOLERANCE || size < best_size || (size == best_size && v <= best_score)) continue;
            best = subset, best_shrink = h, best_size = size, best_score = v;
        }
    for (size_t k = 0; k < out->n_candidates; k++)
        out->candidate[k].weight = best >> k & 1 ? 1.0 / best_size : 0;
    out->shrink = shrinks[best_shrink];
    out->score = best_score;
    combine(out, best, out->shrink, mean, s->n_models, cells, out->held_out);
    return WEIR_OK;
}

static void use_constants(weirp_selection *out, const weirp_sample *s, const double *mean) {
    out->shrink = 0;
    out->score = out->constant_score;
    for (size_t at = 0; at < s->n * s->n_models; at++) out->held_out[at] = mean[at % s->n_models];
}

weir_status weirp_select(weirp_selection *out, const char *estimator, const weirp_sample *sample,
                         const weirp_folds *folds, const double *mean, weirp_objective *objective,
                         weir_progress_fn progress, void *user, weir_error *err) {
    memset(out, 0, sizeof *out);
    bool all = !strcmp(estimator, "auto");
    weir_status st;
    out->held_out = weirp_array(sample->n * sample->n_models, sizeof(double));
    if (!out->held_out) {
        st = weirp_nomem(err);
        goto done;
    }
    for (size_t i = 0; weirp_estimator_class_at(i) && out->n_candidates < WEIRP_MAX_MEMBERS; i++) {
        const weirp_estimator_class *class = weirp_estimator_class_at(i);
        if (!all && strcmp(estimator, class->name)) continue;
        weirp_candidate *c = &out->candidate[out->n_candidates++];
        c->class = class;
        WEIRP_TRY(tune(c, sample, folds, objective, progress, user, err));
    }
    WEIRP_TRY(weirp_objective_score(objective, NULL, mean, &out->constant_score, err));
    if (!out->n_candidates) { /* "constant" */
        use_constants(out, sample, mean);
        goto done;
    }
    if (!all) { /* asked for by name: as it is */
        out->candidate[0].weight = out->shrink = 1;
        out->score = out->candidate[0].score;
        combine(out, 1, 1, mean, sample->n_models, sample->n * sample->n_models, out->held_out);
        goto done;
    }
    WEIRP_TRY(search(out, sample, mean, objective, err));
    double gain = 1, sd = 0;
    if (objective->n)
        WEIRP_TRY(weirp_objective_gain(objective, out->held_out, mean, sample->seed, &gain, &sd, err));
    if (gain <= GAIN_IN_SD * sd) use_constants(out, sample, mean);
done:
    if (st != WEIR_OK) weirp_selection_clear(out);
    return st;
}
