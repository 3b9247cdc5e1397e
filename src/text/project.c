/* project.c: counted buckets to weights to a short vector. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/parts.h"

enum { AHEAD = 24 }; /* terms between asking for a bucket's entry and reading it */

/* Appends the listed buckets with their weights before normalisation, and empties their counters. Where the row will be
 * needed, it is sent for. */
static size_t take(const weirp_featurizer *f, weirp_text_scratch *s, size_t n, const uint32_t *list, size_t n_listed,
                   uint32_t first) {
    uint8_t *restrict count = s->counter.count + first;
    const weirp_bucket *restrict table = f->table + first;
    const int8_t *rows = f->rows + first * f->stride;
    uint64_t all = 0, known = 0;
    for (size_t i = 0; i < n_listed; i++) {
        uint32_t at = list[i];
        uint8_t times = count[at];
        weirp_bucket b = table[at];
        float weight = f->tf[times] * b.idf;
        count[at] = 0;
        __builtin_prefetch(rows + at * f->stride, 0, 2);
        s->bucket[n] = first + at;
        s->weight[n] = weight;
        s->coefficient[n] = weight * b.scale;
        all += f->tf_square[times];
        known += b.idf > 0 ? f->tf_square[times] : 0;
        n += weight > 0;
    }
    s->all += all;
    s->known += known;
    return n;
}

/* The same without a corpus. */
static size_t take_cold(const weirp_featurizer *f, weirp_text_scratch *s, size_t n, const uint32_t *list,
                        size_t n_listed, uint32_t first) {
    uint8_t *restrict count = s->counter.count + first;
    for (size_t i = 0; i < n_listed; i++, n++) {
        s->bucket[n] = first + list[i];
        s->weight[n] = f->tf[count[list[i]]];
        count[list[i]] = 0;
    }
    return n;
}

static void scale(float *v, size_t n, float by) {
    for (size_t i = 0; i < n; i++) v[i] *= by;
}

size_t weirp_weigh(const weirp_featurizer *f, weirp_text_scratch *s) {
    const weirp_counter *c = &s->counter;
    size_t (*const taker)(const weirp_featurizer *, weirp_text_scratch *, size_t, const uint32_t *, size_t, uint32_t) =
        f->cold ? take_cold : take;
    s->all = s->known = 0;
    size_t n_words = taker(f, s, 0, c->words, c->n_words, 0);
    size_t n = taker(f, s, n_words, c->chars, c->n_chars, (uint32_t)(f->n_buckets / 2)), n_chars = n - n_words;
    float words = weirp_dot(s->weight, s->weight, n_words);
    float chars = weirp_dot(s->weight + n_words, s->weight + n_words, n_chars);
    /* a kind that is missing leaves its half to the other, so that the whole has norm 1 */
    float half = words > 0 && chars > 0 ? 0.5f : 1.0f;
    float by_words = words > 0 ? sqrtf(half / words) : 0, by_chars = chars > 0 ? sqrtf(half / chars) : 0;
    scale(s->weight, n_words, by_words);
    scale(s->weight + n_words, n_chars, by_chars);
    scale(s->coefficient, n_words, by_words);
    scale(s->coefficient + n_words, n_chars, by_chars);
    return n;
}

static void add_signs(const weirp_featurizer *f, const weirp_text_scratch *s, size_t n, float *restrict dense) {
    memset(dense, 0, f->stride * sizeof *dense);
    for (size_t i = 0; i < n; i++) {
        int16_t column = f->signs[s->bucket[i]];
        dense[abs(column) - 1] += column < 0 ? -s->weight[i] : s->weight[i];
    }
}

void weirp_project(const weirp_featurizer *f, weirp_text_scratch *s, size_t n_terms) {
    if (f->cold)
        add_signs(f, s, n_terms, s->dense);
    else
        f->add_rows(f->rows, f->stride, s->bucket, s->coefficient, n_terms, s->dense);
    float square = weirp_dot(s->dense, s->dense, f->options.dim);
    /* the columns are orthonormal and the weights have norm 1, but for terms that no prompt of the corpus has */
    float known = s->all ? (float)s->known / (float)s->all : 0;
    s->explained = f->cold ? 1 : known * (square < 1 ? square : 1);
    scale(s->dense, f->options.dim, square > 0 ? 1.0f / sqrtf(square) : 0);
}
