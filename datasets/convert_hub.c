/* convert_hub.c: SPROUT, and data sets of its shape, from the Hugging Face data-set server: page after page of
 * GET /rows?dataset=&config=&split=&offset=&length=, resumable. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/convert.h"
#include "datasets/download.h"
#include "datasets/json.h"

enum { PAGE_ROWS = 100, DEFAULT_RETRIES = 8, EMPTY_PAGES = 3 };

typedef struct hub {
    weirp_conversion *c;
    const char *data_set, *config, *split, *base;
    weirp_download fetch;
    char *escaped[3]; /* data set, config, split, for the URL */
    size_t offset;    /* rows done */
    size_t total;     /* rows there are; 0: not known yet */
    bool partial;     /* the server has only the first part of the data set; said once */
    weirp_row row;
} hub;

/* ---- state: how far it got, and how long the output was then ---- */

static weir_status state_wrong(const hub *h, const char *what, weir_error *err) {
    return weirp_fail(err, WEIR_INVALID, 0, "%s: %s: remove it to start anew", h->c->o.state_path, what);
}

static bool same(const json_t *state, const char *key, const char *value) {
    const char *was = json_string_value(json_object_get(state, key));
    return was && !strcmp(was, value);
}

static size_t number(const json_t *state, const char *key) {
    json_int_t n = json_integer_value(json_object_get(state, key));
    return n > 0 ? (size_t)n : 0;
}

/* Cuts the output to what it held when the state was written: a page may have gone out after that. */
static weir_status rewind_output(const hub *h, size_t size, weir_error *err) {
    struct stat s;
    int fd = fileno(h->c->out);
    if (fd < 0 || fstat(fd, &s) || !S_ISREG(s.st_mode))
        return weirp_fail(err, WEIR_INVALID, 0, "%s: only a plain output file can be continued", h->c->o.state_path);
    if ((size_t)s.st_size < size) return state_wrong(h, "the output is shorter than it was then", err);
    if (ftruncate(fd, (off_t)size) || fseeko(h->c->out, 0, SEEK_END))
        return weirp_fail_errno(err, errno, "can't continue", "output");
    return WEIR_OK;
}

static weir_status load_state(hub *h, weir_error *err) {
    weir_status st;
    json_error_t e;
    const char *path = h->c->o.state_path;
    if (!path || access(path, F_OK)) return WEIR_OK;
    json_t *state = json_load_file(path, 0, &e);
    if (!state) return state_wrong(h, e.text, err);
    if (!same(state, "data_set", h->data_set) || !same(state, "config", h->config) || !same(state, "split", h->split)) {
        st = state_wrong(h, "belongs to another data set, config or split", err);
        goto done;
    }
    WEIRP_TRY(rewind_output(h, number(state, "output_bytes"), err));
    h->offset = number(state, "offset");
    h->c->report = (weir_convert_report){number(state, "n_rows"), number(state, "n_written"),
                                         number(state, "n_malformed"), number(state, "n_truncated")};
done:
    json_decref(state);
    return st;
}

/* Beside the state file, then in its place: a crash leaves the old or the new one. */
static weir_status replace_file(const char *path, const json_t *state, weir_error *err) {
    size_t size = strlen(path) + sizeof ".new";
    char *fresh = malloc(size);
    if (!fresh) return weirp_nomem(err);
    snprintf(fresh, size, "%s.new", path);
    weir_status st = WEIR_OK;
    FILE *file = fopen(fresh, "wb");
    bool ok = file && !json_dumpf(state, file, JSON_INDENT(2)) && putc('\n', file) != EOF && !fflush(file) &&
              !fsync(fileno(file));
    if (!ok) st = weirp_fail_errno(err, errno ? errno : EIO, "can't write", fresh);
    if (file) fclose(file);
    if (st == WEIR_OK && rename(fresh, path)) st = weirp_fail_errno(err, errno, "can't be replaced", path);
    free(fresh);
    return st;
}

static weir_status save_state(hub *h, weir_error *err) {
    struct stat s;
    const weir_convert_report *r = &h->c->report;
    if (!h->c->o.state_path) return WEIR_OK;
    errno = 0;
    if (fflush(h->c->out)) return weirp_fail_errno(err, errno ? errno : EIO, "can't write", "output");
    int fd = fileno(h->c->out);
    if (fd < 0 || fstat(fd, &s) || !S_ISREG(s.st_mode)) return WEIR_OK; /* nothing that could be continued */
    if (fsync(fd)) return weirp_fail_errno(err, errno, "can't write", "output");
    json_t *state = json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "data_set", h->data_set, "config", h->config,
                              "split", h->split, "offset", (json_int_t)h->offset, "output_bytes", (json_int_t)s.st_size,
                              "n_rows", (json_int_t)r->n_rows, "n_written", (json_int_t)r->n_written, "n_malformed",
                              (json_int_t)r->n_malformed, "n_truncated", (json_int_t)r->n_truncated);
    if (!state) return weirp_nomem(err);
    weir_status st = replace_file(h->c->o.state_path, state, err);
    json_decref(state);
    return st;
}

/* ---- pages ---- */

static weir_status bad_page(const hub *h, const char *what, weir_error *err) {
    return weirp_fail(err, WEIR_NET, 0, "%s: rows from %zu: the answer %s", h->base, h->offset, what);
}

static weir_status take_row(hub *h, const json_t *entry, weir_error *err) {
    weir_error e = {0};
    const json_t *at = json_object_get(entry, "row_idx"), *row = json_object_get(entry, "row");
    const json_t *cut = json_object_get(entry, "truncated_cells");
    if (!json_is_integer(at) || !json_is_object(row)) return bad_page(h, "holds a row without row_idx or row", err);
    if ((size_t)json_integer_value(at) < h->offset) return WEIR_OK; /* had it */
    if ((size_t)json_integer_value(at) > h->offset) return bad_page(h, "leaves rows out", err);
    h->offset++;
    h->c->report.n_rows++;
    if (json_array_size(cut)) {
        h->c->report.n_truncated++;
        weirp_conversion_warn(h->c, "%s:%zu: left out, for the server cut %zu of its cells", h->data_set, h->offset - 1,
                              json_array_size(cut));
        return WEIR_OK;
    }
    weir_status st = weirp_sprout_row(h->c, h->data_set, h->offset - 1, row, &h->row, &e);
    return st ? weirp_conversion_reject(h->c, st, &e, err) : WEIR_OK;
}

/* *broken: not JSON at all, as when a proxy ends an answer early without saying so. */
static weir_status take_page(hub *h, size_t *taken, bool *broken, weir_error *err) {
    weir_status st;
    size_t i, before = h->offset;
    const json_t *entry;
    json_error_t e;
    json_t *page =
        json_loadb((const char *)h->fetch.body.data, h->fetch.body.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    const json_t *rows = json_object_get(page, "rows"), *total = json_object_get(page, "num_rows_total");
    *broken = !page;
    if (*broken) {
        st = weirp_json_nomem(&e) ? weirp_nomem(err) : WEIR_OK;
        goto done;
    }
    if (!json_is_array(rows) || !json_is_integer(total) || json_integer_value(total) < 0) {
        st = bad_page(h, "isn't a page of rows", err);
        goto done;
    }
    h->total = (size_t)json_integer_value(total);
    if (json_is_true(json_object_get(page, "partial")) && !h->partial) {
        h->partial = true;
        weirp_conversion_warn(h->c, "%s: the server holds the first %zu rows only", h->data_set, h->total);
    }
    json_array_foreach(rows, i, entry) {
        if (h->c->o.limit && h->offset >= h->c->o.limit) break;
        WEIRP_TRY(take_row(h, entry, err));
    }
    st = WEIR_OK;
done:
    *taken = h->offset - before;
    json_decref(page);
    return st;
}

static bool stop(void *user) {
    const hub *h = user;
    const weir_convert_options *o = &h->c->o;
    size_t total = o->limit && (!h->total || o->limit < h->total) ? o->limit : h->total;
    return o->progress && o->progress(o->progress_user, "downloading", h->offset, total);
}

static weir_status get_page(hub *h, weir_error *err) {
    size_t want = PAGE_ROWS, size;
    if (h->c->o.limit && h->c->o.limit - h->offset < want) want = h->c->o.limit - h->offset;
    char *url = NULL;
    FILE *text = open_memstream(&url, &size);
    if (!text) return weirp_nomem(err);
    fprintf(text, "%s/rows?dataset=%s&config=%s&split=%s&offset=%zu&length=%zu", h->base, h->escaped[0], h->escaped[1],
            h->escaped[2], h->offset, want);
    weir_status st = fclose(text) ? weirp_nomem(err) : weirp_download_get(&h->fetch, url, err);
    free(url);
    return st;
}

/* Pages until all rows, or as many as were asked for, are there. A short page is fine; several empty ones are not. */
static weir_status get_all(hub *h, weir_error *err) {
    size_t n_empty = 0, taken = 0;
    bool broken = false;
    while (!h->c->o.limit || h->offset < h->c->o.limit) {
        weir_status st = get_page(h, err);
        if (st == WEIR_OK) st = take_page(h, &taken, &broken, err);
        if (st) return st;
        if (!broken && h->offset >= h->total) break;
        n_empty = taken ? 0 : n_empty + 1;
        if (n_empty == EMPTY_PAGES)
            return bad_page(h, broken ? "isn't JSON" : "is empty, but more rows are announced", err);
        if ((st = save_state(h, err)) != WEIR_OK) return st;
        if (stop(h)) return weirp_fail(err, WEIR_CANCELED, 0, "canceled after %zu rows", h->offset);
    }
    return WEIR_OK;
}

weir_status weirp_convert_hub(weirp_conversion *c, const char *data_set, weir_error *err) {
    const char *base = c->o.base_url ? c->o.base_url : "https://datasets-server.huggingface.co";
    hub h = {.c = c,
             .data_set = data_set,
             .config = c->o.config ? c->o.config : "default",
             .split = c->o.split ? c->o.split : "train",
             .base = base};
    weir_status st;
    WEIRP_TRY(weirp_download_init(&h.fetch, c->o.max_retries ? c->o.max_retries : DEFAULT_RETRIES, err));
    h.fetch.stop = stop;
    h.fetch.stop_user = &h;
    const char *const parts[] = {h.data_set, h.config, h.split};
    for (int i = 0; i < 3; i++)
        if (!(h.escaped[i] = curl_easy_escape(h.fetch.curl, parts[i], 0))) {
            st = weirp_nomem(err);
            goto done;
        }
    WEIRP_TRY(load_state(&h, err));
    WEIRP_TRY(get_all(&h, err));
    if (c->o.state_path) unlink(c->o.state_path); /* done: the next call starts anew */
done:
    for (int i = 0; i < 3; i++) curl_free(h.escaped[i]);
    weirp_download_free(&h.fetch);
    weirp_row_free(&h.row);
    return st;
}
