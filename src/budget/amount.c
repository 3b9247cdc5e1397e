/* amount.c: amounts with their units, exactly. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/amount.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/price/money.h"

static const char *const units[WEIRP_N_UNITS] = {"USD", "tokens", "requests"};

/* Whole numbers, with "k" and "M" as everywhere on the command line. */
static bool count_parse(const char *text, int64_t *amount) {
    int64_t n = 0, factor = 1;
    size_t len = strspn(text, "0123456789");
    if (!len) return false;
    for (size_t i = 0; i < len; i++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, text[i] - '0', &n)) return false;
    if (text[len] == 'k') factor = 1000;
    if (text[len] == 'M') factor = 1000000;
    if (text[len + (factor > 1)] || n > INT64_MAX / factor) return false;
    *amount = n * factor;
    return true;
}

static bool parse(const char *number, weirp_unit unit, int64_t *amount) {
    return unit == WEIRP_UNIT_USD ? weirp_money_parse(number, amount) : count_parse(number, amount);
}

/* Cuts the number off the unit's name, at the end of `text`: false where it has another end, or is too long. */
static bool split(const char *text, weirp_unit unit, char *number, size_t size) {
    size_t len = strlen(text), tail = strlen(units[unit]);
    if (len < tail || strcasecmp(text + len - tail, units[unit]) != 0) return false;
    for (len -= tail; len && text[len - 1] == ' '; len--) {
    }
    if (len >= size) return false;
    memcpy(number, text, len);
    number[len] = '\0';
    return true;
}

weir_status weirp_amount_parse(const char *text, weirp_unit *unit, int64_t *amount, weir_error *err) {
    char number[WEIRP_AMOUNT_TEXT];
    for (int u = 0; u < WEIRP_N_UNITS; u++)
        if (split(text, (weirp_unit)u, number, sizeof number) && parse(number, (weirp_unit)u, amount)) {
            *unit = (weirp_unit)u;
            return WEIR_OK;
        }
    return weirp_fail(err, WEIR_INVALID, 0,
                      "an amount is a number and its unit: 50USD, 0.25USD (at most nine decimals), 1000000tokens, 200k "
                      "tokens or 500requests, not '%.60s'",
                      text);
}

weir_status weirp_amount_parse_in(const char *text, weirp_unit unit, int64_t *amount, weir_error *err) {
    char number[WEIRP_AMOUNT_TEXT];
    if (parse(text, unit, amount)) return WEIR_OK;
    if (split(text, unit, number, sizeof number) && parse(number, unit, amount)) return WEIR_OK;
    return weirp_fail(err, WEIR_INVALID, 0, "an amount of %s is %s, not '%.60s'", units[unit],
                      unit == WEIRP_UNIT_USD ? "such as 1.25USD, with at most nine decimals" : "a whole number", text);
}

void weirp_amount_text(char out[WEIRP_AMOUNT_TEXT], weirp_unit unit, int64_t amount) {
    char text[WEIRP_MONEY_TEXT];
    bool below = amount < 0;
    if (unit != WEIRP_UNIT_USD) {
        snprintf(out, WEIRP_AMOUNT_TEXT, "%lld", (long long)amount);
        return;
    }
    weirp_money_text(text, sizeof text, below ? amount == INT64_MIN ? INT64_MAX : -amount : amount);
    snprintf(out, WEIRP_AMOUNT_TEXT, "%s%s", below ? "-" : "", text);
}
