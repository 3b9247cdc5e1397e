/* Pacer: edits to a sound state are refused or give a pacer that still answers; any numbers as requests, costs and
 * times leave an answer within its range, and a state that can be loaded again.
 *
 * Edits of 10 bytes: where (2), a number (8); after a where of 65535, steps of 26 bytes: what (1), a time or sum (8), a
 * quality (8), a cost (8), an hour (1). SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/pace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const double START = 1767571200;

static weirp_pacer *make(void) {
    weirp_pacer *p;
    const weirp_pacer_options o = {.limit_usd = 10, .start_s = START, .end_s = START + 86400, .floor = 0.5};
    if (weirp_pacer_new(&p, &o, NULL) != WEIR_OK) abort();
    return p;
}

static weirp_moment at(double unix_s, int hour) {
    return (weirp_moment){.unix_s = unix_s, .hour = hour % 32, .weekday = hour / 32, .into_hour_s = fmod(unix_s, 3600)};
}

static void sound_state(weirp_writer *out) {
    weirp_pacer *p = make();
    for (int i = 0; i < 1000; i++) {
        const double now = START + 80 * i, q[2] = {0.4, 0.9}, c[2] = {0.001, 0.001 + 1e-5 * (i % 50 + 1)};
        weirp_pacer_observe(p, at(now, i * 80 / 3600 % 24), 2, q, c, NULL);
        weirp_pacer_spent(p, 0.7, 0.001, 0.0011);
    }
    weirp_pacer_save(p, out);
    weirp_pacer_free(p);
}

static void check(weirp_pace pace) {
    if (!(pace.value >= 1e-6 && pace.value <= 1e3)) abort();
    if (!(pace.most_usd >= 0 && pace.left_usd >= 0 && pace.left_usd <= 10)) abort();
    if (!(pace.requests >= 0 && isfinite(pace.requests))) abort();
    if (pace.known && isnan(pace.quality + pace.floor_usd)) abort();
}

static double number(const uint8_t *data) {
    double x;
    memcpy(&x, data, sizeof x);
    return x;
}

static void steps(weirp_pacer *p, const uint8_t *data, size_t size) {
    double now = START;
    for (; size >= 26; data += 26, size -= 26) {
        const double x = number(data + 1), q[2] = {number(data + 9), 0.5}, c[2] = {number(data + 17), 0.01};
        const double days = fmod(x, 50) * 86400; /* the odd ones are tried as they are */
        now = data[0] & 1 ? x : isfinite(now + days) ? now + days : START;
        if (data[0] & 2) weirp_pacer_observe(p, at(now, data[25]), 1 + (data[0] >> 7), q, c, NULL);
        if (data[0] & 4) weirp_pacer_spent(p, q[0], c[0], x);
        if (data[0] & 8 && weirp_pacer_begin(p, 10, now, now + c[0], NULL) == WEIR_OK)
            check(weirp_pacer_value(p, at(now, data[25]), 0, 0));
        check(weirp_pacer_value(p, at(now, data[25]), x, c[0]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static weirp_writer sound;
    if (!sound.size) sound_state(&sound);
    uint8_t *state = malloc(sound.size);
    if (!state) abort();
    memcpy(state, sound.data, sound.size);
    while (size >= 10) {
        const size_t where = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2, size -= 2;
        if (where == 65535) break;
        if (where + 8 <= sound.size) memcpy(state + where, data, 8);
        data += 8, size -= 8;
    }
    weirp_pacer *p = make(), *again = make();
    if (weirp_pacer_load(p, state, sound.size, NULL) == WEIR_OK) check(weirp_pacer_value(p, at(START, 0), 0, 0));
    steps(p, data, size);
    weirp_writer out = {0};
    weirp_pacer_save(p, &out);
    if (weirp_pacer_load(again, out.data, out.size, NULL) != WEIR_OK) abort();
    weirp_writer_free(&out);
    weirp_pacer_free(p);
    weirp_pacer_free(again);
    free(state);
    return 0;
}
