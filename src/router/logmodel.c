/* logmodel.c: log y = f(x) + level, with the shape f from an estimator and the level following what comes in. The shape
 * stays as fitted until the next training: what drifts in tokens, prices and times is their level.
 *
 * Multiplicative error suits tokens, money and time. The mean is the median times a smearing factor, the mean of
 * exp(residual) (Duan, JASA 78, 1983), so that costs aren't underestimated. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "src/router/logmodel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/measure/measure.h"

/* Evidence that a level remembers at most: after a change of habit it is followed within some hundred answers. */
#define LEVEL_MEMORY 200.0
/* A single residual moves a level by at most this factor's logarithm. */
#define RESIDUAL_LIMIT 6.0
/* A smearing factor beyond this says that the log scale doesn't fit; it isn't followed further. */
#define SMEAR_LIMIT 4.0

static double **columns(weirp_log_model *m, size_t i) {
    double **all[] = {&m->level, &m->level_n, &m->spread, &m->smear, &m->lo, &m->hi};
    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

static void blank(weirp_log_model *m, size_t i) {
    m->level[i] = NAN;
    m->level_n[i] = 0;
    m->spread[i] = 1;
    m->smear[i] = 1;
    m->lo[i] = -2;
    m->hi[i] = 2;
}

weir_status weirp_log_model_init(weirp_log_model *m, size_t n_models, weir_error *err) {
    memset(m, 0, sizeof *m);
    for (size_t c = 0; columns(m, c); c++)
        if (!(*columns(m, c) = weirp_array(n_models, sizeof(double)))) {
            weirp_log_model_clear(m);
            return weirp_nomem(err);
        }
    for (size_t i = 0; i < n_models; i++) blank(m, i);
    return WEIR_OK;
}

void weirp_log_model_clear(weirp_log_model *m) {
    if (m->shape) m->shape->class->free(m->shape);
    for (size_t c = 0; columns(m, c); c++) free(*columns(m, c));
    memset(m, 0, sizeof *m);
}

weir_status weirp_log_model_grow(weirp_log_model *m, size_t n_models, weir_error *err) {
    for (size_t c = 0; columns(m, c); c++) {
        double *grown = realloc(*columns(m, c), n_models * sizeof(double));
        if (!grown) return weirp_nomem(err);
        *columns(m, c) = grown;
    }
    if (m->shape) {
        weir_status st = m->shape->class->add_model(m->shape, err);
        if (st != WEIR_OK) return st;
    }
    blank(m, n_models - 1);
    if (!m->shape) return WEIR_OK;
    /* what the pool's other models do on average stands in for what this one does */
    double spread = 0, smear = 0, lo = 0, hi = 0, k = 0;
    for (size_t i = 0; i + 1 < n_models; i++) {
        if (isnan(m->level[i])) continue;
        spread += m->spread[i], smear += m->smear[i], lo += m->lo[i], hi += m->hi[i], k++;
    }
    size_t i = n_models - 1;
    m->level[i] = 0;
    if (k > 0) m->spread[i] = spread / k, m->smear[i] = smear / k, m->lo[i] = lo / k, m->hi[i] = hi / k;
    return WEIR_OK;
}

void weirp_log_model_save(const weirp_log_model *m, size_t n_models, weirp_writer *w) {
    weirp_put_u32(w, m->shape != NULL);
    if (m->shape) {
        weirp_put_text(w, m->shape->class->name);
        m->shape->class->save(m->shape, w);
    }
    weirp_log_model_save_levels(m, n_models, w);
}

void weirp_log_model_save_levels(const weirp_log_model *m, size_t n_models, weirp_writer *w) {
    weirp_log_model *mutable = (weirp_log_model *)m; /* columns() only hands out the members' addresses */
    for (size_t c = 0; columns(mutable, c); c++) weirp_put_f64s(w, *columns(mutable, c), n_models);
}

bool weirp_log_model_load_levels(weirp_log_model *m, size_t n_models, weirp_bytes *r) {
    for (size_t c = 0; columns(m, c); c++) {
        if (weirp_get_u64(r) != n_models) return false;
        weirp_get(r, *columns(m, c), n_models * sizeof(double));
    }
    return !r->failed;
}

weir_status weirp_log_model_copy(weirp_log_model *to, const weirp_log_model *m, size_t n_models, weir_error *err) {
    for (size_t c = 0; columns(to, c); c++)
        memcpy(*columns(to, c), *columns((weirp_log_model *)m, c), n_models * sizeof(double));
    return m->shape ? weirp_estimator_copy(&to->shape, m->shape, err) : WEIR_OK;
}

weir_status weirp_log_model_load(weirp_log_model *m, size_t n_models, weirp_bytes *r, weir_error *err) {
    memset(m, 0, sizeof *m);
    if (weirp_get_u32(r)) {
        char *name = weirp_get_text(r);
        const weirp_estimator_class *class = name ? weirp_estimator_class_find(name) : NULL;
        weir_status st = class ? class->load(&m->shape, r, err)
                               : weirp_fail(err, WEIR_CORRUPT, 0, "unknown estimator \"%s\"", name ? name : "");
        free(name);
        if (st != WEIR_OK) return st;
        if (m->shape->n_models != n_models) {
            weirp_log_model_clear(m);
            return weirp_fail(err, WEIR_CORRUPT, 0, "an estimator of costs has another number of models");
        }
    }
    for (size_t c = 0; columns(m, c); c++)
        if (!(*columns(m, c) = weirp_get_f64s(r, n_models))) {
            weirp_log_model_clear(m);
            return weirp_fail(err, WEIR_CORRUPT, 0, "costs: a column has the wrong length");
        }
    return WEIR_OK;
}

static size_t best_setting(const weirp_sample *s, const double *all, size_t n_settings) {
    size_t best = 0, cells = s->n * s->n_models;
    double least = INFINITY;
    for (size_t k = 0; k < n_settings; k++) {
        double sum = 0;
        for (size_t i = 0; i < cells; i++)
            if (!isnan(s->target[i])) sum += (s->target[i] - all[k * cells + i]) * (s->target[i] - all[k * cells + i]);
        if (sum < least) least = sum, best = k;
    }
    return best;
}

weir_status weirp_log_model_fit(weirp_log_model *m, const weirp_sample *sample, const weirp_folds *folds,
                                double *held_out, weir_error *err) {
    const weirp_estimator_class *class = weirp_estimator_class_find("ridge");
    double *all = NULL;
    weir_status st;
    WEIRP_TRY(weirp_folds_predict(folds, class, sample, &all, NULL, NULL, "", err));
    size_t best = best_setting(sample, all, class->n_settings);
    memcpy(held_out, all + best * sample->n * sample->n_models, sample->n * sample->n_models * sizeof(double));
    WEIRP_TRY(class->fit(&m->shape, sample, best, err));
done:
    free(all);
    return st;
}

static double smear_of(const double *residual, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp(fmin(residual[i], RESIDUAL_LIMIT));
    return fmin(fmax(sum / (double)n, 1.0 / SMEAR_LIMIT), SMEAR_LIMIT);
}

weir_status weirp_log_model_residuals(weirp_log_model *m, const double *target, const double *held_out, size_t n,
                                      size_t n_models, double coverage, weir_error *err) {
    double *r = weirp_array(n, sizeof(double));
    if (!r) return weirp_nomem(err);
    for (size_t j = 0; j < n_models; j++) {
        size_t k = 0;
        double square = 0;
        for (size_t i = 0; i < n; i++) {
            double d = target[i * n_models + j] - held_out[i * n_models + j];
            if (isfinite(d)) r[k++] = d, square += d * d;
        }
        if (!k) continue;
        m->level[j] = 0;
        m->level_n[j] = fmin((double)k, LEVEL_MEMORY);
        m->spread[j] = sqrt(square / (double)k);
        m->smear[j] = smear_of(r, k);
        /* the finite-sample rank of split conformal, half of the miss on each side */
        double tail = fmax(0.0, (1 - coverage) / 2 - 1.0 / ((double)k + 1));
        m->lo[j] = weirp_percentile(r, k, tail);
        m->hi[j] = weirp_percentile(r, k, 1 - tail);
    }
    free(r);
    return WEIR_OK;
}

void weirp_log_model_predict(const weirp_log_model *m, const weirp_features *x, size_t n_models, void *scratch,
                             double *mu) {
    if (m->shape) {
        m->shape->class->predict(m->shape, x, scratch, mu, NULL);
        for (size_t i = 0; i < n_models; i++) mu[i] += m->level[i];
    } else {
        memcpy(mu, m->level, n_models * sizeof *mu);
    }
}

void weirp_log_model_update(weirp_log_model *m, size_t model, double mu, double log_y) {
    double n = fmin(m->level_n[model], LEVEL_MEMORY - 1) + 1;
    if (isnan(mu) || isnan(m->level[model])) {
        m->level[model] = log_y;
    } else {
        double r = fmax(-RESIDUAL_LIMIT, fmin(RESIDUAL_LIMIT, log_y - mu));
        m->level[model] += r / n;
        if (n > 2) m->spread[model] = sqrt(m->spread[model] * m->spread[model] * (1 - 1 / n) + r * r / n);
        if (n > 2) m->smear[model] += (exp(r) - m->smear[model]) / n;
        m->smear[model] = fmin(fmax(m->smear[model], 1 / SMEAR_LIMIT), SMEAR_LIMIT);
        if (!m->shape) { /* a normal interval until there are residuals to take quantiles of */
            m->lo[model] = -1.645 * m->spread[model];
            m->hi[model] = 1.645 * m->spread[model];
        }
    }
    m->level_n[model] = n;
}

size_t weirp_log_model_scratch(const weirp_log_model *m) {
    return m->shape ? m->shape->class->scratch_size(m->shape) : 0;
}
