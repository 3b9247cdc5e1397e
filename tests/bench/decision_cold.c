/* decision_cold.c: how long a decision takes when others have had the caches in the meantime, as in a gateway that
 * waits between two requests, and how long when nobody has.
 *
 *   decision_cold STORE FILE [DECISIONS [hot|cold]]
 *
 * Prompts are those of an outcomes file, in turn. Before a cold decision a buffer of 64 MiB is read and written, a line
 * after the other, which is more than the second-level cache and the address translations can hold; only the decision
 * is timed. Without a last argument cold and hot decisions take turns in rounds, and a line of JSON each has their
 * percentiles, stages included (whose clock readings make the whole a little slower than it is by itself).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "weir/weir.h"

enum { BUFFER = 64 << 20, LINE = 64, MAX_STAGES = 16, ROUND = 50 };

typedef struct texts {
    char **text;
    size_t *len;
    size_t n, text_room, len_room;
} texts;

typedef struct times {
    double *us; /* (n) */
    size_t n, n_stages;
    const char *stage[MAX_STAGES];
    double *stage_us[MAX_STAGES]; /* (n) each */
} times;

static void die(const char *what) {
    fprintf(stderr, "decision_cold: %s\n", what);
    exit(1);
}

static void read_file(texts *t, const char *path) {
    FILE *in = fopen(path, "r");
    if (!in) die(path);
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, in) > 0) {
        json_t *row = json_loads(line, 0, NULL), *prompt = json_object_get(row, "prompt");
        if (json_is_string(prompt)) {
            if (!weirp_reserve((void **)&t->text, &t->text_room, t->n + 1, sizeof *t->text) ||
                !weirp_reserve((void **)&t->len, &t->len_room, t->n + 1, sizeof *t->len))
                die("out of memory");
            t->len[t->n] = json_string_length(prompt);
            t->text[t->n] = weirp_strndup(json_string_value(prompt), t->len[t->n]);
            if (!t->text[t->n++]) die("out of memory");
        }
        json_decref(row);
    }
    free(line);
    fclose(in);
    if (!t->n) die("no prompts");
}

static void times_make(times *t, size_t n) {
    t->us = weirp_array(n, sizeof *t->us);
    for (size_t k = 0; k < MAX_STAGES; k++) t->stage_us[k] = weirp_array(n, sizeof *t->us);
    if (!t->us || !t->stage_us[MAX_STAGES - 1]) die("out of memory");
}

static void times_free(times *t) {
    free(t->us);
    for (size_t k = 0; k < MAX_STAGES; k++) free(t->stage_us[k]);
}

static void evict(uint8_t *buffer) {
    for (size_t i = 0; i < BUFFER; i += LINE) ++*(volatile uint8_t *)(buffer + i);
}

/* The prompt is in the cache, as one that was just read from a socket is. */
static double decide(weir_session *session, const char *text, size_t len, double *check) {
    static volatile uint8_t sink;
    weir_policy_options options = weir_policy_defaults();
    const weir_decision *d;
    weir_error err = {0};
    for (size_t i = 0; i < len; i += LINE) sink = (uint8_t)text[i];
    (void)sink;
    uint64_t begin = weirp_monotonic_ns();
    if (weir_decide(session, text, len, &options, &d, NULL, &err) != WEIR_OK) die(err.text);
    double took = (double)(weirp_monotonic_ns() - begin) / 1e3;
    *check += d->risk_usd[d->model];
    return took;
}

static void note_stages(times *t, const weir_session *session) {
    const weir_phase *phase;
    t->n_stages = weir_session_phases(session, &phase);
    if (t->n_stages > MAX_STAGES) t->n_stages = MAX_STAGES;
    for (size_t k = 0; k < t->n_stages; k++) {
        t->stage[k] = phase[k].name;
        t->stage_us[k][t->n] = (double)phase[k].ns / 1e3;
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, times *t, double check) {
    qsort(t->us, t->n, sizeof *t->us, by_value);
    printf("{\"caches\": \"%s\", \"n\": %zu, \"p50_us\": %.1f, \"p90_us\": %.1f", name, t->n, t->us[t->n / 2],
           t->us[t->n * 9 / 10]);
    for (size_t k = 0; k < t->n_stages; k++) {
        qsort(t->stage_us[k], t->n, sizeof *t->us, by_value);
        printf(", \"%s\": %.1f", t->stage[k], t->stage_us[k][t->n / 2]);
    }
    printf(", \"check\": %.9f}\n", check);
}

int main(int argc, char **argv) {
    if (argc < 3) die("usage: decision_cold STORE FILE [DECISIONS [hot|cold]]");
    size_t n = argc > 3 ? strtoul(argv[3], NULL, 10) : 400;
    const char *only = argc > 4 ? argv[4] : NULL;
    texts t = {0};
    times cold = {0}, hot = {0};
    weir_router *router;
    weir_session *session;
    weir_error err = {0};
    double cold_check = 0, hot_check = 0;
    uint8_t *buffer = weirp_array(BUFFER, 1);
    read_file(&t, argv[2]);
    times_make(&cold, n);
    times_make(&hot, n);
    if (!n || !buffer) die("nothing to do");
    if (weir_router_open(&router, argv[1], &err) != WEIR_OK) die(err.text);
    if (weir_session_new(&session, router, &err) != WEIR_OK) die(err.text);
    weir_session_profile(session, !only);
    for (size_t i = 0; i < n; i += ROUND) {
        size_t end = i + ROUND < n ? i + ROUND : n;
        for (size_t k = i; k < end && !(only && !strcmp(only, "hot")); k++) {
            evict(buffer);
            cold.us[cold.n] = decide(session, t.text[k % t.n], t.len[k % t.n], &cold_check);
            if (!only) note_stages(&cold, session);
            cold.n++;
        }
        for (size_t k = i; k < end && !(only && !strcmp(only, "cold")); k++) {
            hot.us[hot.n] = decide(session, t.text[k % t.n], t.len[k % t.n], &hot_check);
            if (!only) note_stages(&hot, session);
            hot.n++;
        }
    }
    if (cold.n) print("cold", &cold, cold_check);
    if (hot.n) print("hot", &hot, hot_check);
    weir_session_free(session);
    weir_router_close(router);
    times_free(&cold);
    times_free(&hot);
    for (size_t i = 0; i < t.n; i++) free(t.text[i]);
    free(t.text), free(t.len), free(buffer);
    return 0;
}
