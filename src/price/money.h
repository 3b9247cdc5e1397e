/* money.h: what tokens cost, in whole numbers. No floating point holds money once prices have been read.
 *
 * A rate is in pico-USD a token: USD per million tokens to six decimals, exactly. A bill is in nano-USD: the exact sum
 * over all tokens of an answer, rounded up once. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_MONEY_H
#define WEIRP_MONEY_H

#include "src/price/usage.h"

#define WEIRP_NANO_PER_USD INT64_C(1000000000)
#define WEIRP_UNKNOWN_COST INT64_C(-1)

/* WEIRP_UNKNOWN_COST in place of a rate: nobody has said. Plain values: whoever knows that a kind of token can't occur
 * (a request without audio, a model that doesn't speak) sets its rate to 0 in a copy, and gets tighter bounds. */
typedef struct weirp_rates {
    int64_t input, cached_input, cache_write, audio_input, output, reasoning, audio_output; /* pico-USD a token */
    int64_t request;                                                                        /* nano-USD a request */
    bool known; /* input's, output's and the request's are: every usage that was counted has a bill */
} weirp_rates;

/* Prices as rates; those that the pool doesn't know follow the plain one of their side. A negative price counts as 0,
 * one above 1e9 USD (per million tokens, a request: the most that files may say) as that; decimals after the sixth (a
 * request's ninth) are rounded. */
weirp_rates weirp_rates_of(const weir_model *model);
/* Nano-USD for this usage, parts cut to their whole as weirp_price_usage does, which is this as a double. At least 0;
 * WEIRP_UNKNOWN_COST: a rate that matters isn't known, or nobody has counted. Saturates at INT64_MAX. */
int64_t weirp_bill(const weirp_rates *rates, const weirp_usage *usage);
/* The most that so many tokens can cost, whichever kinds they are billed as: each side at its dearest rate. Negative
 * counts count as 0. WEIRP_UNKNOWN_COST where a rate that matters isn't known; saturates at INT64_MAX. */
int64_t weirp_bill_most(const weirp_rates *rates, int64_t input_tokens, int64_t output_tokens);
/* The most output tokens that `nano` can pay for, whichever kind they are, after the input: the greatest n whose
 * weirp_bill_most is known and at most `nano`, so 0 where only the output's price isn't known. -1: not even the input.
 */
int64_t weirp_affordable_output(const weirp_rates *rates, int64_t input_tokens, int64_t nano);

/* Decimal USD from nano-USD and back, exactly, without a double: for tables and for what people type. The text has two
 * to nine decimals, none more than are needed ("50.00", "0.0000315"); WEIRP_MONEY_TEXT bytes hold any. What is read:
 * digits, and a point with one to nine more ("50", "0.25"). False: anything else (signs, "$", commas, spaces,
 * exponents), or more than INT64_MAX. */
enum { WEIRP_MONEY_TEXT = 24 };
void weirp_money_text(char *out, size_t size, int64_t nano);
bool weirp_money_parse(const char *text, int64_t *nano);

#endif
