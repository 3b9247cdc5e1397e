/* usage.c: what a vendor charges for what it counted, for those who reckon in doubles.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "src/price/money.h"

double weirp_price_usage(const weir_model *model, const weirp_usage *usage) {
    weirp_rates rates = weirp_rates_of(model);
    int64_t nano = weirp_bill(&rates, usage);
    /* divided: that is the double nearest to the bill, which a product with 1e-9, itself rounded, need not be */
    return nano < 0 ? NAN : (double)nano / (double)WEIRP_NANO_PER_USD;
}
