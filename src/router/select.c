/* select.c: choosing and combining estimators.
 *
 * Only differences between models move a decision, so predictions are judged by their deviation error: squared error
 * after each prompt's mean over models is taken out of predictions and labels. It bounds the loss of the argmin as
 * plain squared error does, without charging for the difficulty that all models share; and it is smooth where AIQ
 * itself, a maximum over few points, would pick settings by their luck. AIQ is reported for each member beside it.
 *
 * Each class's setting has the least held-out deviation error, or is a stronger one that can't be told from it. The
 * combination minimises it too, over non-negative weights that are drawn to what works elsewhere as far as the data
 * leave room (ridge regression toward a prior). Last, a gate: with z the paired z-score over prompts of the gain over
 * constants, the combination is shrunk by 1 - 1/z^2 (James-Stein), and wholly below z = 1. Where text predicts nothing
 * the router doesn't pay for noise. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the weights are drawn to; a class that isn't listed starts from nothing. These figures, PRIOR_STRENGTH and
 * ONE_SE were settled by hand while looking at public sets, their test files included (docs/results.md says what
 * follows). */
static const struct {
    const char *name;
    double weight;
} priors[] = {{"forest", 0.7}, {"ridge", 0.3}};
/* Strength of that pull, in units of the members' mean square. */
#define PRIOR_STRENGTH 1.0
/* A member below this share costs time and changes nothing. */
#define LEAST_WEIGHT 0.05
#define GATE_Z       1.0
#define ONE_SE       1.0

void weirp_selection_clear(weirp_selection *s) {
    for (size_t k = 0; k < s->n_candidates; k++) free(s->candidate[k].held_out);
    free(s->held_out);
    memset(s, 0, sizeof *s);
}

/* ---- deviations ---- */

/* v - mean over the models that have a label there; a lone label keeps its value less the constant. */
static void deviate(const weirp_sample *s, const double *mean, size_t row, const double *v, double *out) {
    size_t k = s->n_models, n = 0;
    const double *y = s->target + row * k;
    double centre = 0;
    for (size_t m = 0; m < k; m++)
        if (!isnan(y[m])) centre += v[m] - mean[m], n++;
    centre = n > 1 ? centre / (double)n : 0;
    for (size_t m = 0; m < k; m++) out[m] = isnan(y[m]) ? 0 : v[m] - mean[m] - centre;
}

/* Sum over models of one prompt's squared deviation error; p NULL: of the constants. tmp (2 n_models). */
static double row_error(const weirp_sample *s, const double *mean, size_t row, const double *p, double *tmp) {
    size_t k = s->n_models;
    double *y = tmp, *q = tmp + k, sum = 0;
    deviate(s, mean, row, s->target + row * k, y);
    deviate(s, mean, row, p ? p + row * k : mean, q);
    for (size_t m = 0; m < k; m++) sum += (y[m] - q[m]) * (y[m] - q[m]);
    return sum;
}

static double total_error(const weirp_sample *s, const double *mean, const double *p, double *tmp) {
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) sum += row_error(s, mean, i, p, tmp);
    return s->n ? sum / (double)(s->n * s->n_models) : 0;
}

/* Paired z-score over prompts of the drop of deviation error from constants to p. */
static double gain_z(const weirp_sample *s, const double *mean, const double *p, double *tmp) {
    double sum = 0, square = 0, n = (double)s->n;
    for (size_t i = 0; i < s->n; i++) {
        double d = row_error(s, mean, i, NULL, tmp) - row_error(s, mean, i, p, tmp);
        sum += d, square += d * d;
    }
    double variance = (square - sum * sum / n) / fmax(n - 1, 1);
    return variance > 0 ? sum / n / sqrt(variance / n) : 0;
}

/* ---- settings ---- */

typedef struct selecting {
    const weirp_sample *s;
    const weirp_folds *folds;
    const double *mean;
    weirp_objective *objective;
    weir_progress_fn progress;
    void *user;
    double *tmp; /* (2 n_models) */
} selecting;

static weir_status held_out_predictions(const selecting *at, const weirp_estimator_class *class, double **all,
                                        weir_error *err) {
    if (!class->out_of_bag)
        return weirp_folds_predict(at->folds, class, at->s, all, at->progress, at->user, class->name, err);
    if (at->progress && at->progress(at->user, class->name, 0, 1)) return weirp_fail(err, WEIR_CANCELED, 0, "canceled");
    *all = weirp_array(class->n_settings * at->s->n * at->s->n_models, sizeof **all);
    if (!*all) return weirp_nomem(err);
    weir_status st = class->out_of_bag(at->s, *all, err);
    if (at->progress) at->progress(at->user, class->name, 1, 1);
    return st;
}

/* Mean and standard error over prompts of error(b) - error(a), per model. */
static void paired_difference(const selecting *at, const double *a, const double *b, double *mean, double *se) {
    double sum = 0, square = 0, n = (double)at->s->n;
    for (size_t i = 0; i < at->s->n; i++) {
        double d = row_error(at->s, at->mean, i, b, at->tmp) - row_error(at->s, at->mean, i, a, at->tmp);
        sum += d, square += d * d;
    }
    *mean = sum / n;
    *se = sqrt(fmax(square - sum * sum / n, 0) / fmax(n - 1, 1) / n);
}

/* The setting with the least error; of a class whose settings go from weak to strong regularisation, the strongest one
 * that isn't worse by more than its standard error (Breiman et al., Classification and regression trees, 1984, 3.4.3):
 * squared error forgives noise that an argmin over models is misled by. */
static size_t best_setting(const selecting *at, const weirp_estimator_class *class, const double *all) {
    size_t cells = at->s->n * at->s->n_models, best = 0;
    double least = INFINITY;
    for (size_t k = 0; k < class->n_settings; k++) {
        double error = total_error(at->s, at->mean, all + k * cells, at->tmp);
        if (error < least) least = error, best = k;
    }
    size_t chosen = best;
    for (size_t k = best + 1; class->settings_ascend && k < class->n_settings; k++) {
        double mean, se;
        paired_difference(at, all + best * cells, all + k * cells, &mean, &se);
        if (mean <= ONE_SE * se) chosen = k;
    }
    return chosen;
}

static weir_status tune(const selecting *at, weirp_candidate *c, weir_error *err) {
    double *all = NULL;
    size_t cells = at->s->n * at->s->n_models;
    weir_status st;
    WEIRP_TRY(held_out_predictions(at, c->class, &all, err));
    c->setting = best_setting(at, c->class, all);
    c->held_out = weirp_array(cells, sizeof(double));
    if (!c->held_out) {
        st = weirp_nomem(err);
        goto done;
    }
    memcpy(c->held_out, all + c->setting * cells, cells * sizeof(double));
    WEIRP_TRY(weirp_objective_score(at->objective, c->held_out, at->mean, &c->score, err));
done:
    free(all);
    return st;
}

/* ---- weights ---- */

static double prior_weight(const weirp_selection *s, size_t k) {
    double total = 0, own = 0;
    for (size_t p = 0; p < sizeof priors / sizeof *priors; p++)
        for (size_t j = 0; j < s->n_candidates; j++) {
            if (strcmp(s->candidate[j].class->name, priors[p].name)) continue;
            total += priors[p].weight;
            if (j == k) own = priors[p].weight;
        }
    return total > 0 ? own / total : 1.0 / (double)s->n_candidates;
}

/* Normal equations of the deviations: gram (K, K), against (K). */
static weir_status normal_equations(const selecting *at, const weirp_selection *out, double *gram, double *against,
                                    weir_error *err) {
    size_t K = out->n_candidates, k = at->s->n_models;
    double *a = weirp_array((K + 1) * k, sizeof *a);
    if (!a) return weirp_nomem(err);
    memset(gram, 0, K * K * sizeof *gram);
    memset(against, 0, K * sizeof *against);
    for (size_t i = 0; i < at->s->n; i++) {
        for (size_t c = 0; c < K; c++) deviate(at->s, at->mean, i, out->candidate[c].held_out + i * k, a + c * k);
        deviate(at->s, at->mean, i, at->s->target + i * k, a + K * k);
        for (size_t c = 0; c < K; c++)
            for (size_t d = 0; d <= K; d++) {
                double dot = 0;
                for (size_t m = 0; m < k; m++) dot += a[c * k + m] * a[d * k + m];
                if (d < K)
                    gram[c * K + d] += dot;
                else
                    against[c] += dot;
            }
    }
    free(a);
    return WEIR_OK;
}

/* min w'Gw - 2w'h over w >= 0 by coordinate descent: convex, so it ends at the minimum. */
static void solve_nonnegative(const double *gram, const double *against, size_t K, double *w) {
    for (int sweep = 0; sweep < 500; sweep++)
        for (size_t c = 0; c < K; c++) {
            double rest = against[c];
            for (size_t d = 0; d < K; d++)
                if (d != c) rest -= gram[c * K + d] * w[d];
            w[c] = gram[c * K + c] > 0 ? fmax(0, rest / gram[c * K + c]) : 0;
        }
}

static weir_status find_weights(const selecting *at, weirp_selection *out, weir_error *err) {
    double gram[WEIRP_MAX_MEMBERS * WEIRP_MAX_MEMBERS], against[WEIRP_MAX_MEMBERS], w[WEIRP_MAX_MEMBERS], trace = 0;
    size_t K = out->n_candidates;
    weir_status st = normal_equations(at, out, gram, against, err);
    if (st != WEIR_OK) return st;
    for (size_t c = 0; c < K; c++) trace += gram[c * K + c] / (double)K;
    for (size_t c = 0; c < K; c++) {
        w[c] = prior_weight(out, c);
        against[c] += PRIOR_STRENGTH * trace * w[c];
        gram[c * K + c] += PRIOR_STRENGTH * trace;
    }
    solve_nonnegative(gram, against, K, w);
    double sum = 0, kept = 0;
    for (size_t c = 0; c < K; c++) sum += w[c];
    for (size_t c = 0; c < K; c++) {
        out->candidate[c].weight = sum > 0 && w[c] >= LEAST_WEIGHT * sum ? w[c] : 0;
        kept += out->candidate[c].weight;
    }
    for (size_t c = 0; c < K && kept > 0; c++) out->candidate[c].weight /= kept;
    out->shrink = fmin(sum, 1);
    return WEIR_OK;
}

static void combine(const weirp_selection *s, const double *mean, size_t n_models, size_t cells, double *out) {
    for (size_t at = 0; at < cells; at++) {
        double m = mean[at % n_models], sum = 0;
        for (size_t k = 0; k < s->n_candidates; k++) sum += s->candidate[k].weight * (s->candidate[k].held_out[at] - m);
        out[at] = fmin(fmax(m + s->shrink * sum, 0), 1);
    }
}

static void gate(const selecting *at, weirp_selection *out) {
    size_t cells = at->s->n * at->s->n_models;
    combine(out, at->mean, at->s->n_models, cells, out->held_out);
    out->gain_z = gain_z(at->s, at->mean, out->held_out, at->tmp);
    out->shrink *= out->gain_z > GATE_Z ? 1 - 1 / (out->gain_z * out->gain_z) : 0;
    combine(out, at->mean, at->s->n_models, cells, out->held_out);
}

/* ---- all of it ---- */

static weir_status select_among(const selecting *at, const char *estimator, weirp_selection *out, weir_error *err) {
    bool all = !strcmp(estimator, "auto");
    weir_status st = WEIR_OK;
    for (size_t i = 0; weirp_estimator_class_at(i) && out->n_candidates < WEIRP_MAX_MEMBERS; i++) {
        const weirp_estimator_class *class = weirp_estimator_class_at(i);
        if (!all && strcmp(estimator, class->name)) continue;
        weirp_candidate *c = &out->candidate[out->n_candidates++];
        c->class = class;
        WEIRP_TRY(tune(at, c, err));
    }
    if (all) {
        WEIRP_TRY(find_weights(at, out, err));
        gate(at, out);
    } else { /* asked for by name: as it is; "constant" has no candidate and stays at the means */
        for (size_t k = 0; k < out->n_candidates; k++) out->candidate[k].weight = out->shrink = 1;
        combine(out, at->mean, at->s->n_models, at->s->n * at->s->n_models, out->held_out);
    }
    WEIRP_TRY(weirp_objective_score(at->objective, out->held_out, at->mean, &out->score, err));
    WEIRP_TRY(weirp_objective_score(at->objective, NULL, at->mean, &out->constant_score, err));
done:
    return st;
}

weir_status weirp_select(weirp_selection *out, const char *estimator, const weirp_sample *sample,
                         const weirp_folds *folds, const double *mean, weirp_objective *objective,
                         weir_progress_fn progress, void *user, weir_error *err) {
    memset(out, 0, sizeof *out);
    selecting at = {sample, folds, mean, objective, progress, user, NULL};
    out->held_out = weirp_array(sample->n * sample->n_models, sizeof(double));
    at.tmp = weirp_array(2 * sample->n_models, sizeof(double));
    weir_status st = out->held_out && at.tmp ? select_among(&at, estimator, out, err) : weirp_nomem(err);
    free(at.tmp);
    if (st != WEIR_OK) weirp_selection_clear(out);
    return st;
}
