/* control.c: what tests ask of the vendor itself. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/talk.h"

static void answer(weirp_call *call, int status, const weirp_writer *body) {
    weirp_field type = {"Content-Type", "application/json"};
    if (body->failed)
        weirp_call_abort(call);
    else
        weirp_call_answer(call, status, &type, 1, (const char *)body->data, body->size);
}

static int on_stats(vend_worker *w, weirp_call *call, weirp_writer *out) {
    vend_scenario *scenario = vend_vendor_scenario(w->vendor);
    (void)call;
    vend_stats_write(w->vendor->stats, scenario, vend_books_nano(w->vendor->books), out);
    vend_scenario_unref(scenario);
    return 200;
}

static int on_last(vend_worker *w, weirp_call *call, weirp_writer *out) {
    const char *model = weirp_call_query(call, "model");
    if (vend_stats_last(w->vendor->stats, model, out)) return 200;
    out->size = 0;
    vend_put_member(out, "{\"error\":\"nothing was asked of this model\",\"model\":", model);
    vend_put(out, "}\n");
    return 404;
}

static int on_books(vend_worker *w, weirp_call *call, weirp_writer *out) {
    const char *last = weirp_call_query(call, "last"), *request_id = weirp_call_query(call, "request_id");
    size_t n = last ? (size_t)strtoul(last, NULL, 10) : request_id ? SIZE_MAX : 0;
    vend_books_write(w->vendor->books, n, request_id, out);
    return 200;
}

static int on_reset(vend_worker *w, weirp_call *call, weirp_writer *out) {
    vend_scenario *scenario = vend_vendor_scenario(w->vendor);
    (void)call;
    vend_stats_reset(w->vendor->stats);
    vend_books_reset(w->vendor->books);
    vend_scenario_reset(scenario);
    vend_scenario_unref(scenario);
    vend_put(out, "{}\n");
    return 200;
}

static int on_scenario(vend_worker *w, weirp_call *call, weirp_writer *out) {
    weir_error err = {0};
    vend_scenario *scenario;
    size_t len;
    const char *text = weirp_call_body(call, &len);
    if (vend_scenario_parse(&scenario, "scenario", len ? text : NULL, len, &err)) {
        vend_put_member(out, "{\"error\":", err.text);
        vend_put(out, "}\n");
        return 400;
    }
    vend_put_format(out, "{\"rules\":%zu}\n", scenario->file.rules.n);
    vend_vendor_set_scenario(w->vendor, scenario);
    return 200;
}

static int on_models(vend_worker *w, weirp_call *call, weirp_writer *out) {
    vend_scenario *scenario = vend_vendor_scenario(w->vendor);
    vend_models_write(out, scenario, w->vendor->outcomes, weirp_call_header(call, "anthropic-version") != NULL);
    vend_scenario_unref(scenario);
    return 200;
}

static int on_health(vend_worker *w, weirp_call *call, weirp_writer *out) {
    (void)w;
    (void)call;
    vend_put(out, "{}\n");
    return 200;
}

bool vend_control(vend_worker *w, weirp_call *call) {
    static const struct {
        const char *method, *path;
        int (*fn)(vend_worker *w, weirp_call *call, weirp_writer *out);
    } table[] = {{"GET", "/stats", on_stats},    {"GET", "/last", on_last},          {"POST", "/reset", on_reset},
                 {"GET", "/healthz", on_health}, {"POST", "/scenario", on_scenario}, {"GET", "/v1/models", on_models},
                 {"GET", "/books", on_books}};
    const char *path = weirp_call_path(call), *method = weirp_call_method(call);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(path, table[i].path) || strcmp(method, table[i].method)) continue;
        weirp_writer out = {0};
        int status = table[i].fn(w, call, &out);
        answer(call, status, &out);
        weirp_writer_free(&out);
        return true;
    }
    return false;
}
