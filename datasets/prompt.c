/* prompt.c: chat messages to one text. SPDX-License-Identifier: GPL-3.0-or-later */
#include "datasets/prompt.h"

#define WRONG_PROMPT  "must be a text or an array of chat messages"
#define WRONG_MESSAGE "must hold messages such as {\"role\":\"user\",\"content\":\"...\"}"
#define WRONG_CONTENT                                                                                                  \
    "must have contents that are a text, null or an array of parts such as {\"type\":\"text\",\"text\":\"...\"}"

static void append(weirp_writer *buffer, const json_t *string) {
    size_t len = json_string_length(string);
    if (!len) return;
    if (buffer->size) weirp_put(buffer, "\n\n", 2);
    weirp_put(buffer, json_string_value(string), len);
}

static const char *append_content(weirp_writer *buffer, const json_t *content) {
    if (!content || json_is_null(content)) return NULL;
    if (json_is_string(content))
        append(buffer, content);
    else if (!json_is_array(content))
        return WRONG_CONTENT;
    size_t i;
    const json_t *part;
    json_array_foreach(content, i, part) {
        const json_t *text = json_object_get(part, "text");
        if (json_is_string(part))
            append(buffer, part);
        else if (!json_is_object(part) || (text && !json_is_string(text)))
            return WRONG_CONTENT;
        else if (text)
            append(buffer, text);
    }
    return NULL;
}

const char *weirp_prompt_text(const json_t *prompt, weirp_writer *buffer, const char **text, size_t *len) {
    if (json_is_string(prompt)) {
        *text = json_string_value(prompt);
        *len = json_string_length(prompt);
        return NULL;
    }
    if (!json_is_array(prompt)) return WRONG_PROMPT;
    buffer->size = 0;
    size_t i;
    const json_t *message;
    json_array_foreach(prompt, i, message) {
        if (!json_is_object(message)) return WRONG_MESSAGE;
        const char *wrong = append_content(buffer, json_object_get(message, "content"));
        if (wrong) return wrong;
    }
    *text = buffer->size ? (const char *)buffer->data : "";
    *len = buffer->size;
    return NULL;
}
