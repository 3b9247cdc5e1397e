/* json.c: the evaluation report (docs/formats.md, "Evaluation report"). SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"

/* 15 digits: every decimal of up to 15 digits comes back as it was, and 0.1 is printed as 0.1. */
enum { DIGITS = 15 };

/* Jansson has no NAN or INFINITY, and neither has JSON: null. */
static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval(double lo, double hi) {
    return isnan(lo) ? json_null() : json_pack("[o, o]", number(lo), number(hi));
}

/* Sets key, and key_interval beside it. Failure shows when the whole is dumped: json_object_set_new(NULL) fails, and
 * `ok` remembers. */
static void put(json_t *object, bool *ok, const char *key, json_t *value) {
    *ok = json_object_set_new(object, key, value) == 0 && *ok;
}

static void put_text(json_t *object, bool *ok, const char *key, const char *text) {
    put(object, ok, key, json_string(text));
}

static void put_figure(json_t *object, bool *ok, const char *key, const weir_evaluation *e, const double *figure) {
    const size_t at = (size_t)(figure - (const double *)&e->figures);
    char name[64];
    snprintf(name, sizeof name, "%s_interval", key);
    put(object, ok, key, number(*figure));
    put(object, ok, name, interval(((const double *)&e->lo)[at], ((const double *)&e->hi)[at]));
}

static json_t *models(const weir_evaluation *e, bool *ok) {
    json_t *array = json_array();
    for (size_t k = 0; k < e->tables->n_models; k++) {
        const weirp_model_summary *m = &e->models[k];
        json_t *o = json_object();
        put_text(o, ok, "name", e->tables->names[k]);
        put(o, ok, "quality", number(m->quality));
        put(o, ok, "cost", number(m->cost));
        put(o, ok, "latency_ms", number(m->latency_ms));
        put(o, ok, "auc", number(m->auc));
        put(o, ok, "brier", number(m->brier));
        put(o, ok, "cost_r2", number(m->cost_r2));
        put(o, ok, "share", number(m->share));
        *ok = json_array_append_new(array, o) == 0 && *ok;
    }
    return array;
}

static json_t *best_single(const weir_evaluation *e, bool *ok) {
    json_t *o = json_object();
    if (!e->has_curve) {
        json_decref(o);
        return json_null();
    }
    put_text(o, ok, "name", e->tables->names[e->best]);
    put_figure(o, ok, "quality", e, &e->figures.best_quality);
    put_figure(o, ok, "cost", e, &e->figures.best_cost);
    return o;
}

static json_t *oracle(const weir_evaluation *e, bool *ok) {
    json_t *o = json_object();
    put_figure(o, ok, "quality", e, &e->figures.oracle_quality);
    put_figure(o, ok, "cost", e, &e->figures.oracle_cost);
    put(o, ok, "aiq", number(e->figures.policy[WEIRP_ORACLE].aiq));
    return o;
}

static json_t *estimator(const weir_evaluation *e, bool *ok) {
    const weirp_figures *f = &e->figures;
    json_t *o = json_object();
    put_figure(o, ok, "auc", e, &f->auc);
    put_figure(o, ok, "brier", e, &f->brier);
    put_figure(o, ok, "cost_r2", e, &f->cost_r2);
    put_figure(o, ok, "quality_coverage_90", e, &f->quality_coverage);
    put_figure(o, ok, "cost_coverage_90", e, &f->cost_coverage);
    put(o, ok, "nominal_coverage", number(e->tables->coverage));
    return o;
}

static json_t *points(const weirp_curve *c, bool *ok) {
    json_t *array = json_array();
    for (size_t i = 0; i < c->n_points; i++) {
        json_t *o = json_object();
        put(o, ok, "value", number(c->points[i].value));
        put(o, ok, "cost", number(c->points[i].cost));
        put(o, ok, "quality", number(c->points[i].quality));
        *ok = json_array_append_new(array, o) == 0 && *ok;
    }
    return array;
}

static json_t *policies(const weir_evaluation *e, bool *ok) {
    json_t *all = json_object();
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        const weirp_policy_figures *f = &e->figures.policy[p];
        json_t *o = json_object();
        put_figure(o, ok, "aiq", e, &f->aiq);
        put_figure(o, ok, "lift", e, &f->lift);
        put_figure(o, ok, "captured_lift", e, &f->captured_lift);
        put_figure(o, ok, "max_quality", e, &f->max_quality);
        put_figure(o, ok, "cost_at_100", e, &f->cost_at_100);
        put_figure(o, ok, "cost_at_98", e, &f->cost_at_98);
        put_figure(o, ok, "cost_at_95", e, &f->cost_at_95);
        put(o, ok, "points", points(&e->curve[p], ok));
        put(all, ok, weirp_policy_keys[p], o);
    }
    return all;
}

static json_t *strong_weak(const weir_evaluation *e, bool *ok) {
    json_t *o = json_object();
    const bool pair = e->strong != (size_t)-1;
    put(o, ok, "strong", pair ? json_string(e->tables->names[e->strong]) : json_null());
    put(o, ok, "weak", pair ? json_string(e->tables->names[e->weak]) : json_null());
    put_figure(o, ok, "apgr", e, &e->figures.apgr);
    put_figure(o, ok, "cpt50", e, &e->figures.cpt50);
    put_figure(o, ok, "cpt80", e, &e->figures.cpt80);
    return o;
}

static json_t *operating_point(const weir_evaluation *e, bool *ok) {
    if (!e->has_curve) return json_null();
    json_t *o = json_object();
    put(o, ok, "value", number(e->operating.value));
    put(o, ok, "target", e->operating.target > 0 ? json_real(e->operating.target) : json_null());
    put(o, ok, "quality", number(e->operating.quality));
    put(o, ok, "cost", number(e->operating.cost));
    put(o, ok, "latency_ms", number(e->operating.latency_ms));
    put(o, ok, "fallback_share", number(e->operating.fallback_share));
    return o;
}

static json_t *tasks(const weir_evaluation *e, bool *ok) {
    json_t *array = json_array();
    for (size_t i = 0; i < e->n_tasks; i++) {
        const weirp_task_summary *t = &e->tasks[i];
        json_t *o = json_object();
        put_text(o, ok, "task", t->task);
        put(o, ok, "n", json_integer((json_int_t)t->n));
        put(o, ok, "best_single_quality", number(t->best_quality));
        put(o, ok, "best_single_cost", number(t->best_cost));
        put(o, ok, "quality", number(t->router_quality));
        put(o, ok, "cost", number(t->router_cost));
        put(o, ok, "oracle_quality", number(t->oracle_quality));
        *ok = json_array_append_new(array, o) == 0 && *ok;
    }
    return array;
}

static json_t *notes(const weir_evaluation *e, bool *ok) {
    json_t *array = json_array();
    for (size_t i = 0; i < e->n_notes; i++) *ok = json_array_append_new(array, json_string(e->notes[i])) == 0 && *ok;
    return array;
}

weir_status weir_evaluation_json(const weir_evaluation *e, char **json, weir_error *err) {
    bool ok = true;
    json_t *o = json_object();
    *json = NULL;
    put(o, &ok, "title", e->title ? json_string(e->title) : json_null());
    put(o, &ok, "n", json_integer(e->has_curve ? (json_int_t)e->tables->n : 0));
    put(o, &ok, "n_given", json_integer((json_int_t)e->n_given));
    put(o, &ok, "n_left_out", json_integer((json_int_t)(e->n_given - (e->has_curve ? e->tables->n : 0))));
    put(o, &ok, "notes", notes(e, &ok));
    put(o, &ok, "models", models(e, &ok));
    put(o, &ok, "best_single", best_single(e, &ok));
    put(o, &ok, "oracle", oracle(e, &ok));
    put(o, &ok, "estimator", estimator(e, &ok));
    put(o, &ok, "policies", policies(e, &ok));
    put(o, &ok, "strong_weak", strong_weak(e, &ok));
    put(o, &ok, "operating_point", operating_point(e, &ok));
    put(o, &ok, "tasks", tasks(e, &ok));
    put(o, &ok, "bootstrap",
        json_pack("{s:I, s:f, s:I}", "n", (json_int_t)e->n_bootstrap, "level", 0.95, "seed", (json_int_t)e->seed));
    if (ok) *json = json_dumps(o, JSON_REAL_PRECISION(DIGITS) | JSON_INDENT(1));
    json_decref(o);
    return *json ? WEIR_OK : weirp_nomem(err);
}
