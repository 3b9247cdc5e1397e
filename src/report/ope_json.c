/* ope_json.c: an evaluation of a log for machines (docs/formats.md, "Evaluation of a log").
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"
#include "src/report/ope_report.h"

/* 17 digits: every double comes back as it was. */
enum { DIGITS = 17 };

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *count(size_t n) {
    return json_integer((json_int_t)n);
}

/* Names come from files and command lines, which needn't be UTF-8; a reason may have been cut inside a letter. */
static json_t *string(const char *t) {
    json_t *value = json_string(t);
    char clean[WEIRP_OPE_SENTENCE];
    if (value) return value;
    size_t n = 0;
    for (; t[n] && n + 1 < sizeof clean; n++) clean[n] = (unsigned char)t[n] < 128 ? t[n] : '?';
    clean[n] = '\0';
    return json_string(clean);
}

static json_t *text(const char *t) {
    return t && *t ? string(t) : json_null();
}

static json_t *interval(weirp_interval i) {
    return isnan(i.lo) && isnan(i.hi) ? json_null() : json_pack("[o, o]", number(i.lo), number(i.hi));
}

static json_t *instant(int64_t ms) {
    char t[WEIRP_WHEN_TEXT];
    if (!weirp_ope_time_known(ms)) return json_null();
    weirp_ope_time_text(t, ms);
    return json_string(t);
}

/* An object under way; a failure (memory, or text that isn't UTF-8) is remembered until the whole is dumped. */
typedef struct maker {
    const weir_ope *ope;
    bool failed;
} maker;

static void put(maker *m, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) != 0) m->failed = true;
}

static void append(maker *m, json_t *array, json_t *value) {
    if (json_array_append_new(array, value) != 0) m->failed = true;
}

static json_t *texts(maker *m, char *const *t, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) append(m, array, string(t[i]));
    return array;
}

/* ---- policies ---- */

static json_t *estimates(maker *m, const weirp_cell_result *cell) {
    json_t *all = json_object();
    for (size_t i = 0; i < cell->n_estimates; i++) {
        const weirp_ope_estimate *e = &cell->estimate[i];
        json_t *o = json_object();
        put(m, o, "value", number(e->why_not ? NAN : e->value));
        put(m, o, "se", number(e->why_not ? NAN : e->se));
        put(m, o, "lambda", number(e->lambda));
        put(m, o, "normal", interval(e->normal));
        put(m, o, "t", interval(e->t));
        put(m, o, "percentile", interval(e->percentile));
        put(m, o, "bca", interval(e->bca));
        put(m, o, "bernstein", interval(e->bernstein));
        put(m, o, "why_not", text(e->why_not));
        put(m, all, weirp_ope_estimators[e->estimator].name, o);
    }
    return all;
}

static json_t *tail(maker *m, const weirp_tail *t) {
    if (!t->known) return json_null();
    json_t *array = json_array();
    for (size_t i = 0; i < WEIRP_N_QUANTILES; i++) {
        json_t *o = json_object();
        put(m, o, "level", number(weirp_quantile_levels[i]));
        put(m, o, "quantile", number(t->quantile[i]));
        put(m, o, "interval", interval(t->quantile_t[i]));
        put(m, o, "cvar", number(t->cvar[i]));
        append(m, array, o);
    }
    return array;
}

static json_t *standing(maker *m, const weirp_ope_standing *s) {
    json_t *o = json_object();
    put(m, o, "rows", count(s->n));
    put(m, o, "known", count(s->n_known));
    put(m, o, "least_label", number(s->least_label));
    put(m, o, "least_propensity", number(s->least_p));
    put(m, o, "ess", number(s->ess));
    put(m, o, "mean_weight", number(s->mean_weight));
    put(m, o, "mean_weight_z", number(s->mean_weight_z));
    put(m, o, "max_weight", number(s->max_weight));
    put(m, o, "max_weight_share", number(s->max_weight_share));
    put(m, o, "unsupported", number(s->unsupported));
    put(m, o, "bound_lo", number(s->bound_lo));
    put(m, o, "bound_hi", number(s->bound_hi));
    put(m, o, "undecided", number(s->undecided));
    put(m, o, "model_r2", number(s->model_r2));
    put(m, o, "model_slope", number(s->model_slope));
    put(m, o, "first_half", number(s->first_half));
    put(m, o, "second_half", number(s->second_half));
    put(m, o, "drift_z", number(s->drift_z));
    put(m, o, "refusal", text(s->refusal));
    return o;
}

static json_t *cell_json(maker *m, size_t policy, weir_metric metric) {
    const weirp_cell_result *cell = weirp_ope_cell(m->ope, policy, metric);
    const weirp_ope_estimate *shown = weirp_ope_shown(m->ope, cell);
    json_t *o = json_object();
    put(m, o, "logged", json_pack("{s:o, s:o}", "mean", number(cell->logged_mean), "se", number(cell->logged_se)));
    put(m, o, "value", number(shown ? shown->value : NAN));
    put(m, o, "interval", interval(weirp_ope_shown_interval(m->ope, policy, metric)));
    put(m, o, "reward_model", text(cell->reward_model));
    put(m, o, "estimates", estimates(m, cell));
    put(m, o, "tail", tail(m, &cell->tail));
    put(m, o, "standing", standing(m, &cell->standing));
    return o;
}

static json_t *policies(maker *m) {
    json_t *array = json_array();
    for (size_t p = 0; p < m->ope->n_policies; p++) {
        json_t *o = json_object(), *metrics = json_object();
        put(m, o, "name", string(m->ope->policy[p]));
        for (weir_metric k = 0; k < WEIR_N_METRICS; k++) {
            if (weirp_ope_cell(m->ope, p, k)->asked) put(m, metrics, weirp_ope_metric_name(k), cell_json(m, p, k));
        }
        put(m, o, "metrics", metrics);
        append(m, array, o);
    }
    return array;
}

/* ---- comparisons ---- */

static json_t *policy_or_null(maker *m, size_t policy) {
    return policy < m->ope->n_policies ? string(m->ope->policy[policy]) : json_null();
}

static json_t *verdicts(maker *m) {
    json_t *array = json_array();
    size_t policy, other;
    for (size_t i = 0; weirp_ope_comparison(m->ope, i, &policy, &other); i++) {
        weirp_ope_headline h;
        weirp_ope_headline_make(&h, m->ope, policy, other);
        append(m, array,
               json_pack("{s:o, s:o, s:s, s:o}", "policy", policy_or_null(m, policy), "other", policy_or_null(m, other),
                         "verdict", h.word, "text", string(h.text)));
    }
    return array;
}

static json_t *cautions(maker *m) {
    json_t *array = json_array();
    char sentence[WEIRP_OPE_SENTENCE];
    for (size_t i = 0; weirp_ope_caution(m->ope, i, sentence); i++) append(m, array, string(sentence));
    return array;
}

static json_t *contrasts(maker *m) {
    json_t *array = json_array();
    for (size_t i = 0; i < m->ope->n_contrasts; i++) {
        const weirp_contrast *c = &m->ope->contrast[i];
        json_t *o = json_object();
        put(m, o, "policy", policy_or_null(m, c->policy));
        put(m, o, "other", policy_or_null(m, c->other));
        put(m, o, "metric", string(weirp_ope_metric_name(c->metric)));
        put(m, o, "difference", number(c->difference));
        put(m, o, "se", number(c->se));
        put(m, o, "interval", interval(c->interval));
        put(m, o, "relative", number(c->relative));
        put(m, o, "relative_interval", interval(c->relative_interval));
        put(m, o, "verdict", string(weirp_verdict_text(c->verdict)));
        put(m, o, "rows_more", number(c->n_more));
        append(m, array, o);
    }
    return array;
}

static json_t *trades(maker *m) {
    json_t *array = json_array();
    for (size_t i = 0; i < m->ope->n_trades; i++) {
        const weirp_ope_trade *t = &m->ope->trade[i];
        json_t *o = json_object();
        put(m, o, "policy", policy_or_null(m, t->policy));
        put(m, o, "other", policy_or_null(m, t->other));
        put(m, o, "saving_wanted", number(t->saving_wanted));
        put(m, o, "quality_margin", number(t->quality_margin));
        put(m, o, "saving", number(t->saving));
        put(m, o, "saving_lo", number(t->saving_lo));
        put(m, o, "quality_lost", number(t->quality_lost));
        put(m, o, "quality_lost_hi", number(t->quality_lost_hi));
        put(m, o, "verdict", string(weirp_verdict_text(t->verdict)));
        append(m, array, o);
    }
    return array;
}

/* ---- the curve ---- */

static json_t *curve_point(maker *m, const weirp_curve_point *p, const char *model) {
    json_t *o = json_object();
    if (model)
        put(m, o, "model", string(model));
    else
        put(m, o, "knob", number(p->knob));
    put(m, o, "unsupported", number(p->unsupported));
    put(m, o, "cost", number(p->cost));
    put(m, o, "cost_se", number(p->cost_se));
    put(m, o, "cost_band", interval((weirp_interval){p->cost_lo, p->cost_hi}));
    put(m, o, "quality", number(p->quality));
    put(m, o, "quality_se", number(p->quality_se));
    put(m, o, "quality_band", interval((weirp_interval){p->quality_lo, p->quality_hi}));
    put(m, o, "true_cost", number(p->true_cost));
    put(m, o, "true_quality", number(p->true_quality));
    if (model) put(m, o, "refusal", text(p->refusal));
    return o;
}

static json_t *curve(maker *m) {
    static const char *const cost_at[] = {"cost_at_100", "cost_at_98", "cost_at_95"};
    const weirp_log_curve *c = &m->ope->curve;
    if (!c->policy) return json_null();
    json_t *o = json_object(), *points = json_array(), *refused = json_array(), *singles = json_array();
    put(m, o, "policy", text(c->policy));
    put(m, o, "knob", text(c->knob));
    put(m, o, "refusal", text(c->refusal));
    put(m, o, "settings", count(c->n + c->n_refused));
    put(m, o, "singles_judged", count(c->n_singles));
    put(m, o, "why_not", text(c->why_not));
    put(m, o, "aiq", number(c->aiq));
    put(m, o, "aiq_drawn", number(c->aiq_drawn));
    put(m, o, "aiq_interval", interval((weirp_interval){c->aiq_lo, c->aiq_hi}));
    put(m, o, "true_aiq", number(c->true_aiq));
    for (size_t i = 0; i < sizeof cost_at / sizeof *cost_at; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s_interval", cost_at[i]);
        put(m, o, cost_at[i], number(c->cost_at[i]));
        put(m, o, key, interval((weirp_interval){c->cost_at_lo[i], c->cost_at_hi[i]}));
    }
    for (size_t i = 0; i < c->n; i++) append(m, points, curve_point(m, &c->point[i], NULL));
    for (size_t i = 0; i < c->n_refused; i++)
        append(m, refused,
               json_pack("{s:o, s:o}", "knob", number(c->refused[i].knob), "refusal", text(c->refused[i].refusal)));
    for (size_t i = 0; c->single && i < m->ope->n_models; i++)
        append(m, singles, curve_point(m, &c->single[i], m->ope->model[i]));
    put(m, o, "points", points);
    put(m, o, "refused", refused);
    put(m, o, "singles", singles);
    return o;
}

/* ---- the log, and all of it ---- */

static json_t *log_json(maker *m) {
    const weir_ope *r = m->ope;
    json_t *o = json_object();
    put(m, o, "files", texts(m, r->log, r->n_logs));
    put(m, o, "rows", count(r->n_rows));
    put(m, o, "malformed", count(r->n_malformed));
    put(m, o, "duplicates", count(r->n_duplicates));
    put(m, o, "other", count(r->n_other));
    put(m, o, "outside", count(r->n_outside));
    put(m, o, "untimed", count(r->n_untimed));
    put(m, o, "other_training", count(r->n_other_training));
    put(m, o, "since", r->by_time && r->since_ms != INT64_MIN ? instant(r->since_ms) : json_null());
    put(m, o, "until", r->by_time && r->until_ms != INT64_MAX ? instant(r->until_ms) : json_null());
    put(m, o, "decided", count(r->n_decided));
    put(m, o, "clusters", count(r->n_clusters));
    put(m, o, "sessions", json_boolean(r->has_sessions));
    put(m, o, "from", instant(r->first_ms));
    put(m, o, "to", instant(r->last_ms));
    put(m, o, "models", texts(m, r->model, r->n_models));
    put(m, o, "deterministic", json_boolean(r->deterministic));
    put(m, o, "cached", number(r->share_cached));
    put(m, o, "forced", number(r->share_forced));
    put(m, o, "fallen_back", number(r->share_fallen_back));
    put(m, o, "careful", number(r->share_careful));
    put(m, o, "backwards", number(r->share_backwards));
    const bool named = r->propensities_known && r->propensity_worst < r->n_models;
    put(m, o, "propensities_known", json_boolean(r->propensities_known));
    put(m, o, "propensity_z", number(named ? r->propensity_z : NAN));
    put(m, o, "propensity_off", number(named ? r->propensity_off : NAN));
    put(m, o, "propensity_model", named ? string(r->model[r->propensity_worst]) : json_null());
    return o;
}

/* What was given, and the loss's, which follows. */
static json_t *bounds(maker *m) {
    static const weir_metric may[] = {WEIR_METRIC_COST, WEIR_METRIC_LATENCY, WEIR_METRIC_LOSS};
    const double *most = m->ope->most;
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof may / sizeof *may; i++)
        put(m, o, weirp_ope_metric_name(may[i]), most[may[i]] > 0 ? number(most[may[i]]) : json_null());
    return o;
}

weir_status weir_ope_json(const weir_ope *ope, char **json, weir_error *err) {
    maker m = {.ope = ope};
    json_t *o = json_object();
    *json = NULL;
    put(&m, o, "verdicts", verdicts(&m));
    put(&m, o, "log", log_json(&m));
    put(&m, o, "estimator", string(ope->recommended));
    put(&m, o, "interval", string(ope->interval));
    put(&m, o, "level", number(ope->level));
    put(&m, o, "value", ope->value_usd > 0 ? number(ope->value_usd) : json_null());
    put(&m, o, "bounds", bounds(&m));
    put(&m, o, "bootstrap", count(ope->n_bootstrap));
    put(&m, o, "folds", count(ope->n_folds));
    put(&m, o, "policies", policies(&m));
    put(&m, o, "contrasts", contrasts(&m));
    put(&m, o, "trades", trades(&m));
    put(&m, o, "curve", curve(&m));
    put(&m, o, "cautions", cautions(&m));
    put(&m, o, "seconds", number(ope->seconds));
    if (!m.failed) *json = json_dumps(o, JSON_REAL_PRECISION(DIGITS) | JSON_INDENT(1));
    json_decref(o);
    return *json ? WEIR_OK : weirp_nomem(err);
}
