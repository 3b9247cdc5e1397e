/* relay.c: OpenAI's streams to clients that speak the same: the hot path of the gateway. Events aren't parsed:
 * members.h finds what routing and billing need, without memory, and the bytes go on as they came.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/translate/members.h"
#include "src/translate/openai.h"

struct weirp_relay {
    bool include_usage; /* the client asked for it */
    bool named;         /* id and model are known */
    bool usage_shown;   /* the client has got what the vendor counted */
    size_t n_choices, n_finished;
    weirp_writer cut; /* an event without its usage, where it has several lines */
};

/* What one event has, at a glance. */
typedef struct glance {
    weirp_member usage;
    bool has_usage, usage_is_first, has_choices, has_choice, has_other_usage, suspicious, odd;
} glance;

weirp_relay *weirp_relay_new(bool include_usage, size_t n_choices) {
    weirp_relay *relay = calloc(1, sizeof *relay);
    if (!relay) return NULL;
    relay->include_usage = include_usage;
    relay->n_choices = n_choices;
    return relay;
}

void weirp_relay_free(weirp_relay *relay) {
    if (!relay) return;
    weirp_writer_free(&relay->cut);
    free(relay);
}

static bool is(const weirp_member *m, const char *key, size_t len) {
    return m->key_len == len && !memcmp(m->key, key, len);
}
#define IS(member, key) is(member, key, sizeof key - 1)

/* ---- looking ---- */

/* A JSON string, quotes and all. Escapes are rare: then Jansson undoes them. */
static bool note_text(weirp_answer_facts *facts, const char *value, size_t len) {
    if (len <= 2 || *value != '"') return false;
    if (!memchr(value, '\\', len)) {
        weirp_facts_text(facts, value + 1, len - 2);
        return true;
    }
    json_t *text = json_loadb(value, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (text)
        weirp_facts_text(facts, json_string_value(text), json_string_length(text));
    else
        weirp_facts_text(facts, value + 1, len - 2);
    json_decref(text);
    return true;
}

static void note_arguments(weirp_answer_facts *facts, const char *function, size_t len) {
    weirp_members members;
    weirp_member m;
    weirp_members_init(&members, function, len);
    while (weirp_members_next(&members, &m))
        if (IS(&m, "arguments")) note_text(facts, m.value, m.value_len);
}

static void note_calls(weirp_answer_facts *facts, const char *calls, size_t len) {
    const char *at = NULL, *call;
    size_t call_len;
    while ((call = weirp_element_next(calls, len, &at, &call_len)) != NULL) {
        facts->has_content = true;
        weirp_members members;
        weirp_member m;
        weirp_members_init(&members, call, call_len);
        while (weirp_members_next(&members, &m))
            if (IS(&m, "function")) note_arguments(facts, m.value, m.value_len);
    }
}

static void note_said(weirp_answer_facts *facts, const weirp_member *said, glance *g) {
    weirp_members members;
    weirp_member m;
    bool thought = false; /* some say it under both names */
    weirp_members_init(&members, said->value, said->value_len);
    while (weirp_members_next(&members, &m)) {
        if (IS(&m, "content") || IS(&m, "refusal")) {
            note_text(facts, m.value, m.value_len);
            g->odd |= *m.value == '['; /* Mistral's parts */
        } else if (IS(&m, "reasoning_content") || IS(&m, "reasoning")) {
            if (!thought) thought = note_text(facts, m.value, m.value_len);
        } else if (IS(&m, "tool_calls")) {
            note_calls(facts, m.value, m.value_len);
        } else if (IS(&m, "function_call") && *m.value == '{') {
            facts->has_content = true;
            note_arguments(facts, m.value, m.value_len);
        } else if (IS(&m, "audio") && *m.value == '{') {
            facts->has_content = g->odd = true;
        }
    }
}

static void note_choice(weirp_relay *relay, weirp_answer_facts *facts, const char *choice, size_t len, glance *g) {
    weirp_members members;
    weirp_member m;
    weirp_members_init(&members, choice, len);
    while (weirp_members_next(&members, &m)) {
        if (IS(&m, "delta")) {
            note_said(facts, &m, g);
        } else if (IS(&m, "text")) {
            note_text(facts, m.value, m.value_len);
        } else if (IS(&m, "finish_reason") && *m.value == '"' && m.value_len > 2) {
            facts->finish = weirp_openai_finish(m.value + 1, m.value_len - 2);
            relay->n_finished++;
        }
    }
}

static void note_choices(weirp_relay *relay, weirp_answer_facts *facts, const weirp_member *choices, glance *g) {
    const char *at = NULL, *choice;
    size_t len;
    g->has_choices = *choices->value == '[';
    while ((choice = weirp_element_next(choices->value, choices->value_len, &at, &len)) != NULL) {
        g->has_choice = true;
        note_choice(relay, facts, choice, len, g);
    }
}

/* Ids and models have no escapes worth undoing. */
static void note_name(char *out, size_t size, const weirp_member *m) {
    if (*out || *m->value != '"') return;
    size_t n = m->value_len - 2;
    if (n >= size) n = size - 1;
    memcpy(out, m->value + 1, n);
    out[n] = '\0';
}

/* False: this isn't an object. */
static bool look(weirp_relay *relay, weirp_answer_facts *facts, const char *data, size_t len, glance *g) {
    weirp_members members;
    weirp_member m;
    weirp_members_init(&members, data, len);
    for (bool first = true; weirp_members_next(&members, &m); first = false) {
        if (IS(&m, "choices")) {
            note_choices(relay, facts, &m, g);
        } else if (IS(&m, "usage")) {
            g->usage = m;
            g->has_usage = true;
            g->usage_is_first = first;
        } else if (IS(&m, "error")) {
            g->suspicious |= *m.value == '{' || *m.value == '"';
        } else if (IS(&m, "x_groq") || IS(&m, "timings")) {
            g->has_other_usage = true;
        } else if (!relay->named && IS(&m, "id")) {
            note_name(facts->id, sizeof facts->id, &m);
        } else if (!relay->named && IS(&m, "model")) {
            note_name(facts->model, sizeof facts->model, &m);
        }
    }
    relay->named = *facts->id && *facts->model;
    g->suspicious |= !g->has_choices;
    for (const char *at = weirp_members_end(&members); !members.failed && at < data + len; at++)
        if (!strchr(" \r\n\t", *at) || !*at) return false;
    return !members.failed;
}

/* What needs more than a glance: errors, usage in unusual places, content in parts. */
static weir_status look_closer(weirp_answer_facts *facts, const char *data, size_t len, const glance *g,
                               weirp_vendor_fault *fault, weir_error *err) {
    char why[160] = "";
    json_t *json = weirp_json_parse(data, len, why, sizeof why);
    if (!json) return weirp_fail(err, WEIR_PARSE, 0, "the vendor's event isn't JSON: %s", why);
    weir_status st = g->suspicious ? weirp_openai_error(json, fault, err) : WEIR_OK;
    weirp_usage usage;
    if (!st && g->has_other_usage && !facts->usage.known && weirp_openai_usage_of(json, &usage)) facts->usage = usage;
    if (!st && g->odd) st = weirp_openai_note(json, facts, err);
    json_decref(json);
    return st;
}

static void read_usage(weirp_relay *relay, weirp_answer_facts *facts, const glance *g) {
    weirp_usage usage;
    if (!g->has_usage || *g->usage.value != '{') return;
    json_t *json = weirp_json_parse(g->usage.value, g->usage.value_len, NULL, 0);
    if (weirp_openai_usage(json, &usage)) {
        facts->usage = usage;
        relay->usage_shown = relay->include_usage;
    }
    json_decref(json);
}

/* ---- sending on ---- */

/* The event without its usage. */
static void put_cut(weirp_relay *relay, const char *type, size_t type_len, const char *data, size_t len,
                    const glance *g, weirp_writer *out) {
    const char *from = g->usage.begin, *to = g->usage.end;
    if (!g->usage_is_first)
        from--; /* the comma before it */
    else if (*to == ',')
        to++;
    relay->cut.size = 0;
    weirp_put(&relay->cut, data, (size_t)(from - data));
    weirp_put(&relay->cut, to, (size_t)(data + len - to));
    out->failed |= relay->cut.failed;
    weirp_put_event(out, type, type_len, (const char *)relay->cut.data, relay->cut.size);
}

static bool is_blank(const char *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (data[i] != ' ' && data[i] != '\n') return false;
    return true;
}

weir_status weirp_relay_event(weirp_relay *relay, const char *type, size_t type_len, const char *data, size_t len,
                              weirp_answer_facts *facts, weirp_writer *out, weirp_vendor_fault *fault,
                              weir_error *err) {
    if (facts->done || is_blank(data, len)) return WEIR_OK;
    if (weirp_openai_is_done(data, len)) {
        facts->done = true;
        return WEIR_OK;
    }
    glance g = {0};
    if (!look(relay, facts, data, len, &g))
        return weirp_fail(err, WEIR_PARSE, 0, "the vendor's event isn't a JSON object");
    read_usage(relay, facts, &g);
    if (g.suspicious || g.has_other_usage || g.odd) {
        weir_status st = look_closer(facts, data, len, &g, fault, err);
        if (st) return st;
    }
    bool counted = g.has_usage && *g.usage.value == '{';
    if (relay->include_usage || !g.has_usage)
        weirp_put_event(out, type, type_len, data, len);
    else if (g.has_choice || !counted)
        put_cut(relay, type, type_len, data, len, &g, out);
    return out->failed ? weirp_nomem(err) : WEIR_OK;
}

bool weirp_relay_complete(const weirp_relay *relay, const weirp_answer_facts *facts) {
    return facts->done || (relay->n_finished && relay->n_finished >= relay->n_choices);
}

static void put_usage_chunk(const weirp_pen_options *o, bool legacy, const weirp_answer_facts *facts,
                            weirp_writer *out) {
    const char *model = *facts->model ? facts->model : o->model;
    weirp_putf(out, "data: {\"id\":");
    if (*facts->id) {
        weirp_put_json_text(out, facts->id, strlen(facts->id));
    } else {
        char id[128];
        snprintf(id, sizeof id, "%s-%s", legacy ? "cmpl" : "chatcmpl", o->id);
        weirp_put_json_text(out, id, strlen(id));
    }
    weirp_putf(out,
               ",\"object\":\"%s\",\"created\":%lld,\"model\":", legacy ? "text_completion" : "chat.completion.chunk",
               (long long)o->created_s);
    weirp_put_json_text(out, model, strlen(model));
    weirp_putf(out, ",\"choices\":[],\"usage\":");
    weirp_put_usage(out, &facts->usage);
    weirp_putf(out, "}\n\n");
}

void weirp_relay_end(const weirp_relay *relay, const weirp_pen_options *options, bool legacy,
                     const weirp_answer_facts *facts, const char *note, size_t note_len, weirp_writer *out) {
    if (relay->include_usage && !relay->usage_shown) put_usage_chunk(options, legacy, facts, out);
    weirp_put_comment(out, note, note_len);
    weirp_putf(out, "data: [DONE]\n\n");
}
