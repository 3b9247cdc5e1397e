/* audit_log.c: the ledger's settlements computed anew from the traffic log.
 *
 * Both sides may be larger than memory. Decisions are dealt into shares by a hash of their ids, so that the settlements
 * of one share fit; each share is one walk over the log and two over the entries.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/budget/books.h"

/* How far a decision's row may be from its settlements: an attempt is settled when it has ended, the row is written
 * when the request has. */
#define APART_MS (INT64_C(10) * 60 * 1000)

const char *weirp_skip_key(weirp_skip skip) {
    static const char *const KEY[] = {
#define SKIP_KEY(name, key, text) key,
        WEIRP_SKIP_TABLE(SKIP_KEY)
#undef SKIP_KEY
    };
    return KEY[skip];
}

const char *weirp_skip_text(weirp_skip skip) {
    static const char *const TEXT[] = {
#define SKIP_TEXT(name, key, text) text,
        WEIRP_SKIP_TABLE(SKIP_TEXT)
#undef SKIP_TEXT
    };
    return TEXT[skip];
}

/* One attempt's settlement; several under one key (a call that was settled twice) add up. */
typedef struct bill {
    XXH128_hash_t key; /* of id and attempt; zeros: empty */
    uint64_t entry;    /* the first one's number */
    int64_t nano, tokens;
    bool estimated, matched;
} bill;

typedef struct account {
    int64_t opened_ms; /* INT64_MAX: not yet */
    weirp_unit unit;
    bool known;
} account;

typedef struct process {
    int64_t last_ms; /* its last settlement; 0: none */
    bool open;       /* neither has it left, nor has anybody buried it */
    bool killed;
} process;

typedef struct limit {
    weirp_budget budget;
    weirp_zone *zone; /* NULL: this machine doesn't know it */
    bool removed;
} limit;

typedef struct auditing {
    weirp_txn *txn;
    const weirp_log_source *log;
    weirp_log_audit *audit;
    weirp_log_tell tell;
    void *user;
    account *accounts; /* (n_accounts,) by number */
    uint64_t n_accounts;
    process *processes; /* (n_processes,) by number */
    uint32_t n_processes;
    limit *limits; /* (n_limits) */
    size_t n_limits, limits_capacity;
    uint64_t n_settled;
    int64_t open_ms;  /* what is later may not be posted yet; INT64_MAX: all is */
    int64_t first_ms; /* the log's first decision */
    uint64_t share, n_shares;
    bill *slots; /* (n_slots,) open addressing */
    size_t n, n_slots;
} auditing;

static void add_to(int64_t *sum, int64_t amount) {
    if (__builtin_add_overflow(*sum, amount, sum)) *sum = INT64_MAX;
}

static void differs(auditing *a, uint64_t entry, const char *id, unsigned attempt, weirp_unit unit, int64_t ledger,
                    int64_t log, const char *why) {
    const weirp_log_difference d = {entry, id, attempt, unit, ledger, log, why};
    a->audit->n_wrong++;
    if (a->tell) a->tell(a->user, &d);
}

static void skip(auditing *a, weirp_skip why) {
    a->audit->n_skipped[why]++;
}

/* ---- what is known of accounts, processes and budgets ---- */

static weir_status take_account(void *user, const weirp_account_row *row, weir_error *err) {
    auditing *a = user;
    (void)err;
    if (row->number >= a->n_accounts) return WEIR_OK; /* the audit of balances tells */
    a->accounts[row->number].unit = row->unit;
    a->accounts[row->number].known = true;
    return WEIR_OK;
}

static weir_status take_process(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                weir_error *err) {
    auditing *a = user;
    weirp_process_row row = {0};
    weir_status st = weirp_process_row_decode(&row, data, size, err);
    if (st) return st;
    if (key_size != 6) return weirp_fail(err, WEIR_CORRUPT, 0, "a process's row is damaged");
    const uint32_t id = weirp_be32(key + 2);
    if (id >= a->n_processes || row.died_ms) return WEIR_OK;
    process *p = &a->processes[id];
    p->open = true;
    const int64_t posted = p->last_ms ? p->last_ms : row.started_ms;
    if (posted - APART_MS < a->open_ms) a->open_ms = posted - APART_MS;
    return WEIR_OK;
}

static weir_status take_limit(void *user, const weirp_budget *budget, bool removed, weir_error *err) {
    auditing *a = user;
    weirp_zone *zone = NULL;
    if (!weirp_reserve((void **)&a->limits, &a->limits_capacity, a->n_limits + 1, sizeof *a->limits))
        return weirp_nomem(err);
    if (weirp_zone_open(&zone, budget->zone, NULL) == WEIR_NOMEM) return weirp_nomem(err);
    a->limits[a->n_limits++] = (limit){*budget, zone, removed};
    return WEIR_OK;
}

/* Whether what a settlement has moved is what it says the call came to. */
static void check_postings(auditing *a, uint64_t number, const weirp_entry *e) {
    for (size_t i = 0; i < e->n_postings; i++) {
        const uint64_t of = e->postings[i].account;
        int64_t moved = 0;
        bool first = true;
        for (size_t k = 0; k < e->n_postings; k++) {
            if (e->postings[k].account != of) continue;
            first = first && k >= i;
            if (e->postings[k].to == WEIRP_SPENT) add_to(&moved, e->postings[k].amount);
        }
        if (!first || of >= a->n_accounts || !a->accounts[of].known) continue;
        const weirp_unit unit = a->accounts[of].unit;
        if (moved != e->amount[unit])
            differs(a, number, e->id ? e->id : "-", e->attempt, unit, moved, e->amount[unit],
                    "moved another amount than it says the call came to");
    }
}

static weir_status look_at_entry(void *user, uint64_t number, const weirp_entry *e, const uint32_t texts[WEIRP_N_DIMS],
                                 weir_error *err) {
    auditing *a = user;
    process *p = e->process < a->n_processes ? &a->processes[e->process] : NULL;
    (void)texts, (void)err;
    for (size_t i = 0; i < e->n_postings && e->kind == WEIRP_ENTRY_LIMIT; i++) {
        const uint64_t of = e->postings[i].account;
        if (of < a->n_accounts && e->at_ms < a->accounts[of].opened_ms) a->accounts[of].opened_ms = e->at_ms;
    }
    if (e->kind == WEIRP_ENTRY_FORFEIT && !e->n_postings && p) p->killed = true;
    if (e->kind == WEIRP_ENTRY_RECONCILE && e->at_ms >= a->log->from_ms)
        for (size_t i = 0; i < e->n_postings; i++)
            if (e->postings[i].to == WEIRP_SPENT) skip(a, WEIRP_SKIP_ASSUMED);
    if (e->kind != WEIRP_ENTRY_SETTLE) return WEIR_OK;
    if (p && e->at_ms > p->last_ms) p->last_ms = e->at_ms;
    if (e->at_ms < a->log->from_ms) {
        skip(a, WEIRP_SKIP_OLDER);
        return WEIR_OK;
    }
    a->n_settled++;
    add_to(&a->audit->spent_nano, e->amount[WEIRP_UNIT_USD]);
    check_postings(a, number, e);
    if (!e->id) skip(a, WEIRP_SKIP_ASSUMED);
    return WEIR_OK;
}

static weir_status prepare(auditing *a, weir_error *err) {
    weirp_counters counters;
    weir_status st;
    WEIRP_TRY(weirp_counters_read(a->txn, &counters, err));
    a->n_accounts = counters.next_account;
    a->n_processes = counters.next_process;
    a->accounts =
        a->n_accounts < SIZE_MAX / sizeof *a->accounts ? weirp_array(a->n_accounts, sizeof *a->accounts) : NULL;
    a->processes = weirp_array(a->n_processes, sizeof *a->processes);
    if (!a->accounts || !a->processes) return weirp_nomem(err);
    for (uint64_t i = 0; i < a->n_accounts; i++) a->accounts[i].opened_ms = INT64_MAX;
    WEIRP_TRY(weirp_ledger_budgets(a->txn, take_limit, a, err));
    WEIRP_TRY(weirp_ledger_accounts(a->txn, take_account, a, err));
    WEIRP_TRY(weirp_entries_scan(a->txn, look_at_entry, a, NULL, err));
    st = weirp_txn_scan(a->txn, WEIRP_ROW_PROCESS, 2, NULL, 0, take_process, a, err);
    a->n_shares = a->n_settled / WEIRP_AUDIT_BILLS + 1;
done:
    return st;
}

/* ---- a share's settlements ---- */

static XXH128_hash_t bill_key(const char *id, unsigned attempt) {
    XXH128_hash_t key = XXH3_128bits_withSeed(id, strlen(id), attempt);
    if (!key.low64) key.low64 = 1;
    return key;
}

static bill *bill_slot(bill *slots, size_t n_slots, XXH128_hash_t key) {
    size_t i = key.low64 & (n_slots - 1);
    while (slots[i].key.low64 && !XXH128_isEqual(slots[i].key, key)) i = (i + 1) & (n_slots - 1);
    return &slots[i];
}

static bill *find_bill(const auditing *a, const char *id, unsigned attempt) {
    bill *b = a->n_slots ? bill_slot(a->slots, a->n_slots, bill_key(id, attempt)) : NULL;
    return b && b->key.low64 ? b : NULL;
}

static bool is_mine(const auditing *a, const char *id) {
    return a->n_shares == 1 || XXH3_64bits(id, strlen(id)) % a->n_shares == a->share;
}

static bool is_compared(const auditing *a, const weirp_entry *e) {
    return e->kind == WEIRP_ENTRY_SETTLE && e->id && e->at_ms >= a->log->from_ms && is_mine(a, e->id);
}

static weir_status take_bill(void *user, uint64_t number, const weirp_entry *e, const uint32_t texts[WEIRP_N_DIMS],
                             weir_error *err) {
    auditing *a = user;
    (void)texts;
    if (!is_compared(a, e)) return WEIR_OK;
    if (a->n * 2 >= a->n_slots) {
        size_t n = a->n_slots ? 2 * a->n_slots : 4096;
        bill *slots = weirp_array(n, sizeof *slots);
        if (!slots) return weirp_nomem(err);
        for (size_t i = 0; i < a->n_slots; i++)
            if (a->slots[i].key.low64) *bill_slot(slots, n, a->slots[i].key) = a->slots[i];
        free(a->slots);
        a->slots = slots;
        a->n_slots = n;
    }
    XXH128_hash_t key = bill_key(e->id, e->attempt);
    bill *slot = bill_slot(a->slots, a->n_slots, key);
    if (!slot->key.low64) {
        *slot = (bill){.key = key, .entry = number};
        a->n++;
    }
    add_to(&slot->nano, e->amount[WEIRP_UNIT_USD]);
    add_to(&slot->tokens, e->amount[WEIRP_UNIT_TOKENS]);
    slot->estimated |= e->usage.estimated;
    return WEIR_OK;
}

/* ---- the log against them ---- */

typedef enum cover { COVER_NONE, COVER_UNSURE, COVER_SURE } cover;

/* Whether the attempt had to be charged to this budget: its account was open, and is the attempt's. */
static weir_status covered_by(const auditing *a, const limit *l, const weirp_logged *r, const weirp_subject *who,
                              cover *most, weir_error *err) {
    weirp_budget wide = l->budget;
    weirp_subject known = *who;
    bool guess = false;
    const int ours[] = {WEIRP_DIM_MODEL, WEIRP_DIM_PROVIDER};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (known.value[ours[i]] || !wide.match[ours[i]][0]) continue;
        wide.match[ours[i]][0] = '\0';
        guess = true;
    }
    if (!weirp_budget_covers(&wide, &known)) return WEIR_OK;
    if ((guess || !l->zone) && *most < COVER_UNSURE) *most = COVER_UNSURE;
    if (guess || !l->zone) return WEIR_OK;
    weirp_account_key key;
    weirp_row_key row_key;
    const uint8_t *data;
    size_t size;
    const weirp_span span = weirp_period_at(l->zone, wide.period, r->time_ms / 1000);
    weirp_account_key_of(&l->budget, span.start, &known, &key);
    weirp_row_key_of_account(&row_key, &key);
    weir_status st = weirp_txn_get(a->txn, row_key.bytes, row_key.size, &data, &size, err);
    if (st == WEIR_NOTFOUND) return WEIR_OK; /* nothing was ever charged to it */
    if (st) return st;
    if (size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "an account's key is damaged");
    const uint64_t number = weirp_be64(data);
    if (number >= a->n_accounts || a->accounts[number].opened_ms > r->time_ms) return WEIR_OK;
    const cover c = l->removed ? COVER_UNSURE : COVER_SURE;
    if (c > *most) *most = c;
    return WEIR_OK;
}

static weir_status only_logged(auditing *a, const weirp_logged *r, size_t attempt, weir_error *err) {
    weirp_subject who = r->subject;
    cover most = COVER_NONE;
    if (r->nano[attempt] <= 0) return WEIR_OK; /* nothing to charge */
    if (r->time_ms >= a->open_ms) {
        skip(a, WEIRP_SKIP_RUNNING);
        return WEIR_OK;
    }
    who.value[WEIRP_DIM_MODEL] = r->model[attempt];
    who.value[WEIRP_DIM_PROVIDER] = NULL;
    for (size_t i = 0; i < a->n_limits && most < COVER_SURE; i++) {
        weir_status st = covered_by(a, &a->limits[i], r, &who, &most, err);
        if (st) return st;
    }
    if (most != COVER_SURE)
        skip(a, most == COVER_NONE ? WEIRP_SKIP_UNCOVERED : WEIRP_SKIP_UNSURE);
    else
        differs(a, UINT64_MAX, r->id, (unsigned)attempt, WEIRP_UNIT_USD, -1, r->nano[attempt],
                "a budget covers it, and the ledger doesn't have it");
    return WEIR_OK;
}

/* An amount that the log knows; gives whether it is the ledger's. */
static bool agrees(auditing *a, const bill *b, const weirp_logged *r, size_t attempt, weirp_unit unit, int64_t ledger,
                   int64_t log) {
    if (ledger == log || (b->estimated && ledger > log)) return true;
    differs(a, b->entry, r->id, (unsigned)attempt, unit, ledger, log,
            b->estimated ? "estimated, and less than the log's: it should be on the safe side"
                         : "the log says another amount");
    return false;
}

static weir_status compare(void *user, const weirp_logged *r, weir_error *err) {
    auditing *a = user;
    if (a->share == 0) {
        a->audit->n_decisions++;
        if (r->time_ms < a->first_ms) a->first_ms = r->time_ms;
    }
    if (!is_mine(a, r->id)) return WEIR_OK;
    for (size_t i = 0; i < r->n; i++) {
        bill *b = find_bill(a, r->id, (unsigned)i);
        const int64_t nano = r->nano[i];
        if (!b && r->time_ms < a->log->from_ms) { /* its settlement may be older, too */
            a->audit->n_skipped[WEIRP_SKIP_OLDER] += nano > 0;
            continue;
        }
        if (!b) {
            weir_status st = only_logged(a, r, i, err);
            if (st) return st;
            continue;
        }
        b->matched = true;
        bool same = true;
        if (nano >= 0) {
            add_to(&a->audit->spent_log_nano, nano);
            same = agrees(a, b, r, i, WEIRP_UNIT_USD, b->nano, nano);
        } else {
            skip(a, WEIRP_SKIP_UNPRICED);
        }
        if (r->answered == i && r->tokens >= 0)
            same = agrees(a, b, r, i, WEIRP_UNIT_TOKENS, b->tokens, r->tokens) && same;
        else if (nano < 0)
            continue;
        if (same) (*(b->estimated && b->nano > nano ? &a->audit->n_safe : &a->audit->n_same))++;
    }
    return WEIR_OK;
}

/* ---- what the log doesn't have ---- */

static weir_status tell_unlogged(void *user, uint64_t number, const weirp_entry *e, const uint32_t texts[WEIRP_N_DIMS],
                                 weir_error *err) {
    auditing *a = user;
    (void)texts, (void)err, (void)number;
    bill *b = is_compared(a, e) ? find_bill(a, e->id, e->attempt) : NULL;
    if (!b || b->matched) return WEIR_OK;
    const process *p = e->process < a->n_processes ? &a->processes[e->process] : NULL;
    const bool late = p && e->at_ms >= p->last_ms - APART_MS;
    b->matched = true; /* told once */
    if (e->attempt >= WEIRP_LOGGED_ATTEMPTS)
        skip(a, WEIRP_SKIP_ATTEMPTS);
    else if (late && p->open)
        skip(a, WEIRP_SKIP_RUNNING);
    else if (late && p->killed)
        skip(a, WEIRP_SKIP_KILLED);
    else if (a->log->optional && !a->audit->n_decisions)
        skip(a, WEIRP_SKIP_NO_LOG);
    else if (a->log->trimmed && e->at_ms < a->first_ms + APART_MS)
        skip(a, WEIRP_SKIP_TRIMMED);
    else
        differs(a, b->entry, e->id, e->attempt, WEIRP_UNIT_USD, b->nano, -1, "the log doesn't have it");
    return WEIR_OK;
}

/* ---- all of it ---- */

static weir_status audit_share(auditing *a, weir_error *err) {
    weir_status st;
    a->n = 0;
    if (a->n_slots) memset(a->slots, 0, a->n_slots * sizeof *a->slots);
    WEIRP_TRY(weirp_entries_scan(a->txn, take_bill, a, NULL, err));
    WEIRP_TRY(a->log->walk(a->log->user, compare, a, err));
    st = weirp_entries_scan(a->txn, tell_unlogged, a, NULL, err);
done:
    return st;
}

weir_status weirp_ledger_audit_log(weirp_txn *txn, const weirp_log_source *log, weirp_log_audit *audit,
                                   weirp_log_tell tell, void *user, weir_error *err) {
    auditing a = {.txn = txn, .log = log, .audit = audit, .tell = tell, .user = user};
    a.open_ms = a.first_ms = INT64_MAX / 2;
    weir_status st;
    WEIRP_TRY(prepare(&a, err));
    for (; a.share < a.n_shares; a.share++) WEIRP_TRY(audit_share(&a, err));
done:
    for (size_t i = 0; i < a.n_limits; i++) weirp_zone_close(a.limits[i].zone);
    free(a.limits);
    free(a.accounts);
    free(a.processes);
    free(a.slots);
    return st;
}
