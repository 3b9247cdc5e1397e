/* fit.c: what a featurizer learns from a corpus: which terms are rare, which go together, how long prompts are.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/linalg/parallel.h"
#include "src/text/parts.h"

typedef struct corpus {
    weirp_featurizer *f;
    const char *const *prompts;
    const size_t *lens;
    size_t n;
    unsigned n_threads;
    uint64_t seed;
    weirp_text_scratch *scratch[WEIRP_MAX_THREADS];
    uint32_t *df[WEIRP_MAX_THREADS]; /* (n_buckets) prompts that hold the bucket */
    float *scalars;                  /* (n, WEIRP_N_SCALARS) */
    weir_progress_fn progress;
    void *progress_user;
} corpus;

static weir_status tell(const corpus *c, const char *stage, size_t done, size_t total, weir_error *err) {
    if (c->progress && c->progress(c->progress_user, stage, done, total))
        return weirp_fail(err, WEIR_CANCELED, 0, "canceled while fitting features");
    return WEIR_OK;
}

static weir_status corpus_room(corpus *c, weir_error *err) {
    c->scalars = c->n > SIZE_MAX / WEIRP_N_SCALARS ? NULL : weirp_array(c->n * WEIRP_N_SCALARS, sizeof *c->scalars);
    if (!c->scalars) return weirp_nomem(err);
    for (unsigned i = 0; i < c->n_threads; i++) {
        weir_status st = weirp_text_scratch_new(&c->scratch[i], c->f, err);
        if (st != WEIR_OK) return st;
        if (!(c->df[i] = weirp_array(c->f->n_buckets, sizeof *c->df[i]))) return weirp_nomem(err);
    }
    return WEIR_OK;
}

static void corpus_free(corpus *c) {
    for (unsigned i = 0; i < WEIRP_MAX_THREADS; i++) {
        weirp_text_scratch_free(c->scratch[i]);
        free(c->df[i]);
    }
    free(c->scalars);
}

/* One more prompt for each of the listed buckets, whose counters are emptied. */
static void count_once(const uint32_t *list, size_t n, uint8_t *count, uint32_t *df) {
    for (size_t i = 0; i < n; i++) {
        count[list[i]] = 0;
        df[list[i]]++;
    }
}

static void count_prompts(void *context, unsigned worker, size_t begin, size_t end) {
    corpus *c = context;
    weirp_counter *counter = &c->scratch[worker]->counter;
    size_t half = c->f->n_buckets / 2;
    for (size_t row = begin; row < end; row++) {
        weirp_counts counts;
        weirp_count_chars(c->prompts[row], c->lens[row], &counts);
        weirp_count_terms(c->f, counter, c->prompts[row], c->lens[row]);
        weirp_scalars(&counts, weirp_distinct_share(counter), c->scalars + row * WEIRP_N_SCALARS);
        count_once(counter->words, counter->n_words, counter->count, c->df[worker]);
        count_once(counter->chars, counter->n_chars, counter->count + half, c->df[worker] + half);
    }
}

static weir_status fit_idf(corpus *c, weir_error *err) {
    enum { STEP = 8192 };
    struct corpus piece = *c;
    for (size_t at = 0; at < c->n; at += STEP) {
        weir_status st = tell(c, "counting terms", at, c->n, err);
        if (st != WEIR_OK) return st;
        size_t n = c->n - at < STEP ? c->n - at : STEP;
        piece.prompts = c->prompts + at;
        piece.lens = c->lens + at;
        piece.scalars = c->scalars + at * WEIRP_N_SCALARS;
        weirp_parallel(n, 32, c->n_threads, count_prompts, &piece);
    }
    uint32_t least = c->n < MIN_DF_CORPUS ? 1 : MIN_DF;
    for (size_t bucket = 0; bucket < c->f->n_buckets; bucket++) {
        uint32_t df = 0;
        for (unsigned i = 0; i < c->n_threads; i++) df += c->df[i][bucket];
        /* smoothed as if one more prompt held every term */
        double ratio = (1 + (double)c->n) / (1 + (double)df);
        c->f->table[bucket].idf = df < least ? 0.0f : (float)(1 + weirp_portable_log(ratio));
    }
    return WEIR_OK;
}

static void fit_scalars(corpus *c) {
    for (size_t k = 0; k < WEIRP_N_SCALARS; k++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < c->n; i++) mean += c->scalars[i * WEIRP_N_SCALARS + k];
        mean /= (double)c->n;
        for (size_t i = 0; i < c->n; i++) {
            double d = c->scalars[i * WEIRP_N_SCALARS + k] - mean;
            square += d * d;
        }
        double sd = sqrt(square / (double)c->n);
        c->f->scalar_mean[k] = (float)mean;
        /* what never varied in the corpus says nothing: it is left out, not blown up */
        c->f->scalar_inverse_sd[k] = sd > 1e-6 ? (float)(1 / sd) : 0.0f;
    }
}

/* Rows to bytes, each with the scale that makes its largest entry 127. */
static void store_rows(weirp_featurizer *f, const float *v) {
    size_t dim = f->options.dim;
    for (size_t bucket = 0; bucket < f->n_buckets; bucket++) {
        const float *row = v + bucket * dim;
        float top = 0;
        for (size_t k = 0; k < dim; k++) top = fabsf(row[k]) > top ? fabsf(row[k]) : top;
        if (!(top > 0)) continue;
        f->table[bucket].scale = top / 127.0f;
        for (size_t k = 0; k < dim; k++) f->rows[bucket * f->stride + k] = (int8_t)lrintf(row[k] / top * 127.0f);
    }
}

/* A sample of the prompts, in their own order. *prompts and *lens are new. */
static weir_status sample(const corpus *c, size_t n, const char ***prompts, size_t **lens, weir_error *err) {
    size_t *order = weirp_array(c->n, sizeof *order);
    char *taken = weirp_array(c->n, 1);
    *prompts = weirp_array(n, sizeof **prompts);
    *lens = weirp_array(n, sizeof **lens);
    bool room = order && taken && *prompts && *lens;
    if (room) {
        for (size_t i = 0; i < c->n; i++) order[i] = i;
        if (n < c->n) weirp_shuffle(order, c->n, c->seed);
        for (size_t i = 0; i < n; i++) taken[order[i]] = 1;
        size_t at = 0;
        for (size_t i = 0; i < c->n; i++)
            if (taken[i]) (*prompts)[at] = c->prompts[i], (*lens)[at++] = c->lens[i];
    }
    free(order);
    free(taken);
    return room ? WEIR_OK : weirp_nomem(err);
}

static weir_status fit_projection(corpus *c, weir_error *err) {
    size_t n = c->n < c->f->options.svd_rows ? c->n : c->f->options.svd_rows, dim = c->f->options.dim;
    const char **prompts = NULL;
    size_t *lens = NULL;
    weirp_csr terms = {0};
    float *v = weirp_array(c->f->n_buckets * dim, sizeof *v);
    double *s = weirp_array(dim, sizeof *s);
    weir_status st = WEIR_OK;
    if (!v || !s) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(tell(c, "reducing terms", 0, 0, err));
    WEIRP_TRY(sample(c, n, &prompts, &lens, err));
    WEIRP_TRY(weirp_featurize_all(c->f, prompts, lens, n, c->n_threads, NULL, &terms, err));
    WEIRP_TRY(weirp_rsvd(&terms, dim, SVD_OVERSAMPLING, SVD_ITERATIONS, c->seed, c->n_threads, v, s, err));
    store_rows(c->f, v);
done:
    weirp_csr_free(&terms);
    free(prompts);
    free(lens);
    free(v);
    free(s);
    return st;
}

weir_status weirp_featurizer_fit(weirp_featurizer **out, const char *const *prompts, const size_t *lens, size_t n,
                                 const weirp_text_options *options, uint64_t seed, unsigned n_threads,
                                 weir_progress_fn progress, void *progress_user, weir_error *err) {
    if (!n) return weirp_fail(err, WEIR_NODATA, 0, "no prompt to fit features on");
    if (n >= UINT32_MAX) return weirp_fail(err, WEIR_INVALID, 0, "%zu prompts are too many to fit features on", n);
    corpus c = {.prompts = prompts,
                .lens = lens,
                .n = n,
                .n_threads = n_threads < 1                   ? 1
                             : n_threads > WEIRP_MAX_THREADS ? WEIRP_MAX_THREADS
                                                             : n_threads,
                .seed = seed,
                .progress = progress,
                .progress_user = progress_user};
    weir_status st;
    WEIRP_TRY(weirp_featurizer_new(&c.f, options, err));
    WEIRP_TRY(weirp_featurizer_room(c.f, err));
    WEIRP_TRY(corpus_room(&c, err));
    c.f->n_prompts = n;
    WEIRP_TRY(fit_idf(&c, err));
    fit_scalars(&c);
    WEIRP_TRY(fit_projection(&c, err));
    *out = c.f;
    c.f = NULL;
done:
    corpus_free(&c);
    weirp_featurizer_free(c.f);
    return st;
}
