/* Features: closed forms, invariances, any bytes, any length, the same bits everywhere.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/base/base.h"
#include "src/linalg/parallel.h"
#include "src/text/parts.h"
#include "src/text/text.h"

/* ---- allocations are counted by standing in for malloc, where no sanitizer does so itself ---- */

static atomic_size_t n_allocations;
#if defined(__GLIBC__) && !defined(WEIRP_SANITIZED)
#define COUNTS_ALLOCATIONS 1
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
void *malloc(size_t size) {
    n_allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    n_allocations++;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t size) {
    n_allocations++;
    return __libc_realloc(p, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    n_allocations++;
    return __libc_memalign(alignment, size);
}
#else
#define COUNTS_ALLOCATIONS 0
#endif

/* ---- a small corpus, ours ---- */

static const char *const corpus[] = {
    "",
    "What is the capital of Peru, and how many people live there?",
    "Write a function in C that reverses a linked list.\n\nstruct node { int value; struct node *next; };",
    "A train leaves at 9:40 and takes 3 hours and 35 minutes. When does it arrive?",
    "Виктор купил 12 яблок и съел три. Сколько осталось?",
    "请把下面的句子翻译成英文：今天天气很好，我们去公园吧。",
    "次の文を要約してください。東京は日本の首都です。",
    "한국의 수도는 어디입니까? 인구는 얼마나 됩니까?",
    "ما هي عاصمة مصر؟ وكم عدد سكانها؟",
    "def f(x):\n    return [y**2 for y in x if y % 3 == 0]\n\n# explain line by line",
    "Prove that \\(\\sqrt{2}\\) is irrational; then show $\\sum_{k=1}^n k = n(n+1)/2$.",
    "😀🎉👩‍👩‍👧 🇵🇪",
    "Translate to French: \"The cheese is old, but the bread isn’t.\"",
    "SELECT name, COUNT(*) FROM orders GROUP BY name HAVING COUNT(*) > 5;",
    "what is the capital of Chile, and how many people live there?",
    "ÜBER größe und Straße: was heißt das auf Englisch?",
};
enum { N_CORPUS = sizeof corpus / sizeof *corpus };

static size_t corpus_lens[N_CORPUS];

static int measure_corpus(void **state) {
    (void)state;
    for (size_t i = 0; i < N_CORPUS; i++) corpus_lens[i] = strlen(corpus[i]);
    return 0;
}

static weirp_featurizer *fitted(const weirp_text_options *o, unsigned n_threads) {
    weirp_featurizer *f = NULL;
    weir_error err = {0};
    assert_int_equal(weirp_featurizer_fit(&f, corpus, corpus_lens, N_CORPUS, o, 1, n_threads, NULL, NULL, &err),
                     WEIR_OK);
    return f;
}

static weirp_featurizer *cold(void) {
    weirp_featurizer *f = NULL;
    assert_int_equal(weirp_featurizer_cold(&f, NULL, NULL), WEIR_OK);
    return f;
}

/* A featurizer whose tables are written down here instead of fitted: nothing of it depends on LAPACK. */
static weirp_featurizer *made(void) {
    weirp_featurizer *f = NULL;
    assert_int_equal(weirp_featurizer_new(&f, NULL, NULL), WEIR_OK);
    assert_int_equal(weirp_featurizer_room(f, NULL), WEIR_OK);
    for (size_t i = 0; i < f->n_buckets; i++) {
        f->table[i].idf = (float)(weirp_mix64(i) % 1000) / 128.0f;
        f->table[i].scale = (float)(weirp_mix64(~i) % 1000) / 65536.0f;
        for (size_t k = 0; k < f->options.dim; k++)
            f->rows[i * f->stride + k] = (int8_t)((int)(weirp_mix64(i * 1000 + k) % 255) - 127);
    }
    for (size_t k = 0; k < WEIRP_N_SCALARS; k++) f->scalar_inverse_sd[k] = 2, f->scalar_mean[k] = 0.25f;
    return f;
}

static weirp_text_scratch *scratch(const weirp_featurizer *f) {
    weirp_text_scratch *s = NULL;
    assert_int_equal(weirp_text_scratch_new(&s, f, NULL), WEIR_OK);
    return s;
}

/* Everything a caller sees, as one number. */
static uint64_t digest(const weirp_features *x) {
    uint64_t h = XXH3_64bits(x->bucket, x->n_terms * sizeof *x->bucket);
    h = XXH3_64bits_withSeed(x->weight, x->n_terms * sizeof *x->weight, h);
    h = XXH3_64bits_withSeed(x->dense, x->dim * sizeof *x->dense, h);
    h = XXH3_64bits_withSeed(x->scalars, WEIRP_N_SCALARS * sizeof *x->scalars, h);
    return XXH3_64bits_withSeed(&x->n_chars, sizeof x->n_chars, h);
}

static weirp_features features(const weirp_featurizer *f, weirp_text_scratch *s, const char *text) {
    weirp_features x;
    weirp_featurize(f, s, text, strlen(text), &x);
    return x;
}

/* What holds of any features. */
static void check_sound(const weirp_featurizer *f, const weirp_features *x) {
    double square = 0, dense = 0;
    size_t half = weirp_featurizer_n_buckets(f) / 2;
    bool *seen = weirp_array(2 * half, sizeof *seen);
    for (size_t i = 0; i < x->n_terms; i++) {
        assert_true(x->bucket[i] < weirp_featurizer_n_buckets(f));
        assert_false(seen[x->bucket[i]]);
        seen[x->bucket[i]] = true;
        /* words come first */
        assert_true(!i || x->bucket[i] >= half || x->bucket[i - 1] < half);
        assert_true(x->weight[i] > 0);
        square += (double)x->weight[i] * x->weight[i];
    }
    free(seen);
    assert_true(x->n_terms ? fabs(square - 1) < 1e-4 : square == 0);
    assert_int_equal(x->dim, weirp_featurizer_dim(f));
    for (size_t i = 0; i < x->dim - WEIRP_N_SCALARS; i++) dense += (double)x->dense[i] * x->dense[i];
    assert_true(fabs(dense - 1) < 1e-4 || dense == 0);
    for (size_t i = 0; i < WEIRP_N_SCALARS; i++) {
        assert_true(isfinite(x->scalars[i]));
        assert_true(fabsf(x->dense[x->dim - WEIRP_N_SCALARS + i]) <= SCALAR_CLIP * SCALAR_DAMPING + 1e-6);
    }
    assert_true(x->n_chars <= x->n_bytes + x->n_bytes / 50);
    assert_true(isfinite(x->approximate_tokens) && x->approximate_tokens >= 0);
}

/* Inner product of the terms of two prompts. */
static double similarity(const weirp_featurizer *f, const char *a, const char *b) {
    weirp_text_scratch *s = scratch(f), *t = scratch(f);
    weirp_features x = features(f, s, a), y = features(f, t, b);
    double sum = 0, *weight = weirp_array(weirp_featurizer_n_buckets(f), sizeof *weight);
    for (size_t i = 0; i < x.n_terms; i++) weight[x.bucket[i]] = x.weight[i];
    for (size_t i = 0; i < y.n_terms; i++) sum += weight[y.bucket[i]] * y.weight[i];
    free(weight);
    weirp_text_scratch_free(s), weirp_text_scratch_free(t);
    return sum;
}

/* ---- closed forms ---- */

static void logarithm(void **state) {
    (void)state;
    for (int i = 1; i < 5000; i++) {
        double x = i < 2500 ? i : pow(10, (i - 3750) / 10.0);
        double exact = log(x);
        assert_true(fabs(weirp_portable_log(x) - exact) <= 1e-15 * fmax(1, fabs(exact)));
    }
    assert_true(weirp_portable_log(1) == 0);
}

/* The one bucket of words that a one-word prompt has. */
static uint32_t word_bucket(const weirp_featurizer *f, const char *word) {
    weirp_featurizer *plain = cold();
    weirp_text_scratch *s = scratch(plain);
    weirp_features x = features(plain, s, word);
    uint32_t bucket = x.bucket[0];
    assert_true(x.n_terms > 1 && bucket < f->n_buckets / 2 && x.bucket[1] >= f->n_buckets / 2);
    weirp_text_scratch_free(s);
    weirp_featurizer_free(plain);
    return bucket;
}

static void idf_by_hand(void **state) {
    (void)state;
    const char *const texts[] = {"apple", "apple pear", "plum", "pear apple apple"};
    const size_t lens[] = {5, 10, 4, 16};
    weirp_featurizer *f = NULL;
    assert_int_equal(weirp_featurizer_fit(&f, texts, lens, 4, NULL, 1, 1, NULL, NULL, NULL), WEIR_OK);
    assert_true(fabs(f->table[word_bucket(f, "apple")].idf - (1 + log(5.0 / 4))) < 1e-6);
    assert_true(fabs(f->table[word_bucket(f, "pear")].idf - (1 + log(5.0 / 3))) < 1e-6);
    assert_true(fabs(f->table[word_bucket(f, "plum")].idf - (1 + log(5.0 / 2))) < 1e-6);
    assert_true(f->table[word_bucket(f, "fig")].idf == 0);
    /* "apple" twice, "pear", "pear apple", "apple apple": weights in the lower half, of norm sqrt(1/2) */
    weirp_text_scratch *s = scratch(f);
    weirp_features x = features(f, s, "pear apple apple");
    double apple = (1 + log(2)) * (1 + log(5.0 / 4)), pear = 1 + log(5.0 / 3), pair = 1 + log(5.0 / 2);
    double norm = sqrt(2 * (apple * apple + pear * pear + 2 * pair * pair));
    size_t n_words = 0, found = 0;
    for (size_t i = 0; i < x.n_terms && x.bucket[i] < f->n_buckets / 2; i++, n_words++) {
        double expected = x.bucket[i] == word_bucket(f, "apple")  ? apple
                          : x.bucket[i] == word_bucket(f, "pear") ? pear
                                                                  : pair;
        found += fabs(x.weight[i] - expected / norm) < 1e-5;
    }
    assert_int_equal(n_words, 4);
    assert_int_equal(found, 4);
    /* " pear " has 4 + 3 + 2 n-grams of 3 to 5, " apple " 5 + 4 + 3 */
    assert_int_equal(x.n_terms - n_words, 9 + 12);
    check_sound(f, &x);
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

static void n_grams_by_hand(void **state) {
    (void)state;
    /* word, orders, and how many terms of words and of characters they make */
    static const struct {
        const char *text;
        unsigned lo, hi, words;
        size_t n_words, n_chars;
    } cases[] = {{"abcdefg", 3, 5, 2, 1, 7 + 6 + 5},
                 {"a", 3, 5, 2, 1, 1},
                 {"ab", 3, 5, 2, 1, 2 + 1},
                 {"abc", 2, 2, 1, 1, 4},
                 {"abc", 1, 2, 1, 1, 4 + 4}, /* the border is one term */
                 {"abc", 8, 8, 1, 1, 0},
                 {"a b c d", 3, 3, 1, 4, 4},
                 {"a b c d", 3, 3, 2, 4 + 3, 4},
                 {"a b c d", 3, 3, 3, 4 + 3 + 2, 4},
                 {"a b c d", 3, 3, 4, 4 + 3 + 2 + 1, 4},
                 {"?!", 3, 5, 2, 3, 0},
                 {"你好吗", 3, 5, 2, 3 + 2, 3 + 2 + 1},
                 {" \n\t", 3, 5, 2, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weirp_text_options o = {
            .char_min = cases[i].lo, .char_max = cases[i].hi, .word_max = cases[i].words, .bucket_bits = 20};
        weirp_featurizer *f = NULL;
        assert_int_equal(weirp_featurizer_cold(&f, &o, NULL), WEIR_OK);
        weirp_text_scratch *s = scratch(f);
        weirp_features x = features(f, s, cases[i].text);
        size_t n_words = 0;
        while (n_words < x.n_terms && x.bucket[n_words] < f->n_buckets / 2) n_words++;
        assert_int_equal(n_words, cases[i].n_words);
        assert_int_equal(x.n_terms - n_words, cases[i].n_chars);
        check_sound(f, &x);
        weirp_text_scratch_free(s);
        weirp_featurizer_free(f);
    }
}

static void projection_by_hand(void **state) {
    (void)state;
    weirp_featurizer *f = made();
    weirp_text_scratch *s = scratch(f);
    for (size_t i = 0; i < N_CORPUS; i++) {
        weirp_features x = features(f, s, corpus[i]);
        double sum[DEFAULT_DIM] = {0}, norm = 0;
        for (size_t k = 0; k < DEFAULT_DIM; k++) {
            for (size_t j = 0; j < x.n_terms; j++)
                sum[k] += (double)x.weight[j] * f->table[x.bucket[j]].scale * f->rows[x.bucket[j] * f->stride + k];
            norm += sum[k] * sum[k];
        }
        for (size_t k = 0; k < DEFAULT_DIM; k++)
            assert_true(fabs(x.dense[k] - (norm > 0 ? sum[k] / sqrt(norm) : 0)) < 1e-5);
        for (size_t k = 0; k < WEIRP_N_SCALARS; k++)
            assert_true(fabs(x.dense[DEFAULT_DIM + k] - 0.1 * fmax(-3, fmin(3, (x.scalars[k] - 0.25) * 2))) < 1e-6);
    }
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

static void rows_add_up_the_same(void **state) {
    (void)state;
    enum { ROWS = 300, STRIDE = 192, TERMS = 100 };
    int8_t *rows = weirp_array(ROWS * STRIDE, 1);
    uint32_t bucket[TERMS];
    float coefficient[TERMS], best[STRIDE], plain[STRIDE];
    for (size_t i = 0; i < ROWS * STRIDE; i++) rows[i] = (int8_t)weirp_random_u64(1, 0, i);
    for (size_t n = 0; n <= TERMS; n++) {
        double exact[STRIDE] = {0};
        for (size_t i = 0; i < n; i++) {
            bucket[i] = (uint32_t)(weirp_random_u64(2, n, i) % ROWS);
            coefficient[i] = (float)weirp_random_normal(3, n, i);
            for (size_t j = 0; j < STRIDE; j++) exact[j] += (double)coefficient[i] * rows[bucket[i] * STRIDE + j];
        }
        weirp_add_rows_best()(rows, STRIDE, bucket, coefficient, n, best);
        weirp_add_rows_plain(rows, STRIDE, bucket, coefficient, n, plain);
        assert_memory_equal(best, plain, sizeof best);
        for (size_t j = 0; j < STRIDE; j++) assert_true(fabs(exact[j] - best[j]) < 1e-2);
    }
    free(rows);
}

/* What of a prompt's terms lies within the projection's directions, by hand: squared norm of the projection, times the
 * share of the squared term frequencies that the corpus knows. */
static void explained_share(void **state) {
    (void)state;
    weirp_featurizer *f = fitted(NULL, 1), *c = cold();
    weirp_text_scratch *s = scratch(f);
    for (size_t i = 1; i < N_CORPUS; i++) {
        weirp_features x = features(f, s, corpus[i]);
        assert_true(x.explained > 0.98 && x.explained <= 1); /* 16 prompts have 16 directions, and bytes round */
    }
    assert_true(features(f, s, "zzyzx qqjjq").explained < 0.05);
    assert_true(features(f, s, "").explained == 0);
    double half = features(f, s, "What is the capital of Peru zzyzx wwxww vvkvv qqjjq jjxjj").explained;
    assert_true(half > 0.1 && half < 0.9);
    assert_true(features(c, s, "zzyzx").explained == 1);
    weirp_features x = features(f, s, corpus[1]);
    double known = 0, all = 0, norm = 0, sum[DEFAULT_DIM] = {0};
    weirp_text_scratch *t = scratch(c);
    weirp_features y = features(c, t, "capital capital zzyzx");
    for (size_t i = 0; i < y.n_terms; i++) {
        double square = y.weight[i] / y.weight[y.n_terms - 1]; /* of the last trigram: tf 1 */
        square *= square;
        if (y.bucket[i] >= f->n_buckets / 2) all += square, known += f->table[y.bucket[i]].idf > 0 ? square : 0;
    }
    /* words: capital twice, zzyzx, capital capital, capital zzyzx */
    double tf = (1 + log(2)) * (1 + log(2));
    all += tf + 3, known += tf;
    x = features(f, s, "capital capital zzyzx");
    for (size_t j = 0; j < x.n_terms; j++)
        for (size_t k = 0; k < DEFAULT_DIM; k++)
            sum[k] += (double)x.weight[j] * f->table[x.bucket[j]].scale * f->rows[x.bucket[j] * f->stride + k];
    for (size_t k = 0; k < DEFAULT_DIM; k++) norm += sum[k] * sum[k];
    assert_true(fabs(x.explained - norm * known / all) < 1e-4);
    weirp_text_scratch_free(s), weirp_text_scratch_free(t);
    weirp_featurizer_free(f), weirp_featurizer_free(c);
}

/* The fitted projection spans what the term matrix does: prompts that share words are near, others aren't. */
static void projection_separates(void **state) {
    (void)state;
    weirp_featurizer *f = fitted(NULL, 1);
    float *dense = NULL;
    assert_int_equal(weirp_featurize_all(f, corpus, corpus_lens, N_CORPUS, 1, &dense, NULL, NULL), WEIR_OK);
    size_t dim = weirp_featurizer_dim(f);
    double near = weirp_dot(dense + 1 * dim, dense + 14 * dim, DEFAULT_DIM);
    for (size_t i = 2; i < 14; i++) assert_true(near > weirp_dot(dense + 1 * dim, dense + i * dim, DEFAULT_DIM) + 0.2);
    free(dense);
    weirp_featurizer_free(f);
}

static void counts_and_tokens(void **state) {
    (void)state;
    weirp_counts c;
    const char *text = "Is 12 < 13?\n¿Sí, é好 ×!";
    weirp_count_chars(text, strlen(text), &c);
    assert_true(c.whole[KIND_CHAR] == 22 && c.whole[KIND_DIGIT] == 4 && c.whole[KIND_NEWLINE] == 1 &&
                c.whole[KIND_QUESTION] == 2 && c.whole[KIND_CJK] == 1);
    assert_true(c.whole[KIND_UPPER] == 2 && c.whole[KIND_LATIN] == 5 && c.whole[KIND_MATH] == 2 &&
                c.whole[KIND_CODE] == 1 && c.whole[KIND_SPACE] == 6);
    assert_true(c.whole[KIND_PUNCTUATION] == 6 && c.whole[KIND_OTHER] == 0);
    assert_memory_equal(c.whole, c.tail, sizeof c.tail);
    assert_true(c.last_paragraph == 22);
    assert_true(weirp_count_tokens("", 0) == 0);
    double english = weirp_count_tokens(corpus[1], corpus_lens[1]);
    assert_true(english > 10 && english < 20);
    /* about additive, and monotone */
    double last = 0;
    for (size_t n = 0; n <= corpus_lens[2]; n++) {
        double tokens = weirp_count_tokens(corpus[2], n);
        assert_true(tokens >= last);
        last = tokens;
    }
}

static void tails_and_paragraphs(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double last_paragraph;
    } cases[] = {{"", 0},         {"one", 3},    {"one\n\ntwo!", 4},        {"one\n\ntwo!\n\n \n", 4},
                 {"one\ntwo", 7}, {"\n\n\n", 0}, {"a\r\n\r\nb\xc3\xa9", 2}, {"\n\nab", 2},
                 {"a\n\n\nb", 1}};
    weirp_counts c;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weirp_count_chars(cases[i].text, strlen(cases[i].text), &c);
        assert_true(c.last_paragraph == cases[i].last_paragraph);
    }
    /* the tail is the last bytes, whatever stands before */
    char text[3000];
    memset(text, 'a', sizeof text);
    for (size_t digits = 0; digits <= sizeof text; digits += 100) {
        memset(text + sizeof text - digits, '7', digits);
        weirp_count_chars(text, sizeof text, &c);
        assert_true(c.whole[KIND_DIGIT] == (double)digits && c.whole[KIND_CHAR] == sizeof text);
        assert_true(c.tail[KIND_DIGIT] == fmin((double)digits, WEIRP_TEXT_TAIL) &&
                    c.tail[KIND_CHAR] == WEIRP_TEXT_TAIL);
        assert_true(c.whole[KIND_WORD] == 1);
    }
    float scalars[WEIRP_N_SCALARS];
    weirp_scalars(&c, 0.25, scalars);
    assert_true(scalars[WEIRP_SCALAR_tail_digit_share] == 1 && scalars[WEIRP_SCALAR_distinct_share] == 0.25f);
    assert_true(fabs(scalars[WEIRP_SCALAR_log_chars] - (log(3001) - 6) / 4) < 1e-6);
    /* "a b a b a b" has two distinct words of six */
    weirp_featurizer *f = cold();
    weirp_text_scratch *s = scratch(f);
    weirp_features x = features(f, s, "a b a b a B");
    assert_true(fabs(x.scalars[WEIRP_SCALAR_distinct_share] - 2.0 / 6) < 1e-6);
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

/* ---- invariances ---- */

static void same_text_same_terms(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"Hello World", "hELLO   world\n"},
        {"caf\xc3\xa9", "cafe\xcc\x81"}, /* composed and decomposed */
        {"ＡＢＣ１２３", "abc123"},      /* full width */
        {"ΣΊΣΥΦΟΣ", "σίσυφος"},          /* final sigma */
        {"STRASSE", "straße"},
        {"ﬁsh", "fish"},                    /* ligature */
        {"co\xc2\xadoperate", "cooperate"}, /* soft hyphen */
        {"nbsp\xc2\xa0here", "nbsp here"},
        {"ПРИВЕТ мир", "привет МИР"},
        {"ｶﾀｶﾅ", "カタカナ"}, /* half width */
    };
    weirp_featurizer *f = cold();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_true(similarity(f, pairs[i][0], pairs[i][1]) > 0.9999);
    assert_true(similarity(f, "hello", "world") < 0.3);
    assert_true(similarity(f, "cat", "ca t") < 0.5);
    weirp_featurizer_free(f);
}

static void every_language_has_terms(void **state) {
    (void)state;
    weirp_featurizer *f = cold();
    weirp_text_scratch *s = scratch(f);
    for (size_t i = 1; i < N_CORPUS; i++) {
        weirp_features x = features(f, s, corpus[i]);
        check_sound(f, &x);
        assert_true(x.n_terms > 5);
        for (size_t j = 1; j < i; j++) assert_true(similarity(f, corpus[i], corpus[j]) < 0.9);
    }
    /* a word in common is seen within a sentence of any script */
    assert_true(similarity(f, "сколько яблок осталось", "купил 12 яблок") >
                similarity(f, "сколько яблок осталось", "купил 12 груш") + 0.05);
    assert_true(similarity(f, "今天天气很好", "天气怎么样") > similarity(f, "今天天气很好", "你吃饭了吗") + 0.05);
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

/* ---- the same bits ---- */

/* These numbers are what any machine must get; they change only with the recipe, and then the format's number does. */
static void golden(void **state) {
    (void)state;
    static const struct {
        size_t text;
        uint64_t cold, made;
    } cases[] = {
        {0, 0x5620f843b028c3dd, 0x02522e63addd870c},  {1, 0xf4e5f0362e96f5de, 0xea48da1892210814},
        {2, 0x8ef4e7894e794bcf, 0x73be154c65160fd3},  {4, 0xf0d056c6c8bbb4f7, 0xc5edeacc3be18ded},
        {5, 0x7afd4c095bc3a667, 0x9ec9f8b741e502d5},  {8, 0x70232c666d84fd94, 0xbb604c818b300a39},
        {11, 0x4c6621dbc24aff99, 0x134755e46693b515}, {15, 0x773a66a58531b32b, 0xeeb2179a44d6ba0b},
    };
    weirp_featurizer *c = cold(), *m = made();
    weirp_text_scratch *s = scratch(c);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weirp_features x = features(c, s, corpus[cases[i].text]);
        uint64_t got_cold = digest(&x);
        x = features(m, s, corpus[cases[i].text]);
        uint64_t got_made = digest(&x);
        if (got_cold != cases[i].cold || got_made != cases[i].made)
            print_message("{%zu, 0x%016llx, 0x%016llx},\n", cases[i].text, (unsigned long long)got_cold,
                          (unsigned long long)got_made);
        assert_true(got_cold == cases[i].cold && got_made == cases[i].made);
    }
    weirp_text_scratch_free(s);
    weirp_featurizer_free(c), weirp_featurizer_free(m);
}

static void threads_change_nothing(void **state) {
    (void)state;
    enum { N = 300 };
    const char *prompts[N];
    size_t lens[N];
    for (size_t i = 0; i < N; i++) prompts[i] = corpus[i * 7 % N_CORPUS], lens[i] = corpus_lens[i * 7 % N_CORPUS];
    weirp_featurizer *f = fitted(NULL, 1);
    size_t dim = weirp_featurizer_dim(f);
    weirp_text_scratch *s = scratch(f);
    for (unsigned n_threads = 0; n_threads <= 4; n_threads++) {
        float *dense = NULL;
        weirp_csr terms = {0};
        assert_int_equal(weirp_featurize_all(f, prompts, lens, N, n_threads, &dense, &terms, NULL), WEIR_OK);
        assert_int_equal(terms.n_rows, N);
        assert_int_equal(terms.n_cols, weirp_featurizer_n_buckets(f));
        for (size_t i = 0; i < N; i++) {
            weirp_features x = features(f, s, prompts[i]);
            assert_memory_equal(x.dense, dense + i * dim, dim * sizeof *dense);
            assert_int_equal(x.n_terms, terms.start[i + 1] - terms.start[i]);
            if (x.n_terms) assert_memory_equal(x.bucket, terms.col + terms.start[i], x.n_terms * sizeof *x.bucket);
            if (x.n_terms) assert_memory_equal(x.weight, terms.value + terms.start[i], x.n_terms * sizeof *x.weight);
        }
        weirp_csr_free(&terms);
        free(dense);
    }
    weirp_writer one = {0}, other = {0};
    weirp_featurizer_save(f, &one);
    for (unsigned n_threads = 2; n_threads <= 4; n_threads++) {
        weirp_featurizer *g = fitted(NULL, n_threads);
        weirp_featurizer_save(g, &other);
        assert_int_equal(one.size, other.size);
        assert_memory_equal(one.data, other.data, one.size);
        weirp_writer_free(&other);
        weirp_featurizer_free(g);
    }
    weirp_writer_free(&one);
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

static void scratch_keeps_nothing(void **state) {
    (void)state;
    weirp_featurizer *f = made();
    weirp_text_scratch *s = scratch(f);
    for (size_t i = 0; i < N_CORPUS; i++) {
        weirp_features x = features(f, s, corpus[i]);
        uint64_t first = digest(&x);
        features(f, s, corpus[(i + 5) % N_CORPUS]);
        x = features(f, s, corpus[i]);
        assert_true(digest(&x) == first);
    }
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

static void nothing_is_allocated(void **state) {
    (void)state;
    if (!COUNTS_ALLOCATIONS) skip();
    enum { LONG = 100000 };
    char *text = weirp_array(LONG, 1);
    for (size_t i = 0; i < LONG; i++) text[i] = corpus[1 + i / 1000 % 10][i % 40];
    weirp_featurizer *f[] = {cold(), made()};
    for (size_t k = 0; k < 2; k++) {
        weirp_text_scratch *s = scratch(f[k]);
        size_t before = n_allocations;
        assert_true(before > 0);
        weirp_features x;
        for (size_t i = 0; i < N_CORPUS; i++) weirp_featurize(f[k], s, corpus[i], corpus_lens[i], &x);
        weirp_featurize(f[k], s, text, LONG, &x);
        weirp_count_tokens(text, LONG);
        assert_int_equal(n_allocations, before);
        weirp_text_scratch_free(s);
        weirp_featurizer_free(f[k]);
    }
    free(text);
}

/* ---- any bytes, any length ---- */

static void any_bytes(void **state) {
    (void)state;
    weirp_featurizer *f = made();
    weirp_text_scratch *s = scratch(f);
    weirp_features x;
    /* exactly sized blocks, so that a sanitizer sees a read past the end */
    for (size_t len = 0; len < 400; len++) {
        char *text = malloc(len ? len : 1);
        for (uint64_t kind = 0; kind < 4; kind++) {
            for (size_t i = 0; i < len; i++) {
                uint64_t r = weirp_random_u64(kind, len, i);
                /* anything; only bytes above ASCII; only leads and continuations; mostly ASCII */
                text[i] = (char)(kind == 0   ? r
                                 : kind == 1 ? 0x80 | r
                                 : kind == 2 ? (r & 64 ? 0xf0 | (r & 7) : 0x80 | (r & 63))
                                             : (r & 0x700 ? r & 127 : r));
            }
            weirp_featurize(f, s, text, len, &x);
            check_sound(f, &x);
            assert_int_equal(x.n_bytes, len);
        }
        free(text);
    }
    weirp_featurize(f, s, NULL, 0, &x);
    check_sound(f, &x);
    assert_int_equal(x.n_terms, 0);
    for (size_t i = 0; i < DEFAULT_DIM; i++) assert_true(x.dense[i] == 0);
    weirp_featurize(f, s, "\0\0a\0", 4, &x);
    check_sound(f, &x);
    assert_int_equal(x.n_chars, 4);
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

static char *filled(size_t len, const char *with) {
    char *text = malloc(len);
    size_t n = strlen(with);
    for (size_t i = 0; i < len; i++) text[i] = with[i % n];
    return text;
}

static void window_is_both_ends(void **state) {
    (void)state;
    enum { LEN = 60000, HALF = WEIRP_TEXT_WINDOW / 2 };
    weirp_featurizer *f = cold();
    weirp_text_scratch *s = scratch(f);
    char *text = filled(LEN, "some ordinary words, again ");
    weirp_features x;
    weirp_featurize(f, s, text, LEN, &x);
    uint64_t terms = XXH3_64bits(x.bucket, x.n_terms * sizeof *x.bucket);
    double digits = x.scalars[WEIRP_SCALAR_digit_share];
    const size_t hidden[] = {HALF, LEN / 2, LEN - HALF - 5}, shown[] = {HALF - 5, 0, LEN - HALF, LEN - 5};
    for (size_t i = 0; i < 3; i++) {
        memcpy(text + hidden[i], "12345", 5);
        weirp_featurize(f, s, text, LEN, &x);
        assert_true(XXH3_64bits(x.bucket, x.n_terms * sizeof *x.bucket) == terms);
        assert_true(x.scalars[WEIRP_SCALAR_digit_share] > digits);
        digits = x.scalars[WEIRP_SCALAR_digit_share];
    }
    for (size_t i = 0; i < 4; i++) {
        char kept[5];
        memcpy(kept, text + shown[i], 5);
        memcpy(text + shown[i], "12345", 5);
        weirp_featurize(f, s, text, LEN, &x);
        assert_true(XXH3_64bits(x.bucket, x.n_terms * sizeof *x.bucket) != terms);
        memcpy(text + shown[i], kept, 5);
    }
    free(text);
    /* characters that the borders of the window fall into don't become others */
    for (size_t shift = 0; shift < 4; shift++) {
        text = filled(LEN, "𝔸");
        memmove(text + shift, text, LEN - shift);
        memset(text, 'x', shift);
        weirp_featurize(f, s, text, weirp_whole_chars(text, LEN), &x);
        assert_true(x.n_terms <= 30);
        check_sound(f, &x);
        free(text);
    }
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

static void long_prompts_are_bounded(void **state) {
    (void)state;
    enum { LEN = 10 << 20 };
    static const char *const with[] = {"What is 12 times 13? Say it in words.\n", "今天天气很好，我们去公园吧。", "a",
                                       "\xff", "0123456789abcdef"};
    weirp_featurizer *f = made();
    weirp_text_scratch *s = scratch(f);
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        char *text = filled(LEN, with[i]);
        weirp_features x;
        double least[2] = {INFINITY, INFINITY};
        for (int round = 0; round < 5; round++)
            for (size_t k = 0; k < 2; k++) {
                uint64_t begin = weirp_monotonic_ns();
                weirp_featurize(f, s, text, k ? LEN : 200000, &x);
                least[k] = fmin(least[k], (double)(weirp_monotonic_ns() - begin));
            }
        check_sound(f, &x);
        assert_int_equal(x.n_bytes, LEN);
        /* fifty times the length, and no more work */
        assert_true(least[1] < 4 * least[0]);
        assert_true(least[1] < 50e6);
        /* counts stand for the whole */
        weirp_counts whole, part;
        weirp_count_chars(text, LEN, &whole);
        weirp_count_chars(text, WEIRP_TEXT_WINDOW, &part);
        double ratio = (double)LEN / WEIRP_TEXT_WINDOW;
        assert_true(fabs(whole.whole[KIND_CHAR] / (part.whole[KIND_CHAR] * ratio) - 1) < 0.01);
        assert_true(fabs((double)x.n_chars - whole.whole[KIND_CHAR]) <= 1);
        assert_true(fabs(whole.whole[KIND_WORD] - part.whole[KIND_WORD] * ratio) <=
                    0.02 * whole.whole[KIND_WORD] + ratio);
        assert_true(fabs(x.approximate_tokens / (weirp_count_tokens(text, WEIRP_TEXT_WINDOW) * ratio) - 1) < 0.02);
        free(text);
    }
    weirp_text_scratch_free(s);
    weirp_featurizer_free(f);
}

static void counting_in_pieces_agrees(void **state) {
    (void)state;
    /* from below the window to beyond where sampling begins, character by character the same text */
    static const size_t lens[] = {16383, 16384, 16385, 30000, 81900, 82000, 200000, 1000000};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        char *text = filled(lens[i], "wörd 12, ЖЖ 好 = (x)\n");
        size_t exact = 0;
        for (size_t k = 0; k < lens[i]; k++) exact += ((unsigned char)text[k] & 0xc0) != 0x80;
        weirp_counts c;
        weirp_count_chars(text, lens[i], &c);
        double allowed = lens[i] <= 81900 ? 3 : 0.01 * (double)exact;
        assert_true(fabs(c.whole[KIND_CHAR] - (double)exact) <= allowed);
        free(text);
    }
}

/* ---- fitting and storing ---- */

static void fits_degenerate_corpora(void **state) {
    (void)state;
    static const char *const empty[] = {"", "", ""}, *const one[] = {"one prompt alone"};
    static const char *const same[] = {"the same", "the same", "the same"};
    const size_t lens[] = {0, 0, 0}, one_len[] = {16}, same_len[] = {8, 8, 8};
    weirp_featurizer *f = NULL;
    weir_error err = {0};
    assert_int_equal(weirp_featurizer_fit(&f, empty, lens, 0, NULL, 1, 1, NULL, NULL, &err), WEIR_NODATA);
    assert_null(f);
    const struct {
        const char *const *prompts;
        const size_t *lens;
        size_t n;
    } cases[] = {{empty, lens, 3}, {one, one_len, 1}, {same, same_len, 3}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(weirp_featurizer_fit(&f, cases[i].prompts, cases[i].lens, cases[i].n, NULL, 1, 2, NULL, NULL,
                                              NULL),
                         WEIR_OK);
        weirp_text_scratch *s = scratch(f);
        for (size_t k = 0; k < N_CORPUS; k++) {
            weirp_features x = features(f, s, corpus[k]);
            check_sound(f, &x);
        }
        weirp_text_scratch_free(s);
        weirp_featurizer_free(f);
    }
}

static int stop(void *user, const char *stage, size_t done, size_t total) {
    (void)stage, (void)done, (void)total;
    return --*(int *)user < 0;
}

static void fit_can_be_canceled(void **state) {
    (void)state;
    weirp_featurizer *f = NULL;
    for (int after = 0; after < 2; after++) {
        int left = after;
        weir_error err = {0};
        assert_int_equal(weirp_featurizer_fit(&f, corpus, corpus_lens, N_CORPUS, NULL, 1, 1, stop, &left, &err),
                         WEIR_CANCELED);
        assert_null(f);
    }
}

static void options_are_checked(void **state) {
    (void)state;
    const weirp_text_options bad[] = {
        {.bucket_bits = 7}, {.bucket_bits = 21}, {.dim = 513}, {.char_max = 9}, {.char_min = 5, .char_max = 4},
        {.word_max = 5},    {.char_min = 9}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weirp_featurizer *f = NULL;
        weir_error err = {0};
        assert_int_equal(weirp_featurizer_cold(&f, &bad[i], &err), WEIR_INVALID);
        assert_null(f);
        assert_true(err.text[0]);
    }
    const weirp_text_options good[] = {{.bucket_bits = 8, .dim = 1, .char_min = 1, .char_max = 1, .word_max = 1},
                                       {.bucket_bits = 12, .dim = 100, .char_min = 2, .char_max = 8, .word_max = 4}};
    for (size_t i = 0; i < 2; i++) {
        weirp_featurizer *f[2] = {fitted(&good[i], 1), NULL};
        assert_int_equal(weirp_featurizer_cold(&f[1], &good[i], NULL), WEIR_OK);
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(weirp_featurizer_dim(f[k]), good[i].dim + WEIRP_N_SCALARS);
            weirp_text_scratch *s = scratch(f[k]);
            for (size_t j = 0; j < N_CORPUS; j++) {
                weirp_features x = features(f[k], s, corpus[j]);
                check_sound(f[k], &x);
            }
            weirp_text_scratch_free(s);
            weirp_featurizer_free(f[k]);
        }
    }
}

static void stored_and_loaded(void **state) {
    (void)state;
    weirp_text_options small = {.bucket_bits = 9, .dim = 8};
    weirp_featurizer *f[] = {fitted(NULL, 1), fitted(&small, 1), cold()};
    for (size_t k = 0; k < 3; k++) {
        weirp_writer w = {0};
        weirp_featurizer_save(f[k], &w);
        assert_false(w.failed);
        weirp_bytes r = {w.data, w.size, 0, false};
        weirp_featurizer *g = NULL;
        assert_int_equal(weirp_featurizer_load(&g, &r, NULL), WEIR_OK);
        assert_int_equal(r.at, r.size);
        weirp_text_scratch *s = scratch(f[k]);
        for (size_t i = 0; i < N_CORPUS; i++) {
            weirp_features x = features(f[k], s, corpus[i]);
            uint64_t before = digest(&x);
            x = features(g, s, corpus[i]);
            assert_true(digest(&x) == before);
        }
        weirp_featurizer_free(g);
        /* cut anywhere: an error */
        for (size_t cut = 0; cut < w.size; cut += cut < 300 ? 1 : w.size / 50) {
            weirp_bytes t = {w.data, cut, 0, false};
            weir_error err = {0};
            g = NULL;
            assert_int_equal(weirp_featurizer_load(&g, &t, &err), WEIR_CORRUPT);
            assert_null(g);
            assert_true(err.text[0]);
        }
        weirp_text_scratch_free(s);
        weirp_writer_free(&w);
        weirp_featurizer_free(f[k]);
    }
}

/* Any byte of the head, or of the tables, changed: an error, or features that are sound. */
static void damaged_files(void **state) {
    (void)state;
    weirp_text_options small = {.bucket_bits = 8, .dim = 8};
    weirp_featurizer *f = fitted(&small, 1);
    weirp_writer w = {0};
    weirp_featurizer_save(f, &w);
    for (size_t at = 0; at < w.size; at += at < 200 ? 1 : 37) {
        uint8_t kept = w.data[at];
        for (unsigned change = 0; change < 4; change++) {
            w.data[at] = (uint8_t[]){(uint8_t)~kept, 0, 0x7f, 0xff}[change];
            weirp_bytes r = {w.data, w.size, 0, false};
            weirp_featurizer *g = NULL;
            if (weirp_featurizer_load(&g, &r, NULL) == WEIR_OK) {
                weirp_text_scratch *s = scratch(g);
                weirp_features x = features(g, s, corpus[2]);
                for (size_t i = 0; i < x.dim; i++) assert_true(isfinite(x.dense[i]));
                weirp_text_scratch_free(s);
                weirp_featurizer_free(g);
            }
        }
        w.data[at] = kept;
    }
    /* written by a later version */
    w.data[8] = 99;
    weirp_bytes r = {w.data, w.size, 0, false};
    weirp_featurizer *g = NULL;
    weir_error err = {0};
    assert_int_equal(weirp_featurizer_load(&g, &r, &err), WEIR_NEWER);
    weirp_writer_free(&w);
    weirp_featurizer_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logarithm),
        cmocka_unit_test(idf_by_hand),
        cmocka_unit_test(n_grams_by_hand),
        cmocka_unit_test(projection_by_hand),
        cmocka_unit_test(rows_add_up_the_same),
        cmocka_unit_test(explained_share),
        cmocka_unit_test(projection_separates),
        cmocka_unit_test(counts_and_tokens),
        cmocka_unit_test(tails_and_paragraphs),
        cmocka_unit_test(same_text_same_terms),
        cmocka_unit_test(every_language_has_terms),
        cmocka_unit_test(golden),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(scratch_keeps_nothing),
        cmocka_unit_test(nothing_is_allocated),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(window_is_both_ends),
        cmocka_unit_test(long_prompts_are_bounded),
        cmocka_unit_test(counting_in_pieces_agrees),
        cmocka_unit_test(fits_degenerate_corpora),
        cmocka_unit_test(fit_can_be_canceled),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(stored_and_loaded),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, measure_corpus, NULL);
}
