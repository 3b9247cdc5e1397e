/* messages_parts.h: what messages*.c share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_MESSAGES_PARTS_H
#define WEIRP_TRANSLATE_MESSAGES_PARTS_H

#include "src/translate/anthropic_parts.h"

/* weirp_api_ops */
json_t *weirp_messages_chat(const weirp_request *r, weirp_fault *fault);
weirp_pen *weirp_messages_open(const weirp_pen_options *options);
weir_status weirp_messages_piece(weirp_pen *pen, const weirp_piece *piece, weirp_writer *out, weir_error *err);
weir_status weirp_messages_end(weirp_pen *pen, const weirp_answer_facts *facts, const char *note, size_t note_len,
                               weirp_writer *out, weir_error *err);
void weirp_messages_close(weirp_pen *pen);
void weirp_messages_error(const weirp_pen *pen, const char *text, const char *type, weirp_writer *out);

#endif
