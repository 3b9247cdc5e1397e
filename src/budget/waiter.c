/* waiter.c: those who wait for money, in the order in which they came. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/budget/till.h"

enum { LOOKED_AT = 64 }; /* waiters that one event looks at */

static void unlink_waiter(weirp_waiter **first, weirp_waiter **last, weirp_waiter *w) {
    if (w->previous)
        w->previous->next = w->next;
    else
        *first = w->next;
    if (w->next)
        w->next->previous = w->previous;
    else
        *last = w->previous;
    w->next = w->previous = NULL;
}

static void insert_after(weirp_waiter **first, weirp_waiter **last, weirp_waiter *after, weirp_waiter *w) {
    w->previous = after;
    w->next = after ? after->next : *first;
    if (after)
        after->next = w;
    else
        *first = w;
    if (w->next)
        w->next->previous = w;
    else
        *last = w;
}

static void make_due(weirp_bank *bank, weirp_account *a, weirp_waiter *w) {
    unlink_waiter(&a->first, &a->last, w);
    w->at = NULL;
    w->due = true;
    bank->n_waiting--;
    insert_after(&bank->due, &bank->due_last, bank->due_last, w);
}

/* Wakes the first, those behind it whose predictions fit beside it, and those whom nothing under way can leave enough:
 * they are told so, and nothing would happen that woke them later. Who has waited long and doesn't get through for
 * others who need less is guarded from them, until it has had its try; but not where the calls under way are likely to
 * need what it asks for, so that nobody is kept waiting for a hope. */
void weirp_till_event(weirp_bank *bank, weirp_account *a, uint64_t now_ns) {
    a->events++;
    a->event_ns = now_ns;
    if (!a->first) return;
    int64_t room = weirp_till_potential(a), open = weirp_till_free(a);
    if (open > room) room = open;
    const int64_t hope = weirp_till_unsettled(a), most = hope > room ? hope : room;
    if (a->first->likely <= room && now_ns - a->first->since_ns > WEIRP_TILL_LONG_NS) {
        a->guard_ticket = a->first->ticket;
        a->guard_likely = a->first->likely;
        a->guard_until_ns = now_ns + WEIRP_TILL_GUARD_NS;
    }
    bool first = true;
    int seen = 0;
    for (weirp_waiter *w = a->first, *next; w && seen < LOOKED_AT; w = next, seen++) {
        next = w->next;
        bool hopeless = w->likely > most;
        if (!hopeless && !first && w->likely > room) continue;
        if (!hopeless) {
            room -= w->likely;
            first = false;
        }
        make_due(bank, a, w);
    }
}

static weirp_till_call **call_of(weirp_bank *bank, const weirp_waiter *w) {
    weirp_till_call **at = &bank->calls;
    while (*at && (*at)->waiter != w) at = &(*at)->next;
    return at;
}

void weirp_till_call_due(weirp_bank *bank) {
    weirp_till_call call = {.thread = pthread_self()};
    pthread_mutex_lock(&bank->lock);
    while (bank->due) {
        weirp_waiter *w = bank->due;
        unlink_waiter(&bank->due, &bank->due_last, w);
        w->due = false;
        call.waiter = w;
        call.next = bank->calls;
        bank->calls = &call;
        pthread_mutex_unlock(&bank->lock);
        w->ready(w); /* and is perhaps no more */
        pthread_mutex_lock(&bank->lock);
        weirp_till_call **at = &bank->calls;
        while (*at != &call) at = &(*at)->next;
        *at = call.next;
        pthread_cond_broadcast(&bank->called);
    }
    pthread_mutex_unlock(&bank->lock);
}

void weirp_bank_wait(weirp_bank *bank, weirp_waiter *w, const weirp_claim *claim) {
    weirp_account *a = claim->queued.at;
    w->next = w->previous = NULL;
    w->at = NULL;
    w->due = false;
    w->ticket = claim->queued.ticket;
    w->since_ns = claim->queued.since_ns;
    w->likely = claim->queued.likely;
    pthread_mutex_lock(&bank->lock);
    bool gone = !a || a->serial != claim->queued.serial || a->events != claim->queued.seen;
    if (gone) { /* something has happened since it asked */
        w->due = true;
        insert_after(&bank->due, &bank->due_last, bank->due_last, w);
    } else {
        weirp_waiter *after = a->last;
        while (after && after->ticket > w->ticket) after = after->previous;
        insert_after(&a->first, &a->last, after, w);
        w->at = a;
        bank->n_waiting++;
        weirp_till_activate(bank, a);
    }
    pthread_mutex_unlock(&bank->lock);
    if (gone) weirp_till_call_due(bank);
}

void weirp_bank_unwait(weirp_bank *bank, weirp_waiter *w) {
    pthread_mutex_lock(&bank->lock);
    if (w->due) {
        unlink_waiter(&bank->due, &bank->due_last, w);
        w->due = false;
    } else if (w->at) {
        weirp_account *a = w->at;
        unlink_waiter(&a->first, &a->last, w);
        w->at = NULL;
        bank->n_waiting--;
    }
    for (weirp_till_call *call; (call = *call_of(bank, w)) && !pthread_equal(call->thread, pthread_self());)
        pthread_cond_wait(&bank->called, &bank->lock);
    pthread_mutex_unlock(&bank->lock);
}
