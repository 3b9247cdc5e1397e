/* evaluate.c: asks a router for estimates of every prompt, and judges them. The only file here that knows routers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"

/* The models that both the router and the data know, in the data's order. */
typedef struct overlap {
    size_t n;
    size_t *in_data, *in_router; /* (n) indices */
    char *notes[2];              /* what is left out; NULL: nothing */
} overlap;

static void overlap_free(overlap *o) {
    free(o->in_data), free(o->in_router), free(o->notes[0]), free(o->notes[1]);
}

/* "what: a, b, c and 4 more", new; NULL: out of memory. */
static char *list(const char *what, const char *const *names, size_t n) {
    enum { SHOWN = 5 };
    size_t length = strlen(what) + 64;
    for (size_t i = 0; i < n && i < SHOWN; i++) length += strlen(names[i]) + 2;
    char *text = malloc(length);
    if (!text) return NULL;
    char *at = text + sprintf(text, "%s: ", what);
    for (size_t i = 0; i < n && i < SHOWN; i++) at += sprintf(at, "%s%s", i ? ", " : "", names[i]);
    if (n > SHOWN) at += sprintf(at, " and %zu more", n - SHOWN);
    memcpy(at, ".", 2);
    return text;
}

static weir_status find_overlap(overlap *o, const weir_router *router, const weir_dataset *data, weir_error *err) {
    const size_t m = data->n_models, r = weir_router_n_models(router);
    weir_status st = WEIR_OK;
    const char **strangers = weirp_array(m + r, sizeof *strangers);
    bool *seen = weirp_array(r, sizeof *seen);
    size_t n_strangers = 0;
    o->in_data = weirp_array(m, sizeof *o->in_data);
    o->in_router = weirp_array(m, sizeof *o->in_router);
    if (!strangers || !seen || !o->in_data || !o->in_router) WEIRP_TRY(weirp_nomem(err));
    for (size_t k = 0; k < m; k++) {
        const size_t at = weir_router_find_model(router, data->model_names[k]);
        if (at == (size_t)-1) {
            strangers[n_strangers++] = data->model_names[k];
            continue;
        }
        seen[at] = true;
        o->in_data[o->n] = k;
        o->in_router[o->n++] = at;
    }
    if (o->n == 0)
        WEIRP_TRY(weirp_fail(err, WEIR_NODATA, 0,
                             "the data has no outcome of any model in the store; the store's first is \"%s\"",
                             r ? weir_router_model(router, 0) : ""));
    if (n_strangers > 0 && !(o->notes[0] = list("Not in the store, left out", strangers, n_strangers)))
        WEIRP_TRY(weirp_nomem(err));
    n_strangers = 0;
    for (size_t k = 0; k < r; k++)
        if (!seen[k]) strangers[n_strangers++] = weir_router_model(router, k);
    if (n_strangers > 0 && !(o->notes[1] = list("In the store but not in the data, left out", strangers, n_strangers)))
        WEIRP_TRY(weirp_nomem(err));
done:
    free(strangers);
    free(seen);
    return st;
}

static double cell(const double *table, size_t at) {
    return table ? table[at] : NAN;
}

/* One prompt's outcomes and estimates into row `i`. */
static void take_row(weirp_tables *t, size_t i, const overlap *o, const weir_dataset *data, const weir_estimates *s) {
    for (size_t k = 0; k < o->n; k++) {
        const size_t to = i * o->n + k, from = i * data->n_models + o->in_data[k], r = o->in_router[k];
        t->quality[to] = cell(data->quality, from);
        t->cost_usd[to] = cell(data->cost_usd, from);
        t->latency_ms[to] = cell(data->latency_ms, from);
        t->q_hat[to] = s->quality[r], t->q_sd[to] = s->quality_sd[r];
        t->q_lo[to] = s->quality_lo[r], t->q_hi[to] = s->quality_hi[r];
        t->c_hat[to] = s->cost_usd[r], t->c_sd[to] = s->cost_sd[r];
        t->c_lo[to] = s->cost_lo[r], t->c_hi[to] = s->cost_hi[r];
        t->eligible[to] = s->eligible[r];
    }
    t->novelty[i] = s->novelty;
    t->fitted[i] = s->fitted;
    t->coverage = s->coverage;
}

static weir_status ask_router(weirp_tables *t, const overlap *o, const weir_router *router, const weir_dataset *data,
                              const weir_evaluate_options *options, weir_error *err) {
    weir_status st = WEIR_OK;
    weir_session *session = NULL;
    for (size_t k = 0; k < o->n; k++) WEIRP_TRY(weirp_tables_name(&t->names[k], data->model_names[o->in_data[k]], err));
    WEIRP_TRY(weir_session_new(&session, router, err));
    for (size_t i = 0; i < data->n_prompts; i++) {
        const weir_estimates *estimates;
        if (i % 64 == 0) WEIRP_TRY(weirp_progress(options, "estimates", i, data->n_prompts, err));
        WEIRP_TRY(weir_estimate(session, data->prompts[i], data->prompt_lens[i], &estimates, err));
        WEIRP_TRY(weirp_tables_name(&t->tasks[i], data->tasks[i], err));
        take_row(t, i, o, data, estimates);
    }
done:
    weir_session_free(session);
    return st;
}

weir_status weir_evaluate(weir_evaluation **out, const weir_router *router, const weir_dataset *data,
                          const weir_evaluate_options *options, weir_error *err) {
    static const weir_evaluate_options defaults;
    if (!options) options = &defaults;
    weir_status st = WEIR_OK;
    overlap o = {0};
    weirp_tables *t = NULL;
    weir_evaluation *e = NULL;
    *out = NULL;
    WEIRP_TRY(find_overlap(&o, router, data, err));
    WEIRP_TRY(weirp_tables_new(&t, data->n_prompts, o.n, err));
    WEIRP_TRY(ask_router(t, &o, router, data, options, err));
    st = weirp_evaluation_from_tables(&e, t, options, err);
    t = NULL; /* stolen */
    if (st != WEIR_OK) goto done;
    for (size_t i = 0; i < 2; i++)
        if (o.notes[i]) WEIRP_TRY(weirp_note(e, err, "%s", o.notes[i]));
    *out = e;
    e = NULL;
done:
    overlap_free(&o);
    weirp_tables_free(t);
    weir_evaluation_free(e);
    return st;
}
