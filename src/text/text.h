/* text.h: a prompt as numbers.
 *
 * Lives here: bytes to terms (hashed words and character n-grams), terms to TF-IDF, TF-IDF to a short dense vector, and
 * plain counts (lengths, digits, code, scripts). May not know: models, outcomes, money.
 * The same prompt gives the same features on every machine. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TEXT_H
#define WEIRP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/base.h"
#include "src/linalg/linalg.h"
#include "weir/error.h"

/* Prompts longer than this are read at both ends only: the first and the last half of it, cut at character borders
 * (docs/formats.md, "Features"). */
#define WEIRP_TEXT_WINDOW 16384u

/* Plain counts of a prompt, each scaled to about [-1,1] or [0,1]. The tail is the last WEIRP_TEXT_TAIL bytes, where
 * what is asked often stands. X(name). */
#define WEIRP_TEXT_TAIL 500u
#define WEIRP_SCALAR_TABLE(X)                                                                                          \
    X(log_chars)                                                                                                       \
    X(log_words)                                                                                                       \
    X(log_lines)                                                                                                       \
    X(digit_share)                                                                                                     \
    X(upper_share)                                                                                                     \
    X(punctuation_share)                                                                                               \
    X(code_share)                                                                                                      \
    X(space_share)                                                                                                     \
    X(latin_share)                                                                                                     \
    X(cjk_share)                                                                                                       \
    X(other_script_share)                                                                                              \
    X(mean_word_length)                                                                                                \
    X(question_marks)                                                                                                  \
    X(math_share)                                                                                                      \
    X(distinct_share)                                                                                                  \
    X(tail_digit_share)                                                                                                \
    X(tail_code_share)                                                                                                 \
    X(tail_log_lines)                                                                                                  \
    X(log_last_paragraph)

enum {
#define WEIRP_SCALAR_ENUM(name) WEIRP_SCALAR_##name,
    WEIRP_SCALAR_TABLE(WEIRP_SCALAR_ENUM)
#undef WEIRP_SCALAR_ENUM
        WEIRP_N_SCALARS
};

typedef struct weirp_text_options {
    unsigned bucket_bits;        /* terms are hashed into 2^bucket_bits buckets; 0: the default */
    unsigned dim;                /* of the dense part from the SVD; 0: the default */
    unsigned char_min, char_max; /* character n-gram orders, within word borders; 0: the default */
    unsigned word_max;           /* word n-gram orders 1..word_max; 0: the default */
    size_t svd_rows;             /* the SVD is fitted on a sample of at most so many prompts; 0: the default */
} weirp_text_options;

/* What estimators read. Borrowed from the scratch that made it until its next use. */
typedef struct weirp_features {
    size_t n_terms;         /* distinct buckets: words, then character n-grams, each in order of first occurrence */
    const uint32_t *bucket; /* (n_terms) */
    const float *weight;    /* (n_terms) TF-IDF, L2-normalised */
    size_t dim;             /* of dense: the featurizer's dim + WEIRP_N_SCALARS */
    const float *dense;     /* (dim) L2-normalised SVD part, then standardised and damped scalars */
    float explained;      /* share of the TF-IDF vector that the SVD's directions hold, [0,1]; 1 on a cold featurizer */
    const float *scalars; /* (WEIRP_N_SCALARS) raw */
    size_t n_chars;       /* of the whole prompt (code points) */
    size_t n_bytes;
    double approximate_tokens; /* a vendor-neutral count of tokens, for the whole prompt */
} weirp_features;

typedef struct weirp_featurizer weirp_featurizer;     /* fitted or cold; immutable while it is used */
typedef struct weirp_text_scratch weirp_text_scratch; /* one thread's memory; grows to the window, then never */

/* Without a corpus: no IDF, and a fixed sparse random projection (signed hashing) instead of the SVD. */
weir_status weirp_featurizer_cold(weirp_featurizer **out, const weirp_text_options *options, weir_error *err);
/* Learns IDF, SVD and the scalars' scales from a corpus. */
weir_status weirp_featurizer_fit(weirp_featurizer **out, const char *const *prompts, const size_t *lens, size_t n,
                                 const weirp_text_options *options, uint64_t seed, unsigned n_threads,
                                 weir_progress_fn progress, void *progress_user, weir_error *err);
/* One more holder, each of whom frees it. Any thread. */
weirp_featurizer *weirp_featurizer_keep(weirp_featurizer *f);
void weirp_featurizer_free(weirp_featurizer *f);
void weirp_featurizer_save(const weirp_featurizer *f, weirp_writer *w);
/* What tells one training's features from another's: a hash of a saved featurizer's bytes, never 0. Same features, same
 * number, in whichever store. */
uint64_t weirp_featurizer_mark(const uint8_t *saved, size_t size);
weir_status weirp_featurizer_load(weirp_featurizer **out, weirp_bytes *r, weir_error *err);
size_t weirp_featurizer_dim(const weirp_featurizer *f); /* of weirp_features.dense */
size_t weirp_featurizer_n_buckets(const weirp_featurizer *f);

weir_status weirp_text_scratch_new(weirp_text_scratch **out, const weirp_featurizer *f, weir_error *err);
void weirp_text_scratch_free(weirp_text_scratch *s);

/* Never fails and never allocates: a prompt of any bytes and any length has features (those of an empty one are zero
 * but for the scalars). */
void weirp_featurize(const weirp_featurizer *f, weirp_text_scratch *s, const char *prompt, size_t len,
                     weirp_features *out);

/* Features of many prompts, with threads. dense: (n, dim); terms may be NULL. Both are new. */
weir_status weirp_featurize_all(const weirp_featurizer *f, const char *const *prompts, const size_t *lens, size_t n,
                                unsigned n_threads, float **dense, weirp_csr *terms, weir_error *err);

/* A vendor-neutral count of tokens: about four letters of Latin script, one CJK character, three digits a token. */
double weirp_count_tokens(const char *prompt, size_t len);

#endif
