/* metrics_write.c: all sets together as text (Prometheus' exposition format, version 0.0.4).
 *
 * A series that was never counted isn't written, so that 4,096 models don't make a scrape of megabytes; one that was is
 * written for good. SPDX-License-Identifier: GPL-3.0-or-later */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/gateway/observe/metrics_set.h"

/* ---- text ---- */

void weirp_metrics_text(weirp_writer *w, const char *text) {
    weirp_put(w, text, strlen(text));
}

void weirp_metrics_head(weirp_writer *w, const char *name, const char *type, const char *help) {
    const char *parts[] = {"# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) weirp_metrics_text(w, parts[i]);
}

/* The shortest of two forms that reads back as x. The caller has set the C locale. */
void weirp_metrics_real(weirp_writer *w, double x) {
    char text[32];
    if (isnan(x) || isinf(x)) {
        weirp_metrics_text(w, isnan(x) ? "NaN" : x > 0 ? "+Inf" : "-Inf");
        return;
    }
    snprintf(text, sizeof text, "%.15g", x);
    if (strtod(text, NULL) != x) snprintf(text, sizeof text, "%.17g", x);
    weirp_metrics_text(w, text);
}

void weirp_metrics_single(weirp_writer *w, const char *name, const char *type, const char *help, double x) {
    weirp_metrics_head(w, name, type, help);
    weirp_metrics_text(w, name);
    weirp_put(w, " ", 1);
    weirp_metrics_real(w, x);
    weirp_put(w, "\n", 1);
}

static void put_count(weirp_writer *w, uint64_t x) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)x);
    weirp_metrics_text(w, text);
}

static void put_escaped(weirp_writer *w, const char *value) {
    for (; *value; value++) {
        size_t run = strcspn(value, "\\\"\n");
        weirp_put(w, value, run);
        value += run;
        if (!*value) return;
        weirp_metrics_text(w, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\");
    }
}

/* Billionths, exactly. */
static void put_nano(weirp_writer *w, uint64_t x) {
    char text[32];
    int n = snprintf(text, sizeof text, "%llu.%09llu", (unsigned long long)(x / 1000000000),
                     (unsigned long long)(x % 1000000000));
    while (text[n - 1] == '0') n--;
    if (text[n - 1] == '.') n--;
    weirp_put(w, text, (size_t)n);
}

/* ---- series ---- */

typedef struct scrape {
    weirp_metrics *const *sets;
    size_t n_sets;
    const weirp_metric_names *names;
    weirp_writer *w;
} scrape;

static uint64_t load(const weirp_metrics *m, weirp_table t, size_t row, size_t column) {
    return atomic_load_explicit(m->table[t] + row * weirp_table_shapes[t].columns + column, memory_order_relaxed);
}

static uint64_t count_of(const scrape *s, weirp_table t, size_t row, size_t column) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n_sets; i++) sum += load(s->sets[i], t, row, column);
    return sum;
}

static double real_of(const scrape *s, weirp_table t, size_t row, size_t column) {
    double sum = 0;
    for (size_t i = 0; i < s->n_sets; i++) {
        uint64_t bits = load(s->sets[i], t, row, column);
        double x;
        memcpy(&x, &bits, sizeof x);
        sum += x;
    }
    return sum;
}

typedef struct label {
    const char *name, *value;
} label;

static void put_series(weirp_writer *w, const char *name, const char *suffix, const label *labels, size_t n) {
    weirp_metrics_text(w, name);
    weirp_metrics_text(w, suffix);
    for (size_t i = 0; i < n; i++) {
        weirp_metrics_text(w, i ? "," : "{");
        weirp_metrics_text(w, labels[i].name);
        weirp_metrics_text(w, "=\"");
        put_escaped(w, labels[i].value ? labels[i].value : "other");
        weirp_put(w, "\"", 1);
    }
    weirp_metrics_text(w, n ? "} " : " ");
}

/* Labels of a table's row, up to two; gives how many. */
static size_t row_labels(const scrape *s, weirp_axis axis, size_t row, label out[2]) {
    switch (axis) {
    case WEIRP_AXIS_ONE: break;
    case WEIRP_AXIS_ENDPOINT: out[0] = (label){"endpoint", s->names->endpoints[row]}; return 1;
    case WEIRP_AXIS_MODEL: out[0] = (label){"model", s->names->models[row]}; return 1;
    case WEIRP_AXIS_DEPLOYMENT:
        out[0] = (label){"deployment", s->names->deployments[row]};
        out[1] = (label){"model", s->names->models[s->names->deployment_model[row]]};
        return 2;
    }
    return 0;
}

typedef struct counter {
    weirp_table table;
    const char *name, *help;
    const char *column_label;           /* NULL: one column */
    const char *(*column_name)(size_t); /* borrowed until its next call */
    const char *row_label;              /* instead of the axis' own; NULL: its own */
} counter;

static void put_counters(const scrape *s, const counter *c) {
    const weirp_table_shape *shape = &weirp_table_shapes[c->table];
    size_t rows = weirp_axis_size(s->names, shape->axis);
    weirp_metrics_head(s->w, c->name, "counter", c->help);
    for (size_t row = 0; row < rows; row++) {
        label labels[3];
        size_t n = row_labels(s, shape->axis, row, labels);
        if (c->row_label) labels[0].name = c->row_label;
        for (size_t column = 0; column < shape->columns; column++) {
            bool real = shape->kind == WEIRP_CELL_REAL;
            uint64_t count = real ? 0 : count_of(s, c->table, row, column);
            double sum = real ? real_of(s, c->table, row, column) : 0;
            if (n && !count && sum == 0) continue;
            if (c->column_label) labels[n] = (label){c->column_label, c->column_name(column)};
            put_series(s->w, c->name, "", labels, n + (c->column_label != NULL));
            if (real)
                weirp_metrics_real(s->w, sum);
            else if (shape->kind == WEIRP_CELL_NANO)
                put_nano(s->w, count);
            else
                put_count(s->w, count);
            weirp_put(s->w, "\n", 1);
        }
    }
}

static void put_histogram(const scrape *s, weirp_table table, const weirp_scale *scale, const char *name,
                          const char *help) {
    weirp_axis axis = weirp_table_shapes[table].axis;
    weirp_metrics_head(s->w, name, "histogram", help);
    for (size_t row = 0; row < weirp_axis_size(s->names, axis); row++) {
        uint64_t bucket[WEIRP_N_LONG + 1], total = 0; /* the longest scale */
        for (size_t b = 0; b <= scale->n; b++) total += bucket[b] = count_of(s, table, row, b);
        label labels[3];
        size_t n = row_labels(s, axis, row, labels);
        if (n && !total) continue;
        uint64_t upto = 0;
        for (size_t b = 0; b <= scale->n; b++) {
            char bound[32] = "+Inf";
            if (b < scale->n) snprintf(bound, sizeof bound, "%g", scale->bound_s[b]);
            upto += bucket[b];
            labels[n] = (label){"le", bound};
            put_series(s->w, name, "_bucket", labels, n + 1);
            put_count(s->w, upto);
            weirp_put(s->w, "\n", 1);
        }
        uint64_t ns = count_of(s, table, row, scale->n + 1);
        char sum[48];
        snprintf(sum, sizeof sum, "%llu.%09llu\n", (unsigned long long)(ns / 1000000000),
                 (unsigned long long)(ns % 1000000000));
        put_series(s->w, name, "_sum", labels, n);
        weirp_metrics_text(s->w, sum);
        put_series(s->w, name, "_count", labels, n);
        put_count(s->w, total);
        weirp_put(s->w, "\n", 1);
    }
}

/* ---- what there is ---- */

#define P WEIRP_METRIC_PREFIX

static const char *code_name(size_t column) {
    static _Thread_local char text[8];
    snprintf(text, sizeof text, "%u", (unsigned)column % 1000 + 99);
    return column ? text : "other";
}

static const char *rule_name(size_t column) {
    return weir_rule_name((weir_rule)column);
}

static const char *result_name(size_t column) {
    return weirp_result_label((weirp_result)column);
}

static const char *kind_name(size_t column) {
    static const char *const names[WEIRP_N_TOKEN_KINDS] = {"input", "cached_input", "cache_write", "output",
                                                           "reasoning"};
    return names[column];
}

static const char *outcome_name(size_t column) {
    return column ? "won" : "lost";
}

static const counter counters[] = {
    {WEIRP_TABLE_REQUESTS, P "requests_total", "Requests answered, by endpoint and HTTP status.", "code", code_name,
     NULL},
    {WEIRP_TABLE_DECISIONS, P "decisions_total", "Decisions, by the model that was chosen and the rule that chose it.",
     "rule", rule_name, NULL},
    {WEIRP_TABLE_ATTEMPTS, P "attempts_total", "Tries at vendors, by deployment and how they ended.", "result",
     result_name, NULL},
    {WEIRP_TABLE_TOKENS, P "tokens_total",
     "Tokens, by model. Cached and cache-written ones are part of the input, reasoning is part of the output.", "kind",
     kind_name, NULL},
    {WEIRP_TABLE_COST, P "cost_usd_total", "What vendors charge, in USD.", NULL, NULL, NULL},
    {WEIRP_TABLE_PREDICTED_COST, P "predicted_cost_usd_total", "What the same answers were expected to cost, in USD.",
     NULL, NULL, NULL},
    {WEIRP_TABLE_COST_UNKNOWN, P "cost_unknown_total",
     "Answers whose cost isn't known: a price or the usage is missing.", NULL, NULL, NULL},
    {WEIRP_TABLE_USAGE_ESTIMATED, P "usage_estimated_total",
     "Answers whose tokens were estimated, since the vendor didn't say them.", NULL, NULL, NULL},
    {WEIRP_TABLE_FALLBACKS_FROM, P "fallbacks_total", "Requests that went on to another model, by the one that failed.",
     NULL, NULL, "from"},
    {WEIRP_TABLE_FALLBACKS_TO, P "fallback_targets_total", "The same requests, by the model that they went on to.",
     NULL, NULL, "to"},
    {WEIRP_TABLE_RETRIES, P "retries_total", "Further tries at the same model.", NULL, NULL, NULL},
    {WEIRP_TABLE_HEDGES, P "hedges_total", "Second tries that were started while the first was under way.", "outcome",
     outcome_name, NULL},
    {WEIRP_TABLE_CLIENT_GONE, P "client_disconnects_total", "Clients that left before their answer was complete.", NULL,
     NULL, NULL},
};

static void put_gauges(const scrape *s) {
    weirp_metrics_single(s->w, P "active_requests", "gauge", "Requests under way.",
                         (double)(int64_t)count_of(s, WEIRP_TABLE_ACTIVE_REQUESTS, 0, 0));
    weirp_metrics_single(s->w, P "active_streams", "gauge", "Event streams under way.",
                         (double)(int64_t)count_of(s, WEIRP_TABLE_ACTIVE_STREAMS, 0, 0));
}

static void put_breakers(const scrape *s, const int *breaker) {
    if (!breaker) return;
    weirp_metrics_head(s->w, P "breaker_state", "gauge", "Circuit breakers: 0 closed, 1 half open, 2 open.");
    for (size_t d = 0; d < s->names->n_deployments; d++) {
        label labels[2];
        size_t n = row_labels(s, WEIRP_AXIS_DEPLOYMENT, d, labels);
        put_series(s->w, P "breaker_state", "", labels, n);
        put_count(s->w, breaker[d] < 0 ? 0 : (uint64_t)breaker[d]);
        weirp_put(s->w, "\n", 1);
    }
}

static void put_pace(const scrape *s, const weirp_pace_facts *p) {
    static const char *const bounds[] = {"low", "mean", "high"};
    if (!p || !p->on) return;
    weirp_metrics_single(s->w, P "pacing_value_usd", "gauge", "Value that pacing gives to requests.", p->value_usd);
    weirp_metrics_head(s->w, P "pacing_forecast_usd", "gauge",
                       "What the paced budget will have spent when its period ends; low to high: nine times in ten.");
    for (size_t i = 0; i < 3; i++) {
        label bound = {"bound", bounds[i]};
        put_series(s->w, P "pacing_forecast_usd", "", &bound, 1);
        weirp_metrics_real(s->w, p->forecast_usd[i]);
        weirp_put(s->w, "\n", 1);
    }
    weirp_metrics_single(s->w, P "pacing_spent_ratio", "gauge", "Share of the paced budget's limit that is spent.",
                         p->spent_share);
    weirp_metrics_single(s->w, P "pacing_quality", "gauge", "Mean predicted quality of the paced budget's period.",
                         p->quality);
    weirp_metrics_single(s->w, P "pacing_contradiction", "gauge",
                         "1: the quality floor costs more than the paced budget has left.", p->contradiction);
    weirp_metrics_single(s->w, P "pacing_overloaded", "gauge",
                         "1: the rest won't pay for the expected requests, even with the cheapest models.",
                         p->overloaded);
}

static void put_rollout(const scrape *s, const weirp_rollout_fact *r) {
    static const char *const bounds[] = {"lower", "upper"};
    if (!r || !r->on) return;
    const struct {
        const char *name, *help;
        double value;
    } rows[] = {
        {P "rollout_share", "Share of the traffic that the candidate decides; 0 in shadow and when stopped.", r->share},
        {P "rollout_step", "Step that the rollout is at, from 1.", r->step},
        {P "rollout_steps", "Steps that the rollout has.", r->steps},
        {P "rollout_stopped", "1: the rollout was stopped, since the candidate does harm.", r->stopped},
        {P "rollout_passed", "1: the rollout has passed its last step.", r->passed},
        {P "rollout_decisions", "Decisions that the step has counted.", r->decisions},
        {P "rollout_feedback", "Feedbacks that the step has counted.", r->feedback},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const label name = {"rollout", r->name};
        weirp_metrics_head(s->w, rows[i].name, "gauge", rows[i].help);
        put_series(s->w, rows[i].name, "", &name, 1);
        weirp_metrics_real(s->w, rows[i].value);
        weirp_put(s->w, "\n", 1);
    }
    const struct {
        const char *name, *help;
        const double *end;
    } ends[] = {
        {P "rollout_quality_difference", "Quality, candidate minus base: what is known of it at the step.", r->quality},
        {P "rollout_error_difference", "Share of errors, candidate minus base: what is known of it at the step.",
         r->error},
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        weirp_metrics_head(s->w, ends[i].name, "gauge", ends[i].help);
        for (size_t k = 0; k < 2; k++) {
            const label labels[] = {{"rollout", r->name}, {"bound", bounds[k]}};
            put_series(s->w, ends[i].name, "", labels, 2);
            weirp_metrics_real(s->w, ends[i].end[k]);
            weirp_put(s->w, "\n", 1);
        }
    }
}

static void put_budgets(const scrape *s, const weirp_metric_facts *f) {
    static const struct {
        const char *name, *help;
        size_t at;
    } gauges[] = {
        {P "budget_limit", "A budget's limit, in its unit.", offsetof(weirp_budget_fact, limit)},
        {P "budget_spent", "What was settled under a budget in its period.", offsetof(weirp_budget_fact, spent)},
        {P "budget_leased", "What gateways that run have set aside of a budget.", offsetof(weirp_budget_fact, leased)},
        {P "budget_unproven", "What gateways that died had of a budget; it counts as spent.",
         offsetof(weirp_budget_fact, unproven)},
        {P "budget_accounts", "Accounts of a budget in its period: one, or one for each value of *.",
         offsetof(weirp_budget_fact, accounts)},
        {P "budget_highest_spent_ratio", "Share of the limit that is spent, of the account where it is most.",
         offsetof(weirp_budget_fact, highest_ratio)},
        {P "budget_period_end_timestamp_seconds", "When a budget's period ends (unix time); +Inf: never.",
         offsetof(weirp_budget_fact, period_end_s)},
    };
    weirp_metrics_single(s->w, P "budgets", "gauge", "Budgets there are; the first 100 have series of their own.",
                         (double)f->n_budgets);
    for (size_t g = 0; f->n_budget_facts && g < sizeof gauges / sizeof *gauges; g++) {
        weirp_metrics_head(s->w, gauges[g].name, "gauge", gauges[g].help);
        for (size_t i = 0; i < f->n_budget_facts; i++) {
            const label labels[] = {{"budget", f->budget[i].name}, {"unit", f->budget[i].unit}};
            double value;
            memcpy(&value, (const char *)&f->budget[i] + gauges[g].at, sizeof value);
            put_series(s->w, gauges[g].name, "", labels, 2);
            weirp_metrics_real(s->w, value);
            weirp_put(s->w, "\n", 1);
        }
    }
}

static void put_facts(const scrape *s, const weirp_metric_facts *f) {
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {P "connections", "gauge", "Open client connections.", (double)f->connections},
        {P "uptime_seconds", "gauge", "Time since the gateway started.", f->uptime_s},
        {P "store_version", "gauge", "Version of the store that decisions are made with.", (double)f->store_version},
        {P "store_holder", "gauge", "1: this process writes the store and learns; 0: it has joined the one that does.",
         f->store_holder ? 1.0 : 0.0},
        {P "snapshot_age_seconds", "gauge", "Age of what decisions are made with.", f->snapshot_age_s},
        {P "feedbacks_total", "counter", "Feedbacks taken.", (double)f->feedbacks},
        {P "feedbacks_refused_total", "counter", "Feedbacks refused.", (double)f->feedbacks_refused},
        {P "log_records_total", "counter", "Records written to the traffic log.", (double)f->log_records},
        {P "log_records_dropped_total", "counter", "Records dropped, since the queue was full.",
         (double)f->log_dropped},
        {P "log_errors_total", "counter", "Failures to write the traffic log.", (double)f->log_errors},
        {P "config_reloads_total", "counter", "Reloads of the configuration that took effect.", (double)f->reloads},
        {P "config_reload_failures_total", "counter", "Reloads that were refused.", (double)f->reload_failures},
        {P "config_loaded_timestamp_seconds", "gauge", "When the configuration in use was loaded (unix time).",
         f->config_loaded_unix_s},
        {P "budget_lowered_total", "counter", "Requests whose max_tokens a budget has lowered.",
         (double)f->budget_lowered},
        {P "budget_cheaper_total", "counter", "Requests that a budget has sent to another model.",
         (double)f->budget_cheaper},
        {P "budget_refused_total", "counter", "Requests that a budget has refused.", (double)f->budget_refused},
        {P "budget_waits_total", "counter", "Requests that had to wait for a budget.", (double)f->budget_waited},
        {P "budget_warnings_total", "counter", "Shares of budgets' limits that were passed.",
         (double)f->budget_warnings},
        {P "ledger_posts_total", "counter", "Times that the ledger was looked at.", (double)f->ledger_posts},
        {P "ledger_errors_total", "counter", "Failures to read or write the ledger or the keys.",
         (double)f->ledger_errors},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        weirp_metrics_single(s->w, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    put_breakers(s, f->breaker);
    put_budgets(s, f);
    put_pace(s, f->pace);
    put_rollout(s, f->rollout);
}

static void put_build(const scrape *s) {
    label version = {"version", weir_version()};
    weirp_metrics_head(s->w, P "build_info", "gauge", "Always 1; the label tells the version.");
    put_series(s->w, P "build_info", "", &version, 1);
    weirp_metrics_text(s->w, "1\n");
}

/* The same counts by the first set's names; new. NULL: out of memory. */
static weirp_metrics *renamed(const weirp_metrics *set, const weirp_metric_names *names) {
    weirp_metrics *made = NULL;
    if (weirp_metrics_new(&made, names, NULL) != WEIR_OK) return NULL;
    if (weirp_metrics_carry(made, set, NULL) != WEIR_OK) {
        weirp_metrics_free(made);
        return NULL;
    }
    weirp_metrics_active(made, (int)(int64_t)load(set, WEIRP_TABLE_ACTIVE_REQUESTS, 0, 0),
                         (int)(int64_t)load(set, WEIRP_TABLE_ACTIVE_STREAMS, 0, 0));
    return made;
}

static void write_alike(weirp_metrics *const *sets, size_t n_sets, const weirp_metric_facts *facts, weirp_writer *w) {
    static const weirp_metric_names none = {0};
    scrape s = {sets, n_sets, n_sets ? &sets[0]->names : &none, w};
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc's own constant: no allocation */
    locale_t before = c ? uselocale(c) : (locale_t)0;
    put_build(&s);
    for (size_t i = 0; n_sets && i < sizeof counters / sizeof counters[0]; i++) put_counters(&s, &counters[i]);
    if (n_sets) {
        put_histogram(&s, WEIRP_TABLE_REQUEST_TIME, &weirp_scale_long, P "request_duration_seconds",
                      "Time from a request's arrival to its answer's end.");
        put_histogram(&s, WEIRP_TABLE_DECISION_TIME, &weirp_scale_short, P "decision_duration_seconds",
                      "Time that a decision took.");
        put_histogram(&s, WEIRP_TABLE_ATTEMPT_TIME, &weirp_scale_long, P "attempt_duration_seconds",
                      "Time that a try at a vendor took.");
        put_histogram(&s, WEIRP_TABLE_FIRST_TOKEN, &weirp_scale_first, P "first_token_seconds",
                      "Time from a request's arrival to the first token, by the model that answered.");
        put_histogram(&s, WEIRP_TABLE_OVERHEAD, &weirp_scale_short, P "overhead_seconds",
                      "Time of a request that was the gateway's own, not the vendor's.");
        put_gauges(&s);
    }
    if (facts) put_facts(&s, facts);
    weirp_metrics_process(w);
    if (c) {
        uselocale(before);
        freelocale(c);
    }
}

void weirp_metrics_write(weirp_metrics *const *sets, size_t n_sets, const weirp_metric_facts *facts, weirp_writer *w) {
    weirp_metrics **alike = weirp_array(n_sets + 1, sizeof(weirp_metrics *));
    w->failed |= !alike;
    for (size_t i = 0; i < n_sets && !w->failed; i++) {
        bool same = sets[i]->names.models == sets[0]->names.models; /* lists of one setup */
        alike[i] = same ? sets[i] : renamed(sets[i], &sets[0]->names);
        w->failed |= !alike[i];
    }
    if (!w->failed) write_alike(alike, n_sets, facts, w);
    for (size_t i = 0; alike && i < n_sets; i++)
        if (alike[i] != sets[i]) weirp_metrics_free(alike[i]);
    free(alike);
}
