/* featurizer.c: featurizers and scratches come and go; one prompt's features. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>
#include <string.h>

#include "src/text/parts.h"

static void *aligned_zeros(size_t size) {
    size = (size + 63) / 64 * 64;
    void *p = aligned_alloc(64, size ? size : 64);
    if (p) memset(p, 0, size);
    return p;
}

weir_status weirp_text_options_fill(weirp_text_options *out, const weirp_text_options *in, weir_error *err) {
    weirp_text_options o = in ? *in : (weirp_text_options){0};
    if (!o.bucket_bits) o.bucket_bits = DEFAULT_BUCKET_BITS;
    if (!o.dim) o.dim = DEFAULT_DIM;
    if (!o.char_min) o.char_min = DEFAULT_CHAR_MIN;
    if (!o.char_max) o.char_max = o.char_min > DEFAULT_CHAR_MAX ? o.char_min : DEFAULT_CHAR_MAX;
    if (!o.word_max) o.word_max = DEFAULT_WORD_MAX;
    if (!o.svd_rows) o.svd_rows = DEFAULT_SVD_ROWS;
    if (o.bucket_bits < MIN_BUCKET_BITS || o.bucket_bits > MAX_BUCKET_BITS)
        return weirp_fail(err, WEIR_INVALID, 0, "2^%u buckets of terms; from 2^%d to 2^%d are possible", o.bucket_bits,
                          MIN_BUCKET_BITS, MAX_BUCKET_BITS);
    if (o.dim > MAX_DIM)
        return weirp_fail(err, WEIR_INVALID, 0, "%u dimensions; at most %d are possible", o.dim, MAX_DIM);
    if (o.char_min > o.char_max || o.char_max > MAX_CHAR_ORDER)
        return weirp_fail(err, WEIR_INVALID, 0, "character n-grams of %u to %u; 1 to %d are possible", o.char_min,
                          o.char_max, MAX_CHAR_ORDER);
    if (o.word_max > MAX_WORD_ORDER)
        return weirp_fail(err, WEIR_INVALID, 0, "word n-grams up to %u; at most %d are possible", o.word_max,
                          MAX_WORD_ORDER);
    *out = o;
    return WEIR_OK;
}

weir_status weirp_featurizer_new(weirp_featurizer **out, const weirp_text_options *options, weir_error *err) {
    weirp_text_options filled;
    weir_status st = weirp_text_options_fill(&filled, options, err);
    if (st != WEIR_OK) return st;
    weirp_featurizer *f = weirp_array(1, sizeof *f);
    if (!f) return weirp_nomem(err);
    atomic_init(&f->refs, 1);
    f->options = filled;
    f->n_buckets = (size_t)1 << filled.bucket_bits;
    f->add_rows = weirp_add_rows_best();
    f->stride = (filled.dim + 63) / 64 * 64;
    for (int i = 1; i <= MAX_COUNT; i++) {
        double tf = 1 + weirp_portable_log(i);
        f->tf[i] = (float)tf;
        f->tf_square[i] = (uint32_t)(tf * tf * (1 << 20) + 0.5);
    }
    *out = f;
    return WEIR_OK;
}

weir_status weirp_featurizer_room(weirp_featurizer *f, weir_error *err) {
    f->table = weirp_array(f->n_buckets, sizeof *f->table);
    f->rows = weirp_large(f->n_buckets, f->stride);
    if (f->rows) memset(f->rows, 0, f->n_buckets * f->stride);
    return f->table && f->rows ? WEIR_OK : weirp_nomem(err);
}

/* Every bucket has one column and a sign, a function of its number alone; words keep to the first half of the columns
 * and characters to the second (Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009,
 * section 2). */
weir_status weirp_featurizer_signs(weirp_featurizer *f, weir_error *err) {
    f->cold = true;
    f->signs = weirp_array(f->n_buckets, sizeof *f->signs);
    if (!f->signs) return weirp_nomem(err);
    uint64_t words = (f->options.dim + 1) / 2, chars = f->options.dim - words;
    for (size_t i = 0; i < f->n_buckets; i++) {
        uint64_t mixed = weirp_mix64(UINT64_C(0x636f6c6400000000) + i), high = mixed >> 32;
        bool is_word = i < f->n_buckets / 2 || !chars;
        int column = (int)(is_word ? high * words >> 32 : words + (high * chars >> 32)) + 1;
        f->signs[i] = (int16_t)(mixed & 1 ? column : -column);
    }
    return WEIR_OK;
}

weir_status weirp_featurizer_cold(weirp_featurizer **out, const weirp_text_options *options, weir_error *err) {
    weirp_featurizer *f = NULL;
    weir_status st = weirp_featurizer_new(&f, options, err);
    if (st != WEIR_OK) return st;
    st = weirp_featurizer_signs(f, err);
    if (st != WEIR_OK) {
        weirp_featurizer_free(f);
        return st;
    }
    for (int i = 0; i < WEIRP_N_SCALARS; i++) {
        f->scalar_mean[i] = weirp_usual_mean[i];
        f->scalar_inverse_sd[i] = 1.0f / weirp_usual_sd[i];
    }
    *out = f;
    return WEIR_OK;
}

weirp_featurizer *weirp_featurizer_keep(weirp_featurizer *f) {
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void weirp_featurizer_free(weirp_featurizer *f) {
    if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1) return;
    free(f->table);
    free(f->rows);
    free(f->signs);
    free(f);
}

size_t weirp_featurizer_dim(const weirp_featurizer *f) {
    return f->options.dim + WEIRP_N_SCALARS;
}

size_t weirp_featurizer_n_buckets(const weirp_featurizer *f) {
    return f->n_buckets;
}

weir_status weirp_text_scratch_new(weirp_text_scratch **out, const weirp_featurizer *f, weir_error *err) {
    weirp_text_scratch *s = weirp_array(1, sizeof *s);
    if (!s) return weirp_nomem(err);
    s->n_buckets = f->n_buckets;
    s->counter.count = aligned_zeros(f->n_buckets);
    /* one more than can be: everywhere a term is written before it is known to be worth keeping */
    s->counter.words = weirp_array(f->n_buckets / 2 + 1, sizeof *s->counter.words);
    s->counter.chars = weirp_array(f->n_buckets / 2 + 1, sizeof *s->counter.chars);
    s->bucket = weirp_array(f->n_buckets + 1, sizeof *s->bucket);
    s->weight = weirp_array(f->n_buckets + 1, sizeof *s->weight);
    s->coefficient = weirp_array(f->n_buckets + 1, sizeof *s->coefficient);
    s->dense = aligned_zeros((f->stride + WEIRP_N_SCALARS) * sizeof *s->dense);
    if (!s->counter.count || !s->counter.words || !s->counter.chars || !s->bucket || !s->weight || !s->coefficient ||
        !s->dense) {
        weirp_text_scratch_free(s);
        return weirp_nomem(err);
    }
    weirp_counter_keys(&s->counter);
    *out = s;
    return WEIR_OK;
}

void weirp_text_scratch_free(weirp_text_scratch *s) {
    if (!s) return;
    free(s->counter.count);
    free(s->counter.words);
    free(s->counter.chars);
    free(s->bucket);
    free(s->weight);
    free(s->coefficient);
    free(s->dense);
    free(s);
}

static float damped(float value, float mean, float inverse_sd) {
    float z = (value - mean) * inverse_sd;
    return SCALAR_DAMPING * (z < -SCALAR_CLIP ? -SCALAR_CLIP : z > SCALAR_CLIP ? SCALAR_CLIP : z);
}

/* A prompt of some length has terms in most of the counters' lines, and they can come while its characters are counted.
 * Into the second-level cache: the first is too small, and fewer lines can be under way to it. */
static void send_for_counters(const weirp_counter *c, size_t n_buckets, size_t len) {
    enum { LINE = 64, SHARE = 256 }; /* worth it from a character for so many buckets on */
    if (len < n_buckets / SHARE) return;
    for (size_t i = 0; i < n_buckets; i += LINE) __builtin_prefetch(c->count + i, 0, 2);
}

void weirp_featurize(const weirp_featurizer *f, weirp_text_scratch *s, const char *prompt, size_t len,
                     weirp_features *out) {
    weirp_counts counts;
    send_for_counters(&s->counter, f->n_buckets, len);
    weirp_count_chars(prompt, len, &counts);
    weirp_count_terms(f, &s->counter, prompt, len);
    weirp_scalars(&counts, weirp_distinct_share(&s->counter), s->scalars);
    size_t n_terms = weirp_weigh(f, s);
    weirp_project(f, s, n_terms);
    for (size_t i = 0; i < WEIRP_N_SCALARS; i++)
        s->dense[f->options.dim + i] = damped(s->scalars[i], f->scalar_mean[i], f->scalar_inverse_sd[i]);
    *out = (weirp_features){.n_terms = n_terms,
                            .bucket = s->bucket,
                            .weight = s->weight,
                            .dim = f->options.dim + WEIRP_N_SCALARS,
                            .dense = s->dense,
                            .explained = s->explained,
                            .scalars = s->scalars,
                            .n_chars = (size_t)(counts.whole[KIND_CHAR] + 0.5),
                            .n_bytes = len,
                            .approximate_tokens = weirp_counts_tokens(&counts)};
}
