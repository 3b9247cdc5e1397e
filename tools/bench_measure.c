/* bench_measure.c: timing decisions and feedbacks. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench.h"
#include "tools/json.h"

double bench_now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_percentile(double *x, size_t n, double p) {
    if (!n) return NAN;
    qsort(x, n, sizeof *x, ascending);
    double at = p * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[n - 1];
}

static weir_status no_memory(weir_error *err) {
    *err = (weir_error){WEIR_NOMEM, 0, "out of memory"};
    return WEIR_NOMEM;
}

/* ---- prompts of a wanted length ---- */

typedef struct prompts {
    size_t n;
    const char **text;
    size_t *len;
    char *memory;
} prompts;

static void prompts_free(prompts *p) {
    free(p->text);
    free(p->len);
    free(p->memory);
}

/* As many different ones as 64 MiB hold when they have to be made longer or shorter. */
static weir_status prompts_make(prompts *p, const weir_dataset *data, size_t bytes, weir_error *err) {
    enum { MOST_BYTES = 64 << 20 };
    p->n = data->n_prompts;
    if (bytes && p->n > 1 + MOST_BYTES / bytes) p->n = 1 + MOST_BYTES / bytes;
    p->text = calloc(p->n, sizeof *p->text);
    p->len = calloc(p->n, sizeof *p->len);
    if (bytes) p->memory = malloc(p->n * (bytes + 1));
    if (!p->text || !p->len || (bytes && !p->memory)) return no_memory(err);
    for (size_t i = 0; i < p->n; i++) {
        const char *source = data->prompts[i];
        size_t len = data->prompt_lens[i];
        p->text[i] = source;
        p->len[i] = len;
        if (!bytes) continue;
        char *copy = p->memory + i * (bytes + 1);
        /* a piece that ends within a character is repaired by the reader of features, as any such text is */
        for (size_t at = 0; at < bytes; at++) copy[at] = len ? source[at % len] : ' ';
        copy[bytes] = '\0';
        p->text[i] = copy;
        p->len[i] = bytes;
    }
    return WEIR_OK;
}

/* ---- decisions ---- */

static weir_status time_decisions(bench_decisions *out, weir_session *session, const prompts *p, double *us,
                                  weir_policy_options options, weir_error *err) {
    const weir_decision *d;
    double sum = 0;
    size_t warm_up = p->n < 200 ? p->n : 200;
    for (size_t i = 0; i < warm_up + out->n; i++) {
        size_t k = i % p->n;
        options.draw = i;
        double t = bench_now(CLOCK_MONOTONIC);
        weir_status st = weir_decide(session, p->text[k], p->len[k], &options, &d, NULL, err);
        if (st != WEIR_OK) return st;
        double took = 1e6 * (bench_now(CLOCK_MONOTONIC) - t);
        if (i < warm_up) continue;
        us[i - warm_up] = took;
        sum += took;
        out->prompt_bytes += (double)p->len[k] / (double)out->n;
    }
    out->mean_us = sum / (double)out->n;
    out->decisions_per_s = 1e6 / out->mean_us;
    out->p50_us = bench_percentile(us, out->n, 0.5);
    out->p99_us = bench_percentile(us, out->n, 0.99);
    out->max_us = us[out->n - 1];
    return WEIR_OK;
}

/* Phases are timed in a pass of their own, so that their clock readings don't slow down what is measured above. */
static weir_status time_phases(bench_decisions *out, weir_session *session, const prompts *p,
                               weir_policy_options options, weir_error *err) {
    size_t n = out->n < 2000 ? out->n : 2000;
    double *us = calloc(n * BENCH_MAX_PHASES, sizeof *us); /* (phase, n) */
    if (!us) return no_memory(err);
    weir_session_profile(session, true);
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < n; i++) {
        const weir_decision *d;
        const weir_phase *phases;
        st = weir_decide(session, p->text[i % p->n], p->len[i % p->n], &options, &d, NULL, err);
        if (st != WEIR_OK) break;
        out->n_phases = weir_session_phases(session, &phases);
        if (out->n_phases > BENCH_MAX_PHASES) out->n_phases = BENCH_MAX_PHASES;
        for (size_t k = 0; k < out->n_phases; k++) {
            us[k * n + i] = 1e-3 * (double)phases[k].ns;
            snprintf(out->phase[k].name, sizeof out->phase[k].name, "%s", phases[k].name);
        }
    }
    weir_session_profile(session, false);
    for (size_t k = 0; k < out->n_phases; k++) out->phase[k].us = bench_percentile(us + k * n, n, 0.5);
    free(us);
    return st;
}

weir_status bench_decide(bench_decisions *out, const weir_router *router, const weir_dataset *data, size_t n,
                         size_t prompt_bytes, const weir_policy_options *options, weir_error *err) {
    *out = (bench_decisions){.n = n, .n_models = weir_router_n_models(router)};
    prompts p = {0};
    weir_session *session = NULL;
    double *us = calloc(n, sizeof *us);
    weir_status st = us ? prompts_make(&p, data, prompt_bytes, err) : no_memory(err);
    if (st == WEIR_OK) st = weir_session_new(&session, router, err);
    if (st == WEIR_OK) st = time_decisions(out, session, &p, us, *options, err);
    if (st == WEIR_OK) st = time_phases(out, session, &p, *options, err);
    weir_session_free(session);
    prompts_free(&p);
    free(us);
    return st;
}

json_t *bench_decisions_json(const bench_decisions *d) {
    json_t *phases = json_object();
    for (size_t k = 0; k < d->n_phases; k++) cli_json_set(phases, d->phase[k].name, d->phase[k].us);
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)d->n, "n_models",
                     (json_int_t)d->n_models, "prompt_bytes", cli_json_number(d->prompt_bytes), "p50_us",
                     cli_json_number(d->p50_us), "p99_us", cli_json_number(d->p99_us), "max_us",
                     cli_json_number(d->max_us), "mean_us", cli_json_number(d->mean_us), "decisions_per_s",
                     cli_json_number(d->decisions_per_s), "phases", phases);
}

/* ---- feedbacks ---- */

/* What model m did with prompt i; false where the data don't say. */
static bool outcome_of(const weir_dataset *d, size_t i, size_t m, weir_outcome *out) {
    size_t at = i * d->n_models + m;
    *out =
        (weir_outcome){d->quality[at], d->cost_usd ? d->cost_usd[at] : NAN, d->input_tokens ? d->input_tokens[at] : NAN,
                       d->output_tokens ? d->output_tokens[at] : NAN, d->latency_ms ? d->latency_ms[at] : NAN};
    return isfinite(out->quality);
}

static weir_status feed(bench_updates *out, weir_learner *learner, const weir_dataset *data, const size_t *index,
                        weir_error *err) {
    weir_policy_options options = weir_policy_defaults();
    double decide = 0, observe = 0, begin = bench_now(CLOCK_MONOTONIC);
    weir_status st = WEIR_OK;
    size_t done = 0;
    for (size_t i = 0; st == WEIR_OK && done < out->n; i++) {
        size_t k = i % data->n_prompts;
        if (i >= data->n_prompts && !done) return err->status = WEIR_NODATA;
        weir_outcome o;
        size_t m = i % data->n_models; /* every model in turn: updates differ in what they touch */
        if (!data->quality || !outcome_of(data, k, m, &o)) continue;
        const weir_decision *d;
        char id[32];
        snprintf(id, sizeof id, "bench.%zu", i);
        double t0 = bench_now(CLOCK_PROCESS_CPUTIME_ID);
        st = weir_learner_decide(learner, data->prompts[k], data->prompt_lens[k], &options, &d, NULL, err);
        double t1 = bench_now(CLOCK_PROCESS_CPUTIME_ID);
        if (st == WEIR_OK) st = weir_learner_observe(learner, id, 1, &index[m], &o, err);
        decide += t1 - t0;
        observe += bench_now(CLOCK_PROCESS_CPUTIME_ID) - t1;
        done++;
    }
    double t = bench_now(CLOCK_PROCESS_CPUTIME_ID);
    if (st == WEIR_OK) st = weir_learner_commit(learner, err);
    observe += bench_now(CLOCK_PROCESS_CPUTIME_ID) - t;
    out->n = done;
    out->cpu_us_per_update = 1e6 * observe / (double)done;
    out->cpu_us_per_decision = 1e6 * decide / (double)done;
    out->durable_updates_per_s = (double)done / (bench_now(CLOCK_MONOTONIC) - begin);
    return st;
}

weir_status bench_learn(bench_updates *out, const char *path, const weir_dataset *data, size_t n, size_t group_commit,
                        weir_error *err) {
    *out = (bench_updates){.n = n, .group_commit = group_commit};
    weir_learn_options options = {.group_commit = group_commit};
    weir_learner *learner = NULL;
    size_t *index = calloc(data->n_models, sizeof *index);
    weir_status st = index ? weir_learner_open(&learner, path, &options, err) : no_memory(err);
    for (size_t m = 0; st == WEIR_OK && m < data->n_models; m++)
        st = weir_learner_model_index(learner, data->model_names[m], &index[m], err);
    if (st == WEIR_OK) st = feed(out, learner, data, index, err);
    if (learner) {
        weir_status closed = weir_learner_close(learner, st == WEIR_OK ? err : NULL);
        if (st == WEIR_OK) st = closed;
    }
    free(index);
    return st;
}

json_t *bench_updates_json(const bench_updates *u) {
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "n", (json_int_t)u->n, "group_commit", (json_int_t)u->group_commit,
                     "cpu_us_per_update", cli_json_number(u->cpu_us_per_update), "cpu_us_per_decision",
                     cli_json_number(u->cpu_us_per_decision), "durable_updates_per_s",
                     cli_json_number(u->durable_updates_per_s));
}

/* ---- scratch stores ---- */

bool bench_scratch_begin(bench_scratch *s, const char *parent) {
    if (!parent) parent = getenv("TMPDIR");
    if (!parent || !*parent) parent = "/tmp";
    int n = snprintf(s->directory, sizeof s->directory, "%s/weir-bench.XXXXXX", parent);
    if (n < 0 || (size_t)n >= sizeof s->directory || !mkdtemp(s->directory)) {
        cli_note(BENCH, "can't make a directory in %s", parent);
        return false;
    }
    snprintf(s->store, sizeof s->store, "%s/store.mdb", s->directory);
    return true;
}

void bench_scratch_end(const bench_scratch *s) {
    char lock[sizeof s->store + 8];
    snprintf(lock, sizeof lock, "%s-lock", s->store);
    unlink(s->store);
    unlink(lock);
    rmdir(s->directory);
}
