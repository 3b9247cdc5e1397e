/* usage.c: what a vendor charges for what it counted. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "src/price/price.h"
#include "src/price/usage.h"

/* Takes at most `count` tokens out of what is left of the whole. */
static double take(int64_t count, int64_t *left) {
    int64_t n = count < 0 ? 0 : count > *left ? *left : count;
    *left -= n;
    return (double)n;
}

static double rate(double own, double plain) {
    return isnan(own) ? plain : own;
}

static bool uncounted(const weirp_usage *u) {
    return !u->known && !u->estimated && u->input_tokens <= 0 && u->output_tokens <= 0;
}

double weirp_price_usage(const weir_model *m, const weirp_usage *u) {
    if (uncounted(u)) return NAN;
    double in = m->input_usd_per_mtok, out = m->output_usd_per_mtok;
    int64_t input = u->input_tokens < 0 ? 0 : u->input_tokens, output = u->output_tokens < 0 ? 0 : u->output_tokens;
    double usd = m->request_usd;
    usd += weirp_price_tokens(rate(m->cached_input_usd_per_mtok, in), take(u->cached_input_tokens, &input));
    usd += weirp_price_tokens(rate(m->cache_write_usd_per_mtok, in), take(u->cache_write_tokens, &input));
    usd += weirp_price_tokens(rate(m->audio_input_usd_per_mtok, in), take(u->audio_input_tokens, &input));
    usd += weirp_price_tokens(in, (double)input);
    usd += weirp_price_tokens(rate(m->reasoning_usd_per_mtok, out), take(u->reasoning_tokens, &output));
    usd += weirp_price_tokens(rate(m->audio_output_usd_per_mtok, out), take(u->audio_output_tokens, &output));
    return usd + weirp_price_tokens(out, (double)output);
}
