/* OpenAI's messages as Gemini's contents. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/translate/gemini.h"

/* Neighbours of one kind share a content. Results stay apart from what a user says next, although both have the role
 * "user": Gemini wants the turn after a call to hold just as many results as there were calls. */
typedef enum kind { NOBODY, USER, MODEL, RESULT } kind;

typedef struct speech {
    weirp_gemini_draft *d;
    json_t *contents; /* new */
    json_t *system;   /* new: parts of the system instruction */
    json_t *calls;    /* new: name by tool call id */
    json_t *parts;    /* borrowed: of the content that is being filled */
    kind kind;        /* its kind */
    bool called;      /* it has a call */
} speech;

/* ---- parts ---- */

/* Puts a part (stolen) behind what this kind has said. */
static bool add(speech *s, kind who, json_t *part) {
    if (who == s->kind) return weirp_gemini_append(s->d, s->parts, part);
    json_t *parts = json_array();
    json_t *content = json_pack("{sssO}", "role", who == MODEL ? "model" : "user", "parts", parts);
    json_decref(parts); /* the content holds it */
    if (!weirp_gemini_append(s->d, s->contents, content)) {
        json_decref(part);
        return false;
    }
    s->parts = parts;
    s->kind = who;
    s->called = false;
    return weirp_gemini_append(s->d, parts, part);
}

static json_t *text_part(const json_t *text) {
    return json_pack("{sO}", "text", (json_t *)text);
}

/* Gemini refuses parts without text; they say nothing, and neither does null. */
static bool is_silent(const json_t *text) {
    return !text || json_is_null(text) || (json_is_string(text) && !json_string_length(text));
}

typedef struct media {
    const char *mime, *data; /* data: what a link holds after its comma */
    size_t mime_len;
} media;

/* data:MIME[;..];base64,DATA (RFC 2397) */
static bool read_data_url(const char *url, media *out) {
    if (strncasecmp(url, "data:", 5) != 0) return false;
    const char *comma = strchr(url, ',');
    if (!comma || comma - url < 12 || strncasecmp(comma - 7, ";base64", 7) != 0) return false;
    out->mime = url + 5;
    out->mime_len = strcspn(out->mime, ";,");
    out->data = comma + 1;
    return out->mime_len > 0;
}

static json_t *inline_part(const char *mime, size_t mime_len, const char *data) {
    return json_pack("{s:{ss%ss}}", "inlineData", "mimeType", mime, mime_len, "data", data);
}

/* By what a name or a link's path ends with; NULL: not known. */
static const char *mime_of(const char *name) {
    static const struct {
        const char *ending, *mime;
    } known[] = {{".png", "image/png"},    {".jpg", "image/jpeg"},      {".jpeg", "image/jpeg"},
                 {".webp", "image/webp"},  {".gif", "image/gif"},       {".heic", "image/heic"},
                 {".heif", "image/heif"},  {".pdf", "application/pdf"}, {".txt", "text/plain"},
                 {".md", "text/markdown"}, {".csv", "text/csv"},        {".html", "text/html"},
                 {".mp4", "video/mp4"},    {".webm", "video/webm"},     {".mov", "video/quicktime"},
                 {".wav", "audio/wav"},    {".mp3", "audio/mp3"},       {".json", "application/json"}};
    const size_t n = strcspn(name, "?#");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t m = strlen(known[i].ending);
        if (n > m && !strncasecmp(name + n - m, known[i].ending, m)) return known[i].mime;
    }
    return NULL;
}

static bool is_link(const char *url) {
    return !strncasecmp(url, "http://", 7) || !strncasecmp(url, "https://", 8) || !strncmp(url, "gs://", 5);
}

/* Gemini fetches what a link names; the type is wanted where it can be told. */
static json_t *link_part(const char *url) {
    const char *mime = mime_of(url);
    return mime ? json_pack("{s:{ssss}}", "fileData", "mimeType", mime, "fileUri", url)
                : json_pack("{s:{ss}}", "fileData", "fileUri", url);
}

static bool add_url(speech *s, const char *url, const char *param) {
    media m;
    if (url && read_data_url(url, &m)) return add(s, USER, inline_part(m.mime, m.mime_len, m.data));
    if (url && is_link(url)) return add(s, USER, link_part(url));
    return WEIRP_GEMINI_REFUSE(s->d, param, "invalid_value", "A link must be http(s), gs, or data with base64.");
}

static bool add_audio(speech *s, const json_t *audio, const char *param) {
    const char *data = json_string_value(json_object_get(audio, "data"));
    const json_t *format = json_object_get(audio, "format");
    const char *mime = weirp_gemini_is(format, "wav")   ? "audio/wav"
                       : weirp_gemini_is(format, "mp3") ? "audio/mp3"
                                                        : NULL;
    if (!data || !mime)
        return WEIRP_GEMINI_REFUSE(s->d, param, "invalid_value", "Audio must have data, and the format wav or mp3.");
    return add(s, USER, inline_part(mime, strlen(mime), data));
}

/* Data as a link, or as base64 alone with a telling file name; or an id, where it is a link to a file that Google
 * stores. */
static bool add_file(speech *s, const json_t *file, const char *param) {
    const char *data = json_string_value(json_object_get(file, "file_data"));
    const char *name = json_string_value(json_object_get(file, "filename"));
    const char *id = json_string_value(json_object_get(file, "file_id"));
    if (data && !strncasecmp(data, "data:", 5)) return add_url(s, data, param);
    const char *mime = name ? mime_of(name) : NULL;
    if (data && mime) return add(s, USER, inline_part(mime, strlen(mime), data));
    if (id && is_link(id)) return add_url(s, id, param);
    return WEIRP_GEMINI_REFUSE(s->d, param, "invalid_value", "A file must come as data whose type is known.");
}

static bool add_user_part(speech *s, const json_t *part, const char *param) {
    const json_t *type = json_object_get(part, "type"), *text = json_object_get(part, "text");
    if (json_is_string(part)) return is_silent(part) || add(s, USER, text_part(part));
    if (weirp_gemini_is(type, "text") && json_is_string(text)) return is_silent(text) || add(s, USER, text_part(text));
    static const char *const links[] = {"image_url", "video_url"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        if (!weirp_gemini_is(type, links[i])) continue;
        const json_t *link = json_object_get(part, links[i]);
        return add_url(s, json_string_value(json_is_string(link) ? link : json_object_get(link, "url")), param);
    }
    if (weirp_gemini_is(type, "input_audio")) return add_audio(s, json_object_get(part, "input_audio"), param);
    if (weirp_gemini_is(type, "file")) return add_file(s, json_object_get(part, "file"), param);
    return WEIRP_GEMINI_REFUSE(s->d, param, "unsupported_value", "Gemini has no such content part.");
}

/* ---- messages ---- */

static bool refuse_content(speech *s, size_t i) {
    char param[64];
    snprintf(param, sizeof param, "messages[%zu].content", i);
    return WEIRP_GEMINI_REFUSE(s->d, param, "invalid_type", "This message's content can't be read.");
}

static bool say_user(speech *s, const json_t *message, size_t i) {
    const json_t *content = json_object_get(message, "content");
    if (is_silent(content)) return true;
    if (json_is_string(content)) return add(s, USER, text_part(content));
    if (!json_is_array(content)) return refuse_content(s, i);
    for (size_t k = 0; k < json_array_size(content); k++) {
        char param[64];
        snprintf(param, sizeof param, "messages[%zu].content[%zu]", i, k);
        if (!add_user_part(s, json_array_get(content, k), param)) return false;
    }
    return true;
}

/* The text of a part that systems, assistants and tools may have; NULL: none such. */
static const json_t *said(const json_t *part) {
    const json_t *type = json_object_get(part, "type");
    const json_t *text = json_is_string(part)               ? part
                         : weirp_gemini_is(type, "text")    ? json_object_get(part, "text")
                         : weirp_gemini_is(type, "refusal") ? json_object_get(part, "refusal")
                                                            : NULL;
    return json_is_string(text) ? text : NULL;
}

static bool say_system(speech *s, const json_t *message, size_t i) {
    const json_t *content = json_object_get(message, "content");
    if (is_silent(content)) return true;
    if (json_is_string(content)) return weirp_gemini_append(s->d, s->system, text_part(content));
    if (!json_is_array(content)) return refuse_content(s, i);
    for (size_t k = 0; k < json_array_size(content); k++) {
        const json_t *text = said(json_array_get(content, k));
        if (!text) return refuse_content(s, i);
        if (!is_silent(text) && !weirp_gemini_append(s->d, s->system, text_part(text))) return false;
    }
    return true;
}

/* A call's arguments as an object: what isn't one (a model wrote it, cut off perhaps) is handed on as text. */
static json_t *arguments_of(const json_t *text) {
    char what[128];
    const char *value = json_string_value(text);
    if (!value || !value[strspn(value, " \t\r\n")]) return json_object();
    json_t *json = weirp_json_parse(value, json_string_length(text), what, sizeof what);
    if (json_is_object(json)) return json;
    json_decref(json);
    return json_pack("{sO}", "arguments", (json_t *)text);
}

/* From version 3 on Gemini refuses a turn's first call without the signature that its thoughts had. OpenAI's API has no
 * place for signatures, and a call may have come from another vendor's model: this word is what Google documents for
 * such calls (https://ai.google.dev/gemini-api/docs/thought-signatures). */
static const char no_signature[] = "skip_thought_signature_validator";

static bool say_call(speech *s, const json_t *call, size_t i) {
    json_t *function = json_object_get(call, "function");
    json_t *name = json_object_get(function, "name"), *id = json_object_get(call, "id");
    if (!json_is_string(name)) {
        char param[64];
        snprintf(param, sizeof param, "messages[%zu].tool_calls", i);
        return WEIRP_GEMINI_REFUSE(s->d, param, "unsupported_value", "Only calls of functions are translated.");
    }
    json_t *out = json_pack("{sOso}", "name", name, "args", arguments_of(json_object_get(function, "arguments")));
    json_t *part = json_pack("{sO}", "functionCall", out);
    json_decref(out); /* the part holds it */
    const bool first = s->kind != MODEL || !s->called;
    if (!add(s, MODEL, part)) return false;
    s->called = true;
    if (first && s->d->version >= 30 && !weirp_gemini_put(s->d, part, "thoughtSignature", json_string(no_signature)))
        return false;
    if (!json_is_string(id) || !json_string_length(id)) return true;
    return weirp_gemini_put(s->d, out, "id", json_incref(id)) &&
           weirp_gemini_put(s->d, s->calls, json_string_value(id), json_incref(name));
}

static bool say_assistant(speech *s, const json_t *message, size_t i) {
    const json_t *content = json_object_get(message, "content");
    const json_t *refusal = json_object_get(message, "refusal"), *calls = json_object_get(message, "tool_calls");
    if (!is_silent(content) && !json_is_string(content) && !json_is_array(content)) return refuse_content(s, i);
    if (json_is_string(content) && !is_silent(content) && !add(s, MODEL, text_part(content))) return false;
    for (size_t k = 0; k < json_array_size(content); k++) {
        const json_t *text = said(json_array_get(content, k));
        if (!text) return refuse_content(s, i);
        if (!is_silent(text) && !add(s, MODEL, text_part(text))) return false;
    }
    if (json_is_string(refusal) && !is_silent(refusal) && !add(s, MODEL, text_part(refusal))) return false;
    for (size_t k = 0; k < json_array_size(calls); k++)
        if (!say_call(s, json_array_get(calls, k), i)) return false;
    return true;
}

/* A result as an object, as Gemini wants it. What holds the word $ref is handed on as text: Gemini would look the
 * reference up among the parts of the request, and refuse it all. */
static json_t *result_of(const char *text, size_t len) {
    char what[128];
    if (!memmem(text, len, "$ref", 4)) {
        json_t *json = weirp_json_parse(text, len, what, sizeof what);
        if (json_is_object(json)) return json;
        json_decref(json);
    }
    return json_pack("{ss%}", "result", text, len);
}

static json_t *result_of_parts(const json_t *parts, bool *known) {
    weirp_writer w = {0};
    for (size_t k = 0; *known && k < json_array_size(parts); k++) {
        const json_t *text = said(json_array_get(parts, k));
        if (!text)
            *known = false;
        else
            weirp_put(&w, json_string_value(text), json_string_length(text));
    }
    json_t *out = *known && !w.failed ? result_of(w.size ? (const char *)w.data : "", w.size) : NULL;
    weirp_writer_free(&w);
    return out;
}

static bool say_result(speech *s, const json_t *message, size_t i) {
    json_t *id = json_object_get(message, "tool_call_id"), *content = json_object_get(message, "content");
    json_t *name = json_is_string(id) ? json_object_get(s->calls, json_string_value(id)) : NULL;
    if (!name) name = json_object_get(message, "name");
    if (!json_is_string(name)) {
        char param[64];
        snprintf(param, sizeof param, "messages[%zu].tool_call_id", i);
        return WEIRP_GEMINI_REFUSE(s->d, param, "invalid_value", "No earlier message has a call of this id.");
    }
    bool known = is_silent(content) || json_is_string(content) || json_is_array(content);
    json_t *response = json_is_string(content) ? result_of(json_string_value(content), json_string_length(content))
                       : known                 ? result_of_parts(content, &known)
                                               : NULL;
    if (!known) return refuse_content(s, i);
    json_t *out = json_pack("{sOso}", "name", name, "response", response);
    if (out && json_is_string(id) && json_string_length(id) && !weirp_gemini_put(s->d, out, "id", json_incref(id))) {
        json_decref(out);
        return false;
    }
    return add(s, RESULT, json_pack("{so}", "functionResponse", out));
}

static bool say(speech *s, const json_t *message, size_t i) {
    static const struct {
        const char *role;
        bool (*say)(speech *s, const json_t *message, size_t i);
    } roles[] = {{"user", say_user},        {"assistant", say_assistant}, {"system", say_system},
                 {"developer", say_system}, {"tool", say_result},         {"function", say_result}};
    const json_t *role = json_object_get(message, "role");
    for (size_t k = 0; k < sizeof roles / sizeof *roles; k++)
        if (weirp_gemini_is(role, roles[k].role)) return roles[k].say(s, message, i);
    char param[64];
    snprintf(param, sizeof param, "messages[%zu].role", i);
    return WEIRP_GEMINI_REFUSE(s->d, param, "invalid_value", "This role isn't known.");
}

static bool put_speech(speech *s) {
    weirp_gemini_draft *d = s->d;
    if (json_array_size(s->contents)) {
        return weirp_gemini_put(d, d->root, "contents", json_incref(s->contents)) &&
               (!json_array_size(s->system) ||
                weirp_gemini_put(d, d->root, "systemInstruction", json_pack("{sO}", "parts", s->system)));
    }
    /* Contents may not be empty: instructions alone are what the user says. */
    if (json_array_size(s->system))
        return weirp_gemini_put(d, d->root, "contents", json_pack("[{sssO}]", "role", "user", "parts", s->system));
    return WEIRP_GEMINI_REFUSE(d, "messages", "invalid_value", "The messages say nothing.");
}

bool weirp_gemini_contents(weirp_gemini_draft *d) {
    speech s = {.d = d, .contents = json_array(), .system = json_array(), .calls = json_object()};
    const json_t *messages = json_object_get(d->request->chat, "messages");
    bool good = s.contents && s.system && s.calls;
    if (!good) d->failed = true;
    for (size_t i = 0; good && i < json_array_size(messages); i++) good = say(&s, json_array_get(messages, i), i);
    good = good && put_speech(&s);
    json_decref(s.contents);
    json_decref(s.system);
    json_decref(s.calls);
    return good;
}
