/* simulate.c: outcomes with known truth, in memory or as lines. Every number is a pure function of (seed, world,
 * prompt, model): a longer run begins with the shorter one, and a model's outcomes don't depend on the others.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/datasets.h"
#include "datasets/sim.h"
#include "datasets/write.h"
#include "src/price/price.h"

enum { KIND = 0x10, LEVEL, VAGUE, SHARED_LUCK, LUCK, LENGTH, ROUNDING, SPEED, MISSING };
enum { MAX_MODELS = 1000, CRITERIA = 5, PROGRESS_EVERY = 1024 };

/* How much of what decides between right and wrong the models of one prompt share. */
static const double shared_luck = 0.5;
static const double speed_sd = 0.25; /* of the logarithm of a latency */

typedef struct simulation {
    weir_simulate_options o;
    weirp_sim_world *world;
    size_t *model;         /* (n_models) of the outcomes below */
    weir_outcome *outcome; /* (n_models) */
    weirp_truth *truth;    /* (n_models) */
    const char **name;     /* (n_models) of the outcomes */
    weirp_writer text;
} simulation;

/* One prompt's hidden state. */
typedef struct draw {
    size_t i, kind, level;
    bool vague, drifted;
    double tokens; /* of the text, as a typical vendor counts */
} draw;

static weir_status check(const weir_simulate_options *o, weir_error *err) {
    if (o->n_models < 2 || o->n_models > MAX_MODELS)
        return weirp_fail(err, WEIR_INVALID, 0, "%zu models: must be from 2 to %d", o->n_models, MAX_MODELS);
    if (!(o->missing >= 0 && o->missing < 1))
        return weirp_fail(err, WEIR_INVALID, 0, "missing is %g: must be from 0 to below 1", o->missing);
    if (!(o->noise >= 0 && o->noise <= 1))
        return weirp_fail(err, WEIR_INVALID, 0, "noise is %g: must be from 0 to 1", o->noise);
    if (o->prompt_bytes > (size_t)1 << 30)
        return weirp_fail(err, WEIR_INVALID, 0, "prompts of %zu bytes: at most 1 GiB", o->prompt_bytes);
    return WEIR_OK;
}

static void finish(simulation *s) {
    weirp_sim_world_free(s->world);
    weirp_writer_free(&s->text);
    free(s->model);
    free(s->outcome);
    free(s->truth);
    free(s->name);
}

static weir_status begin(simulation *s, const weir_simulate_options *options, weir_error *err) {
    *s = (simulation){0};
    if (options) s->o = *options;
    if (!s->o.n_prompts) s->o.n_prompts = 1000;
    if (!s->o.n_models) s->o.n_models = 8;
    weir_status st = check(&s->o, err);
    if (st) return st;
    s->model = weirp_array(s->o.n_models, sizeof *s->model);
    s->outcome = weirp_array(s->o.n_models, sizeof *s->outcome);
    s->truth = weirp_array(s->o.n_models, sizeof *s->truth);
    s->name = weirp_array(s->o.n_models, sizeof *s->name);
    st = s->model && s->outcome && s->truth && s->name ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK) st = weirp_sim_world_new(&s->world, s->o.n_models, s->o.world_seed, err);
    return st;
}

/* Chooses kind and level of prompt i, and renders it. */
static weir_status make_prompt(simulation *s, size_t i, draw *d, weir_error *err) {
    uint64_t seed = s->o.seed;
    double u = weirp_random_uniform(seed, KIND, i);
    *d = (draw){.i = i, .drifted = s->o.drift_at && i >= s->o.drift_at};
    while (d->kind + 1 < weirp_sim_n_kinds && u >= s->world->kind_share[d->kind]) u -= s->world->kind_share[d->kind++];
    d->level = (size_t)(weirp_random_u64(seed, LEVEL, i) % WEIRP_SIM_LEVELS);
    d->vague = weirp_random_uniform(seed, VAGUE, i) < s->o.noise;
    /* a vague prompt's numbers must not give its level away */
    size_t shown = d->vague ? (size_t)(weirp_random_u64(seed, VAGUE, ~(uint64_t)i) % WEIRP_SIM_LEVELS) : d->level;
    weirp_sim_render(&s->text, d->vague ? weirp_sim_vague : weirp_sim_kinds[d->kind].patterns, shown, s->o.prompt_bytes,
                     seed, i);
    if (s->text.failed) return weirp_nomem(err);
    d->tokens = weirp_sim_tokens((const char *)s->text.data, s->text.size);
    return WEIR_OK;
}

/* Right or wrong, or the share of criteria met: a Gaussian copula, so that models tend to fail together while each
 * one's expectation stays exactly `quality`. */
static double draw_quality(const simulation *s, const draw *d, size_t m, double threshold) {
    int n = s->o.graded ? CRITERIA : 1, met = 0;
    for (int c = 0; c < n; c++) {
        uint64_t at = ((uint64_t)d->i * MAX_MODELS + m) * CRITERIA + (uint64_t)c;
        double shared = weirp_random_normal(s->o.seed, SHARED_LUCK, (uint64_t)d->i * CRITERIA + (uint64_t)c);
        double own = weirp_random_normal(s->o.seed, LUCK, at);
        met += sqrt(shared_luck) * shared + sqrt(1 - shared_luck) * own < threshold;
    }
    return (double)met / n;
}

static void draw_outcome(const simulation *s, const draw *d, size_t m, weir_outcome *o, weirp_truth *truth) {
    const weirp_sim_model *model = &s->world->models[m], *skills = weirp_sim_skills(s->world, m, d->drifted);
    uint64_t seed = s->o.seed, at = (uint64_t)d->i * MAX_MODELS + m;
    size_t cell = d->kind * WEIRP_SIM_LEVELS + d->level;
    o->quality = draw_quality(s, d, m, skills->threshold[cell]);
    o->input_tokens = round(d->tokens * model->token_factor) + model->overhead_tokens;
    /* log-normal, rounded up or down by chance so that the mean stays exact, and one for the end */
    double length = exp(model->log_tokens[cell] + weirp_sim_token_sd * weirp_random_normal(seed, LENGTH, at));
    o->output_tokens = 1 + floor(length + weirp_random_uniform(seed, ROUNDING, at));
    o->cost_usd = weirp_price(&model->price, o->input_tokens, o->output_tokens);
    double slow = exp(speed_sd * weirp_random_normal(seed, SPEED, at));
    o->latency_ms = round(10 * slow * (model->first_ms + model->ms_per_token * o->output_tokens)) / 10;
    double tokens = d->vague ? model->vague_tokens : weirp_sim_expected_tokens(model, d->kind, d->level);
    truth->expected_quality = d->vague ? skills->vague_quality : skills->quality[cell];
    truth->expected_cost = weirp_price(&model->price, o->input_tokens, tokens);
}

/* Draws the outcomes of all models into the arrays, without those that are missing; gives how many there are. Truth
 * (n_models) is full, and may be NULL. */
static size_t draw_outcomes(simulation *s, const draw *d, double *expected_quality) {
    size_t n = 0;
    for (size_t m = 0; m < s->o.n_models; m++) {
        draw_outcome(s, d, m, &s->outcome[n], &s->truth[n]);
        if (expected_quality) expected_quality[m] = s->truth[n].expected_quality;
        if (s->o.missing > 0 &&
            weirp_random_uniform(s->o.seed, MISSING, (uint64_t)d->i * MAX_MODELS + m) < s->o.missing)
            continue;
        s->model[n] = m;
        s->name[n++] = s->world->models[m].price.name;
    }
    return n;
}

static weir_status report(const simulation *s, size_t i, weir_error *err) {
    if (!s->o.progress || i % PROGRESS_EVERY) return WEIR_OK;
    if (!s->o.progress(s->o.progress_user, "simulating", i, s->o.n_prompts)) return WEIR_OK;
    return weirp_fail(err, WEIR_CANCELED, 0, "canceled after %zu prompts", i);
}

static void make_id(const simulation *s, size_t i, char id[64]) {
    snprintf(id, 64, "sim.%llu.%zu", (unsigned long long)s->o.seed, i);
}

weir_status weir_simulate(weir_dataset **out, double **truth, const weir_simulate_options *options, weir_error *err) {
    simulation s;
    weir_status st;
    weirp_builder *builder = NULL;
    double *expected = NULL;
    size_t column[MAX_MODELS];
    *out = NULL;
    if (truth) *truth = NULL;
    WEIRP_TRY(begin(&s, options, err));
    WEIRP_TRY(weirp_builder_new(&builder, err));
    for (size_t m = 0; m < s.o.n_models; m++)
        WEIRP_TRY(weirp_builder_model(builder, s.world->models[m].price.name, &column[m], err));
    if (truth && (s.o.n_prompts > SIZE_MAX / s.o.n_models ||
                  !(expected = weirp_array(s.o.n_prompts * s.o.n_models, sizeof *expected)))) {
        st = weirp_nomem(err);
        goto done;
    }
    for (size_t i = 0; i < s.o.n_prompts; i++) {
        draw d;
        char id[64];
        bool duplicate;
        WEIRP_TRY(report(&s, i, err));
        WEIRP_TRY(make_prompt(&s, i, &d, err));
        make_id(&s, i, id);
        weir_record record = {.id = id,
                              .task = weirp_sim_kinds[d.kind].name,
                              .prompt = (const char *)s.text.data,
                              .prompt_len = s.text.size,
                              .model = s.model,
                              .outcome = s.outcome};
        record.n_outcomes = draw_outcomes(&s, &d, expected ? expected + i * s.o.n_models : NULL);
        WEIRP_TRY(weirp_builder_add(builder, &record, column, &duplicate, err));
    }
    WEIRP_TRY(weirp_builder_finish(builder, out, err));
    if (truth) {
        *truth = expected;
        expected = NULL;
    }
done:
    free(expected);
    weirp_builder_free(builder);
    finish(&s);
    return st;
}

weir_status weir_simulate_write(FILE *out, const weir_simulate_options *options, weir_error *err) {
    simulation s;
    weir_status st;
    WEIRP_TRY(begin(&s, options, err));
    for (size_t i = 0; i < s.o.n_prompts; i++) {
        draw d;
        char id[64];
        WEIRP_TRY(report(&s, i, err));
        WEIRP_TRY(make_prompt(&s, i, &d, err));
        make_id(&s, i, id);
        size_t n = draw_outcomes(&s, &d, NULL);
        WEIRP_TRY(weirp_write_line(out, "outcomes", id, weirp_sim_kinds[d.kind].name, (const char *)s.text.data,
                                   s.text.size, n, s.name, s.outcome, s.truth, err));
    }
    if (fflush(out)) st = weirp_fail_errno(err, errno, "can't write", "outcomes");
done:
    finish(&s);
    return st;
}

weir_status weir_simulate_write_pool(FILE *out, const weir_simulate_options *options, weir_error *err) {
    simulation s;
    weir_status st;
    WEIRP_TRY(begin(&s, options, err));
    fprintf(out, "# prices of simulated models, world %llu; format: docs/formats.md, \"Pool\"\nmodels:\n",
            (unsigned long long)s.o.world_seed);
    for (size_t m = 0; m < s.o.n_models; m++) {
        /* a flow map is JSON, which Jansson writes in any locale */
        const weir_model *p = &s.world->models[m].price;
        json_t *entry =
            json_pack("{s:s,s:f,s:f,s:f}", "name", p->name, "input_usd_per_mtok", p->input_usd_per_mtok,
                      "output_usd_per_mtok", p->output_usd_per_mtok, "max_input_tokens", p->max_input_tokens);
        if (!entry) {
            st = weirp_nomem(err);
            goto done;
        }
        fputs("  - ", out);
        json_dumpf(entry, out, JSON_REAL_PRECISION(15));
        putc('\n', out);
        json_decref(entry);
    }
    if (fflush(out) || ferror(out)) st = weirp_fail_errno(err, errno ? errno : EIO, "can't write", "pool");
done:
    finish(&s);
    return st;
}
