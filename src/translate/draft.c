/* draft.c: gathers pieces. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/translate/draft.h"

enum { MAX_CHOICES = 128, MAX_TOOLS = 1024 };

static weir_status reach_choice(weirp_draft *d, size_t at, weir_error *err) {
    if (at >= MAX_CHOICES) return weirp_fail(err, WEIR_PARSE, 0, "more than %d choices in one answer", MAX_CHOICES);
    if (!weirp_reserve((void **)&d->choices, &d->choices_capacity, at + 1, sizeof *d->choices)) return weirp_nomem(err);
    for (; d->n_choices <= at; d->n_choices++) d->choices[d->n_choices] = (weirp_draft_choice){0};
    return WEIR_OK;
}

static weir_status reach_tool(weirp_draft_choice *c, size_t at, weir_error *err) {
    if (at >= MAX_TOOLS) return weirp_fail(err, WEIR_PARSE, 0, "more than %d tool calls in one answer", MAX_TOOLS);
    if (!weirp_reserve((void **)&c->tools, &c->tools_capacity, at + 1, sizeof *c->tools)) return weirp_nomem(err);
    for (; c->n_tools <= at; c->n_tools++) c->tools[c->n_tools] = (weirp_draft_tool){0};
    return WEIR_OK;
}

static weir_status append(weirp_writer *to, const weirp_piece *piece, weir_error *err) {
    weirp_put(to, piece->text, piece->text_len);
    return to->failed ? weirp_nomem(err) : WEIR_OK;
}

static weir_status keep(weirp_draft_choice *c, const weirp_piece *piece, weir_error *err) {
    weirp_draft_tool *tool;
    switch (piece->kind) {
    case WEIRP_PIECE_TEXT: return append(&c->text, piece, err);
    case WEIRP_PIECE_REASONING: return append(&c->reasoning, piece, err);
    case WEIRP_PIECE_REFUSAL: return append(&c->refusal, piece, err);
    case WEIRP_PIECE_ARGUMENTS: return append(&c->tools[piece->index].arguments, piece, err);
    case WEIRP_PIECE_TOOL:
        tool = &c->tools[piece->index];
        tool->id.size = tool->name.size = 0;
        weirp_put(&tool->id, piece->id, piece->id_len);
        weirp_put(&tool->name, piece->name, piece->name_len);
        return tool->id.failed || tool->name.failed ? weirp_nomem(err) : WEIR_OK;
    default: return WEIR_OK;
    }
}

weir_status weirp_draft_piece(weirp_draft *d, const weirp_piece *piece, weirp_draft_choice **choice, weir_error *err) {
    *choice = NULL;
    if (piece->kind == WEIRP_PIECE_START || piece->kind == WEIRP_PIECE_USAGE || piece->kind == WEIRP_PIECE_END)
        return WEIR_OK;
    weir_status st = reach_choice(d, piece->choice, err);
    if (st) return st;
    weirp_draft_choice *c = *choice = &d->choices[piece->choice];
    if (piece->kind == WEIRP_PIECE_FINISH && piece->finish != WEIRP_FINISH_NONE) c->finish = piece->finish;
    if (piece->kind == WEIRP_PIECE_TOOL || piece->kind == WEIRP_PIECE_ARGUMENTS) st = reach_tool(c, piece->index, err);
    return st || !d->keeps_text ? st : keep(c, piece, err);
}

void weirp_draft_free(weirp_draft *d) {
    for (size_t i = 0; i < d->n_choices; i++) {
        weirp_draft_choice *c = &d->choices[i];
        for (size_t j = 0; j < c->n_tools; j++) {
            weirp_writer_free(&c->tools[j].id);
            weirp_writer_free(&c->tools[j].name);
            weirp_writer_free(&c->tools[j].arguments);
        }
        free(c->tools);
        weirp_writer_free(&c->text);
        weirp_writer_free(&c->reasoning);
        weirp_writer_free(&c->refusal);
    }
    free(d->choices);
    *d = (weirp_draft){0};
}
