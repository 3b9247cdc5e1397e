/* usage.h: what a vendor counted, and what it charges for that. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_USAGE_H
#define WEIRP_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/pool.h"

/* Every count is a part of the whole above it, so that nothing is billed twice: input = plain + cached + cache writes +
 * audio; output = plain + reasoning + audio. Vendors that count otherwise (Anthropic's input_tokens are without those
 * from the cache; Gemini's candidates are without thoughts) are brought to this form where their answer is read. */
typedef struct weirp_usage {
    int64_t input_tokens; /* all of them */
    int64_t cached_input_tokens, cache_write_tokens, audio_input_tokens;
    int64_t output_tokens; /* all of them */
    int64_t reasoning_tokens, audio_output_tokens;
    bool known;     /* the vendor said it */
    bool estimated; /* counted here, because the vendor said nothing or was broken off */
} weirp_usage;

/* USD for this usage: weirp_bill (src/price/money.h) as the nearest double, so that whoever shows a cost and whoever
 * books it agree to the nano-USD. Each part at its own rate; rates that the pool doesn't know follow the plain one of
 * their side.
 * NAN where a rate that matters isn't known, and where nobody has counted: neither known nor estimated, and all counts
 * 0 (an answer whose usage never came isn't free). Negative counts count as 0. Parts beyond their whole are cut to what
 * of it is left, in the order of the members above, so that the sum is the whole in any case. */
double weirp_price_usage(const weir_model *model, const weirp_usage *usage);

#endif
