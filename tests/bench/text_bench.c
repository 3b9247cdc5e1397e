/* text_bench.c: how long features take. Reads the prompts of outcome files (.jsonl), fits a featurizer on them, and
 * times single prompts of about 1 KiB, taken in a random order so that no table is warm by accident.
 *
 *   text_bench FILE... [--dim N] [--bits N]
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/text.h"

typedef struct texts {
    char **text;
    size_t *len;
    size_t n, n_room, len_room;
} texts;

static void die(const char *what) {
    fprintf(stderr, "text_bench: %s\n", what);
    exit(1);
}

static void add(texts *t, const char *text, size_t len) {
    if (!weirp_reserve((void **)&t->text, &t->n_room, t->n + 1, sizeof *t->text) ||
        !weirp_reserve((void **)&t->len, &t->len_room, t->n + 1, sizeof *t->len) ||
        !(t->text[t->n] = weirp_strndup(text, len)))
        die("out of memory");
    t->len[t->n++] = len;
}

static void read_file(texts *t, const char *path) {
    FILE *in = fopen(path, "r");
    if (!in) die(path);
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, in) > 0) {
        json_t *row = json_loads(line, 0, NULL);
        json_t *prompt = json_object_get(row, "prompt");
        if (json_is_string(prompt)) add(t, json_string_value(prompt), json_string_length(prompt));
        json_decref(row);
    }
    free(line);
    fclose(in);
}

/* Prompts of 1,024 bytes: neighbours joined, then cut. */
static void kilobytes(const texts *from, texts *to) {
    char buffer[1024];
    size_t at = 0;
    for (size_t i = 0; i < from->n; i++) {
        size_t n = from->len[i] < sizeof buffer - at ? from->len[i] : sizeof buffer - at;
        memcpy(buffer + at, from->text[i], n);
        at += n;
        if (at == sizeof buffer) add(to, buffer, at), at = 0;
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_prompts(const weirp_featurizer *f, const texts *t) {
    weirp_text_scratch *s;
    weirp_features x;
    if (weirp_text_scratch_new(&s, f, NULL) != WEIR_OK) die("out of memory");
    size_t *order = weirp_array(t->n, sizeof *order), terms = 0;
    double *us = weirp_array(t->n, sizeof *us), sum = 0;
    if (!order || !us) die("out of memory");
    for (size_t i = 0; i < t->n; i++) order[i] = i;
    weirp_shuffle(order, t->n, 1);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < t->n; i++) {
            uint64_t begin = weirp_monotonic_ns();
            weirp_featurize(f, s, t->text[order[i]], t->len[order[i]], &x);
            double took = (double)(weirp_monotonic_ns() - begin) / 1e3;
            if (!round || took < us[i]) us[i] = took;
            if (!round) terms += x.n_terms;
            sum += x.dense[0];
        }
    qsort(us, t->n, sizeof *us, by_value);
    printf("{\"n\": %zu, \"terms\": %.1f, \"p50_us\": %.2f, \"p90_us\": %.2f, \"p99_us\": %.2f, \"check\": %.6f}\n",
           t->n, (double)terms / (double)t->n, us[t->n / 2], us[t->n * 9 / 10], us[t->n * 99 / 100], sum);
    weirp_text_scratch_free(s);
    free(order);
    free(us);
}

int main(int argc, char **argv) {
    texts t = {0}, kb = {0};
    weirp_text_options o = {0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--dim") && i + 1 < argc)
            o.dim = (unsigned)atoi(argv[++i]);
        else if (!strcmp(argv[i], "--bits") && i + 1 < argc)
            o.bucket_bits = (unsigned)atoi(argv[++i]);
        else
            read_file(&t, argv[i]);
    }
    if (!t.n) die("usage: text_bench FILE... [--dim N] [--bits N]");
    kilobytes(&t, &kb);
    if (!kb.n) die("less than 1 KiB of prompts");
    weirp_featurizer *f;
    weir_error err = {0};
    uint64_t begin = weirp_monotonic_ns();
    if (weirp_featurizer_fit(&f, (const char *const *)t.text, t.len, t.n, &o, 1, 1, NULL, NULL, &err) != WEIR_OK)
        die(err.text);
    printf("{\"prompts\": %zu, \"fit_s\": %.3f}\n", t.n, (double)(weirp_monotonic_ns() - begin) / 1e9);
    time_prompts(f, &kb);
    weirp_featurizer_free(f);
    if (weirp_featurizer_cold(&f, &o, &err) != WEIR_OK) die(err.text);
    time_prompts(f, &kb);
    weirp_featurizer_free(f);
    for (size_t i = 0; i < t.n; i++) free(t.text[i]);
    for (size_t i = 0; i < kb.n; i++) free(kb.text[i]);
    free(t.text), free(t.len), free(kb.text), free(kb.len);
    return 0;
}
