/* money.c: exact bills. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/price/money.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* The greatest sum there can be, 2^63 tokens a side at 1e15 pico-USD and a request of 1e21, is below 2^115. C17 has no
 * such type; GCC and Clang do on every 64-bit machine. */
__extension__ typedef __int128 wide;

enum { PICO_PER_NANO = 1000 };
static const double MOST_USD = 1e9; /* as src/price/model_keys.h has it: 1e15 pico-USD a token, 1e18 nano-USD */

/* ---- rates ---- */

static int64_t whole(double usd, double scale, int64_t unknown) {
    if (isnan(usd)) return unknown;
    return llround((usd < 0 ? 0 : usd > MOST_USD ? MOST_USD : usd) * scale);
}

weirp_rates weirp_rates_of(const weir_model *m) {
    /* 1e-6 USD per million tokens is 1e-12 USD a token */
    int64_t in = whole(m->input_usd_per_mtok, 1e6, WEIRP_UNKNOWN_COST);
    int64_t out = whole(m->output_usd_per_mtok, 1e6, WEIRP_UNKNOWN_COST);
    int64_t request = whole(m->request_usd, 1e9, WEIRP_UNKNOWN_COST);
    return (weirp_rates){.input = in,
                         .cached_input = whole(m->cached_input_usd_per_mtok, 1e6, in),
                         .cache_write = whole(m->cache_write_usd_per_mtok, 1e6, in),
                         .audio_input = whole(m->audio_input_usd_per_mtok, 1e6, in),
                         .output = out,
                         .reasoning = whole(m->reasoning_usd_per_mtok, 1e6, out),
                         .audio_output = whole(m->audio_output_usd_per_mtok, 1e6, out),
                         .request = request,
                         .known = in >= 0 && out >= 0 && request >= 0};
}

/* ---- bills ---- */

static int64_t count(int64_t tokens) {
    return tokens < 0 ? 0 : tokens;
}

/* Adds `tokens` at `rate`; false: there are some, and nobody knows what they cost. */
static bool charge(wide *pico, int64_t tokens, int64_t rate) {
    if (!tokens) return true;
    *pico += (wide)tokens * rate;
    return rate >= 0;
}

/* At most `part` tokens of what is left of the whole. */
static bool charge_part(wide *pico, int64_t *left, int64_t part, int64_t rate) {
    int64_t n = part < 0 ? 0 : part > *left ? *left : part;
    *left -= n;
    return charge(pico, n, rate);
}

static int64_t nano_of(wide pico) {
    wide nano = (pico + PICO_PER_NANO - 1) / PICO_PER_NANO;
    return nano > INT64_MAX ? INT64_MAX : (int64_t)nano;
}

static bool uncounted(const weirp_usage *u) {
    return !u->known && !u->estimated && u->input_tokens <= 0 && u->output_tokens <= 0;
}

int64_t weirp_bill(const weirp_rates *r, const weirp_usage *u) {
    if (uncounted(u) || r->request < 0) return WEIRP_UNKNOWN_COST;
    int64_t input = count(u->input_tokens), output = count(u->output_tokens);
    wide pico = (wide)r->request * PICO_PER_NANO;
    bool known = charge_part(&pico, &input, u->cached_input_tokens, r->cached_input);
    known &= charge_part(&pico, &input, u->cache_write_tokens, r->cache_write);
    known &= charge_part(&pico, &input, u->audio_input_tokens, r->audio_input);
    known &= charge(&pico, input, r->input);
    known &= charge_part(&pico, &output, u->reasoning_tokens, r->reasoning);
    known &= charge_part(&pico, &output, u->audio_output_tokens, r->audio_output);
    known &= charge(&pico, output, r->output);
    return known ? nano_of(pico) : WEIRP_UNKNOWN_COST;
}

/* ---- bounds ---- */

/* Unknown where any of them is. */
static int64_t dearest(const int64_t *rate, size_t n) {
    int64_t most = 0;
    for (size_t i = 0; i < n; i++) {
        if (rate[i] < 0) return WEIRP_UNKNOWN_COST;
        if (rate[i] > most) most = rate[i];
    }
    return most;
}

static int64_t dearest_input(const weirp_rates *r) {
    return dearest((const int64_t[]){r->input, r->cached_input, r->cache_write, r->audio_input}, 4);
}

static int64_t dearest_output(const weirp_rates *r) {
    return dearest((const int64_t[]){r->output, r->reasoning, r->audio_output}, 3);
}

static bool charge_input(const weirp_rates *r, int64_t tokens, wide *pico) {
    *pico = (wide)r->request * PICO_PER_NANO;
    return r->request >= 0 && charge(pico, count(tokens), dearest_input(r));
}

int64_t weirp_bill_most(const weirp_rates *r, int64_t input_tokens, int64_t output_tokens) {
    wide pico;
    if (!charge_input(r, input_tokens, &pico) || !charge(&pico, count(output_tokens), dearest_output(r)))
        return WEIRP_UNKNOWN_COST;
    return nano_of(pico);
}

int64_t weirp_affordable_output(const weirp_rates *r, int64_t input_tokens, int64_t nano) {
    wide input;
    if (!charge_input(r, input_tokens, &input) || nano_of(input) > nano) return -1;
    int64_t rate = dearest_output(r);
    if (rate < 0) return 0;
    if (!rate || nano == INT64_MAX) return INT64_MAX; /* free, or all that can be written down */
    /* a sum rounds up to at most `nano` just where it is at most nano * 1000 */
    wide tokens = ((wide)nano * PICO_PER_NANO - input) / rate;
    return tokens > INT64_MAX ? INT64_MAX : (int64_t)tokens;
}

/* ---- text ---- */

enum { NANO_DIGITS = 9, LEAST_DECIMALS = 2 };

void weirp_money_text(char *out, size_t size, int64_t nano) {
    char text[WEIRP_MONEY_TEXT + 16];
    uint64_t amount = nano < 0 ? 0 - (uint64_t)nano : (uint64_t)nano;
    int n = snprintf(text, sizeof text, "%s%" PRIu64 ".%09" PRIu64, nano < 0 ? "-" : "", amount / WEIRP_NANO_PER_USD,
                     amount % WEIRP_NANO_PER_USD);
    for (int cut = NANO_DIGITS - LEAST_DECIMALS; cut > 0 && text[n - 1] == '0'; cut--) n--;
    snprintf(out, size, "%.*s", n, text);
}

/* Appends a digit; false: it isn't one, or the amount grows beyond INT64_MAX. */
static bool append(int64_t *amount, char c) {
    if (c < '0' || c > '9') return false;
    return !__builtin_mul_overflow(*amount, 10, amount) && !__builtin_add_overflow(*amount, c - '0', amount);
}

bool weirp_money_parse(const char *text, int64_t *nano) {
    int64_t amount = 0;
    const char *at = text;
    if (!at || !*at || *at == '.') return false;
    while (*at && *at != '.')
        if (!append(&amount, *at++)) return false;
    int decimals = 0;
    if (*at == '.') {
        if (!*++at) return false;
        for (; *at; at++)
            if (++decimals > NANO_DIGITS || !append(&amount, *at)) return false;
    }
    for (; decimals < NANO_DIGITS; decimals++)
        if (!append(&amount, '0')) return false;
    *nano = amount;
    return true;
}
