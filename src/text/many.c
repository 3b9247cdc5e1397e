/* many.c: features of many prompts at once. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/linalg/parallel.h"
#include "src/text/parts.h"

typedef struct many {
    const weirp_featurizer *f;
    const char *const *prompts;
    const size_t *lens;
    weirp_text_scratch *scratch[WEIRP_MAX_THREADS];
    float *dense;     /* (n, dim) or NULL */
    weirp_csr *terms; /* or NULL */
    bool filling;     /* second pass: the rows' places are known */
} many;

/* First pass: dense features, and how many terms each row has. */
static void first_pass(many *m, weirp_text_scratch *s, size_t row) {
    size_t dim = weirp_featurizer_dim(m->f);
    weirp_features x;
    weirp_featurize(m->f, s, m->prompts[row], m->lens[row], &x);
    if (m->dense) memcpy(m->dense + row * dim, x.dense, dim * sizeof *m->dense);
    if (m->terms) m->terms->start[row + 1] = x.n_terms;
}

static void second_pass(many *m, weirp_text_scratch *s, size_t row) {
    weirp_count_terms(m->f, &s->counter, m->prompts[row], m->lens[row]);
    size_t n = weirp_weigh(m->f, s), at = m->terms->start[row];
    memcpy(m->terms->col + at, s->bucket, n * sizeof *s->bucket);
    memcpy(m->terms->value + at, s->weight, n * sizeof *s->weight);
}

static void rows(void *context, unsigned worker, size_t begin, size_t end) {
    many *m = context;
    for (size_t row = begin; row < end; row++) (m->filling ? second_pass : first_pass)(m, m->scratch[worker], row);
}

static weir_status run(many *m, size_t n, unsigned n_threads, weir_error *err) {
    enum { GRAIN = 32 };
    if (m->terms) {
        *m->terms = (weirp_csr){.n_rows = n, .n_cols = m->f->n_buckets};
        m->terms->start = weirp_array(n + 1, sizeof *m->terms->start);
        if (!m->terms->start) return weirp_nomem(err);
    }
    weirp_parallel(n, GRAIN, n_threads, rows, m);
    if (!m->terms) return WEIR_OK;
    for (size_t i = 0; i < n; i++) m->terms->start[i + 1] += m->terms->start[i];
    m->terms->col = weirp_array(m->terms->start[n], sizeof *m->terms->col);
    m->terms->value = weirp_array(m->terms->start[n], sizeof *m->terms->value);
    if (!m->terms->col || !m->terms->value) return weirp_nomem(err);
    m->filling = true;
    weirp_parallel(n, GRAIN, n_threads, rows, m);
    return WEIR_OK;
}

weir_status weirp_featurize_all(const weirp_featurizer *f, const char *const *prompts, const size_t *lens, size_t n,
                                unsigned n_threads, float **dense, weirp_csr *terms, weir_error *err) {
    many m = {.f = f, .prompts = prompts, .lens = lens, .terms = terms};
    weir_status st = WEIR_OK;
    if (n_threads < 1) n_threads = 1;
    if (n_threads > WEIRP_MAX_THREADS) n_threads = WEIRP_MAX_THREADS;
    for (unsigned i = 0; i < n_threads; i++) WEIRP_TRY(weirp_text_scratch_new(&m.scratch[i], f, err));
    if (dense) {
        size_t dim = weirp_featurizer_dim(f);
        m.dense = n > SIZE_MAX / dim ? NULL : weirp_array(n * dim, sizeof *m.dense);
        if (!m.dense) WEIRP_TRY(weirp_nomem(err));
    }
    WEIRP_TRY(run(&m, n, n_threads, err));
    if (dense) *dense = m.dense;
    m.dense = NULL;
done:
    if (st != WEIR_OK && terms) weirp_csr_free(terms);
    free(m.dense);
    for (unsigned i = 0; i < n_threads; i++) weirp_text_scratch_free(m.scratch[i]);
    return st;
}
