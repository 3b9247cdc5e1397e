/* pens.h: what writes OpenAI's answers: chat completions and legacy completions differ in names only.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_PENS_H
#define WEIRP_TRANSLATE_PENS_H

#include "src/translate/parts.h"

weirp_pen *weirp_chat_pen(const weirp_pen_options *options);
weirp_pen *weirp_completions_pen(const weirp_pen_options *options);
weir_status weirp_pen_piece(weirp_pen *pen, const weirp_piece *piece, weirp_writer *out, weir_error *err);
weir_status weirp_pen_end(weirp_pen *pen, const weirp_answer_facts *facts, const char *note, size_t note_len,
                          weirp_writer *out, weir_error *err);
void weirp_pen_close(weirp_pen *pen);
void weirp_pen_error(const weirp_pen *pen, const char *text, const char *type, weirp_writer *out);

const char *weirp_finish_name(weirp_finish finish); /* OpenAI's; NONE and OTHER are "stop" */

#endif
