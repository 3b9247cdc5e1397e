/* stream.c: events at their pace, and what goes wrong between them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/talk.h"

enum { BURST = 128 }; /* events a turn, so that a fast reader doesn't keep the thread for itself */

/* What comes in place of an event. */
static void put_malformed(vend_talk *t, weirp_writer *w) {
    static const char garbage[] = "\x00\x01\x02garbage\xff\xfe no event at all\n\x1b[31mdata\n\n";
    switch ((vend_malformed)t->rule->malformed) {
    case VEND_BAD_JSON: vend_put(w, "data: {\"id\":\"broken\",\"choices\":[{\"delta\":{\"content\":\"half\n\n"); break;
    case VEND_GARBAGE: weirp_put(w, garbage, sizeof garbage - 1); break;
    case VEND_BAD_UTF8:
        vend_put(w, "data: {\"id\":\"broken\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":"
                    "{\"content\":\"\xc3\x28\xff\"},\"finish_reason\":null}]}\n\n");
        break;
    case VEND_NOT_OBJECT: vend_put(w, "data: [1,2,3]\n\n"); break;
    default: break;
    }
}

/* One line of many bytes, in pieces. */
static void send_huge_line(vend_talk *t) {
    char block[16384];
    int64_t left = t->rule->huge_line_bytes;
    memset(block, 'x', sizeof block);
    vend_send_piece(t, "data: ", 6);
    while (left > 0 && t->end == VEND_UNDER_WAY) {
        size_t n = left < (int64_t)sizeof block ? (size_t)left : sizeof block;
        vend_send_piece(t, block, n); /* bounded by the rule, so that it may wait in memory */
        left -= (int64_t)n;
    }
    vend_send_piece(t, "\n\n", 2);
}

/* True where the rule ends the stream here. */
static bool misbehave(vend_talk *t, weirp_writer *w) {
    const vend_rule *r = t->rule;
    if (r->cut.events != VEND_UNSET && t->n_events >= (uint64_t)r->cut.events) {
        vend_send_cut(t);
        return true;
    }
    if (r->error.kind != VEND_UNSET && t->n_events >= (uint64_t)r->error.after_events) {
        vend_fault fault;
        vend_refuse(&fault, (vend_kind)r->error.kind, NULL, "%s", r->error.message ? r->error.message : "");
        if (r->error.status != VEND_UNSET) fault.status = (int)r->error.status;
        vend_fault_settle(&fault, t->ask.api);
        w->size = 0;
        vend_dialect_of(t->ask.api)->error_event(&fault, t->reply.id, w);
        vend_send_piece(t, (const char *)w->data, w->size);
        vend_send_end(t);
        return true;
    }
    bool puts = r->malformed != VEND_WELL && r->malformed != VEND_NO_DONE;
    if (puts && !t->misbehaved && t->n_events >= (uint64_t)r->malformed_after) {
        t->misbehaved = true;
        if (r->malformed == VEND_HUGE_LINE) {
            send_huge_line(t);
            return false;
        }
        w->size = 0;
        put_malformed(t, w);
        vend_send_piece(t, (const char *)w->data, w->size);
    }
    return false;
}

static uint64_t due_of(const vend_talk *t) {
    return t->base_ns + (uint64_t)(t->first_ns + (double)t->n_paced * t->pace_ns);
}

/* Sends what is due. */
void vend_stream_pump(vend_talk *t) {
    weirp_writer *w = &t->worker->scratch;
    const vend_dialect *dialect = vend_dialect_of(t->ask.api);
    uint64_t now = weirp_monotonic_ns();
    for (int i = 0; !t->blocked && t->end == VEND_UNDER_WAY; i++) {
        if (t->rule && misbehave(t, w)) return;
        bool paced = vend_reply_paced(&t->reply);
        /* what goes past the server is all put together first: its pace is that of bytes */
        if (!t->raw && ((paced && now < due_of(t)) || i >= BURST)) {
            vend_due_at(t, paced && now < due_of(t) ? due_of(t) : now, vend_stream_pump);
            return;
        }
        w->size = 0;
        if (!dialect->event(&t->reply, w)) {
            t->made = true;
            vend_send_end(t);
            return;
        }
        if (w->failed) {
            vend_talk_break(t, true);
            return;
        }
        t->n_paced += paced;
        t->n_events++;
        if (vend_send_piece(t, (const char *)w->data, w->size)) continue;
        t->blocked = true;
        if (t->raw) vend_send_end(t); /* it ends there: nothing drains */
    }
}

void vend_stream_start(vend_talk *t) {
    bool gemini = t->ask.api == VEND_GENERATE;
    const char *type = gemini && t->ask.array ? "application/json; charset=UTF-8"
                       : gemini               ? "text/event-stream"
                                              : "text/event-stream; charset=utf-8";
    vend_send_begin(t, type);
    t->base_ns = weirp_monotonic_ns();
    if (t->end == VEND_UNDER_WAY) vend_stream_pump(t);
}
