/* sim_world.c: who can do what, and at which price. SPDX-License-Identifier: GPL-3.0-or-later */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/sim.h"

const double weirp_sim_token_sd = 0.4;

/* Random streams of a world; the counter is a model's number, times kinds where it depends on both. */
enum {
    SHARE = 0x30,
    DIFFICULTY,
    ABILITY,
    BENT,
    VERBOSE,
    VERBOSE_KIND,
    TOKENS,
    SPEED,
    INVENTED_ABILITY,
    INVENTED_PRICE
};

/* How strongly one kind differs from another for the same model, in logits. */
static const double bent_sd = 1.1;
static const double ability_sd = 0.25; /* between worlds, for a known model */

/* Known models with their vendors' list prices, USD per million tokens (2024), and an ability in logits that only
 * orders them roughly: simulated outcomes claim nothing about the real models. Ordered so that the first few are
 * diverse. */
static const struct known {
    const char *name;
    double input, output, ability, limit, ms_per_token;
} known[] = {
    {"gpt-4o", 2.5, 10, 1.9, 128000, 12},           {"gpt-4o-mini", 0.15, 0.6, 1.2, 128000, 10},
    {"claude-3-5-sonnet", 3, 15, 2.0, 200000, 15},  {"llama-3.1-8b", 0.2, 0.2, 0.1, 131072, 7},
    {"gemini-1.5-pro", 1.25, 5, 1.7, 2000000, 17},  {"mixtral-8x7b", 0.6, 0.6, 0.2, 32768, 11},
    {"llama-3.1-70b", 0.9, 0.9, 1.3, 131072, 16},   {"deepseek-chat", 0.14, 0.28, 1.6, 64000, 20},
    {"claude-3-haiku", 0.25, 1.25, 0.8, 200000, 9}, {"gemini-1.5-flash", 0.075, 0.3, 1.0, 1000000, 6},
    {"mistral-large", 2, 6, 1.6, 128000, 22},       {"llama-3.1-405b", 3.5, 3.5, 1.8, 131072, 35},
};
enum { N_KNOWN = sizeof known / sizeof known[0] };

static double normal(uint64_t seed, uint64_t stream, uint64_t i) {
    return weirp_random_normal(seed, stream, i);
}

/* Name, prices and ability of model m; beyond the known ones they are made up: able models tend to be dear. */
static weir_status set_price(weirp_sim_model *model, size_t m, uint64_t world, double *ability, weir_error *err) {
    char name[48];
    weir_model *p = &model->price;
    *p = weir_model_defaults();
    if (m < N_KNOWN) {
        snprintf(name, sizeof name, "%s", known[m].name);
        p->input_usd_per_mtok = known[m].input;
        p->output_usd_per_mtok = known[m].output;
        p->max_input_tokens = known[m].limit;
        model->ms_per_token = known[m].ms_per_token;
        *ability = known[m].ability + ability_sd * normal(world, ABILITY, m);
    } else {
        double a = normal(world, INVENTED_ABILITY, m);
        *ability = 1.1 + 0.8 * a;
        double price = exp(log(0.5) + 0.9 * a + 0.8 * normal(world, INVENTED_PRICE, 2 * m));
        double ratio = exp(fabs(normal(world, INVENTED_PRICE, 2 * m + 1)));
        snprintf(name, sizeof name, "model-%03zu", m + 1);
        p->input_usd_per_mtok = round(price * 1000) / 1000;
        p->output_usd_per_mtok = round(price * ratio * 1000) / 1000;
        p->max_input_tokens = 131072;
        model->ms_per_token = 15 * exp(0.5 * normal(world, SPEED, 2 * m));
    }
    p->name = weirp_strndup(name, strlen(name));
    return p->name ? WEIR_OK : weirp_nomem(err);
}

/* The tables over kind and level. */
static void set_skills(weirp_sim_model *model, size_t m, uint64_t world, double ability) {
    double verbose = 0.25 * normal(world, VERBOSE, m);
    for (size_t k = 0; k < weirp_sim_n_kinds; k++) {
        const weirp_sim_kind *kind = &weirp_sim_kinds[k];
        double bent = bent_sd * normal(world, BENT, m * weirp_sim_n_kinds + k);
        double middle = kind->difficulty + 0.4 * normal(world, DIFFICULTY, k);
        double wordy =
            log(kind->output_tokens) + verbose + 0.3 * normal(world, VERBOSE_KIND, m * weirp_sim_n_kinds + k);
        for (size_t l = 0; l < WEIRP_SIM_LEVELS; l++) {
            size_t at = k * WEIRP_SIM_LEVELS + l;
            double hardness = (double)l / (WEIRP_SIM_LEVELS - 1) - 0.5;
            double logit = ability + bent - middle - kind->spread * hardness;
            double p = kind->floor + (1 - kind->floor) / (1 + exp(-logit));
            p = fmin(fmax(p, 0.002), 0.998);
            model->quality[at] = p;
            model->threshold[at] = gsl_cdf_ugaussian_Pinv(p);
            model->log_tokens[at] = wordy + 0.5 * hardness;
        }
    }
}

double weirp_sim_expected_tokens(const weirp_sim_model *model, size_t kind, size_t level) {
    double mu = model->log_tokens[kind * WEIRP_SIM_LEVELS + level];
    return 1 + exp(mu + weirp_sim_token_sd * weirp_sim_token_sd / 2);
}

/* What to expect of a prompt whose kind can't be read from it: the mean over kinds and levels. */
static void set_vague(const weirp_sim_world *world, weirp_sim_model *model) {
    for (size_t k = 0; k < weirp_sim_n_kinds; k++)
        for (size_t l = 0; l < WEIRP_SIM_LEVELS; l++) {
            double share = world->kind_share[k] / WEIRP_SIM_LEVELS;
            model->vague_quality += share * model->quality[k * WEIRP_SIM_LEVELS + l];
            model->vague_tokens += share * weirp_sim_expected_tokens(model, k, l);
        }
}

static weir_status set_model(weirp_sim_world *world, size_t m, uint64_t seed, weir_error *err) {
    weirp_sim_model *model = &world->models[m];
    size_t cells = weirp_sim_n_kinds * WEIRP_SIM_LEVELS;
    double ability;
    model->quality = weirp_array(cells, sizeof(double));
    model->threshold = weirp_array(cells, sizeof(double));
    model->log_tokens = weirp_array(cells, sizeof(double));
    if (!model->quality || !model->threshold || !model->log_tokens) return weirp_nomem(err);
    weir_status st = set_price(model, m, seed, &ability, err);
    if (st) return st;
    model->token_factor = exp(0.1 * normal(seed, TOKENS, m));
    model->overhead_tokens = (double)(weirp_random_u64(seed, TOKENS, 1000000 + m) % 16);
    model->first_ms = 250 * exp(0.5 * normal(seed, SPEED, 2 * m + 1));
    set_skills(model, m, seed, ability);
    set_vague(world, model);
    return WEIR_OK;
}

weir_status weirp_sim_world_new(weirp_sim_world **out, size_t n_models, uint64_t world_seed, weir_error *err) {
    *out = NULL;
    weir_status st = WEIR_OK;
    weirp_sim_world *world = calloc(1, sizeof *world);
    if (world) world->models = weirp_array(n_models, sizeof *world->models);
    if (world) world->kind_share = weirp_array(weirp_sim_n_kinds, sizeof(double));
    if (!world || !world->models || !world->kind_share) {
        st = weirp_nomem(err);
        goto done;
    }
    world->n_models = n_models;
    double total = 0;
    for (size_t k = 0; k < weirp_sim_n_kinds; k++)
        total += world->kind_share[k] = 0.3 + weirp_random_uniform(world_seed, SHARE, k);
    for (size_t k = 0; k < weirp_sim_n_kinds; k++) world->kind_share[k] /= total;
    for (size_t m = 0; m < n_models; m++) WEIRP_TRY(set_model(world, m, world_seed, err));
    world->second = 1;
    for (size_t m = 1; m < n_models; m++) {
        double q = world->models[m].vague_quality;
        if (q > world->models[world->best].vague_quality) {
            world->second = world->best;
            world->best = m;
        } else if (m > 1 && q > world->models[world->second].vague_quality) {
            world->second = m;
        }
    }
    *out = world;
    world = NULL;
done:
    weirp_sim_world_free(world);
    return st;
}

void weirp_sim_world_free(weirp_sim_world *world) {
    if (!world) return;
    for (size_t m = 0; world->models && m < world->n_models; m++) {
        free(world->models[m].price.name);
        free(world->models[m].quality);
        free(world->models[m].threshold);
        free(world->models[m].log_tokens);
    }
    free(world->models);
    free(world->kind_share);
    free(world);
}

const weirp_sim_model *weirp_sim_skills(const weirp_sim_world *world, size_t model, bool drifted) {
    if (drifted && model == world->best)
        model = world->second;
    else if (drifted && model == world->second)
        model = world->best;
    return &world->models[model];
}
