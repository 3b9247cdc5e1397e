/* due.c: what waits for its time, thousands of streams to a timer. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "src/vendor/talk.h"

static uint64_t now_ms(void) {
    return weirp_monotonic_ns() / 1000000;
}

static void put(vend_heap *h, size_t slot, vend_talk *talk) {
    h->items[slot] = talk;
    talk->slot = slot;
}

static void up(vend_heap *h, size_t slot, vend_talk *talk) {
    while (slot) {
        size_t parent = (slot - 1) / 2;
        if (h->items[parent]->due_ms <= talk->due_ms) break;
        put(h, slot, h->items[parent]);
        slot = parent;
    }
    put(h, slot, talk);
}

static void down(vend_heap *h, size_t slot, vend_talk *talk) {
    for (size_t child; (child = 2 * slot + 1) < h->n; slot = child) {
        if (child + 1 < h->n && h->items[child + 1]->due_ms < h->items[child]->due_ms) child++;
        if (h->items[child]->due_ms >= talk->due_ms) break;
        put(h, slot, h->items[child]);
    }
    put(h, slot, talk);
}

void vend_due_cancel(vend_talk *talk) {
    vend_heap *h = &talk->worker->heap;
    size_t slot = talk->slot;
    if (slot == VEND_NOT_DUE) return;
    talk->slot = VEND_NOT_DUE;
    vend_talk *last = h->items[--h->n];
    if (last == talk) return;
    if (slot && h->items[(slot - 1) / 2]->due_ms > last->due_ms)
        up(h, slot, last);
    else
        down(h, slot, last);
}

static void start_timer(vend_worker *w) {
    if (!w->heap.n) return;
    uint64_t due = w->heap.items[0]->due_ms, now = now_ms();
    if (w->timer_due_ms && w->timer_due_ms <= due) return; /* comes early, and looks again */
    w->timer_due_ms = due;
    weirp_timer_start(w->timer, due > now ? due - now : 0);
}

void vend_due_at(vend_talk *talk, uint64_t due_ns, vend_step step) {
    vend_heap *h = &talk->worker->heap;
    vend_due_cancel(talk);
    talk->due_ms = (due_ns + 999999) / 1000000;
    talk->step = step;
    if (!weirp_reserve((void **)&h->items, &h->capacity, h->n + 1, sizeof *h->items)) {
        vend_talk_break(talk, true);
        return;
    }
    up(h, h->n++, talk);
    start_timer(talk->worker);
}

/* What becomes due by this very work waits for the next turn, so that sockets get theirs. */
static void on_timer(void *user) {
    vend_worker *w = user;
    uint64_t now = now_ms();
    size_t most = w->heap.n;
    w->timer_due_ms = 1; /* none is started before all are done */
    while (most-- && w->heap.n && w->heap.items[0]->due_ms <= now) {
        vend_talk *talk = w->heap.items[0];
        vend_due_cancel(talk);
        talk->step(talk);
    }
    w->timer_due_ms = 0;
    start_timer(w);
}

weir_status vend_due_init(vend_worker *worker, weir_error *err) {
    return weirp_timer_new(&worker->timer, worker->loop, on_timer, worker, err);
}

void vend_due_free(vend_worker *worker) {
    weirp_timer_free(worker->timer);
    free(worker->heap.items);
    worker->heap = (vend_heap){0};
}
