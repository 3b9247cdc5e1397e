/* project.c: counted buckets to weights to a short vector. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/linalg/parallel.h"
#include "src/text/parts.h"

/* Takes buckets [begin, end) out of the counters; the sum of the squared weights in *square. */
static size_t take(const weirp_featurizer *f, weirp_text_scratch *s, size_t n, size_t begin, size_t end,
                   float *square) {
    float sum = 0;
    for (size_t word = begin / 64; word < end / 64; word++) {
        uint64_t bits = s->counter.seen[word];
        if (!bits) continue;
        s->counter.seen[word] = 0;
        do {
            uint32_t bucket = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(bits);
            bits &= bits - 1;
            float weight = f->tf[s->counter.count[bucket]];
            s->counter.count[bucket] = 0;
            if (f->idf) {
                weight *= f->idf[bucket];
                __builtin_prefetch(f->rows + bucket * f->stride);
            }
            s->bucket[n] = bucket;
            s->weight[n] = weight;
            sum += weight * weight;
            n += weight > 0;
        } while (bits);
    }
    *square = sum;
    return n;
}

size_t weirp_weigh(const weirp_featurizer *f, weirp_text_scratch *s) {
    float words, chars;
    size_t n_words = take(f, s, 0, 0, f->n_buckets / 2, &words);
    size_t n = take(f, s, n_words, f->n_buckets / 2, f->n_buckets, &chars);
    /* a kind that is missing leaves its half to the other, so that the whole has norm 1 */
    float half = words > 0 && chars > 0 ? 0.5f : 1.0f;
    float word_scale = words > 0 ? sqrtf(half / words) : 0, char_scale = chars > 0 ? sqrtf(half / chars) : 0;
    for (size_t i = 0; i < n_words; i++) s->weight[i] *= word_scale;
    for (size_t i = n_words; i < n; i++) s->weight[i] *= char_scale;
    return n;
}

/* dense += weight * row over all terms, eight rows at a time so that a sum is loaded once for eight; each sum runs over
 * the terms in their order. */
WEIRP_CLONES static void add_rows(const weirp_featurizer *f, const weirp_text_scratch *s, size_t n,
                                  float *restrict dense) {
    enum { ROWS = 8 };
    size_t stride = f->stride;
    memset(dense, 0, stride * sizeof *dense);
    for (size_t i = 0; i < n; i += ROWS) {
        const int8_t *row[ROWS];
        float weight[ROWS];
        for (size_t k = 0; k < ROWS; k++) {
            uint32_t bucket = s->bucket[i + k < n ? i + k : i];
            row[k] = f->rows + bucket * stride;
            weight[k] = i + k < n ? s->weight[i + k] * f->row_scale[bucket] : 0.0f;
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
    float square = 0;
    for (size_t i = 0; i < f->options.dim; i++) square += s->dense[i] * s->dense[i];
    float scale = square > 0 ? 1.0f / sqrtf(square) : 0;
    for (size_t i = 0; i < f->options.dim; i++) s->dense[i] *= scale;
}
