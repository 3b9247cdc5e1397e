/* target_column.c: whose candidate the chances in a log are. A log may hold those of several rollouts, one after
 * another or, where gateways with different configurations share a store, in turn. Taken together they would be a
 * policy that nobody has ever meant. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "src/base/words.h"
#include "src/base/when.h"
#include "src/ope/target_parts.h"

enum { TOLD = 4 }; /* so many are named */

typedef struct list {
    char text[320];
    size_t n, more; /* named; not named */
} list;

static void add(list *l, const char *item) {
    const size_t at = strlen(l->text);
    if (l->n == TOLD || at + strlen(item) + 2 >= sizeof l->text) {
        l->more++;
        return;
    }
    snprintf(l->text + at, sizeof l->text - at, "%s%s", l->n++ ? ", " : "", item);
}

static const char *ended(list *l) {
    const size_t at = strlen(l->text);
    if (l->more) snprintf(l->text + at, sizeof l->text - at, " and %zu more", l->more);
    return l->text;
}

static bool is_first_of_name(const weirp_ope_table *table, size_t i) {
    for (size_t k = 1; k < i; k++)
        if (!strcmp(weirp_ope_table_trial(table, k)->name, weirp_ope_table_trial(table, i)->name)) return false;
    return true;
}

/* Names with the number of their rows; gives how many there are. */
static size_t list_names(list *l, const weirp_ope_table *table) {
    const size_t n = weirp_ope_table_n_trials(table);
    char item[128], shown[48];
    size_t n_names = 0;
    for (size_t i = 0; i < n; i++) {
        const weirp_ope_trial *t = weirp_ope_table_trial(table, i);
        size_t rows = 0;
        if (i && !is_first_of_name(table, i)) continue;
        for (size_t k = i; k < n; k++)
            if (!strcmp(weirp_ope_table_trial(table, k)->name, t->name))
                rows += weirp_ope_table_trial(table, k)->n_rows;
        if (!rows) continue;
        n_names++;
        if (i)
            snprintf(item, sizeof item, "\"%s\" (%zu rows)",
                     weirp_excerpt(shown, sizeof shown, t->name, strlen(t->name)), rows);
        else
            snprintf(item, sizeof item, "a mapping's target (%zu rows)", rows);
        add(l, item);
    }
    return n_names;
}

static weir_status unknown(const weirp_target_spec *spec, const weirp_ope_table *table, weir_error *err) {
    list l = {.n = 0};
    char shown[64];
    weirp_excerpt(shown, sizeof shown, spec->rollout, strlen(spec->rollout));
    if (!list_names(&l, table))
        return weirp_fail(err, WEIR_INVALID, 0, "policy column: no row that is read is of a rollout, nor of \"%s\"",
                          shown);
    return weirp_fail(err, WEIR_INVALID, 0, "policy column: no row that is read is of a rollout \"%s\": there are %s",
                      shown, ended(&l));
}

static weir_status several_names(list *l, size_t n, weir_error *err) {
    return weirp_fail(err, WEIR_INVALID, 0,
                      "policy column: the log has the candidates of %zu rollouts, which are different policies: %s: "
                      "choose one, as column,rollout=NAME",
                      n, ended(l));
}

/* One name, and what it stands for has changed. */
static weir_status several_digests(const weirp_ope_table *table, const char *name, size_t n, weir_error *err) {
    list l = {.n = 0};
    char item[128], from[WEIRP_WHEN_TEXT], to[WEIRP_WHEN_TEXT], shown[48];
    for (size_t i = 1; i < weirp_ope_table_n_trials(table); i++) {
        const weirp_ope_trial *t = weirp_ope_table_trial(table, i);
        if (!t->n_rows || strcmp(t->name, name) != 0) continue;
        if (t->first_ms == WEIRP_LOGGED_NO_TIME) {
            snprintf(item, sizeof item, "%zu rows without a time", t->n_rows);
        } else {
            weirp_when_text(from, t->first_ms ? t->first_ms : 1); /* 0 would be "never" there */
            weirp_when_text(to, t->last_ms ? t->last_ms : 1);
            snprintf(item, sizeof item, "%zu rows from %s to %s", t->n_rows, from, to);
        }
        add(&l, item);
    }
    return weirp_fail(err, WEIR_INVALID, 0,
                      "policy column: the rollout \"%s\" has had %zu configurations, which may be different policies: "
                      "%s: choose one by its time, with since and until",
                      weirp_excerpt(shown, sizeof shown, name, strlen(name)), n, ended(&l));
}

weir_status weirp_target_trial(size_t *trial, const weirp_target_spec *spec, const weirp_ope_table *table,
                               weir_error *err) {
    const weirp_ope_trial *found = NULL;
    size_t n = 0;
    bool one_name = true;
    *trial = 0;
    if (weirp_ope_table_has_more_trials(table))
        return weirp_fail(err, WEIR_INVALID, 0,
                          "policy column: the log has the candidates of more than %zu rollouts: choose some by their "
                          "time, with since and until",
                          weirp_ope_table_n_trials(table) - 1);
    for (size_t i = 0; i < weirp_ope_table_n_trials(table); i++) {
        const weirp_ope_trial *t = weirp_ope_table_trial(table, i);
        if (!t->n_rows || (spec->rollout && strcmp(t->name, spec->rollout) != 0)) continue;
        one_name &= !found || !strcmp(t->name, found->name);
        found = t;
        *trial = i;
        n++;
    }
    if (!n && spec->rollout) return unknown(spec, table, err);
    if (n <= 1) return WEIR_OK;
    if (one_name) return several_digests(table, found->name, n, err);
    list l = {.n = 0};
    n = list_names(&l, table);
    return several_names(&l, n, err);
}
