/* amount.h: limits and amounts as people write them. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_AMOUNT_H
#define WEIRP_AMOUNT_H

#include "src/budget/budget.h"

/* "50USD", "0.25 usd", "1000000tokens", "200ktokens", "500requests". WEIR_INVALID says so. */
weir_status weirp_amount_parse(const char *text, weirp_unit *unit, int64_t *amount, weir_error *err);
/* The same where the unit is known, and may be left out. */
weir_status weirp_amount_parse_in(const char *text, weirp_unit unit, int64_t *amount, weir_error *err);
/* "50.00", "1000000": exact; below 0 with a sign. */
enum { WEIRP_AMOUNT_TEXT = 32 };
void weirp_amount_text(char out[WEIRP_AMOUNT_TEXT], weirp_unit unit, int64_t amount);

#endif
