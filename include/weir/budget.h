/* budget.h: virtual API keys, and limits on what may be spent, in a store.
 *
 * All of it works beside a running gateway on the same store, which follows changes by itself. Reports are JSON texts
 * in new memory: free() them. WEIR_INVALID: what was asked for is wrong, or isn't there, and the message says what
 * would be right. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_BUDGET_H
#define WEIR_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "weir/error.h"

WEIR_BEGIN_DECLS

/* ---- virtual API keys ---- */

#define WEIR_KEY_TEXT 64 /* bytes that hold any key's text, with its zero */

/* Zeros: no limit, no team, all models, for ever. Texts are borrowed. */
typedef struct weir_key_options {
    const char *team, *note;
    const char *expires; /* "30d", "2027-01-31" (where that day begins, UTC), "2027-01-31T12:00Z"; NULL: never */
    const char *const *models;
    size_t n_models;
    uint32_t requests_per_minute, concurrent;
    int64_t tokens_per_minute;
    const char *budget; /* "5USD/day": a budget "key-NAME" for this key; NULL: none of its own */
} weir_key_options;

/* `secret` gets the key's text: it can't be had again, for the store keeps a digest alone. Names are unique. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_create(const char *store, const char *name,
                                                     const weir_key_options *options, char secret[WEIR_KEY_TEXT],
                                                     weir_error *err);
/* {"keys":[{"name","team","key","state","created","rotated","expires","revoked","previous_until",
 * "requests_per_minute","tokens_per_minute","concurrent","models","note"}]}: null where there is none; "key" is its
 * last characters. One key: the object alone. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_list(const char *store, char **json, weir_error *err);
WEIR_API WEIR_MUST_CHECK weir_status weir_key_show(const char *store, const char *name, char **json, weir_error *err);
/* A new text under the same name and limits. The old one goes on for `grace` ("1h"; NULL: it ends at once); one that
 * was in grace already ends at once. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_rotate(const char *store, const char *name, const char *grace,
                                                     char secret[WEIR_KEY_TEXT], weir_error *err);
/* What is to become of a key; NULL: it stays as it is. Texts are borrowed. */
typedef struct weir_key_changes {
    const char *team, *note;                          /* "": none */
    const char *expires;                              /* as in the options, or "now", or "never" */
    const char *const *models;                        /* instead of those it had */
    size_t n_models;                                  /* 0 with `models`: all */
    const uint32_t *requests_per_minute, *concurrent; /* 0: no limit */
    const int64_t *tokens_per_minute;
} weir_key_changes;
/* All of it at once or nothing; its text stays. A revoked key is WEIR_INVALID. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_set(const char *store, const char *name, const weir_key_changes *changes,
                                                  weir_error *err);
/* `when` as in the options, or "now", or "never". */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_expire(const char *store, const char *name, const char *when,
                                                     weir_error *err);
/* For ever; revoking twice is fine. Its name stays taken until it is removed. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_revoke(const char *store, const char *name, weir_error *err);
WEIR_API WEIR_MUST_CHECK weir_status weir_key_remove(const char *store, const char *name, weir_error *err);

/* ---- budgets ---- */

/* One limit, in words. It covers requests whose every dimension matches: NULL any (all share the limit), "*" any that
 * is known (each value has the limit to itself), a text just that. Texts are borrowed. */
typedef struct weir_budget_options {
    const char *limit;                                      /* "50USD", "0.25USD", "1000000tokens", "500requests" */
    const char *per;                                        /* "hour", "day", "week", "month", "total" */
    const char *zone;                                       /* "Europe/Berlin"; NULL: "UTC" */
    const char *key, *team, *user, *tag, *model, *provider; /* what it matches */
    bool soft;                                              /* counts and warns, refuses nothing */
    const char *when_exhausted;                             /* "cheaper" (NULL), "refuse" */
    const char *warn;                                       /* "0.5,0.8,0.95": shares of the limit; NULL: none */
} weir_budget_options;

/* Makes the budget, or makes it anew: limit, softness, what happens when it is exhausted and warnings change in place;
 * with another unit, period, zone or match it starts from nothing. *afresh (may be NULL): there was one, and it did. */
WEIR_API WEIR_MUST_CHECK weir_status weir_budget_set(const char *store, const char *name,
                                                     const weir_budget_options *options, bool *afresh, weir_error *err);
/* What it has counted stays in the ledger. */
WEIR_API WEIR_MUST_CHECK weir_status weir_budget_remove(const char *store, const char *name, weir_error *err);
/* {"budgets":[{"name","unit","limit","per","zone","match":{"key":"*"},"hard","when_exhausted","warn":[],"period_start",
 * "period_end","n_accounts","spent"}]}: accounts and what was settled, of the period that runs now. Amounts are exact:
 * decimal texts, in the unit. */
WEIR_API WEIR_MUST_CHECK weir_status weir_budget_list(const char *store, char **json, weir_error *err);
/* The same of one budget, and "accounts":[{"account","scope","limit","spent","leased","unproven","free"}]: those of
 * this period, and earlier ones of which something is unproven. */
WEIR_API WEIR_MUST_CHECK weir_status weir_budget_show(const char *store, const char *name, char **json,
                                                      weir_error *err);
/* Zeros: all of the store's own traffic log, if it has one. Texts are borrowed. */
typedef struct weir_budget_audit_options {
    const char *log;  /* a file of weir_store_export_log's or weir_store_export's lines, instead */
    const char *from; /* "2027-01-31", "2027-01-31T12:00Z", or "7d" before now: the log is compared from then on */
} weir_budget_audit_options;
/* Computes every balance anew from the ledger's entries, and the entries from the traffic log. *sound: nothing differs.
 * Members: docs/formats.md, "Audit". */
WEIR_API WEIR_MUST_CHECK weir_status weir_budget_audit(const char *store, const weir_budget_audit_options *options,
                                                       bool *sound, char **json, weir_error *err);
/* A person's word on what processes that died had leased of an account (its number in weir_budget_show): of all that is
 * unproven, `spent` ("1.25USD", "1.25") was spent, and the rest is free again. */
WEIR_API WEIR_MUST_CHECK weir_status weir_budget_reconcile(const char *store, uint64_t account, const char *spent,
                                                           weir_error *err);

/* Zeros: all budgets' spending, of the last 30 days. Texts are borrowed. */
typedef struct weir_budget_report_options {
    const char *budget;    /* its period that runs now, unless `from` says otherwise; without "*" */
    const char *from, *to; /* "2027-01-31", "2027-01-31T12:00Z", or "7d" before now; NULL: as above; now */
    double min_quality;    /* the floor to compare with; 0: none */
    FILE *svg;             /* a picture of the spending is written there; NULL: none. Needs `budget` */
} weir_budget_report_options;
/* What was spent by whom and for what, against plan and forecast; how good the answers are thought to be, and what they
 * would have cost with the best single model. Members: docs/formats.md, "Budget report". */
WEIR_API WEIR_MUST_CHECK weir_status weir_budget_report(const char *store, const weir_budget_report_options *options,
                                                        char **json, weir_error *err);

WEIR_END_DECLS

#endif
