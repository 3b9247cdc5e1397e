/* evaluation.c: from tables to a judged evaluation, step by step. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/report/evaluation.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"

enum { DEFAULT_BOOTSTRAP = 200, MAX_BOOTSTRAP = 1000000 };

#define KEY(name, key, label)   key,
#define LABEL(name, key, label) label,
const char *const weirp_policy_keys[WEIRP_N_POLICIES] = {WEIRP_POLICY_TABLE(KEY)};
const char *const weirp_policy_labels[WEIRP_N_POLICIES] = {WEIRP_POLICY_TABLE(LABEL)};
#undef KEY
#undef LABEL

weir_status weirp_note(weir_evaluation *e, weir_error *err, const char *format, ...) {
    if (e->n_notes == WEIRP_MAX_NOTES) return WEIR_OK;
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) return weirp_nomem(err);
    e->notes[e->n_notes++] = text;
    return WEIR_OK;
}

weir_status weirp_progress(const weir_evaluate_options *options, const char *stage, size_t done, size_t total,
                           weir_error *err) {
    if (!options->progress || options->progress(options->progress_user, stage, done, total) == 0) return WEIR_OK;
    return weirp_fail(err, WEIR_CANCELED, 0, "evaluation canceled");
}

/* Best: most quality, ties to the cheaper. Cheapest: least cost, without costs the worst. */
static void find_singles(weir_evaluation *e) {
    const weirp_tables *t = e->tables;
    const size_t m = t->n_models;
    double best_q = -INFINITY, best_c = INFINITY, least = INFINITY, least_q = INFINITY;
    e->best = e->cheapest = (size_t)-1;
    if (!e->has_curve) return;
    for (size_t k = 0; k < m; k++) {
        double q = 0, c = 0;
        for (size_t i = 0; i < t->n; i++) {
            q += t->quality[i * m + k] / (double)t->n;
            if (e->has_cost) c += t->cost_usd[i * m + k] / (double)t->n;
        }
        if (q > best_q + 1e-12 || (q > best_q - 1e-12 && c < best_c)) e->best = k, best_q = q, best_c = c;
        const double key = e->has_cost ? c : q;
        if (key < least || (key == least && q < least_q)) e->cheapest = k, least = key, least_q = q;
    }
}

static weir_status find_model(const weirp_tables *t, const char *name, size_t otherwise, size_t *out, weir_error *err) {
    *out = otherwise;
    if (!name) return WEIR_OK;
    for (size_t k = 0; k < t->n_models; k++)
        if (strcmp(t->names[k], name) == 0) {
            *out = k;
            return WEIR_OK;
        }
    char known[256] = "";
    for (size_t k = 0; k < t->n_models; k++) {
        const size_t used = strlen(known);
        if (used + strlen(t->names[k]) + 8 > sizeof known) {
            snprintf(known + used, sizeof known - used, ", ...");
            break;
        }
        snprintf(known + used, sizeof known - used, "%s%s", k ? ", " : "", t->names[k]);
    }
    return weirp_fail(err, WEIR_NOTFOUND, 0, "no outcomes of a model named \"%s\"; there are: %s", name, known);
}

weir_status weirp_find_pair(weir_evaluation *e, const weir_evaluate_options *options, weir_error *err) {
    const weirp_tables *t = e->tables;
    const size_t m = t->n_models;
    weir_status st = WEIR_OK;
    find_singles(e);
    WEIRP_TRY(find_model(t, options->strong, e->best, &e->strong, err));
    WEIRP_TRY(find_model(t, options->weak, e->cheapest, &e->weak, err));
    if (e->strong == e->weak && e->strong != (size_t)-1) {
        if (options->strong && options->weak)
            WEIRP_TRY(weirp_fail(err, WEIR_INVALID, 0, "strong and weak are the same model, \"%s\"", options->weak));
        if (m > 1)
            WEIRP_TRY(weirp_note(e, err, "No strong and weak model: \"%s\" is both. Name them to get APGR and CPT.",
                                 t->names[e->strong]));
        e->strong = e->weak = (size_t)-1;
    }
    if (!e->has_curve) e->strong = e->weak = (size_t)-1;
    if (e->strong == (size_t)-1) goto done;
    e->gap = weirp_array(t->n, sizeof *e->gap);
    e->q_weak = weirp_array(t->n, sizeof *e->q_weak);
    e->q_strong = weirp_array(t->n, sizeof *e->q_strong);
    if (!e->gap || !e->q_weak || !e->q_strong) WEIRP_TRY(weirp_nomem(err));
    for (size_t i = 0; i < t->n; i++) {
        const double strong = t->q_hat[i * m + e->strong], weak = t->q_hat[i * m + e->weak];
        e->gap[i] = isfinite(strong) && isfinite(weak) ? strong - weak : 0;
        e->q_weak[i] = t->quality[i * m + e->weak];
        e->q_strong[i] = t->quality[i * m + e->strong];
    }
done:
    return st;
}

static weir_status judge(weir_evaluation *e, const weir_evaluate_options *options, weir_error *err) {
    weir_status st = WEIR_OK;
    if (options->title) {
        e->title = weirp_strndup(options->title, strlen(options->title));
        if (!e->title) return weirp_nomem(err);
    }
    e->seed = options->seed;
    e->n_bootstrap = options->n_bootstrap ? options->n_bootstrap : DEFAULT_BOOTSTRAP;
    if (e->n_bootstrap > MAX_BOOTSTRAP)
        return weirp_fail(err, WEIR_INVALID, 0, "more than %d bootstrap resamples", MAX_BOOTSTRAP);
    WEIRP_TRY(weirp_select_prompts(e, err));
    WEIRP_TRY(weirp_effective_estimates(e, err));
    WEIRP_TRY(weirp_find_pair(e, options, err));
    WEIRP_TRY(weirp_rank_estimates(e, err));
    WEIRP_TRY(weirp_trace_policies(e, options, err));
    WEIRP_TRY(weirp_bootstrap(e, options, err));
    WEIRP_TRY(weirp_summarise(e, err));
    WEIRP_TRY(weirp_keep_points(e, err));
done:
    return st;
}

weir_status weirp_evaluation_from_tables(weir_evaluation **out, weirp_tables *tables,
                                         const weir_evaluate_options *options, weir_error *err) {
    static const weir_evaluate_options defaults;
    *out = NULL;
    weir_evaluation *e = weirp_array(1, sizeof *e);
    if (!e) {
        weirp_tables_free(tables);
        return weirp_nomem(err);
    }
    e->tables = tables;
    const weir_status st = judge(e, options ? options : &defaults, err);
    if (st != WEIR_OK)
        weir_evaluation_free(e);
    else
        *out = e;
    return st;
}

void weir_evaluation_free(weir_evaluation *e) {
    if (!e) return;
    weirp_tables_free(e->tables);
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        weirp_path_free(&e->curve[p].path);
        free(e->curve[p].points);
    }
    for (size_t i = 0; i < e->n_notes; i++) free(e->notes[i]);
    free(e->title), free(e->q_eff), free(e->c_eff), free(e->rank), free(e->n_rank);
    free(e->gap), free(e->q_weak), free(e->q_strong), free(e->gap_rank);
    free(e->models), free(e->choice), free(e->tasks);
    free(e);
}
