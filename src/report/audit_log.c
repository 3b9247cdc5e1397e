/* audit_log.c: decisions of the traffic log, of a store or of exported lines.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/report/audit.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/router/reading.h"
#include "src/router/state.h"

/* A line has a prompt at most, and a few hundred bytes a model. */
enum { LINE_MOST = 64 << 20 };

struct weirp_audit_log {
    weirp_snapshot *snapshot; /* borrowed */
    weirp_state *state;       /* for the models' names; NULL: there are none */
    weirp_log_record record;
    FILE *file; /* NULL: the snapshot's log */
    char *path;
    weirp_writer line;
    uint64_t n_other;
    weirp_logged logged;
    weirp_logged_visit visit;
    void *visit_user;
};

/* Records have USD as doubles, made from whole nano-USD: below 4 million USD that is where they come back to. */
static int64_t nano_of(double usd) {
    double nano = usd * 1e9;
    return nano >= 0 && nano < 9e18 ? (int64_t)llround(nano) : -1;
}

/* Texts that a record has cut off (255 bytes are kept) aren't the ledger's: whose they are isn't known. */
static const char *whole(const char *text) {
    return text && strlen(text) < 255 ? text : NULL;
}

/* ---- the store's ---- */

static weir_status take_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    weirp_audit_log *log = user;
    weirp_logged *to = &log->logged;
    const weirp_log_record *r = &log->record;
    const weirp_served *v = &r->served;
    (void)number;
    if (weirp_log_kind(data, size) == WEIRP_RECORD_FEEDBACK) {
        log->n_other++;
        return WEIR_OK;
    }
    weir_status st = weirp_log_decode(&log->record, data, size, err);
    if (st != WEIR_OK) return st;
    if (r->kind != WEIRP_RECORD_SERVED) {
        log->n_other++;
        return WEIR_OK;
    }
    const bool named = log->state && r->features_version >= log->state->trained_version;
    *to = (weirp_logged){.id = r->id, .time_ms = r->time_ms, .n = v->n_attempts, .answered = SIZE_MAX, .tokens = -1};
    to->subject.value[WEIRP_DIM_KEY] = v->key;
    to->subject.value[WEIRP_DIM_TEAM] = v->team;
    to->subject.value[WEIRP_DIM_USER] = whole(v->user);
    to->subject.value[WEIRP_DIM_TAG] = whole(v->tag);
    for (size_t i = 0; i < to->n; i++) {
        const weirp_attempt *a = &v->attempt[i];
        to->nano[i] = nano_of(a->cost_usd);
        to->model[i] =
            named && a->model < weirp_state_n_models(log->state) ? log->state->pool->models[a->model].name : NULL;
        if (!strcmp(a->result, "ok")) to->answered = i;
    }
    if (v->model != (size_t)-1 && v->usage.known && !v->usage.estimated)
        to->tokens = v->usage.input_tokens + v->usage.output_tokens;
    return log->visit(log->visit_user, to, err);
}

/* ---- exported lines ---- */

static const char *text_of(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

static bool get_attempt(weirp_logged *to, size_t i, const json_t *attempt) {
    const json_t *cost = json_object_get(attempt, "cost");
    const char *result = text_of(attempt, "result");
    if (!json_is_object(attempt) || !result || !(json_is_number(cost) || json_is_null(cost))) return false;
    to->nano[i] = json_is_number(cost) ? nano_of(json_number_value(cost)) : -1;
    to->model[i] = text_of(attempt, "model");
    if (!strcmp(result, "ok")) to->answered = i;
    return true;
}

/* Members as docs/formats.md has them, "Exported log". */
static bool get_line(weirp_logged *to, const json_t *o) {
    const json_t *attempts = json_object_get(o, "attempts"), *usage = json_object_get(o, "usage");
    *to = (weirp_logged){.id = text_of(o, "id"), .answered = SIZE_MAX, .tokens = -1};
    to->time_ms = json_integer_value(json_object_get(o, "time_ms"));
    to->n = json_array_size(attempts);
    if (!to->id || !json_is_integer(json_object_get(o, "time_ms")) || !json_is_array(attempts) ||
        to->n > WEIRP_LOGGED_ATTEMPTS)
        return false;
    static const char *const WHO[] = {
        [WEIRP_DIM_KEY] = "key", [WEIRP_DIM_TEAM] = "team", [WEIRP_DIM_USER] = "user", [WEIRP_DIM_TAG] = "tag"};
    for (size_t d = 0; d < sizeof WHO / sizeof *WHO; d++) to->subject.value[d] = whole(text_of(o, WHO[d]));
    for (size_t i = 0; i < to->n; i++)
        if (!get_attempt(to, i, json_array_get(attempts, i))) return false;
    if (text_of(o, "answered") && json_is_true(json_object_get(usage, "known")) &&
        !json_is_true(json_object_get(usage, "estimated")))
        to->tokens = json_integer_value(json_object_get(usage, "input_tokens")) +
                     json_integer_value(json_object_get(usage, "output_tokens"));
    return true;
}

static weir_status take_line(weirp_audit_log *log, size_t number, weir_error *err) {
    json_error_t why;
    json_t *o = json_loadb((const char *)log->line.data, log->line.size, 0, &why);
    weir_status st = WEIR_OK;
    const char *kind = o ? text_of(o, "kind") : NULL;
    if (!kind)
        st = weirp_fail(err, WEIR_PARSE, number, "%s isn't an exported log: %s", log->path,
                        o ? "a line has no \"kind\"" : why.text);
    else if (strcmp(kind, "served") != 0)
        log->n_other += strcmp(kind, "store") != 0;
    else if (!get_line(&log->logged, o))
        st =
            weirp_fail(err, WEIR_PARSE, number, "%s: a decision needs \"id\", \"time_ms\" and \"attempts\"", log->path);
    else
        st = log->visit(log->visit_user, &log->logged, err);
    json_decref(o);
    return st;
}

/* A line without its end; WEIR_END: no more. */
static weir_status read_line(weirp_audit_log *log, size_t number, weir_error *err) {
    int c;
    log->line.size = 0;
    while ((c = getc_unlocked(log->file)) != EOF && c != '\n') {
        const char byte = (char)c;
        if (log->line.size == LINE_MOST)
            return weirp_fail(err, WEIR_PARSE, number, "%s: a line of more than 64 MiB", log->path);
        weirp_put(&log->line, &byte, 1);
        if (log->line.failed) return weirp_nomem(err);
    }
    if (ferror(log->file)) return weirp_fail_errno(err, errno, "reading", log->path);
    return c == EOF && !log->line.size ? WEIR_END : WEIR_OK;
}

static weir_status walk_file(weirp_audit_log *log, weir_error *err) {
    weir_status st;
    errno = 0;
    if (fseek(log->file, 0, SEEK_SET) != 0)
        return weirp_fail_errno(err, errno, "going back to the start of", log->path);
    for (size_t number = 1; (st = read_line(log, number, err)) == WEIR_OK; number++)
        if (log->line.size && (st = take_line(log, number, err)) != WEIR_OK) break;
    return st == WEIR_END ? WEIR_OK : st;
}

/* ---- both ---- */

static weir_status walk(void *user, weirp_logged_visit visit, void *visit_user, weir_error *err) {
    weirp_audit_log *log = user;
    log->visit = visit;
    log->visit_user = visit_user;
    log->n_other = 0;
    return log->file ? walk_file(log, err) : weirp_snapshot_log(log->snapshot, 0, take_record, log, err);
}

/* Whether the file's first record was the log's first one. */
static weir_status look_at_first(weirp_audit_log *log, bool *trimmed, weir_error *err) {
    weir_status st = WEIR_OK;
    for (size_t number = 1; st == WEIR_OK; number++) {
        if ((st = read_line(log, number, err)) != WEIR_OK) break;
        json_t *o = json_loadb((const char *)log->line.data, log->line.size, 0, NULL);
        const json_t *at = json_object_get(o, "number");
        const bool found = json_is_integer(at);
        if (found) *trimmed = json_integer_value(at) > 0;
        const bool go_on = o && !found; /* what isn't JSON is told by the walk */
        json_decref(o);
        if (!go_on) break;
    }
    return st == WEIR_END ? WEIR_OK : st;
}

weir_status weirp_audit_log_open(weirp_audit_log **out, weirp_snapshot *snapshot, const char *path,
                                 weirp_log_source *source, weir_error *err) {
    weirp_audit_log *log = weirp_array(1, sizeof *log);
    weir_status st = WEIR_OK;
    if (!log) return weirp_nomem(err);
    log->snapshot = snapshot;
    *source = (weirp_log_source){.walk = walk, .user = log, .optional = !path};
    source->trimmed = weirp_snapshot_first_log(snapshot) > 0;
    if (path) {
        log->path = weirp_strndup(path, strlen(path));
        log->file = fopen(path, "rb");
        if (!log->file) st = weirp_fail_errno(err, errno, "opening", path);
        if (log->file && !log->path) st = weirp_nomem(err);
        if (st == WEIR_OK) st = look_at_first(log, &source->trimmed, err);
    } else if (weirp_snapshot_n_log(snapshot)) {
        st = weirp_state_load(&log->state, snapshot, err);
    }
    if (st == WEIR_OK)
        *out = log;
    else
        weirp_audit_log_close(log);
    return st;
}

uint64_t weirp_audit_log_n_other(const weirp_audit_log *log) {
    return log->n_other;
}

void weirp_audit_log_close(weirp_audit_log *log) {
    if (!log) return;
    if (log->file) fclose(log->file);
    free(log->path);
    weirp_writer_free(&log->line);
    weirp_log_record_free(&log->record);
    weirp_state_free(log->state);
    free(log);
}
