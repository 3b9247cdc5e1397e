/* adaptive.c: for each model a small bank of experts that predict what the prior leaves over, mixed by how well each
 * has predicted so far.
 *
 * An expert is a Bayesian linear regression of label - prior on x = [1, text, scalars] (bayes.h). Experts differ in how
 * freely the text may speak and in how soon the level is forgotten; the text's weights are never forgotten, for a model
 * that changes usually changes as a whole. The mixture weighs experts by their likelihood as predictors of a
 * yes-or-no outcome, with a fixed share going back to the start, so that any of them can take over after a change
 * (Herbster, Warmuth, "Tracking the best expert", Machine Learning 32, 1998). A cumulative sum per model (cusum.h)
 * watches for changes too large to wait for the forgetting: then the covariances move half-way back to the prior, so
 * that what comes next counts more. SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/adaptive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/bayes.h"
#include "estimators/cusum.h"

#define VERSION 1u
#define MAX_DIM 1024u /* of `dense` */
/* More than this for all models together isn't a pool but damage. */
#define MAX_BYTES ((size_t)1 << 30)

/* ---- what was measured to work ---- */

#define SHARE_BACK     0.003 /* of an expert's weight that returns to its start with each label */
#define LEAST_P        0.02  /* likelihoods are of predictions clipped to [LEAST_P, 1 - LEAST_P] */
#define LEAST_SPREAD   0.04  /* of a yes-or-no outcome in the detector */
#define FIRST_NOISE    0.2   /* variance of labels around predictions, before any were seen */
#define LEAST_NOISE    0.03
#define NOISE_MEMORY   500.0
#define NOISE_START    20.0 /* labels that FIRST_NOISE is worth */
#define ALARM_SHARE    0.5
#define CENTRE_MEMORY  1000.0
#define LEAST_NORM     0.3 /* centred text shorter than this isn't blown up to length 1 */
#define SCALAR_GAIN    3.0
#define SCALAR_LIMIT   1.5
#define LEVEL_SD_SHARE 0.5  /* of the level's standard deviation that exploration should see */
#define TRAINED_SCALE  0.02 /* covariances of a trained start, to the prior */
#define TRAINED_NULL   0.7  /* weight of "the prior is right" there */
#define TRAINED_PULL   0.5  /* how far the other models' mixtures follow */

enum { MAX_EXPERTS = 7 };
#define LEAST_STORED 64 /* bytes of a model on disk, at least */

/* Standard deviations of the weights; memory of the level in prompts, 0: for ever. */
typedef struct expert {
    double memory, level, scalar, text;
} expert;

typedef struct bank {
    size_t n, slow; /* `slow`: weak context and nothing forgotten */
    expert expert[MAX_EXPERTS];
} bank;

static const bank cold_bank = {
    5, 0, {{0, .4, .05, .12}, {0, .4, 0, 0}, {0, .4, .15, .30}, {400, .4, 0, 0}, {400, .4, .05, .12}}};
/* The first has no weights at all: the prior as it is. */
static const bank trained_bank = {7,
                                  1,
                                  {{0, 0, 0, 0},
                                   {0, .4, .05, .12},
                                   {0, .4, 0, 0},
                                   {0, .4, .15, .30},
                                   {400, .2, 0, 0},
                                   {400, .2, .05, .12},
                                   {80, .2, .05, .12}}};

typedef struct model {
    uint64_t count, last; /* labels; the clock at the last one */
    bool alone;           /* of a trained store: its prior says little, for it came later or has changed */
    double noise;
    double weight[MAX_EXPERTS]; /* of the mixture; sum 1 */
    weirp_cusum cusum;
    double *memory; /* the experts', one after the other */
} model;

struct weirp_adaptive {
    size_t n_models, capacity, dim, n_text;
    bool trained;
    const bank *bank;
    uint64_t clock;                  /* prompts observed */
    double *centre;                  /* (dim) running mean of `dense` */
    double *x, *gain, *watched_gain; /* (dim + 1) scratch of updates */
    model *model;                    /* (n_models) */
};

/* ---- the bank ---- */

/* 0: none; 1: only the level; else all of x. */
static size_t expert_dim(const weirp_adaptive *a, size_t k) {
    const expert *e = &a->bank->expert[k];
    return e->level == 0 ? 0 : e->text == 0 && e->scalar == 0 ? 1 : a->dim + 1;
}

static size_t memory_size(const weirp_adaptive *a) {
    size_t n = 0;
    for (size_t k = 0; k < a->bank->n; k++)
        if (expert_dim(a, k)) n += weirp_bayes_size(expert_dim(a, k));
    return n;
}

/* Writes the experts of one model; an absent one has dim 0. */
static void experts(const weirp_adaptive *a, const model *m, weirp_bayes out[MAX_EXPERTS]) {
    double *at = m->memory;
    for (size_t k = 0; k < a->bank->n; k++) {
        size_t dim = expert_dim(a, k);
        out[k] = dim ? weirp_bayes_at(at, dim) : (weirp_bayes){0};
        if (dim) at += weirp_bayes_size(dim);
    }
}

static weirp_bayes_prior expert_prior(const weirp_adaptive *a, size_t k) {
    const expert *e = &a->bank->expert[k];
    return (weirp_bayes_prior){e->level * e->level, e->text * e->text, e->scalar * e->scalar, a->n_text};
}

static double first_weight(const weirp_adaptive *a, const model *m, size_t k) {
    double n = (double)a->bank->n;
    if (!a->trained) return 1 / n;
    if (m->alone) return k ? 1 / (n - 1) : 0;
    return k ? (1 - TRAINED_NULL) / (n - 1) : TRAINED_NULL;
}

static void first_weights(const weirp_adaptive *a, model *m) {
    for (size_t k = 0; k < a->bank->n; k++) m->weight[k] = first_weight(a, m, k);
}

static void start(const weirp_adaptive *a, model *m) {
    weirp_bayes e[MAX_EXPERTS];
    experts(a, m, e);
    m->noise = FIRST_NOISE;
    first_weights(a, m);
    for (size_t k = 0; k < a->bank->n; k++) {
        weirp_bayes_prior prior = expert_prior(a, k);
        if (e[k].dim) weirp_bayes_reset(&e[k], &prior, a->trained && !m->alone ? TRAINED_SCALE : 1);
    }
}

/* ---- making and growing ---- */

static weir_status grow(weirp_adaptive *a, bool alone, weir_error *err) {
    size_t size = memory_size(a);
    if (size > MAX_BYTES / sizeof(double) / (a->n_models + 1))
        return weirp_fail(err, WEIR_INVALID, 0, "%zu models with %zu features each are too many to adapt to",
                          a->n_models + 1, a->dim);
    if (!weirp_reserve((void **)&a->model, &a->capacity, a->n_models + 1, sizeof *a->model)) return weirp_nomem(err);
    double *memory = weirp_array(size, sizeof *memory);
    if (!memory) return weirp_nomem(err);
    model *m = &a->model[a->n_models++];
    *m = (model){.alone = alone, .last = a->clock, .memory = memory};
    start(a, m);
    return WEIR_OK;
}

static weir_status make(weirp_adaptive **out, size_t dim, size_t n_scalars, bool trained, weir_error *err) {
    if (dim > MAX_DIM || n_scalars > dim)
        return weirp_fail(err, WEIR_INVALID, 0, "%zu features, %zu of them counts: at most %u are possible", dim,
                          n_scalars, MAX_DIM);
    weirp_adaptive *a = weirp_array(1, sizeof *a);
    if (!a) return weirp_nomem(err);
    a->dim = dim;
    a->n_text = dim - n_scalars;
    a->trained = trained;
    a->bank = trained ? &trained_bank : &cold_bank;
    a->centre = weirp_array(dim, sizeof *a->centre);
    a->x = weirp_array(dim + 1, sizeof *a->x);
    a->gain = weirp_array(dim + 1, sizeof *a->gain);
    a->watched_gain = weirp_array(dim + 1, sizeof *a->watched_gain);
    if (!a->centre || !a->x || !a->gain || !a->watched_gain) {
        weirp_adaptive_free(a);
        return weirp_nomem(err);
    }
    *out = a;
    return WEIR_OK;
}

weir_status weirp_adaptive_new(weirp_adaptive **out, size_t n_models, size_t dim, size_t n_scalars, bool trained,
                               weir_error *err) {
    weirp_adaptive *a = NULL;
    weir_status st = make(&a, dim, n_scalars, trained, err);
    while (st == WEIR_OK && a->n_models < n_models) st = grow(a, false, err);
    if (st == WEIR_OK)
        *out = a;
    else
        weirp_adaptive_free(a);
    return st;
}

void weirp_adaptive_free(weirp_adaptive *a) {
    if (!a) return;
    for (size_t m = 0; m < a->n_models; m++) free(a->model[m].memory);
    free(a->model);
    free(a->centre);
    free(a->x);
    free(a->gain);
    free(a->watched_gain);
    free(a);
}

weir_status weirp_adaptive_add_model(weirp_adaptive *a, weir_error *err) {
    return grow(a, true, err);
}

size_t weirp_adaptive_n_models(const weirp_adaptive *a) {
    return a->n_models;
}

size_t weirp_adaptive_dim(const weirp_adaptive *a) {
    return a->dim;
}

uint64_t weirp_adaptive_count(const weirp_adaptive *a, size_t m) {
    return a->model[m].count;
}

/* ---- predicting ---- */

static double clip(double v, double lo, double hi) {
    return fmin(fmax(v, lo), hi);
}

/* x (dim + 1): 1, then text and scalars around their running means. */
static void make_x(const weirp_adaptive *a, const float *dense, double *x) {
    double square = 0;
    x[0] = 1;
    for (size_t i = 0; i < a->n_text; i++) {
        x[1 + i] = dense[i] - a->centre[i];
        square += x[1 + i] * x[1 + i];
    }
    double scale = 1 / fmax(sqrt(square), LEAST_NORM);
    for (size_t i = 0; i < a->n_text; i++) x[1 + i] *= scale;
    for (size_t i = a->n_text; i < a->dim; i++)
        x[1 + i] = clip(SCALAR_GAIN * (dense[i] - a->centre[i]), -SCALAR_LIMIT, SCALAR_LIMIT);
}

static double level_sd(const weirp_adaptive *a, const model *m) {
    if (a->trained && !m->alone) return 0; /* measured: a floor under the propensities explores enough there */
    weirp_bayes e[MAX_EXPERTS];
    experts(a, m, e);
    return LEVEL_SD_SHARE * sqrt(e[a->bank->slow].cov[0]);
}

/* What each expert adds to the prior, and the mixture of it. */
static double corrections(const weirp_adaptive *a, const model *m, const double *x, double each[MAX_EXPERTS]) {
    weirp_bayes e[MAX_EXPERTS];
    experts(a, m, e);
    double sum = 0;
    for (size_t k = 0; k < a->bank->n; k++) {
        each[k] = e[k].dim ? weirp_bayes_predict(&e[k], x) : 0;
        sum += m->weight[k] * each[k];
    }
    return sum;
}

void weirp_adaptive_expect(const weirp_adaptive *a) {
    enum { LINE = 64 };
    for (size_t m = 0; m < a->n_models; m++) {
        weirp_bayes e[MAX_EXPERTS];
        experts(a, &a->model[m], e);
        for (size_t k = 0; k < a->bank->n; k++)
            for (size_t at = 0; at < e[k].dim * sizeof *e[k].mean; at += LINE)
                __builtin_prefetch((const char *)e[k].mean + at, 0, 2);
    }
}

void weirp_adaptive_predict(const weirp_adaptive *a, const float *dense, const double *prior, double *quality,
                            double *sd) {
    double x[MAX_DIM + 1], each[MAX_EXPERTS];
    make_x(a, dense, x);
    for (size_t m = 0; m < a->n_models; m++) {
        quality[m] = clip(prior[m] + corrections(a, &a->model[m], x, each), 0, 1);
        sd[m] = level_sd(a, &a->model[m]);
    }
}

/* ---- learning ---- */

static void learn_weights(const weirp_adaptive *a, model *m, const double *predicted, double label) {
    double likelihood[MAX_EXPERTS], sum = 0;
    for (size_t k = 0; k < a->bank->n; k++) {
        double p = clip(predicted[k], LEAST_P, 1 - LEAST_P);
        likelihood[k] = m->weight[k] * exp(label * log(p) + (1 - label) * log1p(-p));
        sum += likelihood[k];
    }
    for (size_t k = 0; k < a->bank->n; k++)
        m->weight[k] = (1 - SHARE_BACK) * likelihood[k] / sum + SHARE_BACK * first_weight(a, m, k);
    if (!a->trained || m->alone) return;
    /* a store that is stale for one model is likely to be for the others */
    for (size_t j = 0; j < a->n_models; j++) {
        model *other = &a->model[j];
        if (other == m || other->alone) continue;
        for (size_t k = 0; k < a->bank->n; k++) other->weight[k] += TRAINED_PULL * (m->weight[k] - other->weight[k]);
    }
}

static void detect(model *m, double predicted, double variance, double label, weirp_alarm *alarm) {
    double p = clip(predicted, LEAST_P, 1 - LEAST_P);
    const weirp_cusum_side *side =
        weirp_cusum_step(&m->cusum, p, label, sqrt(fmax(p * (1 - p), LEAST_SPREAD) + variance));
    if (!side) return;
    *alarm = (weirp_alarm){true, side->expected / (double)side->n, side->seen / (double)side->n};
}

/* The part of the squared error that the prediction's own variance doesn't explain. */
static void learn_noise(model *m, double error, double variance) {
    double unexplained = error * error * m->noise / (m->noise + variance);
    m->noise += (unexplained - m->noise) / fmin((double)m->count + NOISE_START, NOISE_MEMORY);
    m->noise = fmax(m->noise, LEAST_NOISE);
}

/* What was known counts half, and the prior isn't what to compare with any more: it would raise the alarm for ever. */
static void relax(const weirp_adaptive *a, model *m) {
    weirp_bayes e[MAX_EXPERTS];
    experts(a, m, e);
    for (size_t k = 0; k < a->bank->n; k++) {
        weirp_bayes_prior prior = expert_prior(a, k);
        if (e[k].dim) weirp_bayes_relax(&e[k], &prior, ALARM_SHARE);
    }
    m->alone = true;
    first_weights(a, m);
    m->cusum = (weirp_cusum){0};
}

static void learn_expert(const weirp_adaptive *a, const model *m, size_t k, const weirp_bayes *e, double error) {
    double memory = a->bank->expert[k].memory;
    weirp_bayes_prior prior = expert_prior(a, k);
    if (memory > 0) weirp_bayes_forget(e, &prior, pow(1 - 1 / memory, (double)(a->clock - m->last)));
    double variance = weirp_bayes_gain(e, a->x, a->gain);
    weirp_bayes_learn(e, a->gain, variance, m->noise, error);
}

void weirp_adaptive_update(weirp_adaptive *a, const float *dense, size_t index, double prior, double label,
                           weirp_alarm *alarm) {
    *alarm = (weirp_alarm){0};
    if (!isfinite(prior) || !(label >= 0 && label <= 1)) return;
    model *m = &a->model[index];
    weirp_bayes e[MAX_EXPERTS];
    double predicted[MAX_EXPERTS];
    experts(a, m, e);
    make_x(a, dense, a->x);
    double mixed = prior + corrections(a, m, a->x, predicted);
    for (size_t k = 0; k < a->bank->n; k++) predicted[k] += prior;
    /* the one that forgets nothing is what a change shows against */
    size_t watched = m->alone ? a->bank->slow : 0;
    double variance = e[watched].dim ? weirp_bayes_gain(&e[watched], a->x, a->watched_gain) : 0;

    learn_weights(a, m, predicted, label);
    detect(m, predicted[watched], variance, label, alarm);
    learn_noise(m, label - mixed, variance);
    for (size_t k = 0; k < a->bank->n; k++) {
        if (k == watched && e[k].dim)
            weirp_bayes_learn(&e[k], a->watched_gain, variance, m->noise, label - predicted[k]);
        else if (e[k].dim)
            learn_expert(a, m, k, &e[k], label - predicted[k]);
    }
    if (alarm->raised) relax(a, m);
    m->count++;
    m->last = a->clock;
}

void weirp_adaptive_tick(weirp_adaptive *a, const float *dense) {
    a->clock++;
    double step = 1 / fmin((double)a->clock, CENTRE_MEMORY);
    for (size_t i = 0; i < a->dim; i++) a->centre[i] += step * (dense[i] - a->centre[i]);
}

/* ---- on disk: docs/formats.md, "Corrections" ---- */

static void save_side(const weirp_cusum_side *side, weirp_writer *w) {
    weirp_put_f64(w, side->sum);
    weirp_put_f64(w, side->expected);
    weirp_put_f64(w, side->seen);
    weirp_put_u64(w, side->n);
}

static void load_side(weirp_cusum_side *side, weirp_bytes *r) {
    side->sum = weirp_get_f64(r);
    side->expected = weirp_get_f64(r);
    side->seen = weirp_get_f64(r);
    side->n = weirp_get_u64(r);
    bool sound = isfinite(side->sum) && isfinite(side->expected) && isfinite(side->seen) && side->sum >= 0;
    if (!sound || (side->sum > 0) != (side->n > 0)) r->failed = true;
}

/* The experts of a model without labels are as they start, and left out: a fresh store is small. */
static void save_model(const weirp_adaptive *a, const model *m, weirp_writer *w) {
    weirp_put_u64(w, m->count);
    weirp_put_u64(w, m->last);
    weirp_put_u32(w, m->alone);
    weirp_put_f64(w, m->noise);
    save_side(&m->cusum.up, w);
    save_side(&m->cusum.down, w);
    weirp_put_f64s(w, m->weight, a->bank->n);
    if (m->count) weirp_put_f64s(w, m->memory, memory_size(a));
}

void weirp_adaptive_save(const weirp_adaptive *a, weirp_writer *w) {
    weirp_put_u32(w, VERSION);
    weirp_put_u32(w, a->trained);
    weirp_put_u32(w, (uint32_t)a->n_models);
    weirp_put_u32(w, (uint32_t)a->dim);
    weirp_put_u32(w, (uint32_t)(a->dim - a->n_text));
    weirp_put_u64(w, a->clock);
    weirp_put_f64s(w, a->centre, a->dim);
    for (size_t m = 0; m < a->n_models; m++) save_model(a, &a->model[m], w);
}

/* Into memory that is there already. */
static void get_numbers(weirp_bytes *r, double *out, size_t n) {
    if (weirp_get_u64(r) != n) r->failed = true;
    weirp_get(r, out, n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i])) r->failed = true;
}

static void check_experts(const weirp_adaptive *a, const model *m, weirp_bytes *r) {
    weirp_bayes e[MAX_EXPERTS];
    experts(a, m, e);
    for (size_t k = 0; k < a->bank->n; k++)
        if (e[k].dim && !weirp_bayes_sound(&e[k])) r->failed = true;
}

static void load_model(const weirp_adaptive *a, model *m, weirp_bytes *r) {
    m->count = weirp_get_u64(r);
    m->last = weirp_get_u64(r);
    uint32_t alone = weirp_get_u32(r);
    if (m->last > a->clock || alone > 1) r->failed = true;
    m->alone = alone;
    start(a, m);
    m->noise = weirp_get_f64(r);
    if (!(m->noise >= LEAST_NOISE) || !isfinite(m->noise)) r->failed = true;
    load_side(&m->cusum.up, r);
    load_side(&m->cusum.down, r);
    get_numbers(r, m->weight, a->bank->n);
    double sum = 0;
    for (size_t k = 0; k < a->bank->n; k++) {
        if (m->weight[k] < 0) r->failed = true;
        sum += m->weight[k];
    }
    if (!(fabs(sum - 1) < 1e-6)) r->failed = true;
    if (!m->count) return;
    get_numbers(r, m->memory, memory_size(a));
    check_experts(a, m, r);
}

weir_status weirp_adaptive_load(weirp_adaptive **out, weirp_bytes *r, weir_error *err) {
    uint32_t version = weirp_get_u32(r);
    if (!r->failed && version > VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "the corrections are version %u; this weir reads up to %u: update weir",
                          version, VERSION);
    uint32_t trained = weirp_get_u32(r), n_models = weirp_get_u32(r), dim = weirp_get_u32(r);
    uint32_t n_scalars = weirp_get_u32(r);
    uint64_t clock = weirp_get_u64(r);
    weirp_adaptive *a = NULL;
    weir_status st = WEIR_OK;
    if (r->failed || version == 0 || trained > 1 || dim > MAX_DIM || n_scalars > dim ||
        n_models > (r->size - r->at) / LEAST_STORED)
        goto damaged;
    WEIRP_TRY(make(&a, dim, n_scalars, trained, err));
    a->clock = clock;
    get_numbers(r, a->centre, a->dim);
    while (!r->failed && a->n_models < n_models) {
        WEIRP_TRY(grow(a, false, err));
        load_model(a, &a->model[a->n_models - 1], r);
    }
    if (r->failed) goto damaged;
    *out = a;
    return WEIR_OK;
damaged:
    st = weirp_fail(err, WEIR_CORRUPT, 0, "what was learned since training is damaged");
done:
    weirp_adaptive_free(a);
    return st;
}
