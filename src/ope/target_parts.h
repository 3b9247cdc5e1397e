/* target_parts.h: what the files of a target share; nobody else includes it. SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef WEIRP_OPE_TARGET_PARTS_H
#define WEIRP_OPE_TARGET_PARTS_H

#include "src/ope/target.h"
#include "src/router/session.h"

typedef enum weirp_target_kind {
    WEIRP_TARGET_LOGGED,
    WEIRP_TARGET_COLUMN,
    WEIRP_TARGET_TABLE,
    WEIRP_TARGET_POLICY,
} weirp_target_kind;

/* What a spec says. */
typedef struct weirp_target_spec {
    weirp_target_kind kind;
    char *name, *file, *rollout;
    weir_policy_options options; /* its `policy` is static */
    double *open;                /* into options: the knob that is left open; NULL: none */
    const char *open_key;        /* its name; static */
    unsigned policy_bit;         /* whose keys it has */
    bool turned;                 /* the open knob has been set */
    bool said_fallback;          /* fallback= was given */
} weirp_target_spec;

/* *spec holds new memory; free it with weirp_target_spec_clear, also after a failure. `open` points into it: don't move
 * it. */
weir_status weirp_target_spec_parse(weirp_target_spec *spec, const char *text, const weirp_ope_table *table,
                                    weir_error *err);
void weirp_target_spec_clear(weirp_target_spec *spec);
/* Keys that may be left open, with commas between; "" for policies without any. */
void weirp_target_spec_knobs(const weirp_target_spec *spec, char *list, size_t size);
/* One knob's number checked as its key is; the error names the key. */
weir_status weirp_target_spec_turn(weirp_target_spec *spec, double knob, weir_error *err);

/* target_column.c: the one rollout whose candidate's chances `column` stands for, as an index of the table's trials.
 * Where they are of several, and the spec names none, or one that has had several configurations: WEIR_INVALID, and the
 * error names them. */
weir_status weirp_target_trial(size_t *trial, const weirp_target_spec *spec, const weirp_ope_table *table,
                               weir_error *err);

/* target_table.c: chances from a file, *out (n_segments, n_models) new. */
weir_status weirp_target_table_read(double **out, const char *path, const weirp_ope_table *table, weir_error *err);

/* target_router.c: a router's estimates of logged features, in the order of the table's models. */
typedef struct weirp_target_router weirp_target_router;
weir_status weirp_target_router_new(weirp_target_router **out, const weir_router *router, const weirp_ope_table *table,
                                    weir_error *err);  /* *out is new; router is borrowed */
void weirp_target_router_free(weirp_target_router *r); /* NULL is fine */
/* Row i of a block; `eligible` is there and becomes false for what the router doesn't know. False: it can't tell. */
bool weirp_target_router_estimate(weirp_target_router *r, const weirp_ope_block *block, size_t i,
                                  weir_estimates *estimates);

#endif
