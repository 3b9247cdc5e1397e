/* sim.h: the simulator's parts: kinds of prompts, the world's models, truth.
 *
 * A prompt has a kind and a level of difficulty, 0 to WEIRP_SIM_LEVELS - 1, both of which show in its text (longer
 * numbers, rarer words, more steps). What a model does with it depends on kind and level alone, and on chance: its
 * expected quality is therefore known exactly, and a router that reads the text can come as near as it likes to the
 * best choice. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SIM_H
#define WEIRP_SIM_H

#include "src/base/base.h"
#include "weir/simulate.h"

enum { WEIRP_SIM_LEVELS = 10 };

/* Patterns hold slots: {list} any entry; {~list} one whose rarity goes with the level (lists run from common to rare);
 * {+list} as many entries as the level asks for, one after the other; {#} a number, longer the higher the level;
 * {$} a number from 2 to 19; {nl} a line break. Entries are patterns too. */
typedef struct weirp_sim_list {
    const char *name;
    const char *const *entries; /* NULL-terminated */
} weirp_sim_list;

typedef struct weirp_sim_kind {
    const char *name;            /* also the outcome file's task */
    double floor;                /* share that pure guessing gets right */
    double difficulty;           /* middle of its levels, in logits of skill */
    double spread;               /* from its easiest to its hardest level, in logits */
    double output_tokens;        /* typical length of an answer */
    const char *const *patterns; /* NULL-terminated */
} weirp_sim_kind;

extern const weirp_sim_list weirp_sim_lists[]; /* the last has a NULL name */
extern const weirp_sim_kind weirp_sim_kinds[];
extern const size_t weirp_sim_n_kinds;
extern const char *const weirp_sim_vague[];   /* patterns that say nothing of the kind */
extern const char *const weirp_sim_padding[]; /* sentences that make a prompt longer */

/* Renders prompt number `i` into `text` (its former content goes), NUL-terminated. */
void weirp_sim_render(weirp_writer *text, const char *const *patterns, size_t level, size_t prompt_bytes, uint64_t seed,
                      size_t i);
/* Tokens of a text, as a typical vendor counts them. */
double weirp_sim_tokens(const char *text, size_t len);

/* Models and what to expect of them. Arrays over (kind, level) are (n_kinds, WEIRP_SIM_LEVELS) row-major. */
typedef struct weirp_sim_model {
    weir_model price;    /* its name is the world's */
    double token_factor; /* input tokens to a typical vendor's */
    double overhead_tokens;
    double first_ms, ms_per_token;
    double *quality;      /* (kind, level) expected */
    double *threshold;    /* (kind, level) the normal quantile of quality */
    double *log_tokens;   /* (kind, level) mean of the logarithm of output tokens less one */
    double vague_quality; /* expected where the text doesn't tell the kind */
    double vague_tokens;
} weirp_sim_model;

typedef struct weirp_sim_world {
    size_t n_models;
    weirp_sim_model *models; /* (n_models) */
    double *kind_share;      /* (n_kinds) sums to 1 */
    size_t best, second;     /* by expected quality over all kinds: who swap skills when the world drifts */
} weirp_sim_world;

weir_status weirp_sim_world_new(weirp_sim_world **out, size_t n_models, uint64_t world_seed, weir_error *err);
void weirp_sim_world_free(weirp_sim_world *world); /* NULL is fine */
/* The skills of `model` at prompt i. */
const weirp_sim_model *weirp_sim_skills(const weirp_sim_world *world, size_t model, bool drifted);
/* Expected output tokens. */
double weirp_sim_expected_tokens(const weirp_sim_model *model, size_t kind, size_t level);

extern const double weirp_sim_token_sd; /* of the logarithm */

#endif
