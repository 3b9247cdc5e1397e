/* books.c: what the vendor has billed. It is the other party's accountant: it shares no code with src/price and the
 * gateway, so that the two can prove each other wrong. Whole numbers only: nano-USD and thousandths of one are added
 * apart, and a bill is rounded up once. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/names.h"
#include "src/base/words.h"
#include "src/vendor/json.h"
#include "src/vendor/talk.h"

enum { KEPT = 10000, MAX_NAMES = 1000, MODEL_TEXT = 96 };
#define NOT_PRICED INT64_C(-1)
static const int64_t MOST_TOKENS = 1000000000; /* with 1e6 USD per million of them: 1e18 nano-USD a side */

typedef struct entry {
    char id[40], model[MODEL_TEXT], request_id[64], key[20];
    vend_api api;
    vend_end end;
    int status;
    bool stream, billed, partial;
    vend_tally tally; /* zeros: not billed */
    int64_t nano;     /* NOT_PRICED */
    int64_t at_ms;
} entry;

typedef struct account {
    uint64_t calls, billed, unpriced;
    vend_tally tally;
    int64_t nano;
} account;

typedef struct accounts {
    weirp_names names;
    account *of; /* (names.n) */
    size_t capacity;
} accounts;

struct vend_books {
    pthread_mutex_t lock;
    int file;      /* -1: none */
    uint64_t lost; /* lines that the file didn't take, calls that found no memory */
    account all;
    accounts models, keys;
    entry *kept; /* a ring of up to KEPT */
    size_t n_kept, capacity;
    uint64_t n; /* calls in all */
};

/* ---- a bill ---- */

typedef struct sum {
    int64_t nano, thousandths; /* of a nano-USD */
} sum;

/* A price of USD per million tokens is as many pico-USD a token, times a million. */
static void charge(sum *s, int64_t tokens, double usd_per_mtok, double otherwise) {
    int64_t pico = llround((isnan(usd_per_mtok) ? otherwise : usd_per_mtok) * 1e6);
    if (tokens < 0) tokens = 0;
    if (tokens > MOST_TOKENS) tokens = MOST_TOKENS;
    s->nano += tokens * (pico / 1000);
    s->thousandths += tokens * (pico % 1000);
}

static int64_t bill(const vend_price *p, const vend_tally *t) {
    sum s = {.nano = llround(p->request * 1e9)};
    charge(&s, t->cached, p->cached, p->input);
    charge(&s, t->cache_write, p->cache_write, p->input);
    charge(&s, t->audio_input, p->audio_input, p->input);
    charge(&s, t->input - t->cached - t->cache_write - t->audio_input, p->input, p->input);
    charge(&s, t->reasoning, p->reasoning, p->output);
    charge(&s, t->audio_output, p->audio_output, p->output);
    charge(&s, t->output - t->reasoning - t->audio_output, p->output, p->output);
    return s.nano + (s.thousandths + 999) / 1000;
}

static const vend_price *price_of(const vend_scenario *scenario, const char *model) {
    const vend_price *prices = scenario->file.prices.items;
    for (size_t i = 0; i < scenario->file.prices.n; i++)
        if (!fnmatch(prices[i].model, model, 0)) return &prices[i];
    return NULL;
}

/* ---- what is billed ---- */

/* Nothing is where the vendor answers with an error, a page, or not at all; a client that leaves pays for what it sent,
 * and for what was made by then. */
static bool is_billed(const vend_talk *t) {
    const vend_rule *r = t->rule;
    if (!t->has_reply) return false;
    if (r && (r->html || r->body || r->reset)) return false;
    if (r && r->error.kind != VEND_UNSET && (r->error.after_events == VEND_UNSET || !t->ask.stream)) return false;
    return t->status == 200 || (!t->status && t->end == VEND_GONE);
}

/* Content of a whole answer that its client didn't wait for: as far as its pace would have come. */
static int64_t made_by_now(const vend_talk *t) {
    double since = (double)(weirp_monotonic_ns() - t->base_ns) - t->first_ns;
    if (t->base_ns > weirp_monotonic_ns() || since <= 0 || t->pace_ns <= 0 || t->reply.n_pieces <= 0) return 0;
    int64_t n = since / t->pace_ns < (double)t->reply.n_pieces ? (int64_t)(since / t->pace_ns) : t->reply.n_pieces;
    return n * (int64_t)t->ask.n;
}

static void fill(entry *e, const vend_talk *t) {
    *e = (entry){.api = t->ask.api, .end = t->end, .status = t->status, .stream = t->ask.stream};
    e->at_ms = weirp_unix_ms();
    e->billed = is_billed(t);
    e->partial = e->billed && !t->made;
    snprintf(e->id, sizeof e->id, "%s", t->has_reply ? t->reply.id : "");
    weirp_excerpt(e->model, sizeof e->model, t->ask.model, strlen(t->ask.model));
    memcpy(e->request_id, t->request_id, sizeof e->request_id);
    memcpy(e->key, t->key, sizeof e->key);
    if (!e->billed) return;
    int64_t content = t->made ? VEND_ALL_CONTENT : t->ask.stream ? vend_reply_content_out(&t->reply) : made_by_now(t);
    e->tally = vend_reply_tally(&t->reply, content);
    const vend_price *price = price_of(t->scenario, t->ask.model);
    e->nano = price ? bill(price, &e->tally) : NOT_PRICED;
}

void vend_books_caller(vend_talk *t) {
    static const char *const names[] = {"authorization", "x-api-key", "x-goog-api-key", NULL};
    static const char bearer[] = "Bearer ";
    const char *id = t->ask.header(t->ask.user, "x-request-id"), *key = NULL;
    if (id) weirp_excerpt(t->request_id, sizeof t->request_id, id, strlen(id));
    for (size_t i = 0; names[i] && !key; i++) key = t->ask.header(t->ask.user, names[i]);
    if (!key) return;
    if (!strncasecmp(key, bearer, sizeof bearer - 1)) key += sizeof bearer - 1;
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    if (!EVP_Digest(key, strlen(key), digest, NULL, EVP_sha256(), NULL)) return;
    snprintf(t->key, sizeof t->key, "sha256:%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
}

/* ---- reports ---- */

static void put_tally(weirp_writer *w, const vend_tally *t) {
    vend_put_format(w,
                    "\"input\":%lld,\"cached\":%lld,\"cache_write\":%lld,\"audio_input\":%lld,\"output\":%lld,"
                    "\"reasoning\":%lld,\"audio_output\":%lld",
                    (long long)t->input, (long long)t->cached, (long long)t->cache_write, (long long)t->audio_input,
                    (long long)t->output, (long long)t->reasoning, (long long)t->audio_output);
}

/* A text from outside: what isn't UTF-8 is left out. */
static void put_text(weirp_writer *w, const char *key, const char *text) {
    vend_put(w, key);
    vend_put_quoted(w, text, weirp_utf8_valid(text, strlen(text)));
}

static void put_entry(weirp_writer *w, const entry *e) {
    static const char *const ends[] = {"under way", "answered", "gone", "broken"};
    put_text(w, "{\"id\":", e->id);
    put_text(w, ",\"request_id\":", e->request_id);
    put_text(w, ",\"key\":", e->key);
    put_text(w, ",\"model\":", e->model);
    vend_put_format(w,
                    ",\"api\":\"%s\",\"stream\":%s,\"at_ms\":%lld,\"status\":%d,\"end\":\"%s\",\"billed\":%s,"
                    "\"partial\":%s,",
                    vend_api_name(e->api), e->stream ? "true" : "false", (long long)e->at_ms, e->status, ends[e->end],
                    e->billed ? "true" : "false", e->partial ? "true" : "false");
    put_tally(w, &e->tally);
    if (e->nano == NOT_PRICED)
        vend_put(w, ",\"nano_usd\":null}");
    else
        vend_put_format(w, ",\"nano_usd\":%lld}", (long long)e->nano);
}

static void put_account(weirp_writer *w, const account *a) {
    vend_put_format(w, "\"calls\":%llu,\"billed\":%llu,\"unpriced\":%llu,", (unsigned long long)a->calls,
                    (unsigned long long)a->billed, (unsigned long long)a->unpriced);
    put_tally(w, &a->tally);
    vend_put_format(w, ",\"nano_usd\":%lld", (long long)a->nano);
}

static void put_accounts(weirp_writer *w, const char *key, const accounts *a) {
    vend_put(w, key);
    for (size_t i = 0; i < a->names.n; i++) {
        put_text(w, i ? "," : "", a->names.text[i]);
        vend_put(w, ":{");
        put_account(w, &a->of[i]);
        vend_put(w, "}");
    }
    vend_put(w, "}");
}

void vend_books_write(vend_books *b, size_t last, const char *request_id, weirp_writer *w) {
    pthread_mutex_lock(&b->lock);
    vend_put(w, "{");
    put_account(w, &b->all);
    put_accounts(w, ",\"models\":{", &b->models);
    put_accounts(w, ",\"keys\":{", &b->keys);
    vend_put_format(w, ",\"lost\":%llu,\"last\":[", (unsigned long long)b->lost);
    size_t n = 0, from = last < b->n_kept ? b->n_kept - last : 0;
    for (size_t i = from; i < b->n_kept; i++) { /* the oldest of the ring comes first */
        const entry *e = &b->kept[b->n_kept < KEPT ? i : (b->n + i) % KEPT];
        if (request_id && strcmp(e->request_id, request_id) != 0) continue;
        if (n++) vend_put(w, ",\n");
        put_entry(w, e);
    }
    vend_put(w, "]}\n");
    pthread_mutex_unlock(&b->lock);
}

int64_t vend_books_nano(vend_books *b) {
    pthread_mutex_lock(&b->lock);
    int64_t nano = b->all.nano;
    pthread_mutex_unlock(&b->lock);
    return nano;
}

/* ---- entering ---- */

static void add_to(account *a, const entry *e) {
    const int64_t *from = &e->tally.input;
    int64_t *to = &a->tally.input;
    a->calls++;
    a->billed += e->billed;
    a->unpriced += e->nano == NOT_PRICED;
    if (e->nano > 0) a->nano += e->nano;
    for (size_t i = 0; i < sizeof(vend_tally) / sizeof(int64_t); i++) to[i] += from[i];
}

static bool enter_named(accounts *a, const char *name, const entry *e) {
    bool added = false;
    size_t len = strlen(name), at = weirp_names_find(&a->names, name, len);
    if (at == WEIRP_NO_NAME) {
        if (a->names.n >= MAX_NAMES) name = "(others)", len = strlen(name);
        if (!weirp_reserve((void **)&a->of, &a->capacity, a->names.n + 1, sizeof *a->of)) return false;
        at = weirp_names_add(&a->names, name, len, &added);
        if (at == WEIRP_NO_NAME) return false;
        if (added) a->of[at] = (account){0};
    }
    add_to(&a->of[at], e);
    return true;
}

static bool keep(vend_books *b, const entry *e) {
    if (b->n_kept < KEPT) {
        if (!weirp_reserve((void **)&b->kept, &b->capacity, b->n_kept + 1, sizeof *b->kept)) return false;
        b->n_kept++;
    }
    b->kept[b->n++ % KEPT] = *e;
    return true;
}

/* A line is one write(2) at the file's end. */
static bool write_line(const vend_books *b, const entry *e) {
    if (b->file < 0) return true;
    weirp_writer line = {0};
    put_entry(&line, e);
    vend_put(&line, "\n");
    bool done = !line.failed && write(b->file, line.data, line.size) == (ssize_t)line.size;
    weirp_writer_free(&line);
    return done;
}

void vend_books_enter(vend_books *b, const vend_talk *t) {
    entry e;
    fill(&e, t);
    pthread_mutex_lock(&b->lock);
    add_to(&b->all, &e);
    bool done = write_line(b, &e);
    done &= keep(b, &e);
    done &= enter_named(&b->models, e.model, &e);
    done &= enter_named(&b->keys, e.key, &e);
    b->lost += !done;
    pthread_mutex_unlock(&b->lock);
}

/* ---- the books ---- */

weir_status vend_books_open(vend_books **out, const char *path, weir_error *err) {
    *out = NULL;
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (path && file < 0) return weirp_fail_errno(err, errno, "can't write the books", path);
    vend_books *b = weirp_array(1, sizeof *b);
    if (!b) {
        if (file >= 0) close(file);
        return weirp_nomem(err);
    }
    b->file = file;
    pthread_mutex_init(&b->lock, NULL);
    *out = b;
    return WEIR_OK;
}

static void clear(vend_books *b) {
    weirp_names_free(&b->models.names);
    weirp_names_free(&b->keys.names);
    free(b->models.of);
    free(b->keys.of);
    free(b->kept);
    b->models = b->keys = (accounts){0};
    b->all = (account){0};
    b->kept = NULL;
    b->n_kept = b->capacity = 0;
    b->n = b->lost = 0;
}

void vend_books_close(vend_books *b) {
    if (!b) return;
    clear(b);
    if (b->file >= 0) close(b->file);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void vend_books_reset(vend_books *b) {
    pthread_mutex_lock(&b->lock);
    clear(b);
    pthread_mutex_unlock(&b->lock);
}
