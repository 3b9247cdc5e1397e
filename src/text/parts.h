/* parts.h: what the files of this folder share; nobody else includes it.
 *
 * The way of a prompt: count.c counts kinds of characters, scalars.c makes numbers of the counts; terms.c cuts words
 * and hashes terms into counters (unicode.c knows the characters); project.c weighs the counted terms and projects
 * them. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TEXT_PARTS_H
#define WEIRP_TEXT_PARTS_H

#include <stdatomic.h>

#include "src/text/text.h"

/* ---- the defaults, in one place ---- */
enum {
    DEFAULT_BUCKET_BITS = 16, /* half the buckets for words, half for character n-grams */
    DEFAULT_DIM = 64,
    DEFAULT_CHAR_MIN = 3,
    DEFAULT_CHAR_MAX = 5,
    DEFAULT_WORD_MAX = 2,
    DEFAULT_SVD_ROWS = 8000,
    MIN_BUCKET_BITS = 8,
    MAX_BUCKET_BITS = 20,
    MAX_DIM = 512,
    MAX_CHAR_ORDER = 8,
    MAX_WORD_ORDER = 4,
    /* a run of letters longer than this is several words: base64, Thai, a cat on the keyboard */
    MAX_WORD = 64,
    /* a term counts at most so often: the counters are bytes */
    MAX_COUNT = 255,
    /* buckets of fewer prompts than this say nothing; in corpora of at least MIN_DF_CORPUS prompts */
    MIN_DF = 2,
    MIN_DF_CORPUS = 64,
    SVD_OVERSAMPLING = 16,
    SVD_ITERATIONS = 4
};
/* Scalars in `dense`: standardised, clipped to +-SCALAR_CLIP, times SCALAR_DAMPING. */
#define SCALAR_CLIP    3.0f
#define SCALAR_DAMPING 0.1f

/* ---- count.c: kinds of characters ---- */

/* A character may be of several kinds. Digits to others are told by Unicode's categories and blocks. */
typedef enum weirp_kind {
    KIND_CHAR,
    KIND_SPACE,
    KIND_NEWLINE,
    KIND_WORD, /* begins a word: something visible after a space, or an ideograph */
    KIND_DIGIT,
    KIND_UPPER,
    KIND_LATIN,
    KIND_CJK,
    KIND_OTHER, /* a letter or mark of another script */
    KIND_PUNCTUATION,
    KIND_CODE,
    KIND_MATH,
    KIND_QUESTION,
    N_KINDS
} weirp_kind;

/* How many characters of each kind; fractions where a long prompt was sampled. */
typedef struct weirp_counts {
    double whole[N_KINDS], tail[N_KINDS];
    double last_paragraph; /* characters after the last blank line, of the tail of the window at most */
} weirp_counts;

void weirp_count_chars(const char *prompt, size_t len, weirp_counts *out);
double weirp_counts_tokens(const weirp_counts *c);

/* ---- scalars.c ---- */

/* The natural logarithm of x > 0, built from operations that round the same way on every machine. */
double weirp_portable_log(double x);
/* `distinct`: distinct words as a share of all words. */
void weirp_scalars(const weirp_counts *counts, double distinct, float scalars[WEIRP_N_SCALARS]);
/* Means and deviations for a featurizer that has seen no corpus. */
extern const float weirp_usual_mean[WEIRP_N_SCALARS], weirp_usual_sd[WEIRP_N_SCALARS];

/* ---- unicode.c ---- */

typedef enum weirp_char_kind {
    CHAR_SPACE,   /* ends a word */
    CHAR_IGNORED, /* as if it weren't there: joiners, selectors, soft hyphens */
    CHAR_LETTER,  /* letters, marks, digits: part of a word */
    CHAR_ALONE,   /* ideographs and kana: a word each */
    CHAR_SYMBOL   /* punctuation, emoji: a token without n-grams */
} weirp_char_kind;

enum { MAX_FOLDED = 24 };

/* Reads the character at `at` (len > 0 bytes left; not ASCII), tells its kind and size in bytes, and writes it folded
 * (lower-cased, compatibility forms resolved) as *n <= MAX_FOLDED code points. */
weirp_char_kind weirp_char_read(const unsigned char *at, size_t len, size_t *size, uint32_t *folded, size_t *n);
/* What is left of `len` when a last character that is cut off is left out. */
size_t weirp_whole_chars(const char *text, size_t len);
/* Bytes to skip so as not to begin within a character: at most 3. */
size_t weirp_to_char(const char *text, size_t len);

/* ---- terms.c: prompts to counted buckets ---- */

typedef struct weirp_counter {
    uint8_t *count; /* (n_buckets) zero between prompts */
    /* (n_buckets / 2 + 1) which buckets have a count, in order of first occurrence, counted from the begin of their
     * half */
    uint32_t *words, *chars;
    size_t n_words, n_chars;     /* how many of them */
    size_t n_tokens, n_distinct; /* words and symbols; those whose bucket was new */
    uint64_t key[MAX_WORD + 2];  /* odd random numbers: the hash functions */
} weirp_counter;

void weirp_counter_keys(weirp_counter *c);
/* Counts the terms of the prompt's window; the counters are empty before. */
void weirp_count_terms(const weirp_featurizer *f, weirp_counter *c, const char *prompt, size_t len);
/* Distinct words and symbols as a share of all; 1 where there are none. */
double weirp_distinct_share(const weirp_counter *c);

/* ---- the featurizer ---- */

/* rows.c: dense (stride) = sum of coefficient[i] * row bucket[i] over i < n, in that order. */
typedef void (*weirp_add_rows_fn)(const int8_t *rows, size_t stride, const uint32_t *bucket, const float *coefficient,
                                  size_t n, float *restrict dense);
void weirp_add_rows_plain(const int8_t *rows, size_t stride, const uint32_t *bucket, const float *coefficient, size_t n,
                          float *restrict dense);
weirp_add_rows_fn weirp_add_rows_best(void); /* for this processor */

/* What is looked up for a bucket together. */
typedef struct weirp_bucket {
    float idf;   /* 0: left out */
    float scale; /* of its row of the projection, which is kept in bytes */
} weirp_bucket;

struct weirp_featurizer {
    atomic_uint refs;
    weirp_text_options options; /* none zero */
    bool cold;
    size_t n_buckets, stride; /* stride: bytes a row, a multiple of 64 */
    size_t n_prompts;         /* of the corpus */
    weirp_bucket *table;      /* (n_buckets) NULL when cold */
    int8_t *rows;             /* (n_buckets, stride) the projection; aligned to 64; NULL when cold */
    weirp_add_rows_fn add_rows;
    int16_t *signs; /* (n_buckets) column + 1, negative where it is subtracted; only when cold */
    float scalar_mean[WEIRP_N_SCALARS], scalar_inverse_sd[WEIRP_N_SCALARS];
    float tf[MAX_COUNT + 1];           /* 1 + log(count), and 0 for 0 */
    uint32_t tf_square[MAX_COUNT + 1]; /* its square, in units of 2^-20 */
};

struct weirp_text_scratch {
    weirp_counter counter;
    size_t n_buckets;
    uint32_t *bucket;   /* (n_buckets + 1) */
    float *weight;      /* (n_buckets + 1) */
    float *coefficient; /* (n_buckets + 1) weight times the row's scale */
    float *dense;       /* (stride + WEIRP_N_SCALARS) aligned to 64 */
    float scalars[WEIRP_N_SCALARS];
    uint64_t all, known; /* sums of tf_square: of all terms, and of those that the corpus has */
    float explained;
};

weir_status weirp_text_options_fill(weirp_text_options *out, const weirp_text_options *in, weir_error *err);
/* Everything but the tables and the scales; *out is new. */
weir_status weirp_featurizer_new(weirp_featurizer **out, const weirp_text_options *options, weir_error *err);
/* Makes it cold. */
weir_status weirp_featurizer_signs(weirp_featurizer *f, weir_error *err);
/* Room for the table and the rows, all zero. */
weir_status weirp_featurizer_room(weirp_featurizer *f, weir_error *err);

/* ---- project.c: counted buckets to features ---- */

/* Takes the buckets out of the counters and weighs them; the number of terms. Words and characters are each
 * L2-normalised and have half of the weight. */
size_t weirp_weigh(const weirp_featurizer *f, weirp_text_scratch *s);
/* dense (options.dim): the terms' projection, L2-normalised. Uses dense up to the stride. */
void weirp_project(const weirp_featurizer *f, weirp_text_scratch *s, size_t n_terms);

#endif
