/* bytes.c: little-endian byte streams with every length checked. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "stores are little-endian; a big-endian machine needs byte swaps here"
#endif

void weirp_put(weirp_writer *w, const void *bytes, size_t n) {
    if (w->failed || !n) return;
    if (n > SIZE_MAX - w->size || !weirp_reserve((void **)&w->data, &w->capacity, w->size + n, 1)) {
        w->failed = true;
        return;
    }
    memcpy(w->data + w->size, bytes, n);
    w->size += n;
}

void weirp_put_u32(weirp_writer *w, uint32_t v) {
    weirp_put(w, &v, sizeof v);
}

void weirp_put_u64(weirp_writer *w, uint64_t v) {
    weirp_put(w, &v, sizeof v);
}

void weirp_put_f64(weirp_writer *w, double v) {
    weirp_put(w, &v, sizeof v);
}

static void put_array(weirp_writer *w, const void *v, size_t n, size_t size) {
    if (!v) n = 0;
    weirp_put_u64(w, n);
    if (n) weirp_put(w, v, n * size);
}

void weirp_put_text(weirp_writer *w, const char *text) {
    put_array(w, text, strlen(text), 1);
}

void weirp_put_f64s(weirp_writer *w, const double *v, size_t n) {
    put_array(w, v, n, sizeof *v);
}

void weirp_put_f32s(weirp_writer *w, const float *v, size_t n) {
    put_array(w, v, n, sizeof *v);
}

void weirp_put_u32s(weirp_writer *w, const uint32_t *v, size_t n) {
    put_array(w, v, n, sizeof *v);
}

void weirp_put_u8s(weirp_writer *w, const void *v, size_t n) {
    put_array(w, v, n, 1);
}

void weirp_writer_free(weirp_writer *w) {
    free(w->data);
    memset(w, 0, sizeof *w);
}

void weirp_get(weirp_bytes *r, void *bytes, size_t n) {
    if (r->failed || n > r->size - r->at) {
        r->failed = true;
        memset(bytes, 0, n);
        return;
    }
    memcpy(bytes, r->data + r->at, n);
    r->at += n;
}

uint32_t weirp_get_u32(weirp_bytes *r) {
    uint32_t v;
    weirp_get(r, &v, sizeof v);
    return v;
}

uint64_t weirp_get_u64(weirp_bytes *r) {
    uint64_t v;
    weirp_get(r, &v, sizeof v);
    return v;
}

double weirp_get_f64(weirp_bytes *r) {
    double v;
    weirp_get(r, &v, sizeof v);
    return v;
}

/* The length is checked against what is left before any memory is asked for. */
static void *get_array(weirp_bytes *r, size_t n, size_t size) {
    uint64_t stored = weirp_get_u64(r);
    if (r->failed || stored != n || n > (r->size - r->at) / size) {
        r->failed = true;
        return NULL;
    }
    void *v = weirp_array(n, size);
    if (!v) {
        r->failed = r->out_of_memory = true;
        return NULL;
    }
    weirp_get(r, v, n * size);
    return v;
}

char *weirp_get_text(weirp_bytes *r) {
    uint64_t n = weirp_get_u64(r);
    if (r->failed || n > r->size - r->at) {
        r->failed = true;
        return NULL;
    }
    char *text = weirp_strndup((const char *)r->data + r->at, (size_t)n);
    if (!text) r->failed = r->out_of_memory = true;
    r->at += (size_t)n;
    return text;
}

double *weirp_get_f64s(weirp_bytes *r, size_t n) {
    return get_array(r, n, sizeof(double));
}

float *weirp_get_f32s(weirp_bytes *r, size_t n) {
    return get_array(r, n, sizeof(float));
}

uint32_t *weirp_get_u32s(weirp_bytes *r, size_t n) {
    return get_array(r, n, sizeof(uint32_t));
}

uint8_t *weirp_get_u8s(weirp_bytes *r, size_t n) {
    return get_array(r, n, 1);
}
