/* budget.h: what is limited, and for whom.
 *
 * Lives in this folder: limits, the ledger that proves what was spent, the leases that make it fast, keys that carry
 * limits, and pacing. May not know: HTTP, prompts, how a model is chosen. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_BUDGET_H
#define WEIRP_BUDGET_H

#include "src/budget/period.h"

typedef enum weirp_unit {
    WEIRP_UNIT_USD /* nano-USD */,
    WEIRP_UNIT_TOKENS,
    WEIRP_UNIT_REQUESTS,
    WEIRP_N_UNITS
} weirp_unit;

/* What a request is known by. */
typedef enum weirp_dimension {
    WEIRP_DIM_KEY,
    WEIRP_DIM_TEAM,
    WEIRP_DIM_USER, /* end user */
    WEIRP_DIM_TAG,
    WEIRP_DIM_MODEL,    /* of the pool */
    WEIRP_DIM_PROVIDER, /* where it is had */
    WEIRP_N_DIMS
} weirp_dimension;

const char *weirp_unit_name(weirp_unit unit); /* "usd", "tokens", "requests" */
/* An amount as people read it, and floating-point machines take it: USD, tokens, requests. */
static inline double weirp_unit_value(weirp_unit unit, int64_t amount) {
    return unit == WEIRP_UNIT_USD ? (double)amount / 1e9 : (double)amount;
}
const char *weirp_dimension_name(weirp_dimension dim); /* "key", "team", "user", "tag", "model", "provider" */

/* Texts are borrowed; NULL or "": not known. */
typedef struct weirp_subject {
    const char *value[WEIRP_N_DIMS];
} weirp_subject;

typedef enum weirp_exhausted { WEIRP_EXHAUSTED_CHEAPER, WEIRP_EXHAUSTED_REFUSE, WEIRP_N_EXHAUSTED } weirp_exhausted;
const char *weirp_exhausted_name(weirp_exhausted what); /* "cheaper", "refuse" */
bool weirp_exhausted_find(const char *name, weirp_exhausted *what);

enum { WEIRP_BUDGET_NAME = 64, WEIRP_SCOPE_TEXT = 128, WEIRP_MAX_WARNINGS = 4 };

/* One limit. It covers the requests whose every dimension matches: NULL matches any (all of them share the limit), "*"
 * any that is known (each value has the limit to itself), a text just that. */
typedef struct weirp_budget {
    char name[WEIRP_BUDGET_NAME]; /* unique; letters, digits, "_", "-", "." */
    uint32_t id;                  /* given by the ledger, never given again; 0: none yet */
    weirp_unit unit;
    int64_t limit; /* of a period, in the unit; at least 0 */
    weirp_period_kind period;
    char zone[WEIRP_ZONE_NAME];
    bool hard; /* soft: counts and warns, refuses nothing */
    weirp_exhausted exhausted;
    double warn[WEIRP_MAX_WARNINGS];            /* shares of the limit, ascending, at most 10; 0: no more */
    char match[WEIRP_N_DIMS][WEIRP_SCOPE_TEXT]; /* "": NULL */
} weirp_budget;

/* Checks what a person or a file has said; the message says what would be right. */
weir_status weirp_budget_check(const weirp_budget *budget, weir_error *err);
bool weirp_budget_covers(const weirp_budget *budget, const weirp_subject *subject);
/* Whether it asks for the model or provider: then it can be told only once these are chosen. */
bool weirp_budget_needs_model(const weirp_budget *budget);

/* One budget's account for one period and one value of each "*": what the ledger keeps a balance of. Its key is the
 * budget's id, the period's start (both so that keys are in their order), and the values of "*" in the dimensions'
 * order; it fits into a key of the store's table with WEIRP_TABLE_KEY - WEIRP_ACCOUNT_KEY bytes before it. */
enum { WEIRP_ACCOUNT_VALUE = 64, WEIRP_ACCOUNT_KEY = 12 + WEIRP_N_DIMS * (WEIRP_ACCOUNT_VALUE + 1) };
typedef struct weirp_account_key {
    size_t size;
    uint8_t bytes[WEIRP_ACCOUNT_KEY];
} weirp_account_key;
/* `subject` is covered by the budget. Values longer than WEIRP_ACCOUNT_VALUE bytes are replaced by their SHA-256. */
void weirp_account_key_of(const weirp_budget *budget, int64_t period_start, const weirp_subject *subject,
                          weirp_account_key *key);
/* The key's parts; the scope for people, in the dimensions' order: "key=alice tag=night", "" without any "*"; long
 * values as "sha256:" and hex digits, control characters as "?". False: no such key. */
enum { WEIRP_ACCOUNT_SCOPE = WEIRP_N_DIMS * (16 + 7 + 64) };
bool weirp_account_key_read(const weirp_budget *budget, const uint8_t *key, size_t size, int64_t *period_start,
                            char scope[WEIRP_ACCOUNT_SCOPE]);

/* Bytes in the store (docs/formats.md, "Ledger"). What is read has passed weirp_budget_check, but for its zone, which
 * this machine may not know: WEIR_CORRUPT, WEIR_NEWER. */
void weirp_budget_encode(const weirp_budget *budget, weirp_writer *out);
weir_status weirp_budget_decode(weirp_budget *budget, const uint8_t *data, size_t size, weir_error *err);

#endif
