/* price.h: tokens and money. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PRICE_H
#define WEIRP_PRICE_H

#include "src/base/base.h"
#include "weir/pool.h"

/* What `model` charges, USD; NAN where a price or count that matters isn't known. */
double weirp_price(const weir_model *model, double input_tokens, double output_tokens);

/* USD for `tokens`: nothing where there are none, or where they are free, whatever the other factor is. */
double weirp_price_tokens(double usd_per_mtok, double tokens);

weir_status weirp_pool_copy(weir_pool **out, const weir_pool *pool, weir_error *err); /* *out is new */
void weirp_pool_save(const weir_pool *pool, weirp_writer *w);
weir_status weirp_pool_read(weir_pool **out, weirp_bytes *r, weir_error *err); /* *out is new */
/* Adds a model with unknown prices; gives its index, or (size_t)-1 when memory is out. */
size_t weirp_pool_add(weir_pool *pool, const char *name);

#endif
