/* money.h: what tokens cost, in whole numbers. No floating point holds money once prices have been read.
 *
 * A rate is in pico-USD a token: USD per million tokens to six decimals, exactly. A bill is in nano-USD: the exact sum
 * over all tokens of an answer, rounded up once. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_MONEY_H
#define WEIRP_MONEY_H

#include "src/price/usage.h"

#define WEIRP_NANO_PER_USD INT64_C(1000000000)
#define WEIRP_UNKNOWN_COST INT64_C(-1)

typedef struct weirp_rates {
    int64_t input, cached_input, cache_write, audio_input, output, reasoning, audio_output; /* pico-USD a token */
    int64_t request;                                                                        /* nano-USD a request */
    bool known; /* input's and output's price are */
} weirp_rates;

/* Prices as rates; those that the pool doesn't know follow the plain one of their side. A negative price counts as 0,
 * one above 1e6 USD per million tokens as that. */
weirp_rates weirp_rates_of(const weir_model *model);
/* Nano-USD for this usage, parts cut to their whole as weirp_price_usage does, which is this as a double. At least 0;
 * WEIRP_UNKNOWN_COST: a rate isn't known, or nobody has counted. Saturates at INT64_MAX. */
int64_t weirp_bill(const weirp_rates *rates, const weirp_usage *usage);
/* The most that so many tokens can cost, whichever kinds they are billed as: each side at its dearest rate. */
int64_t weirp_bill_most(const weirp_rates *rates, int64_t input_tokens, int64_t output_tokens);
/* The most output tokens that `nano` can pay for, whichever kind they are, after the input; -1: not even the input. */
int64_t weirp_affordable_output(const weirp_rates *rates, int64_t input_tokens, int64_t nano);

/* "12.345678901" from nano-USD and back, exactly, without a double: for tables and for what people type ("50", "0.25",
 * "$1,000" is not read). False: not an amount, negative, or more than nine decimals or INT64_MAX. */
void weirp_money_text(char *out, size_t size, int64_t nano);
bool weirp_money_parse(const char *text, int64_t *nano);

#endif
