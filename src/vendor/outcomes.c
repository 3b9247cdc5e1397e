/* outcomes.c: prompts of an outcome file, found by their text. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/names.h"
#include "src/vendor/json.h"
#include "src/vendor/vendor.h"
#include "weir/data.h"

struct vend_outcomes {
    weir_dataset *data;
    weirp_names prompts;
    size_t *row; /* (prompts.n) */
};

weir_status vend_outcomes_load(vend_outcomes **out, const char *path, weir_error *err) {
    weir_status st;
    vend_outcomes *o = weirp_array(1, sizeof *o);
    *out = NULL;
    if (!o) return weirp_nomem(err);
    WEIRP_TRY(weir_dataset_load(&o->data, &path, 1, NULL, err));
    st = WEIR_NOMEM;
    o->row = weirp_array(o->data->n_prompts, sizeof *o->row);
    for (size_t i = 0; o->row && i < o->data->n_prompts; i++) {
        bool added;
        size_t at = weirp_names_add(&o->prompts, o->data->prompts[i], o->data->prompt_lens[i], &added);
        if (at == WEIRP_NO_NAME) goto done;
        if (added) o->row[at] = i; /* a prompt that comes twice: the first one */
    }
    if (o->row) st = WEIR_OK;
done:
    if (st == WEIR_NOMEM) weirp_nomem(err);
    if (st)
        vend_outcomes_free(o);
    else
        *out = o;
    return st;
}

void vend_outcomes_free(vend_outcomes *o) {
    if (!o) return;
    weir_dataset_free(o->data);
    weirp_names_free(&o->prompts);
    free(o->row);
    free(o);
}

size_t vend_outcomes_n_models(const vend_outcomes *o) {
    return o ? o->data->n_models : 0;
}

const char *vend_outcomes_model(const vend_outcomes *o, size_t index) {
    return o->data->model_names[index];
}

vend_known vend_outcomes_find(const vend_outcomes *o, const vend_ask *ask) {
    vend_known known = {NAN, NAN, NAN};
    if (!o || !ask->text.data) return known;
    size_t len, model = 0;
    const char *last = vend_ask_last(ask, &len);
    size_t at = weirp_names_find(&o->prompts, last, len);
    if (at == WEIRP_NO_NAME) at = weirp_names_find(&o->prompts, (const char *)ask->text.data, ask->text.size);
    if (at == WEIRP_NO_NAME) return known;
    while (model < o->data->n_models && strcmp(o->data->model_names[model], ask->model)) model++;
    if (model == o->data->n_models) return known;
    size_t cell = o->row[at] * o->data->n_models + model;
    if (o->data->input_tokens) known.input_tokens = o->data->input_tokens[cell];
    if (o->data->output_tokens) known.output_tokens = o->data->output_tokens[cell];
    if (o->data->latency_ms) known.latency_ms = o->data->latency_ms[cell];
    return known;
}

static void put_model(weirp_writer *w, const char *name, bool anthropic, bool first) {
    if (!first) vend_put(w, ",");
    if (anthropic) {
        vend_put_member(w, "{\"type\":\"model\",\"id\":", name);
        vend_put_member(w, ",\"display_name\":", name);
        vend_put(w, ",\"created_at\":\"2025-01-01T00:00:00Z\"}");
    } else {
        vend_put_member(w, "{\"id\":", name);
        vend_put(w, ",\"object\":\"model\",\"created\":1735689600,\"owned_by\":\"weir-vendor\"}");
    }
}

void vend_models_write(weirp_writer *w, const vend_scenario *scenario, const vend_outcomes *outcomes, bool anthropic) {
    char *const *named = scenario->file.models.items;
    size_t n_named = scenario->file.models.n, n_known = n_named ? 0 : vend_outcomes_n_models(outcomes);
    const char *first = n_named ? named[0] : n_known ? vend_outcomes_model(outcomes, 0) : "simulated";
    const char *last = n_named ? named[n_named - 1] : n_known ? vend_outcomes_model(outcomes, n_known - 1) : first;
    vend_put(w, anthropic ? "{\"data\":[" : "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n_named; i++) put_model(w, named[i], anthropic, !i);
    for (size_t i = 0; i < n_known; i++) put_model(w, vend_outcomes_model(outcomes, i), anthropic, !i);
    if (!n_named && !n_known) put_model(w, "simulated", anthropic, true);
    if (!anthropic) {
        vend_put(w, "]}");
        return;
    }
    vend_put_member(w, "],\"has_more\":false,\"first_id\":", first);
    vend_put_member(w, ",\"last_id\":", last);
    vend_put(w, "}");
}
