/* answers.h: any bytes as a vendor's answer, to a client of any API. The first byte chooses API, stream, usage and
 * legacy completions; the rest is a whole answer and an error body, and, cut at each LF, a stream's events, of which
 * the words before a TAB are the type. What the client gets must be events with JSON data. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIR_FUZZ_ANSWERS_H
#define WEIR_FUZZ_ANSWERS_H

#include <stdlib.h>
#include <string.h>

#include "src/translate/tables.h"

static inline void fuzz_note(void *user, const weirp_answer_facts *facts, weirp_writer *out) {
    (void)user;
    if (facts->usage.known == facts->usage.estimated) abort();
    weirp_putf(out, "note\n\ndata: no");
}

/* One event's data, its lines joined; emptied. */
static inline void fuzz_check_data(weirp_writer *joined, bool broken) {
    bool end = joined->size == 6 && !memcmp(joined->data, "[DONE]", 6);
    if (joined->size && !end && !broken) {
        json_t *json =
            json_loadb((const char *)joined->data, joined->size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        if (!json) abort();
        json_decref(json);
    }
    joined->size = 0;
}

/* What is translated must be JSON; what passes through may be as broken as it came (`broken`). */
static inline void fuzz_check_stream(const weirp_writer *out, bool broken) {
    const char *at = (const char *)out->data, *end = at + out->size;
    weirp_writer joined = {0};
    if (out->size && (out->size < 2 || memcmp(end - 2, "\n\n", 2))) abort();
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        if (!line) abort();
        size_t n = (size_t)(line - at);
        bool data = n >= 6 && !memcmp(at, "data: ", 6);
        if (n && !data && at[0] != ':' && !(n >= 7 && !memcmp(at, "event: ", 7))) abort();
        if (data && joined.size) weirp_put(&joined, "\n", 1);
        if (data) weirp_put(&joined, at + 6, n - 6);
        if (!n) fuzz_check_data(&joined, broken);
        at = line + 1;
    }
    weirp_writer_free(&joined);
}

/* True: all events were JSON. */
static inline bool fuzz_stream(weirp_answer *answer, const char *text, size_t size, weirp_writer *out) {
    weir_status st = WEIR_OK;
    bool proper = true;
    while (size && !st) {
        const char *line = memchr(text, '\n', size), *tab;
        size_t n = line ? (size_t)(line - text) : size, type = 0;
        if ((tab = memchr(text, '\t', n)) != NULL) type = (size_t)(tab - text);
        size_t skip = tab ? type + 1 : 0;
        weirp_vendor_fault fault;
        weir_error err = {0};
        st = weirp_answer_event(answer, text, type, text + skip, n - skip, out, &fault, &err);
        if (st && st != WEIR_PARSE && st != WEIR_NET) abort();
        if (st && !*err.text) abort();
        json_t *json = json_loadb(text + skip, n - skip, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        proper &= json != NULL || (n - skip == 6 && !memcmp(text + skip, "[DONE]", 6));
        json_decref(json);
        if (line) n++;
        text += n;
        size -= n;
    }
    if (!st) st = weirp_answer_end(answer, out, NULL);
    if (st && st != WEIR_PARSE && st != WEIR_NET) abort();
    if (!st && !weirp_answer_facts_of(answer)->done) abort();
    return proper;
}

static inline void fuzz_body(weirp_answer *answer, const char *text, size_t size, bool stream, bool passes,
                             weirp_writer *out) {
    weir_status st = weirp_answer_body(answer, text, size, out, NULL);
    if (st && st != WEIR_PARSE && st != WEIR_NET) abort();
    if (st || stream) return;
    if (passes) {
        if (out->size != size || memcmp(out->data, text, size)) abort();
        return;
    }
    json_t *json = json_loadb((const char *)out->data, out->size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json) abort();
    json_decref(json);
}

static inline void fuzz_answer(weirp_protocol protocol, unsigned bits, const char *text, size_t size, bool whole) {
    static const weirp_api apis[] = {WEIRP_API_CHAT, WEIRP_API_COMPLETIONS, WEIRP_API_MESSAGES, WEIRP_API_EMBEDDINGS};
    weirp_request r = {.api = apis[bits & 3], .stream = bits & 4, .include_usage = bits & 8, .n_choices = 1};
    if (r.api == WEIRP_API_EMBEDDINGS && (protocol != WEIRP_PROTOCOL_OPENAI || r.stream)) return;
    if (!weirp_api_table[r.api] || (!whole && !r.stream)) return;
    weirp_answer_options options = {.protocol = protocol,
                                    .legacy_completions = bits & 16,
                                    .model = "m\"",
                                    .id = "i\"",
                                    .created_s = 1,
                                    .note = fuzz_note};
    bool passes = weirp_speaks(r.api, protocol, options.legacy_completions);
    weirp_answer *answer;
    weirp_writer out = {0};
    r.json = json_pack("{s[{ssss}]}", "messages", "role", "user", "content", "Hi");
    if (!r.json || weirp_answer_new(&answer, &r, &options, NULL)) abort();
    bool proper = whole;
    if (whole)
        fuzz_body(answer, text, size, r.stream, passes, &out);
    else
        proper = fuzz_stream(answer, text, size, &out);
    if (r.stream) {
        weirp_answer_error(answer, "gone\n", NULL, &out);
        fuzz_check_stream(&out, passes && !proper);
    }
    weirp_answer_free(answer);
    weirp_writer_free(&out);
    json_decref(r.json);
}

static inline void fuzz_answers(weirp_protocol protocol, const uint8_t *data, size_t size) {
    if (!size) return;
    weirp_vendor_fault fault;
    const char *text = (const char *)data + 1;
    weirp_vendor_fault_read(&fault, protocol, 200 + data[0] * 2, text, size - 1);
    if (fault.kind > WEIRP_VENDOR_TIMEOUT || !memchr(fault.text, 0, sizeof fault.text)) abort();
    fuzz_answer(protocol, data[0], text, size - 1, false);
    fuzz_answer(protocol, data[0], text, size - 1, true);
}

#endif
