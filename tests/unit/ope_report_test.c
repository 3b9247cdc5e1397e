/* Reports of an evaluation of a log, from results made by hand: JSON's numbers and nulls, the sentences, the tables at
 * several widths, the pictures. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/chart.h"
#include "src/report/ope_report.h"

enum { MAX_POLICIES = 3, N_MODELS = 3, MAX_POINTS = 8 };

/* A result and all that it points to. */
typedef struct made {
    weir_ope ope;
    char *model[N_MODELS], *policy[MAX_POLICIES], *log[1];
    weirp_cell_result cell[MAX_POLICIES * WEIR_N_METRICS];
    weirp_ope_estimate estimate[MAX_POLICIES * WEIR_N_METRICS][64];
    weirp_contrast contrast[MAX_POLICIES * WEIR_N_METRICS];
    weirp_ope_trade trade[MAX_POLICIES];
    weirp_curve_point point[MAX_POINTS], single[N_MODELS];
} made;

static char models[N_MODELS][32] = {"small", "vendor/middle", "large<&>"};
static char policies[MAX_POLICIES][64] = {"plugin,value=0.02", "always-large", "third"};
static char files[1][32] = {"traffic.jsonl"};

static const weirp_interval none = {NAN, NAN};

static weirp_interval around(double x, double by) {
    return (weirp_interval){x - by, x + by};
}

static void estimate_cell(made *m, size_t p, weir_metric k, double logged, double value, double se) {
    const size_t at = p * WEIR_N_METRICS + k;
    weirp_cell_result *c = &m->cell[at];
    *c = (weirp_cell_result){.asked = true, .logged_mean = logged, .logged_se = se / 2, .estimate = m->estimate[at]};
    for (size_t i = 0; weirp_ope_estimators[i].name; i++) {
        const double x = i == weirp_ope_estimator_find("sndr") ? value : value + (double)(i + 1) * se / 100;
        m->estimate[at][i] = (weirp_ope_estimate){.estimator = i,
                                                  .lambda = NAN,
                                                  .value = x,
                                                  .se = se,
                                                  .normal = around(x, 1.96 * se),
                                                  .t = around(x, 2 * se),
                                                  .percentile = around(x, 2.1 * se),
                                                  .bca = around(x, 2.2 * se),
                                                  .bernstein = none};
        c->n_estimates++;
    }
    c->standing = (weirp_ope_standing){.n = 12400,
                                       .n_known = 6000,
                                       .least_label = 0.25,
                                       .mean_weight = 1.003,
                                       .mean_weight_z = 0.4,
                                       .least_p = 0.02,
                                       .ess = 5123.4,
                                       .max_weight = 37,
                                       .max_weight_share = 0.003,
                                       .model_r2 = 0.21,
                                       .model_slope = 0.97,
                                       .first_half = value,
                                       .second_half = value,
                                       .drift_z = 0.1};
    snprintf(c->reward_model, sizeof c->reward_model, "ridge");
}

static void compare(made *m, size_t other, weir_metric k, double difference, double by, weirp_verdict v, double more) {
    weirp_contrast *c = &m->contrast[m->ope.n_contrasts++];
    *c = (weirp_contrast){0, other, k, difference, by / 2, around(difference, by), v, more, NAN, none};
    if (k == WEIR_METRIC_QUALITY) return;
    const weirp_cell_result *base = &m->cell[(other == (size_t)-1 ? 0 : other) * WEIR_N_METRICS + k];
    const double b = other == (size_t)-1 ? base->logged_mean : base->estimate[0].value - base->estimate[0].se / 100;
    c->relative = difference / b;
    c->relative_interval = around(c->relative, by / b);
}

/* Two policies on quality, cost and latency: the candidate is better in the first two. */
static made *make(void) {
    made *m = calloc(1, sizeof *m);
    assert_non_null(m);
    weir_ope *o = &m->ope;
    for (size_t i = 0; i < N_MODELS; i++) m->model[i] = models[i];
    for (size_t i = 0; i < MAX_POLICIES; i++) m->policy[i] = policies[i];
    m->log[0] = files[0];
    *o = (weir_ope){.n_rows = 12500,
                    .n_malformed = 3,
                    .n_duplicates = 4321,
                    .n_other_training = 2100,
                    .n_models = N_MODELS,
                    .n_policies = 2,
                    .n_clusters = 4000,
                    .n_decided = 12400,
                    .has_sessions = true,
                    .model = m->model,
                    .policy = m->policy,
                    .log = m->log,
                    .n_logs = 1,
                    .first_ms = 1800000000000,
                    .last_ms = 1800086400000,
                    .share_cached = 0.008,
                    .propensity_z = -1.5,
                    .propensity_worst = 1,
                    .propensity_off = -0.01,
                    .propensities_known = true,
                    .level = 0.95,
                    .n_bootstrap = 1000,
                    .n_folds = 5,
                    .recommended = "sndr",
                    .interval = "t",
                    .cell = m->cell,
                    .contrast = m->contrast,
                    .trade = m->trade,
                    .seconds = 1.5};
    for (size_t p = 0; p < 2; p++) {
        estimate_cell(m, p, WEIR_METRIC_QUALITY, 0.80, p ? 0.85 : 0.813, 0.004);
        estimate_cell(m, p, WEIR_METRIC_COST, 0.001, p ? 0.004 : 0.00069, 0.00002);
        estimate_cell(m, p, WEIR_METRIC_LATENCY, 900, p ? 1800 : 905, 12);
    }
    compare(m, (size_t)-1, WEIR_METRIC_QUALITY, 0.013, 0.009, WEIRP_VERDICT_BETTER, NAN);
    compare(m, (size_t)-1, WEIR_METRIC_COST, -0.00031, 0.00004, WEIRP_VERDICT_BETTER, NAN);
    compare(m, (size_t)-1, WEIR_METRIC_LATENCY, 5, 24, WEIRP_VERDICT_MORE, 12345.6);
    compare(m, 1, WEIR_METRIC_QUALITY, -0.037, 0.01, WEIRP_VERDICT_WORSE, NAN);
    compare(m, 1, WEIR_METRIC_COST, -0.00331, 0.0001, WEIRP_VERDICT_BETTER, NAN);
    compare(m, (size_t)-1, WEIR_METRIC_QUALITY, 0.05, 0.01, WEIRP_VERDICT_BETTER, NAN);
    m->contrast[5].policy = 1;
    return m;
}

/* At least 20 % saved, less than 0.005 of quality lost. */
static void ask_to_trade(made *m) {
    m->trade[0] = (weirp_ope_trade){.other = WEIRP_OPE_LOGGED,
                                    .saving_wanted = 0.2,
                                    .quality_margin = 0.005,
                                    .saving = 0.31,
                                    .saving_lo = 0.27,
                                    .quality_lost = -0.013,
                                    .quality_lost_hi = -0.004,
                                    .verdict = WEIRP_VERDICT_BETTER};
    m->ope.n_trades = 1;
}

static void add_tail(made *m, weir_metric k, double scale) {
    weirp_tail *t = &m->cell[k].tail;
    t->known = true;
    for (size_t i = 0; i < WEIRP_N_QUANTILES; i++) {
        t->quantile[i] = scale * (double)(i + 1);
        t->quantile_t[i] = around(t->quantile[i], 0.1 * scale);
        t->cvar[i] = scale * ((double)i + 1.5);
    }
    t->quantile_t[3] = none;
}

static void add_curve(made *m, bool truth) {
    static char name[] = "plugin,value=?";
    weirp_log_curve *c = &m->ope.curve;
    *c = (weirp_log_curve){.point = m->point,
                           .n = MAX_POINTS,
                           .policy = name,
                           .single = m->single,
                           .aiq = 0.83,
                           .aiq_drawn = 0.8333,
                           .aiq_lo = 0.82,
                           .aiq_hi = 0.84,
                           .cost_at = {NAN, 0.4, 0.2},
                           .cost_at_lo = {NAN, 0.3, 0.15},
                           .cost_at_hi = {NAN, INFINITY, 0.25},
                           .true_aiq = truth ? 0.828 : NAN};
    for (size_t i = 0; i < MAX_POINTS; i++) {
        const double x = 0.0002 * pow(1.6, (double)i), y = 0.7 + 0.15 * (1 - exp(-0.6 * (double)i));
        m->point[i] = (weirp_curve_point){.knob = pow(10, (double)i - 5),
                                          .cost = x,
                                          .cost_se = x / 50,
                                          .quality = y,
                                          .quality_se = 0.004,
                                          .quality_lo = y - 0.012,
                                          .quality_hi = y + 0.012,
                                          .cost_lo = 0.94 * x,
                                          .cost_hi = 1.06 * x,
                                          .true_cost = truth ? 1.02 * x : NAN,
                                          .true_quality = truth ? y - 0.004 : NAN};
    }
    for (size_t k = 0; k < N_MODELS; k++) {
        m->single[k] = m->point[3 * k];
        m->single[k].quality -= 0.02;
        m->single[k].quality_lo -= 0.05;
        m->single[k].quality_hi += 0.01;
    }
}

/* ---- what is printed ---- */

typedef weir_status (*writer)(const weir_ope *ope, FILE *out, weir_error *err);

static char *written(const weir_ope *ope, writer write) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    weir_error err = {0};
    const weir_status st = write(ope, out, &err);
    if (st != WEIR_OK) print_error("%s\n", err.text);
    assert_int_equal(st, WEIR_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static weir_status print_80(const weir_ope *ope, FILE *out, weir_error *err) {
    return weir_ope_print(ope, out, 80, err);
}

static weir_status print_180(const weir_ope *ope, FILE *out, weir_error *err) {
    return weir_ope_print(ope, out, 180, err);
}

static json_t *parsed(const weir_ope *ope) {
    char *text;
    weir_error err = {0};
    assert_int_equal(weir_ope_json(ope, &text, &err), WEIR_OK);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

/* "policies.0.name": the value there; fails where there is none. */
static const json_t *at(const json_t *value, const char *path) {
    while (*path) {
        char key[64];
        const size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(key)) : json_object_get(value, key);
        if (!value) print_error("nothing at %s\n", path);
        assert_non_null(value);
        path += n + (path[n] == '.');
    }
    return value;
}

static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) print_error("missing: %s\nin:\n%s\n", part, text);
    assert_non_null(strstr(text, part));
}

static void assert_hasnt(const char *text, const char *part) {
    if (strstr(text, part)) print_error("shouldn't be there: %s\nin:\n%s\n", part, text);
    assert_null(strstr(text, part));
}

/* As one line: paragraphs are broken anywhere. */
static char *unbroken(const char *text) {
    char *out = malloc(strlen(text) + 1), *to = out;
    assert_non_null(out);
    for (; *text; text++) {
        const bool space = *text == ' ' || *text == '\n';
        if (space && to > out && to[-1] == ' ') continue;
        *to++ = space ? ' ' : *text;
    }
    *to = '\0';
    return out;
}

static size_t widest(const char *text) {
    size_t most = 0;
    while (*text) {
        char line[4096];
        const size_t n = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)n, text);
        const size_t width = weirp_text_width(line);
        if (width > most) most = width;
        text += n + (text[n] == '\n');
    }
    return most;
}

/* For looking at: into the folder that SHOW names. */
static void keep(const char *name, const char *text) {
    const char *folder = getenv("SHOW");
    char path[512];
    if (!folder || !*folder) return;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    if (!out) return;
    fputs(text, out);
    fclose(out);
}

/* ---- JSON ---- */

static void json_tells_every_number(void **state) {
    (void)state;
    made *m = make();
    const double third = 1.0 / 3;
    const size_t sndr = weirp_ope_estimator_find("sndr");
    m->estimate[WEIR_METRIC_QUALITY][sndr].value = third;
    m->estimate[WEIR_METRIC_QUALITY][sndr].lambda = 0.1;
    m->estimate[WEIR_METRIC_QUALITY][0].why_not = "not here";
    json_t *root = parsed(&m->ope);
    const json_t *quality = at(root, "policies.0.metrics.quality");
    const json_t *own = at(quality, "estimates.sndr");
    assert_true(json_real_value(at(own, "value")) == third);
    assert_true(json_real_value(at(own, "lambda")) == 0.1);
    assert_true(json_real_value(at(own, "se")) == 0.004);
    assert_true(json_real_value(at(own, "t.0")) == 0.813 - 2 * 0.004);
    assert_true(json_real_value(at(own, "normal.1")) == 0.813 + 1.96 * 0.004);
    assert_true(json_real_value(at(own, "percentile.0")) == 0.813 - 2.1 * 0.004);
    assert_true(json_real_value(at(own, "bca.1")) == 0.813 + 2.2 * 0.004);
    assert_true(json_is_null(at(own, "bernstein")));
    assert_true(json_real_value(at(quality, "value")) == third);
    const json_t *estimates = at(quality, "estimates");
    assert_int_equal(json_object_size(estimates), weirp_ope_n_estimators());
    const json_t *absent = json_object_get(estimates, weirp_ope_estimators[0].name);
    assert_true(json_is_null(at(absent, "value")) && json_is_null(at(absent, "se")));
    assert_string_equal(json_string_value(at(absent, "why_not")), "not here");
    assert_null(json_object_get(at(root, "policies.0.metrics"), "error")); /* wasn't asked */
    assert_int_equal(json_integer_value(at(quality, "standing.known")), 6000);
    assert_true(json_is_null(at(quality, "standing.refusal")));
    assert_true(json_is_null(at(quality, "tail")));
    json_decref(root);
    free(m);
}

static void json_tells_comparisons(void **state) {
    (void)state;
    made *m = make();
    ask_to_trade(m);
    m->contrast[2].n_more = INFINITY;
    json_t *root = parsed(&m->ope);
    assert_int_equal(json_array_size(at(root, "contrasts")), 6);
    assert_true(json_is_null(at(root, "contrasts.0.other")));
    assert_string_equal(json_string_value(at(root, "contrasts.3.other")), "always-large");
    assert_string_equal(json_string_value(at(root, "contrasts.2.verdict")), "not enough evidence");
    assert_true(json_is_null(at(root, "contrasts.2.rows_more")));
    assert_true(json_real_value(at(root, "trades.0.saving_lo")) == 0.27);
    assert_string_equal(json_string_value(at(root, "trades.0.verdict")), "better");
    assert_int_equal(json_array_size(at(root, "verdicts")), 3);
    assert_string_equal(json_string_value(at(root, "verdicts.0.verdict")), "better");
    assert_true(json_is_null(at(root, "verdicts.0.other")));
    assert_string_equal(json_string_value(at(root, "verdicts.1.verdict")), "mixed");
    assert_string_equal(json_string_value(at(root, "verdicts.2.policy")), "always-large");
    assert_string_equal(json_string_value(at(root, "verdicts.2.verdict")), "better");
    assert_true(json_is_null(at(root, "verdicts.2.other")));
    assert_string_equal(json_string_value(at(root, "log.from")), "2027-01-15T08:00:00Z");
    assert_string_equal(json_string_value(at(root, "log.propensity_model")), "vendor/middle");
    m->ope.first_ms = m->ope.last_ms = INT64_MIN;
    m->ope.propensity_worst = (size_t)-1;
    json_decref(root);
    root = parsed(&m->ope);
    assert_true(json_is_null(at(root, "log.from")) && json_is_null(at(root, "log.propensity_model")));
    assert_true(json_is_null(at(root, "curve")));
    json_decref(root);
    free(m);
}

static void json_tells_tails_and_curves(void **state) {
    (void)state;
    made *m = make();
    add_tail(m, WEIR_METRIC_LATENCY, 500);
    add_curve(m, true);
    json_t *root = parsed(&m->ope);
    const json_t *tail = at(root, "policies.0.metrics.latency.tail");
    assert_int_equal(json_array_size(tail), WEIRP_N_QUANTILES);
    assert_true(json_real_value(at(tail, "1.level")) == 0.9 && json_real_value(at(tail, "1.quantile")) == 1000);
    assert_true(json_real_value(at(tail, "1.cvar")) == 1250 && json_is_null(at(tail, "3.interval")));
    assert_int_equal(json_array_size(at(root, "curve.points")), MAX_POINTS);
    assert_true(json_real_value(at(root, "curve.aiq")) == 0.83);
    assert_true(json_real_value(at(root, "curve.aiq_drawn")) == 0.8333);
    assert_string_equal(json_string_value(at(root, "curve.singles.1.model")), "vendor/middle");
    assert_true(json_is_null(at(root, "curve.cost_at_100")) && json_is_null(at(root, "curve.cost_at_100_interval")));
    assert_true(json_is_null(at(root, "curve.cost_at_98_interval.1"))); /* never */
    assert_true(json_real_value(at(root, "curve.cost_at_95_interval.1")) == 0.25);
    assert_true(json_real_value(at(root, "curve.points.2.true_cost")) == m->point[2].true_cost);
    json_decref(root);
    free(m);
}

/* Names come from anywhere. */
static void json_survives_bytes(void **state) {
    (void)state;
    made *m = make();
    static char odd[] = "pol\xff\"icy";
    m->policy[0] = odd;
    snprintf(m->cell[0].standing.refusal, sizeof m->cell[0].standing.refusal, "cut in a letter \xc3");
    json_t *root = parsed(&m->ope);
    assert_string_equal(json_string_value(at(root, "policies.0.name")), "pol?\"icy");
    assert_string_equal(json_string_value(at(root, "policies.0.metrics.quality.standing.refusal")),
                        "cut in a letter ?");
    json_decref(root);
    free(m);
}

/* ---- sentences ---- */

static void check_headline(const made *m, size_t other, const char *word, const char *text) {
    weirp_ope_headline h;
    weirp_ope_headline_make(&h, &m->ope, 0, other);
    assert_string_equal(h.word, word);
    if (strcmp(h.text, text) != 0) print_error("%s\n", h.text);
    assert_string_equal(h.text, text);
}

static void verdict_names_what_is_better(void **state) {
    (void)state;
    made *m = make();
    check_headline(
        m, WEIRP_OPE_LOGGED, "better",
        "plugin,value=0.02 is better than what ran in quality and cost, with not enough evidence on latency: "
        "quality +0.0130 [+0.0040, +0.0220]; 31 % less cost [27 %, 35 %]; latency +0.6 % [-2.1 %, +3.2 %]. "
        "About 12,400 rows more would settle the latency, if the difference is what it looks like.");
    m->contrast[2].verdict = WEIRP_VERDICT_BETTER;
    m->contrast[2].relative = -50 / 900.;
    m->contrast[2].relative_interval = around(-50 / 900., 24 / 900.);
    check_headline(m, WEIRP_OPE_LOGGED, "better",
                   "plugin,value=0.02 is better than what ran: quality +0.0130 [+0.0040, +0.0220]; 31 % less cost "
                   "[27 %, 35 %]; 5.6 % less latency [2.9 %, 8.2 %].");
    free(m);
}

static void verdict_may_be_mixed(void **state) {
    (void)state;
    made *m = make();
    check_headline(
        m, 1, "mixed",
        "plugin,value=0.02 is better than always-large in cost and worse in quality: quality -0.0370 "
        "[-0.0470, -0.0270]; 83 % less cost [80 %, 85 %]. Say what a right answer is worth (--value), or how "
        "much quality may be lost (--margin-quality), and there is one verdict.");
    free(m);
}

static void verdict_asks_for_rows(void **state) {
    (void)state;
    made *m = make();
    m->ope.n_contrasts = 1;
    m->contrast[0].verdict = WEIRP_VERDICT_MORE;
    m->contrast[0].difference = 0.002;
    m->contrast[0].interval = around(0.002, 0.009);
    m->contrast[0].n_more = 54321;
    check_headline(m, WEIRP_OPE_LOGGED, "not enough evidence",
                   "Not enough evidence that plugin,value=0.02 is better or worse than what ran: quality +0.0020 "
                   "[-0.0070, +0.0110]. About 54,400 rows more would settle the quality, if the difference is what it "
                   "looks like.");
    m->contrast[0].n_more = 7e7;
    check_headline(m, WEIRP_OPE_LOGGED, "not enough evidence",
                   "Not enough evidence that plugin,value=0.02 is better or worse than what ran: quality +0.0020 "
                   "[-0.0070, +0.0110]. The quality may well be the same: it would take about 70,000,000 rows more to "
                   "tell.");
    m->contrast[0].n_more = INFINITY;
    check_headline(m, WEIRP_OPE_LOGGED, "not enough evidence",
                   "Not enough evidence that plugin,value=0.02 is better or worse than what ran: quality +0.0020 "
                   "[-0.0070, +0.0110]. The quality may well be the same: no number of rows is sure to settle it.");
    free(m);
}

static void verdict_says_why_it_is_refused(void **state) {
    (void)state;
    made *m = make();
    for (size_t i = 0; i < 3; i++) m->contrast[i].verdict = WEIRP_VERDICT_REFUSED;
    snprintf(m->cell[0].standing.refusal, sizeof m->cell[0].standing.refusal, "the effective sample size is 2.0");
    check_headline(m, WEIRP_OPE_LOGGED, "refused",
                   "Refused: this log can't judge plugin,value=0.02: the effective sample size is 2.0.");
    m->contrast[1].verdict = WEIRP_VERDICT_BETTER; /* the cost alone can be judged */
    m->ope.n_contrasts = 2;
    check_headline(m, WEIRP_OPE_LOGGED, "not enough evidence",
                   "plugin,value=0.02 is better than what ran in cost: 31 % less cost [27 %, 35 %]. The quality can't "
                   "be judged: the effective sample size is 2.0.");
    free(m);
}

/* The other one's reason isn't laid at the candidate's door. */
static void verdict_names_who_is_refused(void **state) {
    (void)state;
    made *m = make();
    m->ope.n_contrasts = 0;
    compare(m, 1, WEIR_METRIC_QUALITY, 0, 0.1, WEIRP_VERDICT_REFUSED, NAN);
    compare(m, 1, WEIR_METRIC_COST, -0.001, 0.0001, WEIRP_VERDICT_REFUSED, NAN);
    for (weir_metric k = 0; k < 2; k++)
        snprintf(m->cell[WEIR_N_METRICS + k].standing.refusal, sizeof m->cell[0].standing.refusal, "too few rows");
    check_headline(
        m, 1, "refused",
        "Refused: this log can't judge always-large, which plugin,value=0.02 is compared with: too few rows.");
    m->contrast[1].verdict = WEIRP_VERDICT_BETTER;
    weirp_ope_headline h;
    weirp_ope_headline_make(&h, &m->ope, 0, 1);
    assert_has(h.text, " The quality can't be judged of always-large: too few rows.");
    free(m);
}

static void verdict_goes_by_the_loss(void **state) {
    (void)state;
    made *m = make();
    estimate_cell(m, 0, WEIR_METRIC_LOSS, 0.005, 0.0044, 0.0001);
    compare(m, (size_t)-1, WEIR_METRIC_LOSS, -0.0006, 0.0002, WEIRP_VERDICT_BETTER, NAN);
    m->contrast[0].verdict = WEIRP_VERDICT_WORSE; /* quality alone doesn't decide any more */
    check_headline(m, WEIRP_OPE_LOGGED, "better",
                   "plugin,value=0.02 is better than what ran: 12 % less loss [8 %, 16 %]; quality +0.0130 [+0.0040, "
                   "+0.0220]; 31 % less cost [27 %, 35 %]; latency +0.6 % [-2.1 %, +3.2 %].");
    free(m);
}

static void verdict_goes_by_the_trade(void **state) {
    (void)state;
    made *m = make();
    ask_to_trade(m);
    check_headline(m, WEIRP_OPE_LOGGED, "better",
                   "plugin,value=0.02 is better than what ran: it saves 31.0 % of the cost (at least 27.0 %; wanted: "
                   "more than 20.0 %), and quality changes by +0.0130 (at worst +0.0040; allowed: above -0.0050).");
    m->trade[0].verdict = WEIRP_VERDICT_WORSE;
    weirp_ope_headline h;
    weirp_ope_headline_make(&h, &m->ope, 0, WEIRP_OPE_LOGGED);
    assert_string_equal(h.word, "worse");
    m->trade[0].saving = -0.7, m->trade[0].saving_lo = -0.751;
    weirp_ope_headline_make(&h, &m->ope, 0, WEIRP_OPE_LOGGED);
    assert_has(h.text, ": it costs 70.0 % more (at most 75.1 %; wanted: a saving of more than 20.0 %), and");
    m->trade[0].saving_wanted = m->trade[0].quality_margin = 0; /* nobody asked */
    weirp_ope_headline_make(&h, &m->ope, 0, WEIRP_OPE_LOGGED);
    assert_string_equal(h.word, "better");
    free(m);
}

/* Each comparison has its own; one that can't be judged is refused as a whole, whatever else is known. */
static void every_trade_is_told(void **state) {
    (void)state;
    made *m = make();
    ask_to_trade(m);
    m->trade[1] = m->trade[0];
    m->trade[1].other = 1;
    m->trade[1].saving = 0.83, m->trade[1].saving_lo = -INFINITY;
    m->trade[1].verdict = WEIRP_VERDICT_MORE;
    m->ope.n_trades = 2;
    check_headline(
        m, 1, "not enough evidence",
        "Not enough evidence on plugin,value=0.02, compared with always-large: it saves 83.0 % of the cost (at "
        "least: not known; wanted: more than 20.0 %), and quality changes by +0.0130 (at worst +0.0040; allowed: "
        "above -0.0050).");
    json_t *root = parsed(&m->ope);
    assert_int_equal(json_array_size(at(root, "trades")), 2);
    assert_true(json_is_null(at(root, "trades.0.other")) && json_is_null(at(root, "trades.1.saving_lo")));
    assert_string_equal(json_string_value(at(root, "trades.1.other")), "always-large");
    json_decref(root);
    m->trade[0].verdict = m->contrast[0].verdict = WEIRP_VERDICT_REFUSED;
    snprintf(m->cell[0].standing.refusal, sizeof m->cell[0].standing.refusal, "12 rows know the quality");
    check_headline(
        m, WEIRP_OPE_LOGGED, "refused",
        "Refused: this log can't judge the trade that was asked of plugin,value=0.02, compared with what ran. "
        "The quality can't be judged: 12 rows know the quality.");
    free(m);
}

static void verdict_knows_what_is_the_same(void **state) {
    (void)state;
    made *m = make();
    for (size_t i = 0; i < m->ope.n_contrasts; i++) m->contrast[i].verdict = WEIRP_VERDICT_SAME;
    static const char same[] =
        "plugin,value=0.02 is the same as what ran on this log: both give every model the same chance "
        "on every row that both can be asked about, so there is nothing to choose between them.";
    check_headline(m, WEIRP_OPE_LOGGED, "same", same);
    ask_to_trade(m);
    m->trade[0].verdict = WEIRP_VERDICT_SAME;
    check_headline(m, WEIRP_OPE_LOGGED, "same", same);
    json_t *root = parsed(&m->ope);
    assert_string_equal(json_string_value(at(root, "verdicts.0.verdict")), "same");
    assert_string_equal(json_string_value(at(root, "contrasts.0.verdict")), "same");
    json_decref(root);
    char *text = written(&m->ope, print_80);
    assert_has(text, "  same\n"), assert_hasnt(text, "not enough");
    free(text), free(m);
}

/* Of a base that may be nothing a share has no interval; of nothing there is no share. */
static void shares_may_be_unknown(void **state) {
    (void)state;
    made *m = make();
    char text[256];
    m->contrast[1].relative_interval = (weirp_interval){-INFINITY, INFINITY};
    weirp_ope_difference(text, sizeof text, &m->ope, &m->contrast[1]);
    assert_string_equal(text, "cost -31 %");
    m->contrast[1].relative = -0.0002;
    m->contrast[1].relative_interval = (weirp_interval){-0.0003, 0.0001};
    weirp_ope_difference(text, sizeof text, &m->ope, &m->contrast[1]);
    assert_string_equal(text, "cost +0.0 % [+0.0 %, +0.0 %]"); /* and no -0.0 */
    m->contrast[1].relative_interval.hi = -0.0001;
    weirp_ope_difference(text, sizeof text, &m->ope, &m->contrast[1]);
    assert_string_equal(text, "0.0 % less cost [0.0 %, 0.0 %]");
    m->contrast[1].relative = NAN;
    m->contrast[1].relative_interval = none;
    weirp_ope_difference(text, sizeof text, &m->ope, &m->contrast[1]);
    assert_string_equal(text, "cost -0.310 USD/1k [-0.350, -0.270]");
    json_t *root = parsed(&m->ope);
    assert_true(json_is_null(at(root, "contrasts.1.relative")) && json_is_null(at(root, "contrasts.0.relative")));
    assert_true(json_real_value(at(root, "contrasts.4.relative")) == m->contrast[4].relative);
    json_decref(root);
    free(m);
}

static void rows_are_rounded_up(void **state) {
    (void)state;
    char text[64];
    static const struct {
        double n;
        const char *text;
    } cases[] = {{12345.6, "12,400"}, {999, "999"}, {0.2, "1"},    {1000, "1,000"},
                 {9999, "10,000"},    {NAN, ""},    {INFINITY, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weirp_ope_rows(text, sizeof text, cases[i].n);
        assert_string_equal(text, cases[i].text);
    }
}

/* ---- for people ---- */

static void report_begins_with_the_verdict(void **state) {
    (void)state;
    made *m = make();
    add_tail(m, WEIR_METRIC_LATENCY, 500);
    add_curve(m, true);
    char *text = written(&m->ope, print_80), *line = unbroken(text);
    keep("narrow.txt", text);
    assert_int_equal(strncmp(text, "plugin,value=0.02 is better than what ran", 41), 0);
    static const char *const parts[] = {"by sndr, t intervals of 95 %",
                                        "12,500 of 3 models",
                                        "4,000 (sessions)",
                                        "3 malformed rows",
                                        "left out ! 4,321 rows that had been read before",
                                        "features ! those of 2,100 rows are another training's than the store's",
                                        "2027-01-15T08:00:00Z to 2027-01-16T08:00:00Z",
                                        "cached 0.8 %",
                                        "chosen 1.0 % less often",
                                        "5,123",
                                        "0.3 %",
                                        "what can be trusted of always-large",
                                        "quality (more is better; reward model: ridge)",
                                        "cost, USD/1k (less is better",
                                        "what ran",
                                        "+0.0130",
                                        "[+0.0040, +0.0220]",
                                        "not enough",
                                        "12,400 rows more",
                                        "every estimator: quality",
                                        "snips",
                                        "tail of the latency, ms",
                                        "CVaR 750.0",
                                        "cost-quality curve of",
                                        "AIQ 0.8300 [0.8200, 0.8400], in truth 0.8280 with bias 0.8333, of the points",
                                        "cost@100 % never",
                                        "40.0 % [30.0 %, ∞]",
                                        "Other policies' estimates are in the JSON"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_has(line, parts[i]);
    assert_in_range(widest(text), 40, 80);
    free(text), free(line);
    text = written(&m->ope, print_180);
    keep("wide.txt", text);
    assert_has(text, "bca"), assert_has(text, "percentile");
    assert_hasnt(text, "nan"), assert_hasnt(text, "wider terminal"), assert_hasnt(text, "dr-os(10)");
    assert_in_range(widest(text), 100, 180);
    free(text), free(m);
}

static void report_flags_what_is_doubtful(void **state) {
    (void)state;
    made *m = make();
    weirp_ope_standing *s = &m->cell[WEIR_METRIC_QUALITY].standing;
    s->ess = 2.04, s->max_weight_share = 0.7, s->mean_weight = 0.4, s->mean_weight_z = -6, s->unsupported = 0.12;
    s->bound_lo = s->bound_hi = 0.12, s->drift_z = 4.2, s->model_slope = 0.1, s->undecided = 0.05;
    snprintf(s->refusal, sizeof s->refusal, "one row holds 70 %% of the weight");
    m->estimate[WEIR_METRIC_QUALITY][0].why_not = "no reason at all";
    m->estimate[WEIR_METRIC_QUALITY][1].why_not = "no reason at all";
    m->ope.propensity_z = 9, m->ope.share_backwards = 0.3;
    char *text = written(&m->ope, print_80), *line = unbroken(text);
    static const char *const parts[] = {"! 2.0",
                                        "! 70.0 %",
                                        "! 0.400",
                                        "! -6.0",
                                        "! 12 %",
                                        "-0.1200 +0.1200",
                                        "! +4.2",
                                        "! 0.10",
                                        "! 5.0 %",
                                        "! quality: one row holds 70 % of the weight",
                                        "! \"vendor/middle\" was chosen",
                                        "! 30 % of the rows"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_has(line, parts[i]);
    char reasons[128];
    snprintf(reasons, sizeof reasons, "%s, %s: no reason at all", weirp_ope_estimators[0].name,
             weirp_ope_estimators[1].name);
    assert_has(line, reasons);
    free(text), free(line);
    s->unsupported = 0.999;
    text = written(&m->ope, print_80);
    assert_has(text, "! 99.9 %"), assert_hasnt(text, "e+");
    free(text), free(m);
}

/* Intervals of what is biased leave the bias out; where no verdict is told, there is nothing to doubt. */
static void biased_verdicts_are_told_with_caution(void **state) {
    (void)state;
    static const struct {
        const char *estimator, *why;
    } cases[] = {{"sndr", NULL},
                 {"ips", NULL},
                 {"mrdr", NULL},
                 {"bdr", NULL},
                 {"sgdr", NULL},
                 {"sgdr(0.05)", "what it gave up by making large weights smaller"},
                 {"sgips", "what it gave up by making large weights smaller"},
                 {"dm",
                  "! Verdicts here go by dm, whose intervals leave out its bias: how far its reward model is off"},
                 {"replay", "leave out its bias: it takes the rows that it keeps for what all rows are like"},
                 {"switch-dr", "what it gave up by making large weights smaller"},
                 {"clipped-ips(100)", "what it gave up by making large weights smaller"}};
    made *m = make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        m->ope.recommended = cases[i].estimator;
        char *text = written(&m->ope, print_80), *line = unbroken(text);
        json_t *root = parsed(&m->ope);
        assert_int_equal(json_array_size(at(root, "cautions")), cases[i].why != NULL);
        if (cases[i].why) {
            assert_has(line, cases[i].why), assert_has(line, "They hold less often than in 95 %");
            assert_has(json_string_value(at(root, "cautions.0")), cases[i].why + 2);
        } else {
            assert_hasnt(line, "leave out its bias");
        }
        assert_in_range(widest(text), 40, 80);
        json_decref(root);
        free(text), free(line);
    }
    for (size_t i = 0; i < m->ope.n_contrasts; i++) m->ope.contrast[i].verdict = WEIRP_VERDICT_REFUSED;
    char *text = written(&m->ope, print_80), *line = unbroken(text);
    assert_hasnt(line, "leave out its bias");
    free(text), free(line), free(m);
}

/* A mean of few latencies is less sure than its interval says; in which row the thinnest stands doesn't matter. */
static void thin_latency_is_told_with_caution(void **state) {
    (void)state;
    made *m = make();
    const struct {
        double first, second;
        const char *says;
    } cases[] = {{5000, 300, NULL},
                 {299, 4000, "! The latency of plugin,value=0.02 rests on an effective sample size of 299."},
                 {280, 120, "! The latency of always-large rests on an effective sample size of 120."}};
    compare(m, 1, WEIR_METRIC_LATENCY, -895, 30, WEIRP_VERDICT_BETTER, NAN);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        m->cell[WEIR_METRIC_LATENCY].standing.ess = cases[i].first;
        m->cell[WEIR_N_METRICS + WEIR_METRIC_LATENCY].standing.ess = cases[i].second;
        char *text = written(&m->ope, print_80), *line = unbroken(text);
        json_t *root = parsed(&m->ope);
        assert_int_equal(json_array_size(at(root, "cautions")), cases[i].says != NULL);
        if (cases[i].says) assert_has(line, cases[i].says);
        assert_in_range(widest(text), 40, 80);
        json_decref(root);
        free(text), free(line);
    }
    m->ope.recommended = "dm"; /* both */
    json_t *root = parsed(&m->ope);
    assert_int_equal(json_array_size(at(root, "cautions")), 2);
    json_decref(root);
    m->ope.recommended = "sndr";
    for (size_t i = 0; i < m->ope.n_contrasts; i++)
        if (m->ope.contrast[i].metric == WEIR_METRIC_LATENCY) m->ope.contrast[i].verdict = WEIRP_VERDICT_REFUSED;
    root = parsed(&m->ope);
    assert_int_equal(json_array_size(at(root, "cautions")), 0);
    json_decref(root);
    free(m);
}

static void certain_log_is_told_plainly(void **state) {
    (void)state;
    made *m = make();
    char *text = written(&m->ope, print_80);
    assert_hasnt(text, "impossible");
    free(text);
    m->ope.deterministic = true;
    text = written(&m->ope, print_80);
    char *line = unbroken(text);
    keep("certain.txt", text);
    assert_has(line, "inverse propensity weighting is impossible");
    assert_has(line, "policy.explore_floor");
    assert_in_range(widest(text), 40, 80);
    free(text), free(line), free(m);
}

/* Nothing known at all: no estimate, no interval, no time, no propensities. */
static void report_survives_unknowns(void **state) {
    (void)state;
    made *m = make();
    for (size_t i = 0; i < MAX_POLICIES * WEIR_N_METRICS; i++) {
        weirp_cell_result *c = &m->cell[i];
        for (size_t k = 0; k < c->n_estimates; k++) {
            weirp_ope_estimate *e = &c->estimate[k];
            *e = (weirp_ope_estimate){k, NAN, NAN, NAN, none, none, none, none, none, .why_not = "there is nothing"};
        }
        c->logged_mean = c->logged_se = NAN;
        c->standing = (weirp_ope_standing){.mean_weight = NAN, .unsupported = NAN, .model_r2 = NAN, .drift_z = NAN};
    }
    for (size_t i = 0; i < m->ope.n_contrasts; i++) {
        weirp_contrast *c = &m->contrast[i];
        c->difference = c->se = c->interval.lo = c->interval.hi = c->n_more = NAN;
        c->verdict = WEIRP_VERDICT_REFUSED;
    }
    m->ope.first_ms = m->ope.last_ms = INT64_MIN;
    m->ope.propensities_known = false;
    char *text = written(&m->ope, print_80), *line = unbroken(text);
    assert_has(line, "there is no estimate of the difference");
    assert_has(line, "only the chosen models' were logged"), assert_has(line, "not known");
    assert_hasnt(text, "nan"), assert_hasnt(text, "inf");
    free(text), free(line);
    text = written(&m->ope, weir_ope_svg);
    assert_hasnt(text, "nan"), assert_hasnt(text, "inf");
    free(text);
    json_decref(parsed(&m->ope));
    free(m);
}

/* ---- pictures ---- */

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    for (const char *found = text; (found = strstr(found, part)); found += strlen(part)) n++;
    return n;
}

/* Of the last line of that look: how often the pen is put down. */
static size_t pieces_of(const char *svg, const char *class) {
    char begin[64];
    snprintf(begin, sizeof begin, "class=\"line %s\" d=\"", class);
    const char *last = NULL;
    for (const char *found = svg; (found = strstr(found, begin)); found++) last = found + strlen(begin);
    assert_non_null(last);
    size_t n = 0;
    for (; *last != '"'; last++) n += *last == 'M';
    return n;
}

static void forest_shows_every_policy(void **state) {
    (void)state;
    made *m = make();
    char *svg = written(&m->ope, weir_ope_svg);
    keep("forest.svg", svg);
    assert_int_equal(count_of(svg, "<svg"), 1);
    assert_int_equal(count_of(svg, ">always-large</text>"), 3); /* one a metric */
    assert_int_equal(count_of(svg, "ran: 0.8000"), 1);
    assert_has(svg, "class=\"better\"");
    assert_has(svg, "0.8130");
    assert_hasnt(svg, "nan");
    free(svg);
    m->contrast[0].verdict = WEIRP_VERDICT_WORSE;
    static char odd[] = "a<b>&\"c\"";
    m->policy[0] = odd;
    svg = written(&m->ope, weir_ope_svg);
    assert_has(svg, "a&lt;b&gt;&amp;&quot;c&quot;");
    assert_hasnt(svg, "a<b>");
    assert_int_equal(count_of(svg, "class=\"worse\""), 2); /* and the legend's */
    free(svg), free(m);
}

/* A panel with nothing but a refused estimate: what ran keeps its width there, and the cross its place. */
static void forest_shows_what_is_refused(void **state) {
    (void)state;
    made *m = make();
    m->ope.n_policies = 1, m->ope.n_contrasts = 1;
    for (weir_metric k = 1; k < WEIR_N_METRICS; k++) m->cell[k].asked = false;
    estimate_cell(m, 0, WEIR_METRIC_QUALITY, 0.5, 0.9, 0.02);
    m->contrast[0].verdict = WEIRP_VERDICT_REFUSED;
    snprintf(m->cell[0].standing.refusal, sizeof m->cell[0].standing.refusal, "too few rows");
    char *svg = written(&m->ope, weir_ope_svg), *band = strstr(svg, "<path class=\"ranband\" d=\"M");
    double lo, top, hi;
    assert_non_null(band);
    assert_int_equal(sscanf(band, "<path class=\"ranband\" d=\"M%lf %lfH%lfV", &lo, &top, &hi), 3);
    /* 2 x 1.96 x 0.01 of 0.9 - (0.5 - 1.96 x 0.01), of 326 pixels: 30 without the axis's margins */
    assert_true(hi - lo > 20 && hi - lo < 40);
    assert_has(svg, ">0.9</text>");
    free(svg), free(m);
}

static void curve_shows_its_band(void **state) {
    (void)state;
    made *m = make();
    add_curve(m, true);
    char *svg = written(&m->ope, weir_ope_svg);
    keep("curve.svg", svg);
    assert_int_equal(count_of(svg, "<svg"), 2);
    assert_has(svg, "class=\"line band\"");
    assert_has(svg, "from the log, AIQ 0.8300 [0.8200, 0.8400] less bias; of this line 0.8333<");
    assert_has(svg, "the truth, AIQ 0.8280");
    assert_int_equal(count_of(svg, "class=\"bar\""), N_MODELS);
    assert_has(svg, "large&lt;&amp;&gt;");
    free(svg);
    add_curve(m, false);
    m->point[2].quality = NAN; /* a point that couldn't be had */
    m->point[3].quality_hi = INFINITY;
    svg = written(&m->ope, weir_ope_svg);
    assert_hasnt(svg, "the truth");
    assert_hasnt(svg, "nan"), assert_hasnt(svg, "inf\"");
    free(svg), free(m);
}

/* Settings and models that can't be judged: counted, named, and a hole in the picture where they lie between others. */
static void curve_says_what_is_refused(void **state) {
    (void)state;
    made *m = make();
    add_curve(m, false);
    weirp_log_curve *c = &m->ope.curve;
    char *svg = written(&m->ope, weir_ope_svg);
    assert_int_equal(count_of(svg, "class=\"line plugin\" d=\"M"), 2); /* the legend's and one piece */
    assert_int_equal(pieces_of(svg, "plugin"), 1);
    assert_hasnt(svg, "can't be judged");
    free(svg);
    weirp_curve_point gone = {.knob = sqrt(m->point[2].knob * m->point[3].knob),
                              .cost = NAN,
                              .quality = NAN,
                              .refusal = "the effective sample size is 12.0 of 400 rows"};
    c->refused = &gone;
    c->n_refused = 1;
    c->knob = "value";
    c->aiq = c->aiq_drawn = c->aiq_lo = c->aiq_hi = NAN;
    c->n_singles = N_MODELS - 1;
    snprintf(c->why_not, sizeof c->why_not, "they are of the whole curve");
    snprintf(m->single[2].refusal, sizeof m->single[2].refusal, "the log never chose it");
    m->single[2].cost = m->single[2].quality = NAN;
    svg = written(&m->ope, weir_ope_svg);
    keep("refused.svg", svg);
    assert_int_equal(pieces_of(svg, "plugin"), 2);
    assert_int_equal(pieces_of(svg, "band"), 2);
    assert_has(svg, "; 1 of ");
    assert_has(svg, " settings and 1 of 3 models can't be judged");
    assert_int_equal(count_of(svg, "class=\"bar\""), N_MODELS - 1);
    assert_hasnt(svg, "nan");
    free(svg);
    char *text = written(&m->ope, print_80), *line = unbroken(text);
    assert_has(line, "AIQ and cost@p% aren't told: they are of the whole curve.");
    assert_has(line, "settings isn't shown: at value 0.00316: the effective sample size is 12.0 of 400 rows.");
    assert_has(line, "1 of 3 models can't be judged alone: of large<&>, the log never chose it.");
    assert_hasnt(line, "never reached"), assert_hasnt(line, "cost@100 %"), assert_hasnt(line, "nan");
    assert_hasnt(line, "go by the others"), assert_hasnt(line, "%%");
    assert_in_range(widest(text), 40, 80);
    free(text), free(line);
    json_t *root = parsed(&m->ope);
    assert_int_equal(json_array_size(at(root, "curve.refused")), 1);
    assert_true(json_real_value(at(root, "curve.refused.0.knob")) == gone.knob);
    assert_string_equal(json_string_value(at(root, "curve.refused.0.refusal")), gone.refusal);
    assert_string_equal(json_string_value(at(root, "curve.singles.2.refusal")), "the log never chose it");
    assert_true(json_is_null(at(root, "curve.singles.2.cost")) && json_is_null(at(root, "curve.singles.1.refusal")));
    assert_int_equal(json_integer_value(at(root, "curve.settings")), MAX_POINTS + 1);
    assert_int_equal(json_integer_value(at(root, "curve.singles_judged")), N_MODELS - 1);
    assert_string_equal(json_string_value(at(root, "curve.why_not")), "they are of the whole curve");
    json_decref(root);
    c->n_refused = 0; /* the models alone */
    c->why_not[0] = '\0';
    c->aiq = 0.83;
    text = written(&m->ope, print_80), line = unbroken(text);
    assert_has(line, "the log never chose it. AIQ and cost@p% go by the others.");
    assert_has(line, "cost@100 % never");
    free(text), free(line), free(m);
}

/* Shares of cost with an end that is never reached; a headline where nobody is compared. */
static void curve_needs_no_candidate(void **state) {
    (void)state;
    made *m = make();
    add_curve(m, false);
    m->ope.curve.cost_at_lo[0] = 0.525;
    m->ope.curve.cost_at_hi[1] = NAN; /* as it comes from draws */
    char *text = written(&m->ope, print_80);
    assert_has(text, "  cost@100 %   never  [52.5 %, ∞]\n");
    assert_has(text, "  cost@98 %    40.0 %  [30.0 %, ∞]\n");
    assert_has(text, "  cost@95 %    20.0 %  [15.0 %, 25.0 %]\n");
    assert_int_equal(strncmp(text, "plugin,value=0.02 is better", 27), 0);
    free(text);
    static char logged[] = "logged"; /* which stands there when a curve alone was asked for */
    m->policy[0] = logged;
    m->ope.n_policies = 1;
    text = written(&m->ope, print_80);
    assert_int_equal(strncmp(text, "No candidate was named: this is what ran, and", 45), 0);
    free(text), text = written(&m->ope, weir_ope_svg);
    assert_has(text, ">What ran</text>"), assert_hasnt(text, "against what ran");
    free(text), free(m);
}

/* A curve that is refused as a whole is a sentence everywhere, broken where the picture ends. */
static void refused_curve_says_why(void **state) {
    (void)state;
    made *m = make();
    add_curve(m, false);
    weirp_log_curve *c = &m->ope.curve;
    c->n = 0;
    c->single = NULL;
    snprintf(c->refusal, sizeof c->refusal,
             "none of 48 settings of value can be judged, and a curve needs two: the "
             "effective sample size is 12.0 of 400 rows: the candidate does what the log "
             "hardly ever tried (at least 50 are needed)");
    char *svg = written(&m->ope, weir_ope_svg);
    keep("no-curve.svg", svg);
    assert_has(svg, ">No curve of plugin,value=?: none of 48 settings");
    assert_has(svg, "needed).</text>");
    assert_int_equal(count_of(svg, "<svg"), 1);
    char *text = written(&m->ope, print_80), *line = unbroken(text);
    assert_has(line, "Refused: none of 48 settings of value can be judged");
    assert_has(line, "are needed).");
    json_t *root = parsed(&m->ope);
    assert_string_equal(json_string_value(at(root, "curve.refusal")), c->refusal);
    assert_int_equal(json_array_size(at(root, "curve.points")), 0);
    const char *policy, *reason = NULL;
    weir_metric metric;
    for (size_t i = 0; weir_ope_refusal(&m->ope, i, &policy, &metric, &reason);) i++;
    assert_ptr_equal(reason, c->refusal); /* the last one */
    assert_int_equal(metric, WEIR_N_METRICS);
    assert_true(weir_ope_is_refused(&m->ope));
    json_decref(root);
    free(svg), free(text), free(line), free(m);
}

/* The widest of the texts that stand in lines of their own at the left, bold ones as wide as these are. */
static double widest_line(const char *svg) {
    double most = 0;
    for (const char *at = svg; (at = strstr(at, "<text")); at++) {
        const char *begin = strchr(at, '>') + 1, *size = strstr(at, "font-size=\"");
        if (strstr(at, "text-anchor") && strstr(at, "text-anchor") < begin) continue;
        char text[1024], *bold = strstr(at, "bold");
        const size_t n = strcspn(begin, "<");
        assert_true(size && size < begin && n < sizeof text);
        memcpy(text, begin, n), text[n] = '\0';
        most = fmax(most, atof(strstr(at, " x=\"") + 4) +
                              (bold && bold < begin ? 1.1 : 1) * weirp_svg_text_px(text, strtod(size + 11, NULL)));
    }
    return most;
}

/* A policy's text may be of any length: what is too long loses its middle, and no letter is cut. */
static void long_names_stay_in_the_picture(void **state) {
    (void)state;
    made *m = make();
    char name[700] = "thompson,name=";
    while (strlen(name) + 3 < sizeof name) strcat(name, strlen(name) % 9 ? "w" : "ü");
    strcat(name, "=?");
    add_curve(m, false);
    m->ope.curve.policy = name;
    char *svg = written(&m->ope, weir_ope_svg);
    keep("long.svg", svg);
    assert_has(svg, ">Cost and quality of thompson,"), assert_has(svg, "…"), assert_has(svg, ", from the log</text>");
    assert_in_range((int)widest_line(svg), 400, 760);
    assert_non_null(strstr(strstr(svg, "<svg") + 1, "<title>Cost and quality of thompson,"));
    for (const char *at = svg; (at = strstr(at, "\xc3")); at++) assert_int_equal((unsigned char)at[1], 0xbc);
    free(svg);
    m->ope.curve.n = 0;
    snprintf(m->ope.curve.refusal, sizeof m->ope.curve.refusal, "none of 48 settings of value can be judged");
    svg = written(&m->ope, weir_ope_svg);
    assert_has(svg, "No curve of thompson,");
    assert_in_range((int)widest_line(svg), 400, 760);
    free(svg), free(m);
}

/* Sixteen policies' worth of rows, an estimate without interval, and one that is refused. */
static void forest_survives_odd_intervals(void **state) {
    (void)state;
    made *m = make();
    m->ope.n_policies = 3;
    estimate_cell(m, 2, WEIR_METRIC_QUALITY, 0.8, 0.1, 5);
    snprintf(m->cell[2 * WEIR_N_METRICS].standing.refusal, 32, "too few rows");
    const size_t sndr = weirp_ope_estimator_find("sndr");
    m->estimate[WEIR_N_METRICS + WEIR_METRIC_QUALITY][sndr].t = none;
    m->estimate[WEIR_METRIC_QUALITY][sndr].t.hi = INFINITY;
    char *svg = written(&m->ope, weir_ope_svg);
    keep("odd.svg", svg);
    assert_has(svg, "refused");
    assert_hasnt(svg, "nan");
    free(svg), free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_tells_every_number),
        cmocka_unit_test(json_tells_comparisons),
        cmocka_unit_test(json_tells_tails_and_curves),
        cmocka_unit_test(json_survives_bytes),
        cmocka_unit_test(verdict_names_what_is_better),
        cmocka_unit_test(verdict_may_be_mixed),
        cmocka_unit_test(verdict_asks_for_rows),
        cmocka_unit_test(verdict_says_why_it_is_refused),
        cmocka_unit_test(verdict_names_who_is_refused),
        cmocka_unit_test(verdict_goes_by_the_loss),
        cmocka_unit_test(verdict_goes_by_the_trade),
        cmocka_unit_test(every_trade_is_told),
        cmocka_unit_test(verdict_knows_what_is_the_same),
        cmocka_unit_test(shares_may_be_unknown),
        cmocka_unit_test(rows_are_rounded_up),
        cmocka_unit_test(report_begins_with_the_verdict),
        cmocka_unit_test(report_flags_what_is_doubtful),
        cmocka_unit_test(certain_log_is_told_plainly),
        cmocka_unit_test(thin_latency_is_told_with_caution),
        cmocka_unit_test(biased_verdicts_are_told_with_caution),
        cmocka_unit_test(report_survives_unknowns),
        cmocka_unit_test(forest_shows_every_policy),
        cmocka_unit_test(forest_shows_what_is_refused),
        cmocka_unit_test(curve_says_what_is_refused),
        cmocka_unit_test(refused_curve_says_why),
        cmocka_unit_test(curve_needs_no_candidate),
        cmocka_unit_test(curve_shows_its_band),
        cmocka_unit_test(forest_survives_odd_intervals),
        cmocka_unit_test(long_names_stay_in_the_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
