/* anthropic.c: OpenAI chat requests as requests of Anthropic's Messages API (version 2023-06-01,
 * https://platform.claude.com/docs/en/api/messages).
 *
 * What has no counterpart there, and what becomes of it:
 *
 *     n above 1, logprobs, audio in or out,    WEIR_INVALID: the answer couldn't be what the client asked for, and
 *     functions, custom tools, web search,     another vendor may be able to
 *     images and files that aren't inline
 *     or at an http(s) address
 *     seed, penalties, logit_bias, store,      left out: they don't change what kind of answer comes. Anthropic's own
 *     prediction, service_tier, verbosity,     OpenAI endpoint leaves them out too
 *     metadata, reasoning_effort
 *     temperature above 1                      1
 *     temperature and top_p                    temperature alone (newer models refuse both together), unless it is at
 *                                              its default, 1
 *     response_format json_schema, strict      output_config.format; models before 4.5 refuse it
 *     the same, not strict, and json_object    an instruction at the end of the system prompt: a promise, no guarantee
 *     arguments that aren't a JSON object      {"INVALID_JSON": "their text"}, as Anthropic advises for tool inputs
 *     system messages in mid-conversation      moved to the system prompt
 *     a conversation of system messages alone  they become the user's message: there must be one
 *     blank texts                              left out: they are refused there
 *
 * reasoning_effort is no thinking budget: thinking blocks must come back signed in the next request, and OpenAI's
 * clients have no place to keep them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/translate/anthropic_make.h"

enum { MAX_USER_ID = 256 };

#define JSON_INSTRUCTION                                                                                               \
    "Answer with one valid JSON object and nothing else: no text before or after it, no code fences."

static weir_status add_tools(weirp_maker *m, json_t *out, const json_t *tools) {
    json_t *list = json_array();
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *function = json_object_get(tool, "function");
        json_t *name = json_object_get(function, "name"), *description = json_object_get(function, "description");
        json_t *schema = json_object_get(function, "parameters"), *cache = json_object_get(tool, "cache_control");
        snprintf(m->at, sizeof m->at, "tools[%zu]", i);
        if (!is(json_object_get(tool, "type"), "function") || !json_is_string(name)) {
            st = weirp_make_refuse(m, ".type", "This model takes tools that are functions with a name.");
            break;
        }
        json_t *entry = json_object();
        set(m, entry, "name", share(name));
        if (json_is_string(description)) set(m, entry, "description", share(description));
        json_t *input = json_is_object(schema) ? json_copy(schema) : json_object(); /* its own top level */
        if (!json_object_get(input, "type")) set(m, input, "type", json_string("object"));
        set(m, entry, "input_schema", input);
        if (json_is_true(json_object_get(function, "strict"))) set(m, entry, "strict", json_true());
        if (json_is_object(cache)) set(m, entry, "cache_control", share(cache));
        append(m, list, entry);
    }
    if (st == WEIR_OK && json_array_size(list))
        set(m, out, "tools", list);
    else
        json_decref(list);
    return st;
}

/* Only after add_tools: without tools there is nothing to choose. */
static weir_status add_tool_choice(weirp_maker *m, json_t *out, const json_t *chat) {
    const json_t *choice = json_object_get(chat, "tool_choice");
    const bool one = json_is_false(json_object_get(chat, "parallel_tool_calls"));
    json_t *name = json_object_get(json_object_get(choice, "function"), "name"), *chosen = NULL;
    if (!json_object_get(out, "tools")) return WEIR_OK;
    snprintf(m->at, sizeof m->at, "tool_choice");
    if (!choice || json_is_null(choice))
        chosen = one ? typed(m, "auto") : NULL;
    else if (is(choice, "auto") || is(choice, "none"))
        chosen = typed(m, json_string_value(choice));
    else if (is(choice, "required"))
        chosen = typed(m, "any");
    else if (is(json_object_get(choice, "type"), "function") && json_is_string(name))
        set(m, chosen = typed(m, "tool"), "name", share(name));
    else
        return weirp_make_refuse(m, "", "This model takes auto, none, required or a function as tool_choice.");
    if (!chosen) return WEIR_OK;
    if (one && !is(choice, "none")) set(m, chosen, "disable_parallel_tool_use", json_true());
    set(m, out, "tool_choice", chosen);
    return WEIR_OK;
}

static void add_instruction(weirp_maker *m, const json_t *schema) {
    weirp_writer text = {0};
    weirp_putf(&text, "%s", JSON_INSTRUCTION);
    if (schema) {
        weirp_putf(&text, " It must match this JSON schema:\n");
        if (!weirp_put_json(&text, schema)) m->nomem = true;
    }
    json_t *string = text.failed ? NULL : json_stringn((char *)text.data, text.size);
    if (string)
        weirp_make_text(m, m->system, string, NULL);
    else
        m->nomem = true;
    json_decref(string);
    weirp_writer_free(&text);
}

static weir_status add_format(weirp_maker *m, json_t *out, const json_t *format) {
    const json_t *type = json_object_get(format, "type"), *wanted = json_object_get(format, "json_schema");
    json_t *schema = json_object_get(wanted, "schema");
    snprintf(m->at, sizeof m->at, "response_format");
    if (!format || json_is_null(format) || is(type, "text")) return WEIR_OK;
    if (is(type, "json_object")) {
        add_instruction(m, NULL);
    } else if (!is(type, "json_schema")) {
        return weirp_make_refuse(m, ".type", "This model takes text, json_object and json_schema.");
    } else if (json_is_object(schema) && json_is_true(json_object_get(wanted, "strict"))) {
        json_t *config = json_object(), *made = typed(m, "json_schema");
        set(m, made, "schema", share(schema));
        set(m, config, "format", made);
        set(m, out, "output_config", config);
    } else {
        add_instruction(m, json_is_object(schema) ? schema : NULL);
    }
    return WEIR_OK;
}

static void add_sampling(weirp_maker *m, json_t *out, const json_t *chat) {
    json_t *temperature = json_object_get(chat, "temperature"), *top_p = json_object_get(chat, "top_p");
    const double t = json_is_number(temperature) ? json_number_value(temperature) : NAN;
    const bool nucleus = json_is_number(top_p) && json_number_value(top_p) < 1;
    if (nucleus && (isnan(t) || t == 1))
        set(m, out, "top_p", share(top_p));
    else if (t > 1)
        set(m, out, "temperature", json_integer(1));
    else if (!isnan(t))
        set(m, out, "temperature", t < 0 ? json_integer(0) : share(temperature));
}

static void add_stop(weirp_maker *m, json_t *out, json_t *stop) {
    json_t *list = json_array();
    if (json_is_string(stop) && !blank(stop)) append(m, list, share(stop));
    for (size_t i = 0; i < json_array_size(stop); i++) {
        json_t *entry = json_array_get(stop, i);
        if (json_is_string(entry) && !blank(entry)) append(m, list, share(entry)); /* blank ones are refused */
    }
    if (json_array_size(list))
        set(m, out, "stop_sequences", list);
    else
        json_decref(list);
}

static double max_tokens(const weirp_request *r, const weirp_target *target) {
    double n = r->max_output_tokens;
    if (!(n >= 1))
        n = target->default_max_output_tokens > 0 ? target->default_max_output_tokens : WEIRP_DEFAULT_MAX_TOKENS;
    if (n > target->max_output_tokens) n = target->max_output_tokens; /* NAN: no limit */
    if (!(n >= 1)) n = 1;
    return n > 1e9 ? 1e9 : floor(n);
}

static bool asked(const json_t *json) {
    return json && !json_is_null(json) && !json_is_false(json) && !(json_is_array(json) && !json_array_size(json));
}

static weir_status check(weirp_maker *m, const weirp_request *r) {
    static const struct {
        const char *key, *why;
    } refused[] = {
        {"logprobs", "This model gives no log probabilities."},
        {"audio", "This model gives no audio."},
        {"functions", "This model takes tools instead of functions."},
        {"web_search_options", "This model searches no web through this API."},
    };
    const json_t *modalities = json_object_get(r->chat, "modalities");
    if (r->n_choices > 1) return weirp_make_refuse(m, "n", "This model gives one answer a request.");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (asked(json_object_get(r->chat, refused[i].key)))
            return weirp_make_refuse(m, refused[i].key, refused[i].why);
    for (size_t i = 0; i < json_array_size(modalities); i++)
        if (!is(json_array_get(modalities, i), "text"))
            return weirp_make_refuse(m, "modalities", "This model gives text only.");
    return WEIR_OK;
}

static weir_status build(weirp_maker *m, json_t *out, const weirp_request *r, const weirp_target *target) {
    const json_t *chat = r->chat;
    weir_status st;
    if (!m->system || !m->messages || !out) return WEIR_NOMEM;
    WEIRP_TRY(check(m, r));
    set(m, out, "model", json_string(target->model));
    set(m, out, "max_tokens", json_integer((json_int_t)max_tokens(r, target)));
    WEIRP_TRY(weirp_make_messages(m, json_object_get(chat, "messages")));
    WEIRP_TRY(add_format(m, out, json_object_get(chat, "response_format")));
    if (json_array_size(m->system)) {
        json_t *text = weirp_make_sole_text(m->system);
        set(m, out, "system", share(text ? text : m->system));
    }
    set(m, out, "messages", share(m->messages));
    WEIRP_TRY(add_tools(m, out, json_object_get(chat, "tools")));
    WEIRP_TRY(add_tool_choice(m, out, chat));
    add_sampling(m, out, chat);
    add_stop(m, out, json_object_get(chat, "stop"));
    if (r->end_user && *r->end_user && strlen(r->end_user) <= MAX_USER_ID) {
        json_t *metadata = json_object();
        set(m, metadata, "user_id", json_string(r->end_user));
        set(m, out, "metadata", metadata);
    }
    if (r->stream) set(m, out, "stream", json_true());
    st = m->nomem ? WEIR_NOMEM : WEIR_OK;
done:
    return m->nomem ? WEIR_NOMEM : st;
}

/* Requests of this API's own clients: their bytes, with another model, no more tokens than it gives, and without
 * thinking that it would refuse. */
static weir_status pass_through(const weirp_request *r, const weirp_target *target, weirp_writer *body) {
    weirp_writer model = {0}, messages = {0};
    char most[32];
    weirp_edit edits[3];
    size_t n = 0;
    weirp_put_json_text(&model, target->model, strlen(target->model));
    weirp_put(&model, "", 1); /* ends it */
    edits[n++] = (weirp_edit){"model", (const char *)model.data};
    if (r->max_output_tokens > target->max_output_tokens) { /* false for NAN: no limit */
        snprintf(most, sizeof most, "%.0f", floor(target->max_output_tokens));
        edits[n++] = (weirp_edit){"max_tokens", most};
    }
    if (weirp_messages_unsigned(r, &messages)) {
        weirp_put(&messages, "", 1);
        edits[n++] = (weirp_edit){"messages", (const char *)messages.data};
    }
    weir_status st = model.failed || messages.failed ? WEIR_NOMEM : weirp_json_edit(r->text, r->len, edits, n, body);
    weirp_writer_free(&model);
    weirp_writer_free(&messages);
    return st;
}

static weir_status translate(const weirp_request *r, const weirp_target *target, weirp_writer *body,
                             weirp_fault *fault) {
    weirp_maker m = {.system = json_array(), .messages = json_array(), .fault = fault};
    json_t *out = json_object();
    weir_status st = build(&m, out, r, target);
    if (st == WEIR_OK && !weirp_put_json(body, out)) st = WEIR_NOMEM;
    json_decref(out);
    json_decref(m.messages);
    json_decref(m.system);
    return st;
}

static weir_status write_request(const weirp_request *r, const weirp_target *target, weirp_writer *body, char *path,
                                 size_t path_size, weirp_fault *fault) {
    body->size = 0;
    snprintf(path, path_size, "/messages");
    return r->api == WEIRP_API_MESSAGES ? pass_through(r, target, body) : translate(r, target, body, fault);
}

const weirp_protocol_ops weirp_anthropic_ops = {
    .write = write_request,
    .open = weirp_anthropic_open,
    .event = weirp_anthropic_event,
    .facts = weirp_anthropic_facts,
    .body = weirp_anthropic_body,
    .fault = weirp_anthropic_fault,
};
