/* download.c: libcurl with retries. SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "datasets/download.h"
#include "src/base/words.h"
#include "weir/export.h"

/* A request that hasn't been answered by then is hopeless: a page is some megabytes. */
enum { CONNECT_SECONDS = 20, STALL_SECONDS = 60, TOTAL_SECONDS = 600 };
/* A server that asks for more patience than this won't be asked again. */
static const double most_patience_s = 600;

static size_t on_body(char *bytes, size_t size, size_t n, void *user) {
    weirp_download *f = user;
    if (size * n > WEIRP_FETCH_MAX_BYTES - f->body.size) return 0;
    weirp_put(&f->body, bytes, size * n);
    return f->body.failed ? 0 : size * n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    weirp_download *f = user;
    return f->stop && f->stop(f->stop_user);
}

weir_status weirp_download_init(weirp_download *f, size_t max_retries, weir_error *err) {
    *f = (weirp_download){.max_retries = max_retries, .first_wait_s = 0.5, .longest_wait_s = 60};
    f->seed = weirp_monotonic_ns();
    f->curl = curl_easy_init();
    if (!f->curl) return weirp_nomem(err);
    CURL *curl = f->curl;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "weir/" WEIR_VERSION);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, ""); /* whatever libcurl can unpack */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TOTAL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    return WEIR_OK;
}

void weirp_download_free(weirp_download *f) {
    curl_easy_cleanup(f->curl);
    weirp_writer_free(&f->body);
    f->curl = NULL;
}

/* {"error": "..."} as the data-set server says it, or the start of the body. */
static void server_says(const weirp_download *f, char *out, size_t size) {
    json_t *body = json_loadb((const char *)f->body.data, f->body.size, 0, NULL);
    const json_t *error = json_object_get(body, "error");
    const char *text = json_is_string(error) ? json_string_value(error) : (const char *)f->body.data;
    weirp_excerpt(out, size, text, json_is_string(error) ? json_string_length(error) : f->body.size);
    json_decref(body);
}

static bool canceled(const weirp_download *f) {
    return f->stop && f->stop(f->stop_user);
}

static bool wait(const weirp_download *f, double seconds) {
    uint64_t end = weirp_monotonic_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t now; (now = weirp_monotonic_ns()) < end;) {
        if (canceled(f)) return false;
        uint64_t left = end - now, piece = left < 100000000u ? left : 100000000u;
        struct timespec t = {0, (long)piece};
        nanosleep(&t, NULL);
    }
    return !canceled(f);
}

typedef struct attempt {
    CURLcode code;
    long status;
    double retry_after_s; /* 0: not said */
    char why[CURL_ERROR_SIZE];
} attempt;

static weir_status try_once(weirp_download *f, const char *url, attempt *a, weir_error *err) {
    curl_off_t after = 0;
    *a = (attempt){0};
    f->body.size = 0;
    curl_easy_setopt(f->curl, CURLOPT_URL, url);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(f->curl, CURLOPT_XFERINFODATA, f);
    curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, a->why);
    a->code = curl_easy_perform(f->curl);
    curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &a->status);
    if (!curl_easy_getinfo(f->curl, CURLINFO_RETRY_AFTER, &after) && after > 0) a->retry_after_s = (double)after;
    bool full = a->code == CURLE_WRITE_ERROR && !f->body.failed;
    weirp_put(&f->body, "", 1);
    if (f->body.failed) return weirp_nomem(err);
    f->body.size--;
    if (full) return weirp_fail(err, WEIR_NET, 0, "%s: the answer is larger than %d bytes", url, WEIRP_FETCH_MAX_BYTES);
    if (a->code == CURLE_ABORTED_BY_CALLBACK) return weirp_fail(err, WEIR_CANCELED, 0, "canceled");
    if (a->code && !*a->why) snprintf(a->why, sizeof a->why, "%s", curl_easy_strerror(a->code));
    return WEIR_OK;
}

/* Failures that another try may heal. */
static bool may_pass(const attempt *a) {
    switch (a->code) {
    case CURLE_OK:
        return a->status == 429 || a->status == 500 || a->status == 502 || a->status == 503 || a->status == 504;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_WEIRD_SERVER_REPLY: return true;
    default: return false;
    }
}

static weir_status give_up(const weirp_download *f, const char *url, const attempt *a, size_t n_tries, weir_error *err) {
    char says[192], tries[48] = "";
    if (n_tries > 1) snprintf(tries, sizeof tries, " (after %zu tries)", n_tries);
    if (a->code) return weirp_fail(err, WEIR_NET, 0, "%s: %s%s", url, a->why, tries);
    server_says(f, says, sizeof says);
    return weirp_fail(err, a->status == 404 ? WEIR_NOTFOUND : WEIR_NET, 0, "%s: status %ld%s: %s", url, a->status,
                      tries, says);
}

weir_status weirp_download_get(weirp_download *f, const char *url, weir_error *err) {
    attempt a;
    for (size_t n = 0;; n++) {
        weir_status st = try_once(f, url, &a, err);
        if (st) return st;
        if (!a.code && a.status == 200) return WEIR_OK;
        if (!may_pass(&a) || n >= f->max_retries || a.retry_after_s > most_patience_s)
            return give_up(f, url, &a, n + 1, err);
        double seconds = fmin(f->first_wait_s * pow(2, (double)n), f->longest_wait_s);
        seconds *= 0.5 + 0.5 * weirp_random_uniform(f->seed, 0, f->n_retries++);
        if (a.retry_after_s > 0) seconds = fmax(seconds, a.retry_after_s);
        if (!wait(f, seconds)) return weirp_fail(err, WEIR_CANCELED, 0, "canceled");
    }
}
