/* Any bytes as a prompt, and any bytes as a stored featurizer. The first byte says which: an even one, a prompt; an odd
 * one, a featurizer, which must be refused or work. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const weirp_featurizer *f, const char *prompt, size_t len) {
    weirp_text_scratch *s = NULL;
    weirp_features x;
    if (weirp_text_scratch_new(&s, f, NULL) != WEIR_OK) return;
    weirp_featurize(f, s, prompt, len, &x);
    if (x.dim != weirp_featurizer_dim(f) || x.n_bytes != len) abort();
    for (size_t i = 0; i < x.n_terms; i++)
        if (x.bucket[i] >= weirp_featurizer_n_buckets(f) || !isfinite(x.weight[i])) abort();
    for (size_t i = 0; i < x.dim; i++)
        if (!isfinite(x.dense[i])) abort();
    if (!(x.explained >= 0 && x.explained <= 1)) abort();
    if (!isfinite(weirp_count_tokens(prompt, len))) abort();
    weirp_text_scratch_free(s);
}

static weirp_featurizer *fitted(void) {
    static const char *const prompts[] = {"one two three", "two three, four", "eins zwei drei", "一二三"};
    const size_t lens[] = {13, 15, 14, 9};
    weirp_text_options o = {.bucket_bits = 8, .dim = 4};
    weirp_featurizer *f = NULL;
    if (weirp_featurizer_fit(&f, prompts, lens, 4, &o, 1, 1, NULL, NULL, NULL) != WEIR_OK) abort();
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static weirp_featurizer *known;
    if (!known) known = fitted();
    if (!size) return 0;
    const char *rest = (const char *)data + 1;
    if (data[0] % 2 == 0) {
        check(known, rest, size - 1);
        return 0;
    }
    /* mutations of a good one: the input is laid over it, so that what lies behind the head is reached */
    weirp_writer w = {0};
    weirp_featurizer_save(known, &w);
    if (w.failed) return 0;
    size_t at = size > 2 ? data[1] * 16u % w.size : 0, n = size - 1 < w.size - at ? size - 1 : w.size - at;
    if (data[0] % 4 == 1) memcpy(w.data + at, rest, n);
    weirp_bytes laid = {w.data, w.size, 0, false}, plain = {(const uint8_t *)rest, size - 1, 0, false};
    weirp_featurizer *f = NULL;
    if (weirp_featurizer_load(&f, data[0] % 4 == 1 ? &laid : &plain, NULL) == WEIR_OK) check(f, rest, size - 1);
    weirp_featurizer_free(f);
    weirp_writer_free(&w);
    return 0;
}
