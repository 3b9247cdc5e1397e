/* embeddings.c: OpenAI's embeddings: read as far as routing needs, never translated.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/translate/tables.h"

static weir_status parse(weirp_request *r, weirp_fault *fault) {
    weir_status st = weirp_read_model(r, fault);
    if (st) return st;
    const json_t *input = json_object_get(r->json, "input");
    if (!input) return weirp_missing(fault, "input");
    if (!json_is_string(input) && !json_is_array(input))
        return weirp_wrong_type(fault, "input", "a text or an array of texts or token numbers");
    if (json_is_array(input) && !json_array_size(input))
        return weirp_fault_set(fault, "input", "empty_array", "Invalid 'input': it is an empty array.");
    weirp_read_user(r, "user");
    return WEIR_OK;
}

const weirp_api_ops weirp_embeddings_ops = {.parse = parse};
