/* train.c: outcomes to a store: features, costs, quality, intervals, one transaction.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/linalg/parallel.h"
#include "src/measure/measure.h"
#include "src/price/price.h"
#include "src/router/inspect.h"
#include "src/router/costs.h"
#include "src/router/select.h"
#include "weir/router.h"

#define N_FOLDS 5
/* Estimators are chosen and costs fitted on at most so many prompts, drawn at random; the chosen ones are then fitted
 * on all. Beyond this a larger sample changes no choice, and cross-validation would be most of the time. */
#define CHOICE_ROWS       40000
#define CHOICE_CELLS      640000 /* prompts times models: bounds memory for large pools */
#define LEAST_CHOICE_ROWS 2000
/* A model's mean quality counts as this many prompts of the pool's mean. */
#define MEAN_PRIOR 5.0
#define N_NOVELTY  2001

typedef struct training {
    const weir_dataset *data; /* borrowed */
    const weir_train_options *options;
    unsigned n_threads;
    uint64_t seed;
    weirp_state *state;
    float *dense;        /* (n_prompts, dim) */
    double *tokens;      /* (n_prompts) counted in the text */
    weirp_sample sample; /* all prompts */
    /* the prompts that estimators are chosen on: all of them, or a sample */
    weir_dataset chosen_data;
    float *chosen_dense;
    double *chosen_tokens;
    weirp_sample chosen;
    weirp_folds folds;
    double *cost_held_out; /* (chosen.n, n_models) */
} training;

static int progress(const training *t, const char *stage, size_t done, size_t total) {
    return t->options->progress ? t->options->progress(t->options->progress_user, stage, done, total) : 0;
}

/* ---- features ---- */

static weir_status check_data(const weir_dataset *d, weir_error *err) {
    if (!d->n_prompts || !d->n_models) return weirp_fail(err, WEIR_NODATA, 0, "there are no outcomes to train on");
    if (d->n_models > WEIR_MAX_MODELS)
        return weirp_fail(err, WEIR_INVALID, 0, "%zu models: a pool holds at most %d", d->n_models, WEIR_MAX_MODELS);
    for (size_t at = 0; d->quality && at < d->n_prompts * d->n_models; at++)
        if (!isnan(d->quality[at])) return WEIR_OK;
    return weirp_fail(err, WEIR_NODATA, 0, "no outcome has a \"quality\": there is nothing to learn");
}

/* The data's models, with the prices of the pool file where it has them; the file's other models come after. */
static weir_status make_pool(const training *t, weir_pool **out, weir_error *err) {
    const weir_pool *given = t->options->pool;
    weir_pool *pool = weirp_array(1, sizeof *pool);
    if (!pool) return weirp_nomem(err);
    for (size_t j = 0; j < t->data->n_models; j++) {
        size_t at = weirp_pool_add(pool, t->data->model_names[j]);
        size_t from = given ? weir_pool_find(given, t->data->model_names[j]) : (size_t)-1;
        if (at == (size_t)-1) {
            weir_pool_free(pool);
            return weirp_nomem(err);
        }
        if (from == (size_t)-1) continue;
        char *name = pool->models[at].name;
        pool->models[at] = given->models[from];
        pool->models[at].name = name;
    }
    *out = pool;
    return WEIR_OK;
}

static weir_status make_features(training *t, weir_error *err) {
    const weir_dataset *d = t->data;
    weirp_featurizer *f = NULL;
    weir_pool *pool = NULL;
    weir_status st;
    const char *const *prompts = (const char *const *)d->prompts;
    WEIRP_TRY(make_pool(t, &pool, err));
    WEIRP_TRY(weirp_featurizer_fit(&f, prompts, d->prompt_lens, d->n_prompts, NULL, t->seed, t->n_threads,
                                   t->options->progress, t->options->progress_user, err));
    WEIRP_TRY(weirp_state_new(&t->state, pool, f, true, err));
    WEIRP_TRY(weirp_featurize_all(f, prompts, d->prompt_lens, d->n_prompts, t->n_threads, &t->dense, NULL, err));
    t->tokens = weirp_array(d->n_prompts, sizeof *t->tokens);
    if (!t->tokens) st = weirp_nomem(err);
    for (size_t i = 0; t->tokens && i < d->n_prompts; i++)
        t->tokens[i] = weirp_count_tokens(d->prompts[i], d->prompt_lens[i]);
    t->sample = (weirp_sample){.n = d->n_prompts,
                               .n_models = d->n_models,
                               .dim = weirp_featurizer_dim(f),
                               .dense = t->dense,
                               .target = d->quality,
                               .lo = 0,
                               .hi = 1,
                               .seed = t->seed,
                               .n_threads = t->n_threads};
done:
    weir_pool_free(pool);
    return st;
}

/* ---- the prompts to choose on ---- */

static double *pick_rows(const double *table, const size_t *row, size_t n, size_t width, bool *failed) {
    if (!table) return NULL;
    double *out = weirp_array(n * width, sizeof *out);
    if (!out) *failed = true;
    for (size_t i = 0; out && i < n; i++) memcpy(out + i * width, table + row[i] * width, width * sizeof *out);
    return out;
}

static weir_status choose_rows(training *t, weir_error *err) {
    const weir_dataset *d = t->data;
    size_t m = d->n_models, dim = t->sample.dim, n = CHOICE_ROWS;
    if (n > CHOICE_CELLS / m) n = CHOICE_CELLS / m > LEAST_CHOICE_ROWS ? CHOICE_CELLS / m : LEAST_CHOICE_ROWS;
    if (n > d->n_prompts) n = d->n_prompts;
    size_t *row = weirp_array(d->n_prompts, sizeof *row);
    bool failed = !row;
    if (row) {
        for (size_t i = 0; i < d->n_prompts; i++) row[i] = i;
        if (n < d->n_prompts) weirp_shuffle(row, d->n_prompts, t->seed);
        t->chosen_data = (weir_dataset){.n_prompts = n, .n_models = m, .model_names = d->model_names};
        t->chosen_data.quality = pick_rows(d->quality, row, n, m, &failed);
        t->chosen_data.cost_usd = pick_rows(d->cost_usd, row, n, m, &failed);
        t->chosen_data.input_tokens = pick_rows(d->input_tokens, row, n, m, &failed);
        t->chosen_data.output_tokens = pick_rows(d->output_tokens, row, n, m, &failed);
        t->chosen_data.latency_ms = pick_rows(d->latency_ms, row, n, m, &failed);
        t->chosen_tokens = pick_rows(t->tokens, row, n, 1, &failed);
        t->chosen_dense = weirp_array(n * dim, sizeof(float));
        failed |= !t->chosen_dense;
        for (size_t i = 0; t->chosen_dense && i < n; i++)
            memcpy(t->chosen_dense + i * dim, t->dense + row[i] * dim, dim * sizeof(float));
    }
    free(row);
    if (failed) return weirp_nomem(err);
    t->chosen = t->sample;
    t->chosen.n = n;
    t->chosen.dense = t->chosen_dense;
    t->chosen.target = t->chosen_data.quality;
    return weirp_folds_make(&t->folds, &t->chosen, N_FOLDS, t->seed, err);
}

static weir_status fit_costs(training *t, weir_error *err) {
    t->cost_held_out = weirp_array(t->chosen.n * t->chosen.n_models, sizeof(double));
    if (!t->cost_held_out) return weirp_nomem(err);
    if (progress(t, "costs", 0, 1)) return weirp_fail(err, WEIR_CANCELED, 0, "canceled");
    weirp_costs_input in = {&t->chosen_data, t->chosen_tokens, &t->chosen, &t->folds};
    weir_status st = weirp_costs_fit(&t->state->costs, t->state->pool, &in, t->cost_held_out, err);
    if (st == WEIR_OK) progress(t, "costs", 1, 1);
    return st;
}

/* ---- quality ---- */

static void mean_quality(const weirp_sample *s, double *mean) {
    double all = 0, n_all = 0;
    for (size_t at = 0; at < s->n * s->n_models; at++)
        if (!isnan(s->target[at])) all += s->target[at], n_all++;
    all /= n_all;
    for (size_t j = 0; j < s->n_models; j++) {
        double sum = MEAN_PRIOR * all, n = MEAN_PRIOR;
        for (size_t i = 0; i < s->n; i++)
            if (!isnan(s->target[i * s->n_models + j])) sum += s->target[i * s->n_models + j], n++;
        mean[j] = sum / n;
    }
}

static weir_status fit_members(training *t, const weirp_selection *chosen, weir_error *err) {
    weirp_quality *q = &t->state->quality;
    q->shrink = chosen->shrink;
    for (size_t k = 0; k < chosen->n_candidates && chosen->shrink > 0; k++) {
        const weirp_candidate *c = &chosen->candidate[k];
        if (!(c->weight > 0)) continue;
        if (progress(t, "fitting", k, chosen->n_candidates)) return weirp_fail(err, WEIR_CANCELED, 0, "canceled");
        weir_status st = c->class->fit(&q->member[q->n_members], &t->sample, c->setting, err);
        if (st != WEIR_OK) return st;
        q->weight[q->n_members++] = c->weight;
    }
    return WEIR_OK;
}

/* Split conformal half-widths: the (n+1) coverage-th smallest held-out error, per model where it has enough, else the
 * pool's. */
static weir_status fit_intervals(training *t, const double *held_out, weir_error *err) {
    const weirp_sample *s = &t->chosen;
    weirp_intervals *v = &t->state->intervals;
    double *error = weirp_array(s->n * s->n_models, sizeof *error);
    if (!error) return weirp_nomem(err);
    for (size_t j = 0; j < s->n_models; j++) {
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++) {
            double e = fabs(s->target[i * s->n_models + j] - held_out[i * s->n_models + j]);
            if (!isnan(e)) error[n++] = e;
        }
        double rank = v->coverage * ((double)n + 1) / (double)(n ? n : 1);
        v->quality_half[j] = rank <= 1 ? weirp_percentile(error, n, rank) : 1;
    }
    free(error);
    return WEIR_OK;
}

/* Quantiles of how little of a prompt an SVD explains that hasn't seen it: fitted on one half, measured on the other.
 */
static weir_status fit_novelty(training *t, weir_error *err) {
    const weir_dataset *d = t->data;
    size_t half = d->n_prompts / 2, n = d->n_prompts - half;
    if (half < 10) return WEIR_OK;
    weirp_featurizer *f = NULL;
    weirp_text_scratch *scratch = NULL;
    double *share = weirp_array(n, sizeof *share);
    size_t *row = weirp_array(d->n_prompts, sizeof *row), *len = weirp_array(half, sizeof *len);
    const char **prompt = weirp_array(half, sizeof *prompt);
    weirp_intervals *v = &t->state->intervals;
    v->novelty = weirp_array(N_NOVELTY, sizeof(double));
    weir_status st = share && row && len && prompt && v->novelty ? WEIR_OK : weirp_nomem(err);
    if (st != WEIR_OK) goto done;
    for (size_t i = 0; i < d->n_prompts; i++) row[i] = i;
    weirp_shuffle(row, d->n_prompts, t->seed + 1);
    for (size_t i = 0; i < half; i++) prompt[i] = d->prompts[row[i]], len[i] = d->prompt_lens[row[i]];
    WEIRP_TRY(weirp_featurizer_fit(&f, prompt, len, half, NULL, t->seed, t->n_threads, NULL, NULL, err));
    WEIRP_TRY(weirp_text_scratch_new(&scratch, f, err));
    for (size_t i = 0; i < n; i++) {
        weirp_features x;
        weirp_featurize(f, scratch, d->prompts[row[half + i]], d->prompt_lens[row[half + i]], &x);
        share[i] = 1 - (double)x.explained;
    }
    v->n_novelty = N_NOVELTY;
    for (size_t i = 0; i < N_NOVELTY; i++) v->novelty[i] = weirp_percentile(share, n, (double)i / (N_NOVELTY - 1));
done:
    weirp_text_scratch_free(scratch);
    weirp_featurizer_free(f);
    free(share);
    free(row);
    free(len);
    free(prompt);
    return st;
}

/* ---- the report ---- */

static void report_members(weir_train_report *r, const weirp_selection *s) {
    r->n_members = s->n_candidates;
    r->constant_score = s->constant_score;
    for (size_t k = 0; k < s->n_candidates; k++) {
        char setting[20] = "";
        s->candidate[k].class->describe(s->candidate[k].setting, setting, sizeof setting);
        snprintf(r->member[k].name, sizeof r->member[k].name, "%s %s", s->candidate[k].class->name, setting);
        r->member[k].weight = s->candidate[k].weight * s->shrink;
        r->member[k].score = s->candidate[k].score;
    }
}

static void report(const training *t, weir_train_report *r) {
    const weir_dataset *d = t->data;
    r->n_prompts = d->n_prompts;
    r->n_models = d->n_models;
    for (size_t at = 0; at < d->n_prompts * d->n_models; at++) r->n_outcomes += !isnan(d->quality[at]);
    size_t costless = 0;
    for (size_t j = 0; j < d->n_models; j++) costless += t->state->costs.source[j] == WEIRP_COST_NONE;
    r->has_cost = costless < d->n_models;
    if (costless == d->n_models)
        snprintf(r->note, sizeof r->note,
                 "no costs: outcomes have neither \"cost\" nor tokens with prices in the pool, so only quality counts");
    else if (costless)
        snprintf(r->note, sizeof r->note, "%zu of %zu models have no cost: give tokens and prices, or costs", costless,
                 d->n_models);
}

/* ---- all of it ---- */

static weir_status fit_quality(training *t, const char *estimator, weir_train_report *r, weir_error *err) {
    weirp_selection chosen = {0};
    weirp_objective objective = {0};
    double *mean = t->state->quality.mean;
    weir_status st;
    mean_quality(&t->sample, mean);
    bool all_costs = t->chosen_data.cost_usd != NULL;
    for (size_t j = 0; j < t->chosen.n_models; j++) all_costs &= t->state->costs.source[j] != WEIRP_COST_NONE;
    WEIRP_TRY(weirp_objective_init(&objective, t->chosen.target, all_costs ? t->chosen_data.cost_usd : NULL,
                                   t->cost_held_out, t->chosen.n, t->chosen.n_models, err));
    WEIRP_TRY(weirp_select(&chosen, estimator, &t->chosen, &t->folds, mean, &objective, t->options->progress,
                           t->options->progress_user, err));
    WEIRP_TRY(fit_members(t, &chosen, err));
    WEIRP_TRY(fit_intervals(t, chosen.held_out, err));
    report_members(r, &chosen);
done:
    weirp_selection_clear(&chosen);
    weirp_objective_clear(&objective);
    return st;
}

static void training_clear(training *t) {
    weirp_state_free(t->state);
    free(t->dense);
    free(t->tokens);
    free(t->chosen_data.quality);
    free(t->chosen_data.cost_usd);
    free(t->chosen_data.input_tokens);
    free(t->chosen_data.output_tokens);
    free(t->chosen_data.latency_ms);
    free(t->chosen_dense);
    free(t->chosen_tokens);
    free(t->cost_held_out);
    weirp_folds_free(&t->folds);
}

/* Models of the pool file that have no outcomes join with what the others suggest. */
static weir_status add_untried(training *t, weir_error *err) {
    const weir_pool *given = t->options->pool;
    for (size_t j = 0; given && j < given->n_models; j++) {
        if (weir_pool_find(t->state->pool, given->models[j].name) != (size_t)-1) continue;
        weir_status st = weirp_state_add_model(t->state, &given->models[j], err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

static weir_status write_state(training *t, weirp_store *store, weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    weir_status st = weirp_snapshot_begin(&snapshot, store, err);
    if (st != WEIR_OK) return st;
    t->state->checkpoint_log = t->state->costs_log = weirp_snapshot_n_log(snapshot);
    t->state->trained_version = weirp_snapshot_version(snapshot) + 1;
    /* the log's records go by number; what those numbers meant would otherwise be gone */
    weirp_writer names = {0};
    uint64_t since = 0;
    char section[32];
    st = weirp_names_save(snapshot, &since, &names, err);
    weirp_snapshot_end(snapshot);
    weirp_names_section(section, since);
    weirp_change keep = {.kind = WEIRP_PUT, .section = section, .data = names.data, .size = names.size};
    if (st == WEIR_OK || st == WEIR_NOTFOUND)
        st = weirp_state_commit(t->state, store, &keep, st == WEIR_OK ? 1 : 0, err);
    weirp_writer_free(&names);
    return st;
}

static const char *known_estimator(const char *name) {
    for (size_t i = 0; weir_estimator_name(i); i++)
        if (!strcmp(weir_estimator_name(i), name)) return name;
    return NULL;
}

const char *weir_estimator_name(size_t index) {
    if (index == 0) return "auto";
    if (index == 1) return "constant";
    const weirp_estimator_class *class = weirp_estimator_class_at(index - 2);
    return class ? class->name : NULL;
}

/* Takes away a store that was made for a training that then failed: it holds nothing. Called while it is held. */
static void discard(const char *path) {
    char lock[4096];
    unlink(path);
    if (snprintf(lock, sizeof lock, "%s-lock", path) < (int)sizeof lock) unlink(lock);
}

weir_status weir_train(const char *path, const weir_dataset *data, const weir_train_options *options,
                       weir_train_report *report_out, weir_error *err) {
    static const weir_train_options defaults = {0};
    weir_train_report r = {0};
    training t = {.data = data, .options = options ? options : &defaults};
    const char *name = t.options->estimator ? t.options->estimator : "auto";
    t.n_threads = t.options->n_threads ? t.options->n_threads : weirp_n_cores();
    t.seed = t.options->seed;
    uint64_t start = weirp_monotonic_ns();
    bool fresh = access(path, F_OK) != 0;
    weirp_store *store = NULL;
    weir_status st;
    if (!known_estimator(name)) return weirp_fail(err, WEIR_INVALID, 0, "no estimator is called \"%s\"", name);
    WEIRP_TRY(check_data(data, err));
    /* held throughout: a learner that worked on the old state meanwhile would lose what it learned */
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_CREATE, err));
    WEIRP_TRY(make_features(&t, err));
    WEIRP_TRY(choose_rows(&t, err));
    WEIRP_TRY(fit_costs(&t, err));
    WEIRP_TRY(fit_quality(&t, name, &r, err));
    WEIRP_TRY(fit_novelty(&t, err));
    report(&t, &r);
    WEIRP_TRY(add_untried(&t, err));
    t.state->n_trained_prompts = data->n_prompts;
    snprintf(t.state->estimator, sizeof t.state->estimator, "%s", name);
    WEIRP_TRY(write_state(&t, store, err));
    r.seconds = (double)(weirp_monotonic_ns() - start) * 1e-9;
    if (report_out) *report_out = r;
done:
    training_clear(&t);
    if (st != WEIR_OK && store && fresh) discard(path);
    weirp_store_close(store);
    return st;
}
