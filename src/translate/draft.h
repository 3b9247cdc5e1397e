/* draft.h: an answer that is being gathered from pieces. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_DRAFT_H
#define WEIRP_TRANSLATE_DRAFT_H

#include "src/translate/parts.h"

typedef struct weirp_draft_tool {
    weirp_writer id, name, arguments;
} weirp_draft_tool;

typedef struct weirp_draft_choice {
    weirp_writer text, reasoning, refusal;
    weirp_draft_tool *tools; /* (n_tools) new */
    size_t n_tools, tools_capacity;
    weirp_finish finish;
    bool finished; /* for the owner's use */
} weirp_draft_choice;

/* Zero-initialise it. */
typedef struct weirp_draft {
    bool keeps_text;             /* otherwise only which choices and calls there are */
    weirp_draft_choice *choices; /* (n_choices) new */
    size_t n_choices, choices_capacity;
} weirp_draft;

/* *choice is the piece's choice, borrowed until the next call; NULL where the piece has none (START, USAGE, END).
 * WEIR_PARSE: more choices or calls than any answer has. */
weir_status weirp_draft_piece(weirp_draft *draft, const weirp_piece *piece, weirp_draft_choice **choice,
                              weir_error *err);
void weirp_draft_free(weirp_draft *draft);

#endif
