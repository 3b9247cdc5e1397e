/* How fast a log is read into the table of an evaluation, and gone over; and a store with a large log to try it on. Run
 * by hand:
 *   logged_bench LOG [MAPPING]            reads
 *   logged_bench --fill STORE ROWS        appends served requests, half of them with feedback, to a trained store
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "src/ope/decisions.h"
#include "src/ope/table.h"
#include "src/router/format.h"
#include "src/router/reading.h"
#include "src/store/store.h"
#include "weir/weir.h"

static weir_error err;

static void must(weir_status st) {
    if (st == WEIR_OK) return;
    fprintf(stderr, "%s\n", err.text);
    exit(1);
}

/* ---- filling ---- */

enum { GROUP = 4096, LATER = 1000 }; /* feedback comes so many requests after its decision */

static uint64_t number_of(uint64_t first_ms, size_t i) {
    return (first_ms + 10 * i) << 20 | (i & 0xfffff); /* 100 requests a second */
}

/* Each request is decided for itself: one draw that stood for many rows would contradict its chances. */
static void make_request(weirp_writer *served, weirp_writer *feedback, weir_session *session, uint64_t number,
                         size_t i) {
    char prompt[80], id[WEIRP_ID_SIZE];
    weir_policy_options o = weir_policy_defaults();
    const weir_decision *d;
    weirp_log_record r = {0};
    o.explore_floor = 0.02;
    o.draw = i;
    int n = snprintf(prompt, sizeof prompt, "Question %zu: how many of %zu are %zu?", i, i * i, i % 7);
    must(weir_decide(session, prompt, (size_t)n, &o, &d, NULL, &err));
    weirp_served v = {.model = d->model,
                      .api = "chat",
                      .request_id = "req-0123456789abcdef",
                      .status = 200,
                      .usage = {.input_tokens = 40, .output_tokens = 90, .known = true},
                      .predicted_cost_usd = 1e-4,
                      .cost_usd = 1e-4 * (double)(i % 64 + 1),
                      .latency_ms = 100 + (double)(i % 997),
                      .first_token_ms = NAN,
                      .n_attempts = 1};
    v.attempt[0] = (weirp_attempt){.model = (uint32_t)d->model, .deployment = "eu-1", .result = "ok", .status = 200};
    weirp_id_print(id, number, 7);
    served->size = feedback->size = 0;
    weirp_record_decision(served, session, id);
    weirp_record_served(served, &v);
    must(weirp_log_decode(&r, served->data, served->size, &err));
    weirp_record_feedback(feedback, &r, d->model, i % 3 ? 1 : 0, "user", false);
    weirp_log_record_free(&r);
}

static weirp_change change_of(const weirp_writer *w, uint64_t number, bool follows) {
    uint8_t *copy = malloc(w->size);
    memcpy(copy, w->data, w->size);
    return (
        weirp_change){.kind = WEIRP_APPEND_LOG, .data = copy, .size = w->size, .number = number, .follows = follows};
}

static void fill(const char *path, size_t rows) {
    static weirp_writer served, feedback[LATER]; /* of the requests that are still to be told of */
    static weirp_change change[2 * GROUP];
    weir_router *router;
    weir_session *session;
    weirp_store *store;
    uint64_t first_ms = (uint64_t)weirp_unix_ms();
    must(weir_router_open(&router, path, &err));
    must(weir_session_new(&session, router, &err));
    must(weirp_store_open(&store, path, WEIRP_STORE_WRITE, &err));
    for (size_t at = 0; at < rows + LATER; at += GROUP) {
        size_t n = 0;
        for (size_t i = at; i < at + GROUP; i++) {
            weirp_writer *told = &feedback[i % LATER];
            size_t earlier = i - LATER;
            if (i >= LATER && earlier < rows && earlier % 2)
                change[n++] = change_of(told, number_of(first_ms, earlier), true);
            if (i >= rows) continue;
            make_request(&served, told, session, number_of(first_ms, i), i);
            change[n++] = change_of(&served, number_of(first_ms, i), false);
        }
        must(weirp_store_commit(store, change, n, &err));
        for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)change[i].data);
    }
    for (size_t i = 0; i < LATER; i++) free(feedback[i].data);
    free(served.data);
    weirp_store_close(store);
    weir_session_free(session);
    weir_router_close(router);
}

/* ---- reading ---- */

static void warn(void *user, const char *text) {
    (void)user;
    fprintf(stderr, "%s\n", text);
}

static double seconds(uint64_t since) {
    return (double)(weirp_monotonic_ns() - since) * 1e-9;
}

static double cpu(uint64_t since) {
    return (double)(weirp_cpu_ns() - since) * 1e-9;
}

static void read_log(const char *path, const char *map) {
    weirp_logged_options options = {.map = map, .warning = warn};
    size_t model[WEIR_MAX_MODELS], n = 0;
    weirp_logged *l;
    weirp_logged_row row;
    weirp_ope_table *table;
    weirp_decisions seen;
    bool before;
    weirp_scan *scan;
    weirp_ope_block block;
    weir_status st;
    uint64_t wall = weirp_monotonic_ns(), used = weirp_cpu_ns();
    must(weirp_logged_open(&l, path, &options, &err));
    must(weirp_ope_table_new(&table, &err));
    weirp_decisions_init(&seen);
    while ((st = weirp_logged_next(l, &row, &err)) == WEIR_OK) {
        for (; n < weirp_logged_n_models(l); n++)
            must(weirp_ope_table_model(table, weirp_logged_model(l, n), &model[n], &err));
        must(weirp_decisions_before(&seen, &row, weirp_logged_model(l, row.chosen), 0, &before, &err));
        if (!before) must(weirp_ope_table_add(table, &row, n, model, &err));
    }
    if (st != WEIR_END) must(st);
    weirp_decisions_free(&seen);
    must(weirp_ope_table_finish(table, 1, &err));
    size_t rows = weirp_ope_table_n(table);
    printf("%zu rows (%zu malformed, %zu of another kind), %zu models, %zu features, %zu labels\n", rows,
           weirp_logged_n_malformed(l), weirp_logged_n_other(l), n, weirp_ope_table_dim(table),
           weirp_ope_table_known(table, WEIR_METRIC_QUALITY));
    printf("read:  %.2f s, %.2f s of CPU, %.0f rows a CPU second\n", seconds(wall), cpu(used),
           (double)rows / cpu(used));
    weirp_logged_close(l);
    wall = weirp_monotonic_ns(), used = weirp_cpu_ns();
    must(weirp_scan_new(&scan, table, &err));
    size_t again = 0;
    double chances = 0;
    while ((st = weirp_scan_next(scan, &block, &err)) == WEIR_OK)
        for (size_t i = 0; i < block.n; i++, again++) chances += block.p[i];
    if (st != WEIR_END) must(st);
    printf("again: %.2f s, %.2f s of CPU; %zu rows, mean chance %g\n", seconds(wall), cpu(used), again,
           chances / (double)again);
    weirp_scan_free(scan);
    weirp_ope_table_free(table);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("memory: %ld MiB at most\n", usage.ru_maxrss / 1024);
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "--fill"))
        fill(argv[2], strtoull(argv[3], NULL, 10));
    else if (argc == 2 || argc == 3)
        read_log(argv[1], argc == 3 ? argv[2] : NULL);
    else
        return fprintf(stderr, "logged_bench LOG [MAPPING] | --fill STORE ROWS\n"), 2;
    return 0;
}
