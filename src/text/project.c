/* project.c: counted buckets to weights to a short vector. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/linalg/parallel.h"
#include "src/text/parts.h"

/* Appends the listed buckets with their weights before normalisation, and empties their counters. Where the row will be
 * needed, it is sent for. */
static size_t take(const weirp_featurizer *f, weirp_text_scratch *s, size_t n, const uint32_t *list, size_t n_listed,
                   uint32_t first) {
    uint8_t *count = s->counter.count;
    for (size_t i = 0; i < n_listed; i++) {
        uint32_t bucket = first + list[i];
        float weight = f->tf[count[bucket]];
        count[bucket] = 0;
        s->seen += weight * weight;
        if (f->table) {
            weirp_bucket b = f->table[bucket];
            s->unknown += b.idf > 0 ? 0 : weight * weight;
            weight *= b.idf;
            s->coefficient[n] = weight * b.scale;
            __builtin_prefetch(f->rows + bucket * f->stride);
        }
        s->bucket[n] = bucket;
        s->weight[n] = weight;
        n += weight > 0;
    }
    return n;
}

static void scale(float *v, size_t n, float by) {
    for (size_t i = 0; i < n; i++) v[i] *= by;
}

size_t weirp_weigh(const weirp_featurizer *f, weirp_text_scratch *s) {
    const weirp_counter *c = &s->counter;
    s->seen = s->unknown = 0;
    size_t n_words = take(f, s, 0, c->words, c->n_words, 0);
    size_t n = take(f, s, n_words, c->chars, c->n_chars, (uint32_t)(f->n_buckets / 2)), n_chars = n - n_words;
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

/* dense = sum of coefficient * row over all terms, eight rows at a time so that a sum is loaded once for eight; each
 * sum runs over the terms in their order. */
WEIRP_CLONES static void add_rows(const weirp_featurizer *f, const weirp_text_scratch *s, size_t n,
                                  float *restrict dense) {
    enum { ROWS = 8 };
    size_t stride = f->stride;
    memset(dense, 0, stride * sizeof *dense);
    for (size_t i = 0; i < n; i += ROWS) {
        const int8_t *row[ROWS];
        float weight[ROWS];
        for (size_t k = 0; k < ROWS; k++) {
            row[k] = f->rows + s->bucket[i + k < n ? i + k : i] * stride;
            weight[k] = i + k < n ? s->coefficient[i + k] : 0.0f;
        }
        const int8_t *restrict r0 = row[0], *restrict r1 = row[1], *restrict r2 = row[2], *restrict r3 = row[3];
        const int8_t *restrict r4 = row[4], *restrict r5 = row[5], *restrict r6 = row[6], *restrict r7 = row[7];
        for (size_t j = 0; j < stride; j++) {
            float sum = dense[j];
            sum += weight[0] * r0[j];
            sum += weight[1] * r1[j];
            sum += weight[2] * r2[j];
            sum += weight[3] * r3[j];
            sum += weight[4] * r4[j];
            sum += weight[5] * r5[j];
            sum += weight[6] * r6[j];
            sum += weight[7] * r7[j];
            dense[j] = sum;
        }
    }
}

/* Without a corpus: every bucket has one column and a sign, a function of its number alone; words keep to the first
 * half of the columns and characters to the second (Weinberger et al., "Feature hashing for large scale multitask
 * learning", ICML 2009, section 2). */
static void add_signs(const weirp_featurizer *f, const weirp_text_scratch *s, size_t n, float *dense) {
    uint64_t dim = f->options.dim, words = (dim + 1) / 2, chars = dim - words;
    memset(dense, 0, f->stride * sizeof *dense);
    for (size_t i = 0; i < n; i++) {
        uint64_t mixed = weirp_mix64(UINT64_C(0x636f6c6400000000) + s->bucket[i]), high = mixed >> 32;
        bool is_word = s->bucket[i] < f->n_buckets / 2 || !chars;
        size_t column = is_word ? (size_t)(high * words >> 32) : (size_t)(words + (high * chars >> 32));
        dense[column] += mixed & 1 ? s->weight[i] : -s->weight[i];
    }
}

void weirp_project(const weirp_featurizer *f, weirp_text_scratch *s, size_t n_terms) {
    if (f->cold)
        add_signs(f, s, n_terms, s->dense);
    else
        add_rows(f, s, n_terms, s->dense);
    float square = weirp_dot(s->dense, s->dense, f->options.dim);
    /* the columns are orthonormal and the weights have norm 1, but for terms that no prompt of the corpus has */
    float known = s->seen > 0 ? 1 - s->unknown / s->seen : 0;
    s->explained = f->cold ? 1 : known * (square < 1 ? square : 1);
    scale(s->dense, f->options.dim, square > 0 ? 1.0f / sqrtf(square) : 0);
}
