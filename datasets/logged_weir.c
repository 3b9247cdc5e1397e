/* logged_weir.c: what `weir store export --log` writes (docs/formats.md, "Log record"). SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/logged_parts.h"
#include "src/base/words.h"
#include "src/router/record.h"
#include "weir/policy.h"

/* X(key): members of a line that rows need. */
#define MEMBERS(X)                                                                                                     \
    X(kind)                                                                                                            \
    X(time_ms)                                                                                                         \
    X(id)                                                                                                              \
    X(models)                                                                                                          \
    X(model)                                                                                                           \
    X(chosen)                                                                                                          \
    X(answered)                                                                                                        \
    X(rule)                                                                                                            \
    X(reason)                                                                                                          \
    X(status)                                                                                                          \
    X(client_gone)                                                                                                     \
    X(attempts)                                                                                                        \
    X(pinned)                                                                                                          \
    X(propensities)                                                                                                    \
    X(quality)                                                                                                         \
    X(cost)                                                                                                            \
    X(outcomes)                                                                                                        \
    X(latency_ms)                                                                                                      \
    X(feedback)                                                                                                        \
    X(rollout)                                                                                                         \
    X(features)                                                                                                        \
    X(features_version)                                                                                                \
    X(user)                                                                                                            \
    X(session)

#define MEMBER(name) M_##name,
enum { MEMBERS(MEMBER) N_MEMBERS };
#undef MEMBER

static const struct {
    const char *key;
    size_t len;
} member[] = {
#define MEMBER(name) {#name, sizeof #name - 1},
    MEMBERS(MEMBER)
#undef MEMBER
};

typedef struct exported {
    weirp_jline json;
    size_t at[N_MEMBERS]; /* of the line at hand; WEIRP_JNONE: not there */
} exported;

static void close_weir(weirp_logged *l) {
    exported *x = l->source;
    weirp_jline_free(&x->json);
    free(x);
}

static void find_members(exported *x) {
    weirp_jline *j = &x->json;
    for (size_t i = 0; i < N_MEMBERS; i++) x->at[i] = WEIRP_JNONE;
    for (size_t i = weirp_jline_first(0); i < j->value[0].next; i = weirp_jline_after(j, i + 1)) {
        const weirp_jvalue *key = &j->value[i];
        const char *text = j->text + key->start;
        for (size_t k = 0; k < N_MEMBERS; k++) {
            if (key->len != member[k].len || memcmp(text, member[k].key, key->len) != 0) continue;
            if (j->value[i + 1].type != WEIRP_JNULL) x->at[k] = i + 1;
            break;
        }
    }
}

/* ---- values ---- */

static weir_status wrong(const weirp_logged *l, weir_error *err, size_t which, const char *right) {
    return weirp_logged_wrong(l, err, member[which].key, "must be %s", right);
}

/* NAN where it is missing or null. */
static weir_status number(weirp_logged *l, size_t which, double *out, weir_error *err) {
    exported *x = l->source;
    *out = NAN;
    if (x->at[which] == WEIRP_JNONE || weirp_jline_number(&x->json, x->at[which], out)) return WEIR_OK;
    return wrong(l, err, which, "a number");
}

static weir_status text(weirp_logged *l, size_t which, const char **out, size_t *len, weir_error *err) {
    exported *x = l->source;
    *out = "";
    *len = 0;
    if (x->at[which] == WEIRP_JNONE) return WEIR_OK;
    const char *s =
        x->json.value[x->at[which]].type == WEIRP_JTEXT ? weirp_jline_text(&x->json, x->at[which], len) : NULL;
    if (!s || weirp_utf8_valid(s, *len) < *len) return wrong(l, err, which, "a text");
    *out = s;
    return WEIR_OK;
}

static bool is_text(exported *x, size_t at, const char *what) {
    size_t len;
    const char *s =
        at == WEIRP_JNONE || x->json.value[at].type != WEIRP_JTEXT ? NULL : weirp_jline_text(&x->json, at, &len);
    return s && !strcmp(s, what);
}

/* A member's number; NAN: missing or null. False: it is something else. */
static bool member_number(exported *x, size_t object, const char *key, double *out) {
    size_t at = weirp_jline_member(&x->json, object, key, strlen(key));
    *out = NAN;
    return at == WEIRP_JNONE || x->json.value[at].type == WEIRP_JNULL || weirp_jline_number(&x->json, at, out);
}

static weir_status model_at(weirp_logged *l, size_t which, size_t key, size_t *index, weir_error *err) {
    exported *x = l->source;
    size_t len;
    const char *name = weirp_jline_text(&x->json, key, &len);
    if (!name) return wrong(l, err, which, "a model's name");
    return weirp_logged_index(l, member[which].key, name, len, index, err);
}

/* ---- a served request ---- */

/* {"MODEL": {"propensity":, "quality":, "cost":, "candidate":}} */
static weir_status read_models(weirp_logged *l, weir_error *err) {
    exported *x = l->source;
    weirp_jline *j = &x->json;
    size_t at = x->at[M_models], index;
    if (at == WEIRP_JNONE || j->value[at].type != WEIRP_JOBJECT)
        return wrong(l, err, M_models, "an object of propensities and estimates by model");
    for (size_t i = weirp_jline_first(at); i < j->value[at].next; i = weirp_jline_after(j, i + 1)) {
        double p, quality, cost, candidate;
        if (j->value[i + 1].type != WEIRP_JOBJECT || !member_number(x, i + 1, "propensity", &p) ||
            !member_number(x, i + 1, "quality", &quality) || !member_number(x, i + 1, "cost", &cost) ||
            !member_number(x, i + 1, "candidate", &candidate))
            return wrong(l, err, M_models, "an object of propensities and estimates by model");
        weir_status st = model_at(l, M_models, i, &index, err);
        if (st != WEIR_OK) return st;
        l->propensity[index] = isnan(p) ? 0 : p;
        l->quality_hat[index] = quality;
        l->cost_hat[index] = cost;
        if (isnan(candidate)) continue; /* no rollout */
        l->target[index] = candidate;
        l->has |= HAS_TARGET;
    }
    l->has |= HAS_PROPENSITY | HAS_QUALITY | HAS_COST;
    return WEIR_OK;
}

/* Labels on the model that answered, at most one a source: their mean. */
static weir_status read_feedback(weirp_logged *l, weir_error *err) {
    exported *x = l->source;
    weirp_jline *j = &x->json;
    size_t at = x->at[M_feedback], n = 0, len, other;
    double sum = 0;
    if (at == WEIRP_JNONE || x->at[M_answered] == WEIRP_JNONE) return WEIR_OK;
    const char *answered = weirp_jline_text(j, x->at[M_answered], &len);
    if (j->value[at].type != WEIRP_JARRAY) return wrong(l, err, M_feedback, "an array of labels");
    for (size_t i = weirp_jline_first(at); i < j->value[at].next; i = weirp_jline_after(j, i)) {
        double quality;
        size_t model = weirp_jline_member(j, i, "model", 5);
        if (j->value[i].type != WEIRP_JOBJECT || !member_number(x, i, "quality", &quality) || isnan(quality))
            return wrong(l, err, M_feedback, "an array of labels with a quality each");
        const char *name = model == WEIRP_JNONE ? answered : weirp_jline_text(j, model, &other);
        if (!name) return wrong(l, err, M_feedback, "an array of labels on models");
        if (!(quality >= 0 && quality <= 1)) return wrong(l, err, M_feedback, "an array of labels from 0 to 1");
        if (!answered || strcmp(name, answered) != 0) continue;
        sum += quality;
        n++;
    }
    if (n) l->row.metric[WEIR_METRIC_QUALITY] = sum / (double)n;
    return WEIR_OK;
}

static bool is_true(const exported *x, size_t which) {
    return x->at[which] != WEIRP_JNONE && x->json.value[x->at[which]].type == WEIRP_JTRUE;
}

/* How the last try ended; NULL: it isn't told. */
static weir_status last_result(weirp_logged *l, const char **out, weir_error *err) {
    exported *x = l->source;
    weirp_jline *j = &x->json;
    const size_t at = x->at[M_attempts];
    size_t last = WEIRP_JNONE, len;
    *out = NULL;
    if (at == WEIRP_JNONE) return WEIR_OK;
    if (j->value[at].type != WEIRP_JARRAY) return wrong(l, err, M_attempts, "an array of tries");
    for (size_t i = weirp_jline_first(at); i < j->value[at].next; i = weirp_jline_after(j, i)) last = i;
    if (last == WEIRP_JNONE) return WEIR_OK;
    if (j->value[last].type != WEIRP_JOBJECT) return wrong(l, err, M_attempts, "an array of tries");
    const size_t result = weirp_jline_member(j, last, "result", 6);
    if (result == WEIRP_JNONE || j->value[result].type == WEIRP_JNULL) return WEIR_OK;
    *out = j->value[result].type == WEIRP_JTEXT ? weirp_jline_text(j, result, &len) : NULL;
    return *out ? WEIR_OK : wrong(l, err, M_attempts, "an array of tries whose result is a text");
}

static weir_status read_ending(weirp_logged *l, bool answered, weir_error *err) {
    const exported *x = l->source;
    const char *result;
    double status;
    weir_status st;
    WEIRP_TRY(number(l, M_status, &status, err));
    WEIRP_TRY(last_result(l, &result, err));
    const weirp_ending ending =
        weirp_ending_of(status > 0 && status < 1000 ? (int)status : 0, is_true(x, M_client_gone), answered, result);
    l->row.metric[WEIR_METRIC_ERROR] = ending == WEIRP_ENDING_ERROR;
    if (ending != WEIRP_ENDING_ANSWERED) l->row.metric[WEIR_METRIC_LATENCY] = NAN;
done:
    return st;
}

/* A member's text, "" where it is missing or null. NULL: it is something else. */
static const char *member_text(exported *x, size_t object, const char *key, size_t *len) {
    const size_t at = weirp_jline_member(&x->json, object, key, strlen(key));
    *len = 0;
    if (at == WEIRP_JNONE || x->json.value[at].type == WEIRP_JNULL) return "";
    if (x->json.value[at].type != WEIRP_JTEXT) return NULL;
    const char *text = weirp_jline_text(&x->json, at, len);
    return text && weirp_utf8_valid(text, *len) == *len ? text : NULL;
}

/* {"name":, "digest":}; exports of before have no digest. */
static weir_status read_rollout(weirp_logged *l, weir_error *err) {
    enum { HEX = 16 };
    exported *x = l->source;
    size_t len;
    if (x->at[M_rollout] == WEIRP_JNONE) return WEIR_OK;
    if (x->json.value[x->at[M_rollout]].type != WEIRP_JOBJECT) return wrong(l, err, M_rollout, "an object");
    const char *name = member_text(x, x->at[M_rollout], "name", &len);
    const char *digest = name ? member_text(x, x->at[M_rollout], "digest", &len) : NULL;
    if (!digest || (len && (len != HEX || strspn(digest, "0123456789abcdef") != HEX)))
        return wrong(l, err, M_rollout, "an object with a name, and a digest of 16 hexadecimal digits");
    l->row.trial = name;
    l->row.trial_digest = strtoull(digest, NULL, HEX);
    return WEIR_OK;
}

static weir_status read_served(weirp_logged *l, weir_error *err) {
    exported *x = l->source;
    double *metric = l->row.metric;
    size_t answered = (size_t)-1, len;
    weir_status st;
    WEIRP_TRY(read_models(l, err));
    WEIRP_TRY(read_rollout(l, err));
    if (x->at[M_chosen] == WEIRP_JNONE) return wrong(l, err, M_chosen, "the model that was chosen");
    WEIRP_TRY(model_at(l, M_chosen, x->at[M_chosen], &l->row.chosen, err));
    if (x->at[M_answered] != WEIRP_JNONE) WEIRP_TRY(model_at(l, M_answered, x->at[M_answered], &answered, err));
    WEIRP_TRY(number(l, M_cost, &metric[WEIR_METRIC_COST], err));
    WEIRP_TRY(number(l, M_latency_ms, &metric[WEIR_METRIC_LATENCY], err));
    WEIRP_TRY(read_ending(l, answered != (size_t)-1, err));
    if (answered != (size_t)-1 && answered != l->row.chosen) l->row.flags |= WEIRP_LOGGED_FALLEN_BACK;
    if (is_true(x, M_pinned)) l->row.flags |= WEIRP_LOGGED_FORCED;
    WEIRP_TRY(read_feedback(l, err));
    WEIRP_TRY(text(l, x->at[M_session] == WEIRP_JNONE ? M_user : M_session, &l->row.session, &len, err));
done:
    return st;
}

/* ---- a decision with outcomes ---- */

/* {"MODEL": number} */
static weir_status read_numbers(weirp_logged *l, size_t which, unsigned has, weir_error *err) {
    exported *x = l->source;
    weirp_jline *j = &x->json;
    size_t at = x->at[which], index;
    if (at == WEIRP_JNONE) return WEIR_OK;
    if (j->value[at].type != WEIRP_JOBJECT) return wrong(l, err, which, "an object of numbers by model");
    for (size_t i = weirp_jline_first(at); i < j->value[at].next; i = weirp_jline_after(j, i + 1)) {
        double v;
        if (j->value[i + 1].type == WEIRP_JNULL) continue;
        if (!weirp_jline_number(j, i + 1, &v)) return wrong(l, err, which, "an object of numbers by model");
        weir_status st = model_at(l, which, i, &index, err);
        if (st != WEIR_OK) return st;
        (has == HAS_PROPENSITY ? l->propensity : has == HAS_QUALITY ? l->quality_hat : l->cost_hat)[index] = v;
    }
    l->has |= has;
    return WEIR_OK;
}

static weir_status read_decision(weirp_logged *l, weir_error *err) {
    exported *x = l->source;
    double *metric = l->row.metric;
    size_t len;
    weir_status st;
    WEIRP_TRY(read_numbers(l, M_propensities, HAS_PROPENSITY, err));
    WEIRP_TRY(read_numbers(l, M_quality, HAS_QUALITY, err));
    WEIRP_TRY(read_numbers(l, M_cost, HAS_COST, err));
    if (x->at[M_model] == WEIRP_JNONE) return wrong(l, err, M_model, "the model that was chosen");
    WEIRP_TRY(model_at(l, M_model, x->at[M_model], &l->row.chosen, err));
    const char *name = weirp_jline_text(&x->json, x->at[M_model], &len);
    const size_t all = x->at[M_outcomes];
    if (all == WEIRP_JNONE) return WEIR_OK;
    if (x->json.value[all].type != WEIRP_JOBJECT) return wrong(l, err, M_outcomes, "an object of outcomes by model");
    const size_t of = weirp_jline_member(&x->json, all, name, len);
    if (of == WEIRP_JNONE || x->json.value[of].type == WEIRP_JNULL) return WEIR_OK;
    if (x->json.value[of].type != WEIRP_JOBJECT) return wrong(l, err, M_outcomes, "an object of outcomes by model");
    if (!member_number(x, of, "quality", &metric[WEIR_METRIC_QUALITY]) ||
        !member_number(x, of, "cost", &metric[WEIR_METRIC_COST]) ||
        !member_number(x, of, "latency_ms", &metric[WEIR_METRIC_LATENCY]))
        return wrong(l, err, M_outcomes, "an object of outcomes by model");
done:
    return st;
}

/* ---- lines ---- */

static weir_status read_features(weirp_logged *l, weir_error *err) {
    exported *x = l->source;
    weirp_jline *j = &x->json;
    size_t at = x->at[M_features], n = 0;
    if (at == WEIRP_JNONE) return WEIR_OK;
    if (j->value[at].type != WEIRP_JARRAY) return wrong(l, err, M_features, "an array of numbers");
    for (size_t i = weirp_jline_first(at); i < j->value[at].next; i = weirp_jline_after(j, i)) {
        double v;
        if (!weirp_jline_number(j, i, &v)) return wrong(l, err, M_features, "an array of numbers");
        weir_status st = weirp_logged_dense(l, n + 1, err);
        if (st != WEIR_OK) return st;
        l->dense[n++] = (float)v;
    }
    return WEIR_OK;
}

static bool careful(exported *x) {
    size_t len;
    const char *reason = x->at[M_reason] == WEIRP_JNONE ? NULL : weirp_jline_text(&x->json, x->at[M_reason], &len);
    if (!reason || !is_text(x, x->at[M_rule], weir_rule_name(WEIR_RULE_MINIMAX))) return false;
    return strcmp(reason, weir_reason_text(WEIR_REASON_ASKED)) != 0;
}

static weir_status read_head(weirp_logged *l, weir_error *err) {
    exported *x = l->source;
    double time, version;
    const char *id;
    size_t len;
    weir_status st;
    WEIRP_TRY(text(l, M_id, &id, &len, err));
    weirp_logged_own_id(l, id);
    WEIRP_TRY(number(l, M_time_ms, &time, err));
    if (!isnan(time) && !(fabs(time) < 1e16)) return wrong(l, err, M_time_ms, "milliseconds since 1970");
    if (!isnan(time)) l->row.time_ms = (int64_t)time;
    WEIRP_TRY(number(l, M_features_version, &version, err));
    if (!isnan(version) && !(version >= 0 && version < 0x1p53)) return wrong(l, err, M_features_version, "a commit");
    if (!isnan(version)) l->row.features_version = (uint64_t)version;
    if (careful(x)) l->row.flags |= WEIRP_LOGGED_CAREFUL;
    WEIRP_TRY(read_features(l, err));
done:
    return st;
}

static weir_status next_weir(weirp_logged *l, weir_error *err) {
    exported *x = l->source;
    weirp_line line;
    weir_status st;
    WEIRP_TRY(weirp_logged_line(l, &line, err));
    WEIRP_TRY(weirp_logged_json(l, &x->json, &line, err));
    find_members(x);
    if (is_text(x, x->at[M_kind], "feedback") || is_text(x, x->at[M_kind], "store")) return WEIR_NOTFOUND;
    bool served = is_text(x, x->at[M_kind], "served");
    if (!served && !is_text(x, x->at[M_kind], "decision"))
        return wrong(l, err, M_kind,
                     "\"served\", \"decision\" or \"feedback\", as weir writes them; others' logs need a mapping");
    WEIRP_TRY(served ? read_served(l, err) : read_decision(l, err));
    WEIRP_TRY(read_head(l, err));
done:
    return st;
}

weir_status weirp_logged_open_weir(weirp_logged *l, weir_error *err) {
    static const weirp_logged_form form = {next_weir, close_weir};
    exported *x = calloc(1, sizeof *x);
    if (!x) return weirp_nomem(err);
    l->source = x;
    l->form = &form;
    return WEIR_OK;
}
