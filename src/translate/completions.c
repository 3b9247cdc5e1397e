/* completions.c: OpenAI's legacy completions, and the chat request that stands for one where a vendor has no such API.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/translate/pens.h"
#include "src/translate/tables.h"

static weir_status parse(weirp_request *r, weirp_fault *fault) {
    weir_status st;
    const json_t *prompt = json_object_get(r->json, "prompt");
    WEIRP_TRY(weirp_read_model(r, fault));
    if (!prompt || json_is_null(prompt)) return weirp_missing(fault, "prompt");
    if (!json_is_string(prompt) && !json_is_array(prompt))
        return weirp_wrong_type(fault, "prompt", "a text or an array of texts or token numbers");
    WEIRP_TRY(weirp_read_stream(r, fault));
    WEIRP_TRY(weirp_read_choices(r, fault));
    WEIRP_TRY(weirp_read_count(r, "max_tokens", 0, &r->max_output_tokens, fault));
    weirp_read_user(r, "user");
done:
    return st;
}

/* The prompt as one text, or NULL. */
static json_t *only_prompt(const weirp_request *r) {
    json_t *prompt = json_object_get(r->json, "prompt");
    if (json_array_size(prompt) == 1) prompt = json_array_get(prompt, 0);
    return json_is_string(prompt) ? prompt : NULL;
}

/* The member that a chat can't do, or NULL. */
static const char *unsupported(const weirp_request *r) {
    const json_t *suffix = json_object_get(r->json, "suffix"), *best = json_object_get(r->json, "best_of");
    const json_t *logprobs = json_object_get(r->json, "logprobs");
    if (suffix && !json_is_null(suffix) && !(json_is_string(suffix) && !json_string_length(suffix))) return "suffix";
    if (json_is_true(json_object_get(r->json, "echo"))) return "echo";
    if (best && !json_is_null(best) && weirp_json_count(best) != (int64_t)r->n_choices) return "best_of";
    if (logprobs && !json_is_null(logprobs) && !json_is_false(logprobs)) return "logprobs";
    if (r->max_output_tokens == 0) return "max_tokens";
    return NULL;
}

static json_t *chat(const weirp_request *r, weirp_fault *fault) {
    static const char *const left[] = {"prompt", "suffix", "echo", "best_of", "logprobs"};
    const char *param = unsupported(r);
    json_t *prompt = only_prompt(r);
    if (!param && !prompt) param = "prompt";
    if (param) {
        weirp_fault_set(fault, param, "unsupported_parameter",
                        "Unsupported parameter: '%s' can't be asked of a chat model in this way.", param);
        return NULL;
    }
    json_t *made = json_copy(r->json);
    if (!made) return NULL;
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) json_object_del(made, left[i]);
    json_t *messages = json_pack("[{ss, sO}]", "role", "user", "content", prompt);
    if (json_object_set_new(made, "messages", messages)) { /* refuses NULL, too */
        json_decref(made);
        return NULL;
    }
    return made;
}

const weirp_api_ops weirp_completions_ops = {.parse = parse,
                                             .chat = chat,
                                             .open = weirp_completions_pen,
                                             .piece = weirp_pen_piece,
                                             .end = weirp_pen_end,
                                             .close = weirp_pen_close,
                                             .error = weirp_pen_error};
