/* base.h: what every floor stands on: failing, memory, clocks, random numbers, byte streams.
 *
 * Lives here: things with no idea of prompts, models or money. May not include anything but include/weir/.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_BASE_H
#define WEIRP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"

/* ---- failing ---- */

/* Fills `err` unless it is NULL or holds an error already; always returns `status`, so that `return weirp_fail(...)`
 * reads well. `line` 0: none. The text is one sentence without a final newline. */
weir_status weirp_fail(weir_error *err, weir_status status, size_t line, const char *format, ...) WEIR_PRINTF(4, 5);
/* "out of memory" without formatting. */
weir_status weirp_nomem(weir_error *err);
/* IO failure with strerror(errno_value); disk full (ENOSPC, EDQUOT) becomes WEIR_FULL, EROFS/EACCES WEIR_READONLY. */
weir_status weirp_fail_errno(weir_error *err, int errno_value, const char *what, const char *path);

/* Runs `call`; hands its failure up. Needs a local `weir_status st`. */
#define WEIRP_TRY(call)                                                                                                \
    do {                                                                                                               \
        if ((st = (call)) != WEIR_OK) goto done;                                                                       \
    } while (0)

/* ---- memory ---- */

/* n * size bytes of zeros; NULL on overflow or when memory is out. free() it. n == 0 gives a valid pointer. */
void *weirp_array(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2)));
/* n * size bytes that begin at a cache line's border, not cleared; from 2 MiB on in huge pages, where the system has
 * them and no more than an eighth of one is lost: a table that is read here and there then needs a few address
 * translations, not hundreds. NULL on overflow or when memory is out. free() it. */
void *weirp_large(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2)));
/* Grows *array (capacity in elements) to hold at least `need`; false: out of memory, and nothing has changed. */
bool weirp_reserve(void **array, size_t *capacity, size_t need, size_t size);
char *weirp_strndup(const char *text, size_t len); /* NUL-terminated copy; NULL: out of memory; free() it */

/* ---- clocks ---- */

uint64_t weirp_monotonic_ns(void);
uint64_t weirp_cpu_ns(void);  /* CPU time of this process */
int64_t weirp_unix_ms(void);  /* wall clock */

/* ---- random numbers: pure functions of (seed, stream, counter), the same on every machine ---- */

uint64_t weirp_mix64(uint64_t x); /* a bijection with full avalanche (splitmix64's finaliser) */
uint64_t weirp_random_u64(uint64_t seed, uint64_t stream, uint64_t counter);
double weirp_random_uniform(uint64_t seed, uint64_t stream, uint64_t counter); /* [0,1) */
double weirp_random_normal(uint64_t seed, uint64_t stream, uint64_t counter);  /* mean 0, sd 1 */

/* Shuffles `order` (n) as a function of seed alone. */
void weirp_shuffle(size_t *order, size_t n, uint64_t seed);

/* ---- byte streams: little-endian, versioned by their owners ---- */

typedef struct weirp_writer {
    uint8_t *data;
    size_t size, capacity;
    bool failed; /* out of memory at some point: the data is not to be used */
} weirp_writer;

void weirp_put(weirp_writer *w, const void *bytes, size_t n);
void weirp_put_u32(weirp_writer *w, uint32_t v);
void weirp_put_u64(weirp_writer *w, uint64_t v);
void weirp_put_f64(weirp_writer *w, double v);
void weirp_put_text(weirp_writer *w, const char *text); /* length, bytes */
/* Arrays carry their length; NULL is written as length 0. */
void weirp_put_f64s(weirp_writer *w, const double *v, size_t n);
void weirp_put_f32s(weirp_writer *w, const float *v, size_t n);
void weirp_put_u32s(weirp_writer *w, const uint32_t *v, size_t n);
void weirp_put_u8s(weirp_writer *w, const void *v, size_t n);
void weirp_writer_free(weirp_writer *w);

typedef struct weirp_bytes {
    const uint8_t *data;
    size_t size, at;
    bool failed;        /* ran past the end, a length that didn't fit, or out of memory */
    bool out_of_memory; /* failed for want of memory: nothing is wrong with the bytes */
} weirp_bytes;

void weirp_get(weirp_bytes *r, void *bytes, size_t n); /* zeros once failed */
uint32_t weirp_get_u32(weirp_bytes *r);
uint64_t weirp_get_u64(weirp_bytes *r);
double weirp_get_f64(weirp_bytes *r);
char *weirp_get_text(weirp_bytes *r); /* new; NULL once failed */
/* Reads an array that must have exactly n elements into new memory; NULL once failed. free() it. */
double *weirp_get_f64s(weirp_bytes *r, size_t n);
float *weirp_get_f32s(weirp_bytes *r, size_t n);
uint32_t *weirp_get_u32s(weirp_bytes *r, size_t n);
uint8_t *weirp_get_u8s(weirp_bytes *r, size_t n);

#endif
