/* embeddings.c: OpenAI's embeddings: vectors that are alike where texts share words.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/vendor.h"

enum { DIMENSIONS = 1536, MOST_DIMENSIONS = 3072, MOST_WORDS = 256 }; /* words beyond don't count: it bounds the work */

/* The sum of its words' random vectors, of length 1. */
static void embed(float *v, size_t dim, const char *text, size_t len) {
    double norm = 0;
    memset(v, 0, dim * sizeof *v);
    for (size_t at = 0, n = 0; n < MOST_WORDS && (at < len || !n); n++) {
        size_t piece = vend_split(text + at, len - at);
        uint64_t seed = vend_hash(text + at, piece, 1);
        for (size_t i = 0; i < dim; i++) v[i] += (float)(weirp_random_uniform(seed, 0, i) - 0.5);
        at += piece;
    }
    for (size_t i = 0; i < dim; i++) norm += (double)v[i] * v[i];
    for (size_t i = 0; norm > 0 && i < dim; i++) v[i] = (float)(v[i] / sqrt(norm));
}

static void put_base64(weirp_writer *w, const float *v, size_t dim) {
    uint8_t bytes[4 * MOST_DIMENSIONS], text[16 * MOST_DIMENSIONS / 3 + 8];
    for (size_t i = 0; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        for (int b = 0; b < 4; b++) bytes[4 * i + (size_t)b] = (uint8_t)(bits >> (8 * b));
    }
    int n = EVP_EncodeBlock(text, bytes, (int)(4 * dim));
    vend_put_quoted(w, (const char *)text, (size_t)n);
}

static void put_floats(weirp_writer *w, const float *v, size_t dim) {
    vend_put(w, "[");
    for (size_t i = 0; i < dim; i++) vend_put_format(w, i ? ",%.8f" : "%.8f", (double)v[i]);
    vend_put(w, "]");
}

/* The i-th input as text; tokens count as their JSON. */
static void put_one(vend_reply *r, weirp_writer *w, const json_t *input, size_t index, float *v, size_t dim) {
    const char *format = json_string_value(json_object_get(r->ask->json, "encoding_format"));
    char *dumped = NULL;
    const char *text = json_string_value(input);
    if (!text) text = dumped = json_dumps(input, JSON_COMPACT);
    embed(v, dim, text ? text : "", text ? strlen(text) : 0);
    free(dumped);
    vend_put(w, index ? ",{\"object\":\"embedding\",\"index\":" : "{\"object\":\"embedding\",\"index\":");
    vend_put_int(w, (int64_t)index);
    vend_put(w, ",\"embedding\":");
    if (format && !strcmp(format, "base64"))
        put_base64(w, v, dim);
    else
        put_floats(w, v, dim);
    vend_put(w, "}");
}

static void whole(vend_reply *r, weirp_writer *w) {
    float v[MOST_DIMENSIONS];
    const json_t *said = json_object_get(r->ask->json, "dimensions"), *input = json_object_get(r->ask->json, "input");
    size_t dim = json_is_integer(said) ? (size_t)json_integer_value(said) : DIMENSIONS;
    bool many = json_is_array(input) && !json_is_integer(json_array_get(input, 0));
    vend_put(w, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < r->ask->n; i++) put_one(r, w, many ? json_array_get(input, i) : input, i, v, dim);
    vend_put_member(w, "],\"model\":", r->ask->model);
    if (r->send_usage) {
        vend_put(w, ",\"usage\":{\"prompt_tokens\":");
        vend_put_int(w, r->input);
        vend_put(w, ",\"total_tokens\":");
        vend_put_int(w, r->input);
        vend_put(w, "}");
    }
    vend_put(w, "}\n");
}

static bool no_event(vend_reply *r, weirp_writer *w) {
    (void)r;
    (void)w;
    return false;
}

const vend_dialect vend_openai_embeddings = {
    vend_openai_check_embeddings, whole, no_event, vend_openai_error, vend_openai_error, "x-request-id"};

const vend_dialect *vend_dialect_of(vend_api api) {
    static const vend_dialect *const dialects[VEND_N_APIS] = {&vend_openai_chat, &vend_openai_completions,
                                                              &vend_openai_embeddings, &vend_anthropic, &vend_gemini};
    return dialects[api];
}
