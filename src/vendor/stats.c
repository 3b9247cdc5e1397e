/* stats.c: what was asked of the vendor, and what became of it. One lock: it is held for well under a microsecond a
 * request, which is what copying the last request takes. SPDX-License-Identifier: GPL-3.0-or-later */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/names.h"
#include "src/base/words.h"
#include "src/vendor/json.h"
#include "src/vendor/talk.h"

enum { MAX_MODELS = 1000, MAX_ABORTS = 100000, MAX_LAST_BYTES = 8 << 20, MAX_STATUS = 600 };

typedef struct counts {
    uint64_t requests, running, ended, aborted, broken;
} counts;

typedef struct last {
    weirp_writer body, headers; /* headers: members of a JSON object */
    char path[256], fault[512];
    int64_t at_ms;
    bool cut; /* the body was longer than is kept */
} last;

typedef struct aborted {
    size_t model;
    vend_api api;
    int64_t at_ms; /* unix time at which it was noticed */
    double after_ms;
    uint64_t events;
} aborted;

struct vend_stats {
    pthread_mutex_t lock;
    counts all, by_api[VEND_N_APIS];
    uint64_t invalid[VEND_N_APIS];
    uint64_t by_status[MAX_STATUS];
    uint64_t events, peak;
    weirp_names names;
    counts *models; /* (names.n) */
    last *last;     /* (names.n) */
    size_t models_capacity, last_capacity;
    aborted *aborts;
    size_t n_aborts, aborts_capacity;
    uint64_t aborts_dropped;
};

vend_stats *vend_stats_new(void) {
    vend_stats *s = weirp_array(1, sizeof *s);
    if (s) pthread_mutex_init(&s->lock, NULL);
    return s;
}

static void clear(vend_stats *s) {
    for (size_t i = 0; i < s->names.n; i++) {
        weirp_writer_free(&s->last[i].body);
        weirp_writer_free(&s->last[i].headers);
    }
    free(s->models);
    free(s->last);
    free(s->aborts);
    weirp_names_free(&s->names);
}

void vend_stats_free(vend_stats *s) {
    if (!s) return;
    clear(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* What runs goes on counting as running. */
void vend_stats_reset(vend_stats *s) {
    pthread_mutex_lock(&s->lock);
    s->all = (counts){.running = s->all.running};
    for (size_t i = 0; i < VEND_N_APIS; i++) s->by_api[i] = (counts){.running = s->by_api[i].running};
    for (size_t i = 0; i < s->names.n; i++) {
        s->models[i] = (counts){.running = s->models[i].running};
        s->last[i].at_ms = 0;
    }
    memset(s->invalid, 0, sizeof s->invalid);
    memset(s->by_status, 0, sizeof s->by_status);
    s->events = s->n_aborts = s->aborts_dropped = 0;
    s->peak = s->all.running;
    pthread_mutex_unlock(&s->lock);
}

/* ---- the last request ---- */

static bool is_secret(const char *name) {
    static const char *const names[] = {
        "authorization", "proxy-authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", NULL};
    for (size_t i = 0; names[i]; i++)
        if (!strcasecmp(name, names[i])) return true;
    return false;
}

static void put_header(void *user, const char *name, const char *value) {
    weirp_writer *w = user;
    char shown[32], lower[128];
    size_t n = 0;
    if (is_secret(name)) {
        unsigned char digest[EVP_MAX_MD_SIZE] = {0};
        if (!EVP_Digest(value, strlen(value), digest, NULL, EVP_sha256(), NULL)) memset(digest, 0, 4);
        snprintf(shown, sizeof shown, "sha256:%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
        value = shown;
    }
    for (; name[n] && n + 1 < sizeof lower; n++) {
        bool upper = name[n] >= 'A' && name[n] <= 'Z';
        lower[n] = upper ? (char)(name[n] + 32) : name[n];
    }
    if (w->size) vend_put(w, ",");
    vend_put_quoted(w, lower, n);
    vend_put(w, ":");
    size_t len = strlen(value);
    vend_put_quoted(w, value, weirp_utf8_valid(value, len));
}

static void remember(last *l, const weirp_call *call) {
    size_t len;
    const char *body = weirp_call_body(call, &len);
    l->cut = len > MAX_LAST_BYTES;
    l->body.size = l->headers.size = 0;
    l->body.failed = l->headers.failed = false;
    weirp_put(&l->body, body, l->cut ? MAX_LAST_BYTES : len);
    weirp_call_each_header(call, put_header, &l->headers);
    snprintf(l->path, sizeof l->path, "%s", weirp_call_path(call));
    l->at_ms = weirp_unix_ms();
}

/* ---- counting ---- */

static size_t place_of(vend_stats *s, const char *model) {
    bool added = false;
    size_t len = strlen(model), at = weirp_names_find(&s->names, model, len);
    if (at != WEIRP_NO_NAME) return at;
    if (s->names.n >= MAX_MODELS) model = "(others)", len = strlen(model);
    if (!weirp_reserve((void **)&s->models, &s->models_capacity, s->names.n + 1, sizeof *s->models) ||
        !weirp_reserve((void **)&s->last, &s->last_capacity, s->names.n + 1, sizeof *s->last))
        return VEND_NOT_DUE;
    at = weirp_names_add(&s->names, model, len, &added);
    if (at == WEIRP_NO_NAME) return VEND_NOT_DUE;
    if (added) {
        s->models[at] = (counts){0};
        s->last[at] = (last){0};
    }
    return at;
}

size_t vend_stats_begin(vend_stats *s, vend_api api, const char *model, const weirp_call *call) {
    pthread_mutex_lock(&s->lock);
    size_t at = place_of(s, model);
    if (at != VEND_NOT_DUE) {
        counts *each[] = {&s->all, &s->by_api[api], &s->models[at]};
        for (size_t i = 0; i < 3; i++) {
            each[i]->requests++;
            each[i]->running++;
        }
        if (s->all.running > s->peak) s->peak = s->all.running;
        remember(&s->last[at], call);
    }
    pthread_mutex_unlock(&s->lock);
    return at;
}

static void note_abort(vend_stats *s, const vend_talk *t) {
    if (s->n_aborts == MAX_ABORTS ||
        !weirp_reserve((void **)&s->aborts, &s->aborts_capacity, s->n_aborts + 1, sizeof *s->aborts)) {
        s->aborts_dropped++;
        return;
    }
    double after_ms = (double)(weirp_monotonic_ns() - t->start_ns) * 1e-6;
    s->aborts[s->n_aborts++] = (aborted){t->counted, t->ask.api, weirp_unix_ms(), after_ms, t->n_events};
}

void vend_stats_end(vend_stats *s, const vend_talk *t) {
    pthread_mutex_lock(&s->lock);
    counts *each[] = {&s->all, &s->by_api[t->ask.api], &s->models[t->counted]};
    for (size_t i = 0; i < 3; i++) {
        each[i]->running--;
        each[i]->ended += t->end == VEND_ANSWERED;
        each[i]->aborted += t->end == VEND_GONE;
        each[i]->broken += t->end == VEND_BROKEN;
    }
    if (t->end == VEND_GONE) note_abort(s, t);
    if (t->status > 0 && t->status < MAX_STATUS) s->by_status[t->status]++;
    s->events += t->n_events;
    pthread_mutex_unlock(&s->lock);
}

void vend_stats_invalid(vend_stats *s, vend_api api, const weirp_call *call, const char *fault) {
    pthread_mutex_lock(&s->lock);
    s->invalid[api]++;
    size_t at = place_of(s, "(invalid)");
    if (at != VEND_NOT_DUE) {
        remember(&s->last[at], call);
        snprintf(s->last[at].fault, sizeof s->last[at].fault, "%s", fault);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- reports ---- */

static void put_counts(weirp_writer *w, const counts *c) {
    vend_put_format(w, "\"requests\":%llu,\"running\":%llu,\"ended\":%llu,\"aborted\":%llu,\"broken\":%llu",
                    (unsigned long long)c->requests, (unsigned long long)c->running, (unsigned long long)c->ended,
                    (unsigned long long)c->aborted, (unsigned long long)c->broken);
}

static void put_aborts(const vend_stats *s, weirp_writer *w) {
    vend_put(w, "\"aborts\":[");
    for (size_t i = 0; i < s->n_aborts; i++) {
        const aborted *a = &s->aborts[i];
        vend_put_member(w, i ? ",{\"model\":" : "{\"model\":", s->names.text[a->model]);
        vend_put_format(w, ",\"api\":\"%s\",\"at_ms\":%lld,\"after_ms\":%.3f,\"events\":%llu}", vend_api_name(a->api),
                        (long long)a->at_ms, a->after_ms, (unsigned long long)a->events);
    }
    vend_put_format(w, "],\"aborts_dropped\":%llu", (unsigned long long)s->aborts_dropped);
}

static void put_rules(const vend_scenario *scenario, weirp_writer *w) {
    const vend_rule *rules = scenario->file.rules.items;
    vend_put(w, "\"rules\":[");
    for (size_t i = 0; i < scenario->file.rules.n; i++) {
        vend_put_member(w, i ? ",{\"name\":" : "{\"name\":", rules[i].name);
        vend_put_format(w, ",\"line\":%zu,\"seen\":%llu,\"hits\":%llu}", rules[i].line,
                        (unsigned long long)atomic_load(&scenario->counts[i].seen),
                        (unsigned long long)atomic_load(&scenario->counts[i].hits));
    }
    vend_put(w, "]");
}

void vend_stats_write(vend_stats *s, const vend_scenario *scenario, int64_t nano, weirp_writer *w) {
    const char *comma = "";
    uint64_t invalid = 0;
    pthread_mutex_lock(&s->lock);
    vend_put_format(w, "{\"now_ms\":%lld,\"nano_usd\":%lld,", (long long)weirp_unix_ms(), (long long)nano);
    put_counts(w, &s->all);
    for (size_t i = 0; i < VEND_N_APIS; i++) invalid += s->invalid[i];
    vend_put_format(w, ",\"invalid\":%llu,\"peak\":%llu,\"events\":%llu,\"apis\":{", (unsigned long long)invalid,
                    (unsigned long long)s->peak, (unsigned long long)s->events);
    for (size_t i = 0; i < VEND_N_APIS; i++) {
        vend_put_format(w, "%s\"%s\":{\"invalid\":%llu,", i ? "," : "", vend_api_name((vend_api)i),
                        (unsigned long long)s->invalid[i]);
        put_counts(w, &s->by_api[i]);
        vend_put(w, "}");
    }
    vend_put(w, "},\"models\":{");
    for (size_t i = 0; i < s->names.n; i++, comma = ",") {
        vend_put(w, comma);
        vend_put_quoted(w, s->names.text[i], s->names.len[i]);
        vend_put(w, ":{");
        put_counts(w, &s->models[i]);
        vend_put(w, "}");
    }
    vend_put(w, "},\"statuses\":{");
    comma = "";
    for (int i = 0; i < MAX_STATUS; i++) {
        if (!s->by_status[i]) continue;
        vend_put_format(w, "%s\"%d\":%llu", comma, i, (unsigned long long)s->by_status[i]);
        comma = ",";
    }
    vend_put(w, "},");
    put_aborts(s, w);
    pthread_mutex_unlock(&s->lock);
    vend_put(w, ",");
    put_rules(scenario, w);
    vend_put(w, "}\n");
}

static void put_last(const last *l, const char *model, weirp_writer *w) {
    vend_put_member(w, "{\"model\":", model);
    vend_put_member(w, ",\"path\":", l->path);
    vend_put_format(w, ",\"at_ms\":%lld,\"cut\":%s,\"headers\":{", (long long)l->at_ms, l->cut ? "true" : "false");
    weirp_put(w, l->headers.data, l->headers.size);
    vend_put_member(w, "},\"fault\":", l->fault[0] ? l->fault : NULL);
    vend_put(w, ",\"body\":");
    char *text = malloc(3 * l->body.size + 1);
    size_t len = text ? weirp_utf8_repair(text, (const char *)l->body.data, l->body.size) : 0;
    vend_put_quoted(w, text ? text : "", len);
    free(text);
    vend_put(w, "}");
}

bool vend_stats_last(vend_stats *s, const char *model, weirp_writer *w) {
    bool found = false;
    pthread_mutex_lock(&s->lock);
    if (!model) vend_put(w, "{\"models\":{");
    for (size_t i = 0; i < s->names.n; i++) {
        if (!s->last[i].at_ms || (model && strcmp(model, s->names.text[i]))) continue;
        if (!model) {
            if (found) vend_put(w, ",");
            vend_put_quoted(w, s->names.text[i], s->names.len[i]);
            vend_put(w, ":");
        }
        put_last(&s->last[i], s->names.text[i], w);
        found = true;
    }
    vend_put(w, model ? "\n" : "}}\n");
    pthread_mutex_unlock(&s->lock);
    return found || !model;
}
