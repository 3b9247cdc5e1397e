/* stored.c: featurizers as bytes (docs/formats.md, "Featurizer"). SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "src/text/parts.h"

enum { FORMAT = 1 };
_Static_assert(sizeof(weirp_bucket) == 2 * sizeof(float), "the table is stored as pairs of floats");
static const char magic[8] = "weirtext";

void weirp_featurizer_save(const weirp_featurizer *f, weirp_writer *w) {
    weirp_put(w, magic, sizeof magic);
    weirp_put_u32(w, FORMAT);
    weirp_put_u32(w, f->cold);
    weirp_put_u32(w, f->options.bucket_bits);
    weirp_put_u32(w, f->options.dim);
    weirp_put_u32(w, f->options.char_min);
    weirp_put_u32(w, f->options.char_max);
    weirp_put_u32(w, f->options.word_max);
    weirp_put_u64(w, f->options.svd_rows);
    weirp_put_u64(w, f->n_prompts);
    weirp_put_f32s(w, f->scalar_mean, WEIRP_N_SCALARS);
    weirp_put_f32s(w, f->scalar_inverse_sd, WEIRP_N_SCALARS);
    if (f->cold) return;
    weirp_put_f32s(w, (const float *)f->table, 2 * f->n_buckets);
    weirp_put_u64(w, (uint64_t)f->n_buckets * f->stride);
    weirp_put(w, f->rows, f->n_buckets * f->stride);
}

uint64_t weirp_featurizer_mark(const uint8_t *saved, size_t size) {
    const uint64_t hash = XXH3_64bits(saved, size);
    return hash ? hash : 1;
}

/* Finite and within [lo, hi]. */
static bool all_within(const float *v, size_t n, float lo, float hi) {
    bool good = true;
    for (size_t i = 0; i < n; i++) good &= v[i] >= lo && v[i] <= hi;
    return good;
}

static bool get_floats(weirp_bytes *r, float *v, size_t n, float lo, float hi) {
    uint64_t stored = weirp_get_u64(r);
    if (r->failed || stored != n || n > (r->size - r->at) / sizeof *v) return false;
    weirp_get(r, v, n * sizeof *v);
    return all_within(v, n, lo, hi);
}

/* Limits far beyond what a fit gives, and far from where arithmetic overflows. */
#define LARGE     1e6f
#define SMALL_IDF 1e-3f /* a fit gives 0 or at least 1; the square of less than this could vanish */

static bool idfs_usable(const weirp_bucket *table, size_t n) {
    bool good = true;
    for (size_t i = 0; i < n; i++) good &= table[i].idf == 0 || table[i].idf >= SMALL_IDF;
    return good;
}

static weir_status get_tables(weirp_featurizer *f, weirp_bytes *r, weir_error *err) {
    /* nothing is allocated for a file that can't hold it */
    size_t need = f->n_buckets * (2 * sizeof(float) + f->stride);
    if (need > r->size - r->at) return weirp_fail(err, WEIR_CORRUPT, 0, "the featurizer is cut off");
    weir_status st = weirp_featurizer_room(f, err);
    if (st != WEIR_OK) return st;
    bool good = get_floats(r, (float *)f->table, 2 * f->n_buckets, 0, LARGE);
    good = good && idfs_usable(f->table, f->n_buckets);
    good = good && weirp_get_u64(r) == f->n_buckets * f->stride;
    if (good) weirp_get(r, f->rows, f->n_buckets * f->stride);
    return good && !r->failed ? WEIR_OK : weirp_fail(err, WEIR_CORRUPT, 0, "the featurizer's tables are damaged");
}

static weir_status get_options(weirp_bytes *r, weirp_text_options *o, uint32_t *cold, uint64_t *n_prompts,
                               weir_error *err) {
    char name[sizeof magic];
    weirp_get(r, name, sizeof name);
    if (r->failed || memcmp(name, magic, sizeof magic) != 0)
        return weirp_fail(err, WEIR_CORRUPT, 0, "not a featurizer");
    uint32_t format = weirp_get_u32(r);
    if (!r->failed && format > FORMAT)
        return weirp_fail(err, WEIR_NEWER, 0, "the featurizer has format %u; this version reads up to %d",
                          (unsigned)format, FORMAT);
    *cold = weirp_get_u32(r);
    o->bucket_bits = weirp_get_u32(r);
    o->dim = weirp_get_u32(r);
    o->char_min = weirp_get_u32(r);
    o->char_max = weirp_get_u32(r);
    o->word_max = weirp_get_u32(r);
    o->svd_rows = (size_t)weirp_get_u64(r);
    *n_prompts = weirp_get_u64(r);
    bool whole = o->bucket_bits && o->dim && o->char_min && o->char_max && o->word_max && o->svd_rows;
    if (r->failed || format != FORMAT || *cold > 1 || !whole || weirp_text_options_fill(o, o, NULL) != WEIR_OK)
        return weirp_fail(err, WEIR_CORRUPT, 0, "the featurizer's options are damaged");
    return WEIR_OK;
}

weir_status weirp_featurizer_load(weirp_featurizer **out, weirp_bytes *r, weir_error *err) {
    weirp_text_options options = {0};
    weirp_featurizer *f = NULL;
    uint32_t cold = 0;
    uint64_t n_prompts = 0;
    weir_status st;
    WEIRP_TRY(get_options(r, &options, &cold, &n_prompts, err));
    WEIRP_TRY(weirp_featurizer_new(&f, &options, err));
    f->n_prompts = (size_t)n_prompts;
    if (!get_floats(r, f->scalar_mean, WEIRP_N_SCALARS, -LARGE, LARGE) ||
        !get_floats(r, f->scalar_inverse_sd, WEIRP_N_SCALARS, 0, LARGE))
        WEIRP_TRY(weirp_fail(err, WEIR_CORRUPT, 0, "the featurizer's scales are damaged"));
    WEIRP_TRY(cold ? weirp_featurizer_signs(f, err) : get_tables(f, r, err));
    *out = f;
    f = NULL;
done:
    weirp_featurizer_free(f);
    return st;
}
