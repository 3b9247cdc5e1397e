/* account.c: the accounts that this process has to do with, and which of them cover a subject.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/budget/till.h"

enum { SUBJECTS = 4096, SUBJECT_TEXT = 128, SUBJECT_KEY = WEIRP_N_DIMS * (SUBJECT_TEXT + 1), FEW_ACCOUNTS = 4096 };
#define UNUSED_NS (UINT64_C(60) * 1000 * WEIRP_TILL_MS)

int64_t weirp_till_global(const weirp_account *a) {
    return a->limit - a->spent - a->leased - a->unproven;
}

int64_t weirp_till_free(const weirp_account *a) {
    int64_t beyond = a->looked_ns ? weirp_till_global(a) : 0;
    return a->lease - a->settled - a->worst + (beyond < 0 ? beyond : 0);
}

int64_t weirp_till_potential(const weirp_account *a) {
    return a->limit - a->spent - a->unproven - a->unposted - a->likely;
}

int64_t weirp_till_unsettled(const weirp_account *a) {
    return weirp_till_potential(a) + a->likely;
}

bool weirp_till_is_stuck(const weirp_account *a) {
    return a->starved && (a->wanted || (a->marked && weirp_till_global(a) <= 0));
}

void weirp_till_activate(weirp_bank *bank, weirp_account *a) {
    if (a->active) return;
    a->active = true;
    a->next_active = bank->active;
    bank->active = a;
}

/* ---- by key ---- */

static bool grow_accounts(weirp_bank *bank) {
    if (bank->n_accounts < bank->n_slots) return true;
    size_t n = bank->n_slots ? 2 * bank->n_slots : 64;
    weirp_account **slots = weirp_array(n, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < bank->n_slots; i++) {
        for (weirp_account *a = bank->accounts[i], *next; a; a = next) {
            next = a->next;
            a->next = slots[a->hash & (n - 1)];
            slots[a->hash & (n - 1)] = a;
        }
    }
    free(bank->accounts);
    bank->accounts = slots;
    bank->n_slots = n;
    return true;
}

static weirp_account *account_of(weirp_bank *bank, weirp_till_budget *budget, const weirp_subject *subject) {
    weirp_account_key key;
    weirp_account_key_of(&budget->budget, budget->span.start, subject, &key);
    uint64_t hash = XXH3_64bits(key.bytes, key.size);
    for (weirp_account *a = bank->n_slots ? bank->accounts[hash & (bank->n_slots - 1)] : NULL; a; a = a->next)
        if (a->hash == hash && a->key.size == key.size && memcmp(a->key.bytes, key.bytes, key.size) == 0) return a;
    if (!grow_accounts(bank)) return NULL;
    weirp_account *a = bank->unused ? bank->unused : malloc(sizeof *a);
    if (!a) return NULL;
    if (a == bank->unused) bank->unused = a->next;
    weirp_account **slot = &bank->accounts[hash & (bank->n_slots - 1)];
    *a = (weirp_account){
        .next = *slot, .hash = hash, .serial = ++bank->next_serial, .budget = budget, .span = budget->span, .key = key};
    *slot = a;
    bank->n_accounts++;
    return a;
}

/* ---- by subject ---- */

/* Its texts, each with its length; 0: too long to be remembered. */
static size_t subject_key(const weirp_subject *subject, uint8_t out[SUBJECT_KEY]) {
    size_t at = 0;
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        size_t n = subject->value[d] ? strnlen(subject->value[d], SUBJECT_TEXT + 1) : 0;
        if (n > SUBJECT_TEXT) return 0;
        out[at++] = (uint8_t)n;
        if (n) memcpy(out + at, subject->value[d], n);
        at += n;
    }
    return at;
}

/* Budgets of single keys or users may be many, so a subject looks only at those that name one of its values, and at
 * those that name none. */
static uint64_t value_hash(int dim, const char *value) {
    return XXH3_64bits_withSeed(value, strlen(value), (uint64_t)dim);
}

bool weirp_till_index(weirp_bank *bank) {
    size_t n = 16;
    while (n < bank->n_known) n *= 2;
    weirp_till_budget **slots = weirp_array(n, sizeof(weirp_till_budget *));
    if (!slots) return false;
    free(bank->by_value);
    bank->by_value = slots;
    bank->n_values = n;
    bank->for_any = NULL;
    for (size_t i = bank->n_known; i-- > 0;) {
        weirp_till_budget *b = bank->budgets[i], **list = &bank->for_any;
        if (b->removed) continue;
        for (int d = 0; d < WEIRP_N_DIMS; d++) {
            const char *match = b->budget.match[d];
            if (!match[0] || strcmp(match, "*") == 0) continue;
            list = &slots[value_hash(d, match) & (n - 1)];
            break;
        }
        b->next = *list;
        *list = b;
    }
    return true;
}

/* The accounts of those in the list that cover the subject. False: no memory. */
static bool fill_from(weirp_bank *bank, weirp_till_budget *list, weirp_till_subject *found,
                      const weirp_subject *subject, int64_t now_s) {
    for (weirp_till_budget *b = list; b && !found->too_many; b = b->next) {
        if (!weirp_budget_covers(&b->budget, subject)) continue;
        if (b->budget.period != WEIRP_PERIOD_TOTAL) {
            if (now_s < b->span.start || now_s >= b->span.end)
                b->span = weirp_period_at(b->zone, b->budget.period, now_s);
            if (b->span.start > found->from_s) found->from_s = b->span.start;
            if (b->span.end < found->until_s) found->until_s = b->span.end;
        }
        weirp_account *a = account_of(bank, b, subject);
        if (!a) return false;
        bool twice = false; /* two of its values share a chain */
        for (size_t i = 0; i < found->n; i++) twice |= found->accounts[i] == a;
        if (twice) continue;
        found->too_many = found->n == WEIRP_MAX_CLAIMED;
        if (!found->too_many) found->accounts[found->n++] = a;
    }
    return true;
}

static bool fill(weirp_bank *bank, weirp_till_subject *found, const weirp_subject *subject, int64_t now_s) {
    found->n = 0;
    found->too_many = false;
    found->from_s = INT64_MIN;
    found->until_s = INT64_MAX;
    if (!fill_from(bank, bank->for_any, found, subject, now_s)) return false;
    for (int d = 0; d < WEIRP_N_DIMS && bank->n_values; d++) {
        const char *value = subject->value[d];
        if (!value || !*value) continue;
        weirp_till_budget *list = bank->by_value[value_hash(d, value) & (bank->n_values - 1)];
        if (!fill_from(bank, list, found, subject, now_s)) return false;
    }
    found->epoch = bank->epoch;
    return true;
}

const weirp_till_subject *weirp_till_find(weirp_bank *bank, const weirp_subject *subject, int64_t now_ms) {
    uint8_t key[SUBJECT_KEY];
    int64_t now_s = now_ms >= 0 ? now_ms / 1000 : -((999 - now_ms) / 1000);
    if (!bank->subjects) bank->subjects = weirp_array(SUBJECTS + 1, sizeof *bank->subjects);
    if (!bank->subjects) return NULL;
    size_t size = subject_key(subject, key);
    uint64_t hash = XXH3_64bits(key, size);
    weirp_till_subject *found = &bank->subjects[size ? hash % SUBJECTS : SUBJECTS];
    if (size && found->hash == hash && found->epoch == bank->epoch && found->key_size == size &&
        now_s >= found->from_s && now_s < found->until_s && memcmp(found->key, key, size) == 0)
        return found;
    found->epoch = 0;
    if (size && (found->key_size != size || memcmp(found->key, key, size) != 0)) {
        uint8_t *copy = realloc(found->key, size);
        if (!copy) return NULL;
        memcpy(copy, key, size);
        found->key = copy;
        found->key_size = size;
        found->hash = hash;
    }
    return fill(bank, found, subject, now_s) ? found : NULL;
}

/* ---- letting go ---- */

static bool is_unused(const weirp_account *a, uint64_t now_ns) {
    return !a->active && !a->n_claims && !a->lease && !a->settled && !a->unposted && !a->first &&
           now_ns - a->claimed_ns > UNUSED_NS;
}

/* Accounts of periods that are over, and of users who have left. */
void weirp_till_sweep(weirp_bank *bank, uint64_t now_ns) {
    if (bank->n_accounts < FEW_ACCOUNTS || now_ns - bank->swept_ns < UNUSED_NS / 6) return;
    bank->swept_ns = now_ns;
    bank->epoch++;
    for (size_t i = 0; i < bank->n_slots; i++) {
        for (weirp_account **at = &bank->accounts[i]; *at;) {
            weirp_account *a = *at;
            if (!is_unused(a, now_ns)) {
                at = &a->next;
                continue;
            }
            *at = a->next;
            a->serial = 0;
            a->next = bank->unused;
            bank->unused = a;
            bank->n_accounts--;
        }
    }
}

static void free_chain(weirp_account *a) {
    for (weirp_account *next; a; a = next) {
        next = a->next;
        free(a);
    }
}

void weirp_till_accounts_free(weirp_bank *bank) {
    for (size_t i = 0; i < bank->n_slots; i++) free_chain(bank->accounts[i]);
    free_chain(bank->unused);
    free(bank->accounts);
    for (size_t i = 0; bank->subjects && i <= SUBJECTS; i++) free(bank->subjects[i].key);
    free(bank->subjects);
    for (size_t i = 0; i < bank->n_known; i++) {
        weirp_zone_close(bank->budgets[i]->zone);
        free(bank->budgets[i]);
    }
    free(bank->budgets);
    free(bank->by_value);
}
