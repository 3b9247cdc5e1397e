/* learn_report.c: prequential sums. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>

#include "tools/json.h"
#include "tools/learn_report.h"

learn_report learn_report_start(double value, const char *policy, const char *feedback) {
    return (learn_report){.value = value, .policy = policy, .feedback = feedback};
}

void learn_report_end(learn_report *r) {
    free(r->quality);
    free(r->cost);
    free(r->model_risk);
    free(r->model_n);
}

/* The realised risk. A cost that isn't known counts as nothing: the report says how many there were. */
static double risk_of(const learn_report *r, const weir_outcome *o) {
    if (isinf(r->value)) return 1 - o->quality;
    return r->value * (1 - o->quality) + (isfinite(o->cost_usd) ? o->cost_usd : 0);
}

static bool grow(void *array, size_t n, size_t size) {
    void *moved = realloc(*(void **)array, n * size);
    if (moved) *(void **)array = moved;
    return moved != NULL;
}

static bool make_room(learn_report *r, size_t n_models) {
    if (r->n == r->capacity) {
        size_t grown = r->capacity ? 2 * r->capacity : 1024;
        if (!grow(&r->quality, grown, sizeof *r->quality) || !grow(&r->cost, grown, sizeof *r->cost)) return false;
        r->capacity = grown;
    }
    if (n_models > r->n_models) {
        if (!grow(&r->model_risk, n_models, sizeof *r->model_risk) || !grow(&r->model_n, n_models, sizeof *r->model_n))
            return false;
        for (; r->n_models < n_models; r->n_models++) r->model_risk[r->n_models] = 0, r->model_n[r->n_models] = 0;
    }
    return true;
}

weir_status learn_report_add(learn_report *r, const weir_record *record, const size_t *models, size_t chosen,
                             weir_error *err) {
    size_t n_models = r->n_models;
    for (size_t i = 0; i < record->n_outcomes; i++)
        if (models[i] >= n_models) n_models = models[i] + 1;
    if (!make_room(r, n_models)) {
        *err = (weir_error){WEIR_NOMEM, 0, "out of memory"};
        return WEIR_NOMEM;
    }
    r->n_lines++;
    if (chosen == (size_t)-1) return WEIR_OK;
    double best = INFINITY;
    for (size_t i = 0; i < record->n_outcomes; i++) {
        if (!isfinite(record->outcome[i].quality)) continue;
        double risk = risk_of(r, &record->outcome[i]);
        best = fmin(best, risk);
        r->model_risk[models[i]] += risk;
        r->model_n[models[i]]++;
    }
    const weir_outcome *o = &record->outcome[chosen];
    r->quality[r->n] = o->quality;
    r->cost[r->n] = o->cost_usd;
    r->n++;
    r->risk += risk_of(r, o);
    r->best_risk += best;
    if (!isfinite(o->cost_usd)) r->n_without_cost++;
    return WEIR_OK;
}

/* Mean over [from, to) of what is known; NAN: nothing is. */
static double mean(const double *x, size_t from, size_t to) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = from; i < to; i++)
        if (isfinite(x[i])) sum += x[i], n++;
    return n ? sum / (double)n : NAN;
}

/* The model that would have been best throughout, among those with an outcome on every line; (size_t)-1: none. */
static size_t best_fixed(const learn_report *r) {
    size_t best = (size_t)-1;
    for (size_t m = 0; m < r->n_models; m++)
        if (r->n && r->model_n[m] == r->n && (best == (size_t)-1 || r->model_risk[m] < r->model_risk[best])) best = m;
    return best;
}

static size_t border(const learn_report *r, size_t k, size_t segments) {
    return (size_t)((double)r->n * (double)k / (double)segments);
}

static json_t *segments_json(const learn_report *r, size_t segments) {
    json_t *list = json_array();
    for (size_t k = 0; k < segments; k++) {
        size_t from = border(r, k, segments), to = border(r, k + 1, segments);
        json_array_append_new(list, json_pack("{s:I, s:o, s:o}", "n", (json_int_t)(to - from), "mean_quality",
                                              cli_json_number(mean(r->quality, from, to)), "mean_cost",
                                              cli_json_number(mean(r->cost, from, to))));
    }
    return list;
}

static json_t *drifts_json(const learn_report *r, const cli_names *models) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_drifts; i++) {
        const weir_drift *d = &r->drifts[i];
        json_array_append_new(list, json_pack("{s:I, s:s, s:o, s:o}", "at", (json_int_t)d->at, "model",
                                              models->name(models->owner, d->model), "before",
                                              cli_json_number(d->before), "after", cli_json_number(d->after)));
    }
    return list;
}

json_t *learn_report_json(const learn_report *r, const cli_names *models, size_t segments) {
    size_t best = best_fixed(r);
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:s, s:s}", "n", (json_int_t)r->n, "n_lines", (json_int_t)r->n_lines,
                          "n_malformed", (json_int_t)r->n_malformed, "n_without_cost", (json_int_t)r->n_without_cost,
                          "policy", r->policy, "feedback", r->feedback);
    if (!o) return NULL;
    bool ok =
        cli_json_set(o, "value", r->value) && cli_json_set(o, "mean_quality", mean(r->quality, 0, r->n)) &&
        cli_json_set(o, "mean_cost", mean(r->cost, 0, r->n)) &&
        cli_json_set(o, "cumulative_regret", r->risk - r->best_risk) &&
        cli_json_set(o, "regret_against_fixed", best == (size_t)-1 ? NAN : r->risk - r->model_risk[best]) &&
        json_object_set_new(o, "best_fixed",
                            best == (size_t)-1 ? json_null() : json_string(models->name(models->owner, best))) == 0 &&
        json_object_set_new(o, "durable", json_integer((json_int_t)r->n_durable)) == 0 &&
        json_object_set_new(o, "drifts", drifts_json(r, models)) == 0 &&
        (!segments || json_object_set_new(o, "segments", segments_json(r, segments)) == 0);
    if (ok) return o;
    json_decref(o);
    return NULL;
}

void learn_report_print(const learn_report *r, const cli_names *models, size_t segments, FILE *out) {
    char usd[CLI_USD_SIZE];
    const char *unit = isinf(r->value) ? "" : " USD";
    fprintf(out, "%zu decisions (%s, %s feedback): mean quality %.4f, mean cost %s\n", r->n, r->policy, r->feedback,
            mean(r->quality, 0, r->n), cli_usd(mean(r->cost, 0, r->n), usd));
    if (r->n < r->n_lines) fprintf(out, "%zu lines had no outcome of the chosen model\n", r->n_lines - r->n);
    if (r->n_malformed) fprintf(out, "%zu malformed lines left out\n", r->n_malformed);
    if (r->n_without_cost) fprintf(out, "%zu answers of unknown cost count as free\n", r->n_without_cost);
    fprintf(out, "regret: %.6g%s against the best model of each line", r->risk - r->best_risk, unit);
    size_t best = best_fixed(r);
    if (best != (size_t)-1)
        fprintf(out, ", %.6g%s against always %s", r->risk - r->model_risk[best], unit,
                models->name(models->owner, best));
    fprintf(out, "\n%llu feedbacks are durable\n", (unsigned long long)r->n_durable);
    for (size_t i = 0; i < r->n_drifts; i++)
        fprintf(out, "drift at feedback %llu: %s from %.3f to %.3f\n", (unsigned long long)r->drifts[i].at,
                models->name(models->owner, r->drifts[i].model), r->drifts[i].before, r->drifts[i].after);
    if (!segments) return;
    const char *const headers[] = {"part", "n", "mean quality", "mean cost"};
    cli_table *table = cli_table_new(headers, 4);
    if (!table) return;
    for (size_t k = 0; k < segments; k++) {
        size_t from = border(r, k, segments), to = border(r, k + 1, segments);
        cli_table_cell(table, "%zu", k + 1);
        cli_table_cell(table, "%zu", to - from);
        cli_table_cell(table, "%.4f", mean(r->quality, from, to));
        cli_table_cell(table, "%s", cli_usd(mean(r->cost, from, to), usd));
    }
    fputc('\n', out);
    cli_table_print(table, out);
    cli_table_free(table);
}
