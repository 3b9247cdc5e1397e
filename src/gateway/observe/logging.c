/* logging.c: a line is made on the stack and written with one write(2). SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/gateway/observe/logging_text.h"

/* TAIL: what closes a line that was cut, in the longest form. PATIENCE_MS: how long a pipe that nobody reads may hold a
 * thread up where the descriptor doesn't block (where it does, write itself waits). */
enum { LINE_BYTES = 8192, TAIL = 32, PATIENCE_MS = 50 };

struct weirp_log {
    int fd;
    atomic_uint mode; /* format << 8 | level: one word, so that both change together */
    weirp_secrets secrets;
    pthread_mutex_t growing; /* of secrets */
    /* A pipe keeps writes of up to PIPE_BUF bytes whole. Lines that are longer are written alone: short ones share this
     * lock, long ones have it for themselves. */
    pthread_rwlock_t writing;
    atomic_bool torn; /* the last line was given up in its middle: the next one begins with a line end */
};

weir_status weirp_log_new(weirp_log **out, int fd, weirp_log_format format, weirp_log_level level, weir_error *err) {
    *out = NULL;
    weirp_log *log = calloc(1, sizeof *log);
    if (!log) return weirp_nomem(err);
    log->fd = fd;
    weirp_log_set(log, format, level);
    if (pthread_mutex_init(&log->growing, NULL)) {
        free(log);
        return weirp_nomem(err);
    }
    if (pthread_rwlock_init(&log->writing, NULL)) {
        pthread_mutex_destroy(&log->growing);
        free(log);
        return weirp_nomem(err);
    }
    *out = log;
    return WEIR_OK;
}

void weirp_log_free(weirp_log *log) {
    if (!log) return;
    weirp_secrets_free(&log->secrets);
    pthread_mutex_destroy(&log->growing);
    pthread_rwlock_destroy(&log->writing);
    free(log);
}

void weirp_log_set(weirp_log *log, weirp_log_format format, weirp_log_level level) {
    atomic_store_explicit(&log->mode, (unsigned)format << 8 | (unsigned)level, memory_order_relaxed);
}

void weirp_log_clean(const weirp_log *log, char *text, size_t size) {
    weirp_secrets_clean(&log->secrets, text, size);
}

weir_status weirp_log_hide(weirp_log *log, const char *secret, weir_error *err) {
    pthread_mutex_lock(&log->growing);
    weir_status st = weirp_secrets_add(&log->secrets, secret, err);
    pthread_mutex_unlock(&log->growing);
    return st;
}

/* ---- writing ---- */

static void write_whole(weirp_log *log, const char *bytes, size_t n) {
    if (atomic_load_explicit(&log->torn, memory_order_relaxed) && atomic_exchange(&log->torn, false)) {
        ssize_t one = write(log->fd, "\n", 1);
        if (one != 1) atomic_store(&log->torn, true);
    }
    size_t done = 0;
    while (done < n) {
        ssize_t wrote = write(log->fd, bytes + done, n - done);
        if (wrote > 0) {
            done += (size_t)wrote;
            continue;
        }
        if (wrote < 0 && errno == EINTR) continue;
        struct pollfd ready = {log->fd, POLLOUT, 0};
        bool again = wrote < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        if (again && poll(&ready, 1, PATIENCE_MS) > 0 && ready.revents & POLLOUT) continue;
        if (done) atomic_store(&log->torn, true);
        return; /* nobody to tell */
    }
}

static void send_line(weirp_log *log, const char *bytes, size_t n) {
    int kept = errno; /* who logs a failure may still want to look at it */
    if (n <= PIPE_BUF)
        pthread_rwlock_rdlock(&log->writing);
    else
        pthread_rwlock_wrlock(&log->writing);
    write_whole(log, bytes, n);
    pthread_rwlock_unlock(&log->writing);
    errno = kept;
}

/* ---- lines ---- */

static bool left_out(const weirp_log_pair *pair) {
    return (pair->kind == WEIRP_LOG_STR && !pair->text) || (pair->kind == WEIRP_LOG_REAL && isnan(pair->number));
}

/* Whether text can stand bare after "key=". */
static bool bare(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f) return false;
    }
    return len;
}

static void put_key(weirp_line *line, const char *key) {
    char clean[64];
    size_t n = 0;
    for (; key[n] && n < sizeof clean; n++) {
        char c = key[n];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
        clean[n] = word ? c : '_';
    }
    if (line->json)
        weirp_line_put(line, ",\"", 2);
    else
        weirp_line_put(line, " ", 1);
    weirp_line_put(line, clean, n);
    if (line->json)
        weirp_line_put(line, "\":", 2);
    else
        weirp_line_put(line, "=", 1);
}

/* A quoted text that was cut keeps what fitted, and is closed beyond the end, where there is room for that. */
static void put_quoted(weirp_line *line, const char *text, size_t len) {
    weirp_line_put(line, "\"", 1);
    if (line->full) return;
    weirp_line_text(line, text, len);
    if (!line->full)
        weirp_line_put(line, "\"", 1);
    else {
        memcpy(line->at, "...\"", 4);
        line->at += 4;
        line->end = line->at;
    }
}

/* A pair that doesn't fit leaves nothing, or, if it is a text, a shorter one. */
static void put_pair(weirp_line *line, const weirp_log_pair *pair) {
    char *before = line->at;
    put_key(line, pair->key);
    bool keyed = !line->full;
    const char *text = pair->text;
    size_t len = pair->kind == WEIRP_LOG_STR ? strlen(text) : 0;
    bool quoted = line->json || !bare(text, len);
    char *value = line->at;
    switch (pair->kind) {
    case WEIRP_LOG_STR:
        if (quoted)
            put_quoted(line, text, len);
        else
            weirp_line_text(line, text, len);
        break;
    case WEIRP_LOG_INT: weirp_line_int(line, pair->count); break;
    case WEIRP_LOG_REAL: weirp_line_real(line, pair->number); break;
    case WEIRP_LOG_BOOL: weirp_line_put(line, pair->count ? "true" : "false", pair->count ? 4 : 5); break;
    }
    bool some = keyed && pair->kind == WEIRP_LOG_STR && line->at > value;
    if (line->full && !some) line->at = before;
}

void weirp_log_line(weirp_log *log, weirp_log_level level, const char *message, const weirp_log_pair *pairs, size_t n) {
    static const char *const padded[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    static const char *const small[] = {"debug", "info", "warn", "error"};
    unsigned mode = atomic_load_explicit(&log->mode, memory_order_relaxed);
    if ((unsigned)level < (mode & 255) || (unsigned)level > WEIRP_LOG_ERROR) return;
    char buffer[LINE_BYTES];
    weirp_line line = {buffer, buffer + sizeof buffer - TAIL, false, mode >> 8 == WEIRP_LOG_JSON, &log->secrets};
    if (line.json) weirp_line_put(&line, "{\"ts\":\"", 7);
    weirp_line_time(&line, weirp_unix_ms());
    weirp_line_put(&line, line.json ? "\",\"level\":\"" : " ", line.json ? 11 : 1);
    weirp_line_put(&line, line.json ? small[level] : padded[level], strlen(line.json ? small[level] : padded[level]));
    weirp_line_put(&line, line.json ? "\",\"msg\":" : " ", line.json ? 8 : 1);
    if (line.json)
        put_quoted(&line, message, strlen(message));
    else
        weirp_line_text(&line, message, strlen(message));
    for (size_t i = 0; i < n && !line.full; i++)
        if (!left_out(&pairs[i])) put_pair(&line, &pairs[i]);
    char *at = line.at; /* from here on in the tail's room */
    if (line.full) {
        const char *cut = line.json ? ",\"cut\":true" : " cut=true";
        memcpy(at, cut, strlen(cut));
        at += strlen(cut);
    }
    if (line.json) *at++ = '}';
    *at++ = '\n';
    send_line(log, buffer, (size_t)(at - buffer));
}
