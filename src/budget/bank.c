/* bank.c: claims and settlements, from memory. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <string.h>

#include "src/budget/till.h"

static int64_t within(int64_t n, int64_t most) {
    return n < 0 ? 0 : n > most ? most : n;
}

/* Tells the posting thread that there is something, once until it has come. True: the caller wakes it, when it has let
 * go of the lock. */
static bool wake(weirp_bank *bank) {
    bool first = !bank->woken;
    bank->woken = true;
    return first && bank->options.wake;
}

typedef struct asking {
    weirp_account *account;
    int64_t worst, likely;
    struct weirp_queued *queued; /* what it waited for the last time */
    uint64_t now_ns;
} asking;

static void ask(weirp_bank *bank, const asking *c, bool *woke) {
    weirp_account *a = c->account;
    bool again = c->queued->asked == a->serial && c->queued->round == a->round;
    c->queued->asked = a->serial;
    c->queued->round = a->round;
    if (!again) a->asked = a->asked > WEIRP_MOST_MONEY - c->worst ? WEIRP_MOST_MONEY : a->asked + c->worst;
    weirp_till_activate(bank, a);
    if (!weirp_till_is_stuck(a) || c->now_ns - a->looked_ns > WEIRP_TILL_POLL_MS * WEIRP_TILL_MS) *woke |= wake(bank);
}

/* ---- claims ---- */

/* What somebody who has waited long needs isn't there for others. */
static int64_t guarded(const asking *c) {
    const weirp_account *a = c->account;
    return a->guard_until_ns > c->now_ns && a->guard_ticket != c->queued->ticket ? a->guard_likely : 0;
}

/* One account's answer; *cap: what the call may come to. See docs/budgets.md for why in this order. */
static weirp_claim_result judge(weirp_bank *bank, const asking *c, int64_t *cap, bool *woke) {
    weirp_account *a = c->account;
    int64_t open = weirp_till_free(a), left = open - guarded(c);
    if (c->worst <= left || c->worst == 0) return WEIRP_CLAIM_GRANTED;
    if (!a->looked_ns || weirp_till_global(a) > 0) {
        if (c->worst > open) ask(bank, c, woke);
        return WEIRP_CLAIM_WAIT;
    }
    if (c->likely <= left && left > 0) {
        *cap = left;
        return WEIRP_CLAIM_LOWERED;
    }
    if (c->likely <= open) return WEIRP_CLAIM_WAIT;
    if (weirp_till_unsettled(a) >= c->likely) { /* held by calls under way, or by others' leases */
        if (a->leased > a->lease) ask(bank, c, woke);
        return WEIRP_CLAIM_WAIT;
    }
    /* What is spent never grows less: only a person can have made room since. */
    if (c->now_ns - a->looked_ns <= WEIRP_TILL_FRESH_NS) return WEIRP_CLAIM_EXHAUSTED;
    a->look = true;
    weirp_till_activate(bank, a);
    *woke |= wake(bank);
    return WEIRP_CLAIM_WAIT;
}

static void tell_shortage(weirp_shortage *why, const weirp_account *a) {
    const weirp_budget *b = &a->budget->budget;
    *why = (weirp_shortage){.unit = b->unit,
                            .exhausted = b->exhausted,
                            .limit = a->looked_ns ? a->limit : b->limit,
                            .spent = a->spent + a->unproven + a->unposted,
                            .period_end = a->span.end};
    memcpy(why->budget, b->name, sizeof why->budget);
    why->left = why->limit > why->spent ? why->limit - why->spent : 0;
}

/* It waits for calls under way to come to less than is likely. */
static bool only_hopes(const asking *c) {
    const weirp_account *a = c->account;
    return a->looked_ns && weirp_till_global(a) <= 0 && c->likely > weirp_till_free(a) &&
           c->likely > weirp_till_potential(a) && c->likely <= weirp_till_unsettled(a);
}

static void queue_up(weirp_bank *bank, weirp_claim *claim, weirp_account *a, int64_t likely, uint64_t now_ns) {
    if (!claim->queued.ticket) {
        claim->queued.ticket = ++bank->next_ticket;
        claim->queued.since_ns = now_ns;
    }
    claim->queued.at = a;
    claim->queued.serial = a->serial;
    claim->queued.seen = a->events;
    claim->queued.likely = likely;
}

/* Written down where it outlives the process: without that, nobody could tell later what its leases were for. */
static bool spool_claim(weirp_bank *bank, weirp_claim *claim) {
    uint64_t numbers[WEIRP_MAX_CLAIMED];
    int64_t worst[WEIRP_MAX_CLAIMED];
    uint8_t bytes[WEIRP_SPOOL_SLOT];
    size_t n = 0;
    for (size_t i = 0; i < claim->n; i++) {
        const weirp_account *a = claim->of[i].account;
        if (!a->budget->budget.hard || !claim->of[i].worst) continue;
        numbers[n] = a->number;
        worst[n++] = claim->of[i].worst;
    }
    if (!n) return true;
    size_t size = weirp_slot_encode(claim->call, numbers, worst, n, bytes);
    return size && weirp_spool_take(bank->spool, bytes, size, &claim->slot) == WEIR_OK;
}

/* What was found goes into the claim: every part capped to what the call may come to. False: there is no room to write
 * it down. */
static bool take(weirp_bank *bank, weirp_claim *claim, const weirp_need *need, const weirp_till_subject *found,
                 uint64_t now_ns, bool *woke) {
    for (int u = 0; u < WEIRP_N_UNITS; u++)
        if (claim->most[u] < need->worst[u]) claim->lowered = true;
    claim->n = found->n;
    claim->call = ++bank->next_call;
    for (size_t i = 0; i < found->n; i++) {
        weirp_account *a = found->accounts[i];
        weirp_unit u = a->budget->budget.unit;
        int64_t most = claim->most[u] < WEIRP_MOST_MONEY ? claim->most[u] : WEIRP_MOST_MONEY;
        int64_t worst = within(need->worst[u], most), likely = within(need->likely[u], worst);
        claim->of[i] = (struct weirp_claimed){a, worst, likely};
    }
    if (!spool_claim(bank, claim)) return false;
    for (size_t i = 0; i < found->n; i++) {
        weirp_account *a = found->accounts[i];
        int64_t worst = claim->of[i].worst, likely = claim->of[i].likely;
        a->n_claims++;
        claim->hard |= a->budget->budget.hard;
        a->worst += worst;
        a->likely += likely;
        a->claimed_ns = now_ns;
        if (a->guard_ticket == claim->queued.ticket) a->guard_until_ns = 0;
        if (a->budget->budget.hard && !a->top_up && weirp_till_free(a) < a->low && weirp_till_global(a) > 0) {
            a->top_up = true;
            weirp_till_activate(bank, a);
            *woke |= wake(bank);
        }
    }
    memset(&claim->queued, 0, sizeof claim->queued);
    return true;
}

/* Whoever isn't served needs no guard. */
static void leave_queue(weirp_claim *claim, const weirp_till_subject *found) {
    for (size_t i = 0; i < found->n; i++)
        if (found->accounts[i]->guard_ticket == claim->queued.ticket) found->accounts[i]->guard_until_ns = 0;
    memset(&claim->queued, 0, sizeof claim->queued);
}

static weirp_claim_result claim_all(weirp_bank *bank, const weirp_till_subject *found, const weirp_need *need,
                                    uint64_t now_ns, weirp_claim *claim, weirp_shortage *why, bool *woke) {
    static const int RANK[] = {
        [WEIRP_CLAIM_GRANTED] = 0, [WEIRP_CLAIM_LOWERED] = 1, [WEIRP_CLAIM_WAIT] = 2, [WEIRP_CLAIM_EXHAUSTED] = 3};
    weirp_claim_result result = WEIRP_CLAIM_GRANTED;
    asking worst_off = {0};
    const weirp_account *capped_by = NULL;
    for (size_t i = 0; i < found->n; i++) {
        weirp_account *a = found->accounts[i];
        weirp_unit u = a->budget->budget.unit;
        if (!a->budget->budget.hard) continue;
        int64_t worst = within(need->worst[u], WEIRP_MOST_MONEY), cap = INT64_MAX;
        asking c = {a, worst, within(need->likely[u] > 0 ? need->likely[u] : 1, worst), &claim->queued, now_ns};
        a->claimed_ns = now_ns;
        if (worst > a->largest) a->largest = worst;
        weirp_claim_result one = judge(bank, &c, &cap, woke);
        if (cap < claim->most[u]) {
            claim->most[u] = cap;
            capped_by = a;
        }
        if (RANK[one] > RANK[result]) {
            result = one;
            worst_off = c;
        }
    }
    if (result == WEIRP_CLAIM_GRANTED || result == WEIRP_CLAIM_LOWERED) {
        if (!take(bank, claim, need, found, now_ns, woke)) {
            claim->n = 0;
            claim->lowered = false;
            *woke |= wake(bank);
            tell_shortage(why, found->accounts[0]);
            queue_up(bank, claim, found->accounts[0], 0, now_ns);
            return WEIRP_CLAIM_WAIT;
        }
        if (claim->lowered && capped_by) tell_shortage(why, capped_by);
        return claim->lowered ? WEIRP_CLAIM_LOWERED : WEIRP_CLAIM_GRANTED;
    }
    tell_shortage(why, worst_off.account);
    why->hope = result == WEIRP_CLAIM_WAIT && only_hopes(&worst_off);
    if (result == WEIRP_CLAIM_WAIT)
        queue_up(bank, claim, worst_off.account, worst_off.likely, now_ns);
    else
        leave_queue(claim, found);
    return result;
}

weirp_claim_result weirp_bank_claim(weirp_bank *bank, const weirp_subject *subject, const weirp_need *need,
                                    int64_t now_ms, weirp_claim *claim, weirp_shortage *why) {
    claim->n = 0;
    claim->lowered = claim->hard = false;
    claim->slot = 0;
    for (int u = 0; u < WEIRP_N_UNITS; u++) claim->most[u] = INT64_MAX;
    if (!weirp_bank_n_budgets(bank)) return WEIRP_CLAIM_GRANTED;
    bool woke = false;
    uint64_t now_ns = weirp_till_now(bank);
    weirp_claim_result result = WEIRP_CLAIM_EXHAUSTED;
    *why = (weirp_shortage){.too_many = true, .period_end = INT64_MAX};
    pthread_mutex_lock(&bank->lock);
    const weirp_till_subject *found = weirp_till_find(bank, subject, now_ms);
    if (!found) why->too_many = false; /* no memory: nothing is let through that couldn't be counted */
    if (found && !found->too_many) result = claim_all(bank, found, need, now_ns, claim, why, &woke);
    pthread_mutex_unlock(&bank->lock);
    if (woke) bank->options.wake(bank->options.user);
    return result;
}

/* ---- settlements ---- */

/* The part of a claim on one account becomes what the call came to. */
static void settle_part(struct weirp_claimed *of, int64_t amount, struct weirp_spooled_part *part) {
    weirp_account *a = of->account;
    a->n_claims--;
    a->worst -= of->worst;
    a->likely -= of->likely;
    int64_t covered = a->lease - a->settled - a->worst; /* the lease, less what others in flight may need */
    part->account = a;
    part->number = a->number;
    part->leased = within(amount, covered > 0 ? covered : 0);
    part->free = amount - part->leased;
    part->overrun = amount > of->worst && a->budget->budget.hard;
    a->settled += part->leased;
    a->unposted += amount;
    a->used_since += amount;
}

enum { LONGEST_TEXT = 1000 }; /* all of them, and keys, fit into a record of the spool */

static void put_bytes(weirp_writer *q, const void *bytes, size_t n) {
    if (n) memcpy(q->data + q->size, bytes, n);
    q->size += n;
}

/* Queues the entry for the ledger, and for whoever finds this process dead. False: no memory. */
static bool put_entry(weirp_bank *bank, weirp_spooled *entry, const weirp_settlement *s) {
    const char *texts[1 + WEIRP_N_DIMS] = {s->id};
    size_t lengths[1 + WEIRP_N_DIMS], head = offsetof(weirp_spooled, part) + entry->n * sizeof entry->part[0];
    weirp_writer *q = &bank->queue;
    size_t begin = q->size, size = head, keys = 0;
    entry->texts_size = 0;
    for (int d = 0; d < WEIRP_N_DIMS; d++) texts[1 + d] = s->subject ? s->subject->value[d] : NULL;
    for (size_t i = 0; i < 1 + WEIRP_N_DIMS; i++) {
        lengths[i] = texts[i] ? strnlen(texts[i], LONGEST_TEXT) : 0;
        entry->texts_size += (uint32_t)lengths[i] + 1;
    }
    for (uint32_t i = 0; i < entry->n; i++)
        if (!entry->part[i].number) keys += 2 + ((weirp_account *)entry->part[i].account)->key.size;
    size = (head + entry->texts_size + keys + 7) & ~(size_t)7;
    if (!weirp_reserve((void **)&q->data, &q->capacity, begin + size, 1)) return false;
    entry->size = (uint32_t)size;
    put_bytes(q, entry, head);
    for (size_t i = 0; i < 1 + WEIRP_N_DIMS; i++) {
        put_bytes(q, texts[i], lengths[i]);
        put_bytes(q, "", 1);
    }
    for (uint32_t i = 0; i < entry->n; i++) {
        const weirp_account_key *key = &((weirp_account *)entry->part[i].account)->key;
        uint16_t key_size = (uint16_t)key->size;
        if (entry->part[i].number) continue;
        put_bytes(q, &key_size, 2);
        put_bytes(q, key->bytes, key->size);
    }
    put_bytes(q, "\0\0\0\0\0\0\0", begin + size - q->size);
    bank->n_queued++;
    weirp_spooled *queued = (weirp_spooled *)(void *)(q->data + begin);
    queued->in_ring = weirp_spool_append(bank->spool, queued, size) == WEIR_OK;
    bank->n_ringed += queued->in_ring;
    entry->in_ring = queued->in_ring;
    return true;
}

/* The entry's slot goes once its record is in the ring, or, where the ring is full, when it has been posted. */
static void queue_entry(weirp_bank *bank, weirp_spooled *entry, const weirp_settlement *s, bool billed) {
    bool kept = billed && put_entry(bank, entry, s);
    if (billed && !kept) { /* the sums at least are posted */
        for (uint32_t i = 0; i < entry->n; i++) {
            weirp_account *a = entry->part[i].account;
            a->lost[0] += entry->part[i].leased;
            a->lost[1] += entry->part[i].free;
        }
    }
    if (entry->slot && (!billed || (kept && entry->in_ring))) weirp_spool_empty(bank->spool, entry->slot);
}

void weirp_bank_settle(weirp_bank *bank, weirp_claim *claim, const weirp_settlement *s) {
    if (!claim->n && !weirp_bank_n_budgets(bank)) return;
    bool woke = false, waiting = false, billed = false;
    uint64_t now_ns = weirp_till_now(bank);
    weirp_spooled entry; /* parts beyond n stay unwritten: this is the fast path */
    memset(&entry, 0, offsetof(weirp_spooled, part));
    entry.form = WEIRP_SPOOLED_FORM;
    entry.call = claim->call;
    entry.slot = claim->slot;
    entry.at_ms = s->at_ms;
    entry.attempt = s->attempt;
    entry.price_version = s->price_version;
    entry.usage = s->usage;
    for (int u = 0; u < WEIRP_N_UNITS; u++) {
        entry.amount[u] = within(s->amount[u], WEIRP_MOST_MONEY / 1024);
        billed |= entry.amount[u] > 0;
    }
    pthread_mutex_lock(&bank->lock);
    for (size_t i = 0; i < claim->n; i++) {
        weirp_account *a = claim->of[i].account;
        int64_t amount = entry.amount[a->budget->budget.unit];
        settle_part(&claim->of[i], amount, &entry.part[entry.n]);
        if (amount) {
            entry.n++;
            weirp_till_activate(bank, a);
        }
        weirp_till_event(bank, a, now_ns);
    }
    queue_entry(bank, &entry, s, billed);
    if (bank->n_queued >= WEIRP_TILL_MANY) woke = wake(bank);
    waiting = bank->due != NULL;
    pthread_mutex_unlock(&bank->lock);
    memset(claim, 0, sizeof *claim);
    if (woke) bank->options.wake(bank->options.user);
    if (waiting) weirp_till_call_due(bank);
}

size_t weirp_bank_n_budgets(weirp_bank *bank) {
    return atomic_load_explicit(&bank->n_budgets, memory_order_relaxed);
}
