/* target_spec.c: "NAME[,KEY=VALUE]..." SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/ope/target_parts.h"

enum { PLUGIN = 1, MINIMAX = 2, THRESHOLD = 4, CONSTRAINED = 8, FIXED = 16, RANDOM = 32, THOMPSON = 64, ORACLE = 128 };
#define RISKY (PLUGIN | MINIMAX | CONSTRAINED | THOMPSON)
#define ANY   255u

typedef enum form { NUMBER, MU, MODEL, SWITCH } form;

typedef struct key {
    const char *name;
    unsigned policies; /* to which it means something */
    form form;
    size_t offset; /* in weir_policy_options */
    double lo, hi; /* inclusive; INFINITY as hi: "inf" is fine */
    const char *right;
} key;

#define AT(member) offsetof(weir_policy_options, member)
static const key keys[] = {
    {"value", RISKY, NUMBER, AT(value_usd), 0, INFINITY, "USD, 0 or more, or inf"},
    {"mu", RISKY, MU, AT(value_usd), 0, 1, "a number from 0 to 1"},
    {"latency_usd_per_s", RISKY, NUMBER, AT(latency_usd_per_s), 0, 1e12, "USD per second, 0 or more"},
    {"max_cost", CONSTRAINED, NUMBER, AT(max_cost_usd), 0, INFINITY, "USD, 0 or more"},
    {"min_quality", CONSTRAINED, NUMBER, AT(min_quality), 0, 1, "a number from 0 to 1"},
    {"max_latency", CONSTRAINED, NUMBER, AT(max_latency_ms), 0, INFINITY, "milliseconds, 0 or more"},
    {"threshold", THRESHOLD, NUMBER, AT(threshold), -INFINITY, INFINITY, "a number"},
    {"strong", THRESHOLD, MODEL, AT(strong), 0, 0, "a model of the log"},
    {"weak", THRESHOLD, MODEL, AT(weak), 0, 0, "a model of the log"},
    {"model", FIXED, MODEL, AT(fixed), 0, 0, "a model of the log"},
    {"explore", ANY, NUMBER, AT(explore_floor), 0, 1, "a chance, from 0 to 1 / number of models"},
    {"novelty_limit", PLUGIN, NUMBER, AT(novelty_limit), 0, INFINITY, "a number, 0 or more"},
    {"fallback", PLUGIN, SWITCH, AT(fallback), 0, 0, "on or off"},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

/* 0: it has no keys of its own. */
static unsigned policy_bit(const char *policy) {
    static const char *const bits[] = {"plugin", "minimax", "threshold", "constrained",
                                       "fixed",  "random",  "thompson",  "oracle"};
    for (unsigned b = 0; b < sizeof bits / sizeof *bits; b++)
        if (!strcmp(bits[b], policy)) return 1u << b;
    return 0;
}

bool weirp_ope_target_has_key(const char *policy, const char *name) {
    for (size_t k = 0; k < N_KEYS; k++)
        if (!strcmp(keys[k].name, name)) return (keys[k].policies & policy_bit(policy)) != 0;
    return false;
}

static weir_status wrong(weir_error *err, const char *what, size_t len, const char *text, const char *right) {
    char shown[64];
    return weirp_fail(err, WEIR_INVALID, 0, "policy: %.*s must be %s, not \"%s\"", (int)len, what, right,
                      weirp_excerpt(shown, sizeof shown, text, strlen(text)));
}

const char *weirp_ope_target_called(const char *text, size_t *len) {
    static const char named[] = ",name=";
    const char *name = strstr(text, named);
    name = name ? name + strlen(named) : text;
    *len = name == text ? strlen(text) : strcspn(name, ",");
    return name;
}

static size_t policy_index(const char *name) {
    for (size_t k = 0; weir_policy_name(k); k++)
        if (!strcmp(weir_policy_name(k), name)) return k;
    return (size_t)-1;
}

static weir_status no_such_policy(const char *name, weir_error *err) {
    const char *names[32] = {"logged", "column", "table"};
    size_t n = 3;
    for (size_t k = 0; weir_policy_name(k) && n < 32; k++)
        if (strcmp(weir_policy_name(k), "oracle") != 0) names[n++] = weir_policy_name(k); /* refused: check() */
    char list[256] = "", shown[64];
    for (size_t k = 0; k < n; k++) {
        size_t at = strlen(list);
        weirp_copy_text(list + at, sizeof list - at, k ? ", " : "");
        at = strlen(list);
        weirp_copy_text(list + at, sizeof list - at, names[k]);
    }
    const char *near = weirp_suggest(name, names, n);
    weirp_excerpt(shown, sizeof shown, name, strlen(name));
    if (near) return weirp_fail(err, WEIR_INVALID, 0, "no policy is named \"%s\": did you mean %s?", shown, near);
    return weirp_fail(err, WEIR_INVALID, 0, "no policy is named \"%s\": there are %s", shown, list);
}

static weir_status find_model(const char *key_name, const char *text, const weirp_ope_table *table, size_t *out,
                              weir_error *err) {
    size_t n = weirp_ope_table_n_models(table);
    for (size_t m = 0; m < n; m++) {
        if (strcmp(weirp_ope_table_model_name(table, m), text) != 0) continue;
        *out = m;
        return WEIR_OK;
    }
    const char **names = weirp_array(n, sizeof *names);
    if (!names) return weirp_nomem(err);
    for (size_t m = 0; m < n; m++) names[m] = weirp_ope_table_model_name(table, m);
    const char *near = weirp_suggest(text, names, n);
    char shown[64], list[256] = "";
    weirp_excerpt(shown, sizeof shown, text, strlen(text));
    for (size_t m = 0; m < n && strlen(list) + 40 < sizeof list; m++) {
        char one[36];
        weirp_excerpt(one, sizeof one, names[m], strlen(names[m]));
        size_t at = strlen(list);
        weirp_copy_text(list + at, sizeof list - at, m ? ", " : "");
        at = strlen(list);
        weirp_copy_text(list + at, sizeof list - at, one);
    }
    free(names);
    if (near)
        return weirp_fail(err, WEIR_INVALID, 0, "policy: %s: the log knows no model \"%s\": did you mean %s?", key_name,
                          shown, near);
    return weirp_fail(err, WEIR_INVALID, 0, "policy: %s: the log knows no model \"%s\"; it knows %s", key_name, shown,
                      list);
}

static weir_status set_number(weirp_target_spec *spec, const key *k, double x, const char *text, weir_error *err) {
    if (!(x >= k->lo && x <= k->hi)) return wrong(err, k->name, strlen(k->name), text, k->right);
    *(double *)((char *)&spec->options + k->offset) = k->form == MU ? weir_value_from_mu(x) : x;
    return WEIR_OK;
}

/* Numbers can be left open, but for the limit on a novelty that no log knows. */
static bool can_be_open(const key *k) {
    return (k->form == NUMBER || k->form == MU) && k->offset != AT(novelty_limit);
}

void weirp_target_spec_knobs(const weirp_target_spec *spec, char *list, size_t size) {
    *list = 0;
    for (size_t k = 0; k < N_KEYS; k++) {
        if (!can_be_open(&keys[k]) || !(keys[k].policies & spec->policy_bit)) continue;
        const size_t at = strlen(list);
        snprintf(list + at, size - at, "%s%s", at ? ", " : "", keys[k].name);
    }
}

static weir_status leave_open(weirp_target_spec *spec, const key *k, weir_error *err) {
    char list[256];
    weirp_target_spec_knobs(spec, list, sizeof list);
    if (!can_be_open(k))
        return weirp_fail(err, WEIR_INVALID, 0, "policy: %s can't be left open (%s=?); what can: %s", k->name, k->name,
                          list);
    if (spec->open)
        return weirp_fail(err, WEIR_INVALID, 0, "policy: only one knob can be left open, not %s and %s; there are %s",
                          spec->open_key, k->name, list);
    spec->open = (double *)(void *)((char *)&spec->options + k->offset);
    spec->open_key = k->name;
    return WEIR_OK;
}

static weir_status set_key(weirp_target_spec *spec, const key *k, const char *text, const weirp_ope_table *table,
                           weir_error *err) {
    char *at = (char *)&spec->options + k->offset;
    double x = NAN;
    if (!strcmp(text, "?")) return leave_open(spec, k, err);
    switch (k->form) {
    case MODEL: return find_model(k->name, text, table, (size_t *)at, err);
    case SWITCH:
        if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
            return wrong(err, k->name, strlen(k->name), text, k->right);
        *(bool *)at = !strcmp(text, "on");
        spec->said_fallback = true;
        return WEIR_OK;
    case NUMBER:
    case MU: break;
    }
    if (!strcmp(text, "inf"))
        x = INFINITY;
    else if (!weirp_number_parse(text, strlen(text), &x) || isinf(x))
        x = NAN;
    return set_number(spec, k, x, text, err);
}

static weir_status no_such_key(const weirp_target_spec *spec, const char *policy, unsigned bit, const char *word,
                               weir_error *err) {
    const char *names[N_KEYS + 3];
    size_t n = 0;
    names[n++] = "name";
    if (spec->kind == WEIRP_TARGET_TABLE) names[n++] = "file";
    if (spec->kind == WEIRP_TARGET_COLUMN) names[n++] = "rollout";
    for (size_t k = 0; k < N_KEYS; k++)
        if (keys[k].policies & bit) names[n++] = keys[k].name;
    char list[256] = "", shown[64];
    for (size_t k = 0; k < n; k++) {
        size_t at = strlen(list);
        weirp_copy_text(list + at, sizeof list - at, k ? ", " : "");
        at = strlen(list);
        weirp_copy_text(list + at, sizeof list - at, names[k]);
    }
    const char *near = weirp_suggest(word, names, n);
    weirp_excerpt(shown, sizeof shown, word, strlen(word));
    if (near)
        return weirp_fail(err, WEIR_INVALID, 0, "policy %s has no key \"%s\": did you mean %s?", policy, shown, near);
    return weirp_fail(err, WEIR_INVALID, 0, "policy %s has no key \"%s\": it has %s", policy, shown, list);
}

/* One "KEY=VALUE", NUL-terminated and writable. */
static weir_status parse_pair(weirp_target_spec *spec, const char *policy, unsigned bit, char *pair, uint32_t *seen,
                              const weirp_ope_table *table, weir_error *err) {
    char *equals = strchr(pair, '='), shown[64];
    if (!equals || equals == pair)
        return weirp_fail(err, WEIR_INVALID, 0, "policy %s: \"%s\" must be KEY=VALUE", policy,
                          weirp_excerpt(shown, sizeof shown, pair, strlen(pair)));
    *equals = 0;
    const char *text = equals + 1;
    uint32_t mark = 0;
    const key *found = NULL;
    char **own = NULL;
    if (!strcmp(pair, "name")) mark = 1u << 30, own = &spec->name;
    if (!strcmp(pair, "rollout") && spec->kind == WEIRP_TARGET_COLUMN) mark = 1u << 29, own = &spec->rollout;
    if (!strcmp(pair, "file") && spec->kind == WEIRP_TARGET_TABLE) mark = 1u << 31, own = &spec->file;
    for (size_t k = 0; k < N_KEYS && !own; k++)
        if (!strcmp(keys[k].name, pair) && (keys[k].policies & bit)) found = &keys[k], mark = 1u << k;
    if (!own && !found) return no_such_key(spec, policy, bit, pair, err);
    if (*seen & mark) return weirp_fail(err, WEIR_INVALID, 0, "policy %s: %s is given twice", policy, pair);
    *seen |= mark;
    if (!*text) return weirp_fail(err, WEIR_INVALID, 0, "policy %s: %s has no value", policy, pair);
    if (found) return set_key(spec, found, text, table, err);
    free(*own);
    *own = weirp_strndup(text, strlen(text));
    return *own ? WEIR_OK : weirp_nomem(err);
}

static weir_status check(const weirp_target_spec *spec, const char *policy, uint32_t seen, const weirp_ope_table *table,
                         weir_error *err) {
    if (spec->kind == WEIRP_TARGET_TABLE && !spec->file)
        return weirp_fail(err, WEIR_INVALID, 0, "policy table needs file=F, a CSV of chances");
    if (spec->kind != WEIRP_TARGET_POLICY) return WEIR_OK;
    if ((seen & 3) == 3)
        return weirp_fail(err, WEIR_INVALID, 0, "policy %s: value and mu say the same: give one", policy);
    if (!strcmp(policy, "oracle"))
        return weirp_fail(err, WEIR_INVALID, 0, "policy oracle needs the truth, which a log doesn't hold");
    if (!strcmp(policy, "fixed") && spec->options.fixed == (size_t)-1)
        return weirp_fail(err, WEIR_INVALID, 0, "policy fixed needs model=M, a model of the log");
    const char *bad = weir_policy_check(&spec->options, weirp_ope_table_n_models(table));
    return bad ? weirp_fail(err, WEIR_INVALID, 0, "policy %s: %s", policy, bad) : WEIR_OK;
}

weir_status weirp_target_spec_parse(weirp_target_spec *spec, const char *text, const weirp_ope_table *table,
                                    weir_error *err) {
    memset(spec, 0, sizeof *spec);
    spec->options = weir_policy_defaults();
    spec->options.fixed = (size_t)-1;
    char *copy = weirp_strndup(text, strlen(text));
    if (!copy) return weirp_nomem(err);
    weir_status st = WEIR_OK;
    char *rest = strchr(copy, ',');
    if (rest) *rest++ = 0;
    unsigned bit = 0;
    uint32_t seen = 0;
    size_t index = policy_index(copy);
    if (!strcmp(copy, "logged"))
        spec->kind = WEIRP_TARGET_LOGGED;
    else if (!strcmp(copy, "column"))
        spec->kind = WEIRP_TARGET_COLUMN;
    else if (!strcmp(copy, "table"))
        spec->kind = WEIRP_TARGET_TABLE;
    else if (index == (size_t)-1)
        WEIRP_TRY(no_such_policy(copy, err));
    else {
        spec->kind = WEIRP_TARGET_POLICY;
        spec->options.policy = weir_policy_name(index);
        bit = policy_bit(copy);
    }
    spec->policy_bit = bit;
    while (rest) {
        char *pair = rest;
        rest = strchr(rest, ',');
        if (rest) *rest++ = 0;
        WEIRP_TRY(parse_pair(spec, copy, bit, pair, &seen, table, err));
    }
    WEIRP_TRY(check(spec, copy, seen, table, err));
    if (!spec->name && !(spec->name = weirp_strndup(text, strlen(text)))) st = weirp_nomem(err);
done:
    free(copy);
    return st;
}

weir_status weirp_target_spec_turn(weirp_target_spec *spec, double knob, weir_error *err) {
    for (size_t k = 0; spec->open && k < N_KEYS; k++) {
        if (strcmp(keys[k].name, spec->open_key) != 0) continue;
        if (!(knob >= keys[k].lo && knob <= keys[k].hi))
            return weirp_fail(err, WEIR_INVALID, 0, "policy: %s must be %s, not %g", keys[k].name, keys[k].right, knob);
        *spec->open = keys[k].form == MU ? weir_value_from_mu(knob) : knob;
        spec->turned = true;
        return WEIR_OK;
    }
    return weirp_fail(err, WEIR_INVALID, 0, "policy %s leaves no knob open: write KEY=? for one", spec->name);
}

void weirp_target_spec_clear(weirp_target_spec *spec) {
    free(spec->name);
    free(spec->file);
    free(spec->rollout);
    memset(spec, 0, sizeof *spec);
}
