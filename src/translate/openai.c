/* openai.c: requests to vendors that speak OpenAI's API: OpenAI, Azure, Mistral, Groq, Together, OpenRouter, DeepSeek,
 * vLLM, llama.cpp, Ollama. The client's bytes stay; what must change is cut and pasted.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/words.h"
#include "src/translate/openai.h"

enum { MAX_CHANGES = 5 };

/* Changes to a request's members, with the JSON text that they become. */
typedef struct changes {
    weirp_edit edit[MAX_CHANGES];
    size_t n;
    weirp_writer model, options;
    char limit[2][32];
} changes;

static void change(changes *c, const char *key, const char *value) {
    c->edit[c->n++] = (weirp_edit){key, value};
}

/* The request that is being changed: as it came, or as it was made from another API's. */
static const json_t *source(const weirp_request *r) {
    return r->chat ? r->chat : r->json;
}

static weir_status change_stream_options(changes *c, const weirp_request *r, const weirp_target *target) {
    const json_t *options = json_object_get(source(r), "stream_options");
    if (target->no_stream_options) {
        if (options) change(c, "stream_options", NULL);
        return WEIR_OK;
    }
    if (!r->stream || json_is_true(json_object_get(options, "include_usage"))) return WEIR_OK;
    if (!json_object_size(options)) {
        change(c, "stream_options", "{\"include_usage\":true}");
        return WEIR_OK;
    }
    weirp_writer text = {0};
    weirp_edit asks = {"include_usage", "true"};
    weir_status st = weirp_put_json(&text, options) ? WEIR_OK : WEIR_NOMEM;
    if (!st) st = weirp_json_edit((const char *)text.data, text.size, &asks, 1, &c->options);
    weirp_put(&c->options, "", 1);
    weirp_writer_free(&text);
    if (!st) change(c, "stream_options", (const char *)c->options.data);
    return c->options.failed ? WEIR_NOMEM : st;
}

/* The name under which the vendor is told the limit: the client's own, unless it only knows the newer one (OpenAI's
 * reasoning models refuse max_tokens). */
static void change_limits(changes *c, const weirp_request *r, const weirp_target *target) {
    static const char *const names[] = {"max_tokens", "max_completion_tokens"};
    bool only_newer = target->max_completion_tokens && (r->chat || r->api == WEIRP_API_CHAT), any = false;
    double most = target->max_output_tokens, asked = r->max_output_tokens;
    bool lower = !isnan(most) && (isnan(asked) || asked > most);
    double limit = lower ? most : asked;
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(source(r), names[i]);
        if (!value || json_is_null(value)) continue;
        if (i == 0 && only_newer) {
            change(c, names[i], NULL);
            continue;
        }
        any = true;
        if (isnan(most) || json_number_value(value) <= most) continue;
        snprintf(c->limit[i], sizeof c->limit[i], "%.0f", floor(most));
        change(c, names[i], c->limit[i]);
    }
    if (any || isnan(limit)) return;
    snprintf(c->limit[only_newer], sizeof c->limit[only_newer], "%.0f", floor(limit));
    change(c, names[only_newer], c->limit[only_newer]);
}

static weir_status put_changed(changes *c, const weirp_request *r, const weirp_target *target, weirp_writer *body) {
    weir_status st = WEIR_OK;
    if (r->api != WEIRP_API_EMBEDDINGS) {
        st = change_stream_options(c, r, target);
        if (st) return st;
        change_limits(c, r, target);
    }
    weirp_put_json_text(&c->model, target->model, strlen(target->model));
    weirp_put(&c->model, "", 1);
    if (c->model.failed) return WEIR_NOMEM;
    change(c, "model", (const char *)c->model.data);
    if (!r->chat || r->api == WEIRP_API_CHAT) return weirp_json_edit(r->text, r->len, c->edit, c->n, body);
    weirp_writer text = {0};
    st = weirp_put_json(&text, r->chat) ? WEIR_OK : WEIR_NOMEM;
    if (!st) st = weirp_json_edit((const char *)text.data, text.size, c->edit, c->n, body);
    weirp_writer_free(&text);
    return st;
}

static weir_status write_request(const weirp_request *r, const weirp_target *target, weirp_writer *body, char *path,
                                 size_t path_size, weirp_fault *fault) {
    (void)fault;
    bool legacy = r->api == WEIRP_API_COMPLETIONS && target->legacy_completions;
    const char *to = r->api == WEIRP_API_EMBEDDINGS ? "/embeddings" : legacy ? "/completions" : "/chat/completions";
    weirp_copy_text(path, path_size, to);
    weirp_request asked = *r;
    if (legacy) asked.chat = NULL; /* made for another vendor */
    changes c = {0};
    weir_status st = put_changed(&c, &asked, target, body);
    weirp_writer_free(&c.model);
    weirp_writer_free(&c.options);
    return st;
}

const weirp_protocol_ops weirp_openai_ops = {.write = write_request,
                                             .open = weirp_openai_open,
                                             .event = weirp_openai_event,
                                             .body = weirp_openai_body,
                                             .fault = weirp_openai_fault};
