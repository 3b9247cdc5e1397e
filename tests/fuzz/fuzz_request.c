/* Any bytes as a request, written for any vendor that is linked: never a crash, and what goes out is JSON that names
 * the vendor's model. The first byte chooses the API, the second the target. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/translate/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_for(weirp_request *r, weirp_protocol protocol, unsigned bits) {
    weirp_target target = {.protocol = protocol,
                           .model = "vendor/\"model\"",
                           .max_output_tokens = bits & 1 ? 100 : NAN,
                           .legacy_completions = bits & 2,
                           .no_stream_options = bits & 4,
                           .max_completion_tokens = bits & 8};
    weirp_writer body = {0};
    weirp_fault fault;
    char path[128];
    weir_status st = weirp_request_write(r, &target, &body, path, sizeof path, &fault);
    if (st != WEIR_OK && st != WEIR_INVALID) abort();
    if (st == WEIR_INVALID && !*fault.text) abort();
    if (!st) {
        json_t *json = json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        const char *model = json_string_value(json_object_get(json, "model"));
        if (!json_is_object(json) || *path != '/') abort();
        if (protocol != WEIRP_PROTOCOL_GEMINI && (!model || strcmp(model, target.model))) abort();
        json_decref(json);
    }
    weirp_writer_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    weirp_api api = (weirp_api)(data[0] % 4);
    weirp_request r;
    weirp_fault fault;
    if (!weirp_api_table[api]) return 0;
    weir_status st = weirp_request_parse(&r, api, (const char *)data + 2, size - 2, &fault);
    if (st != WEIR_OK && st != WEIR_PARSE) abort();
    if (st) {
        if (!*fault.text || r.json || r.chat) abort();
        return 0;
    }
    weirp_writer buffer = {0};
    const char *text;
    size_t len;
    if (!r.model || !*r.model || r.n_choices < 1 || weirp_request_prompt(&r, &buffer, &text, &len)) abort();
    weirp_writer_free(&buffer);
    for (int protocol = 0; protocol < 3; protocol++)
        if (weirp_protocol_table[protocol]) write_for(&r, (weirp_protocol)protocol, data[1]);
    weirp_request_free(&r);
    return 0;
}
