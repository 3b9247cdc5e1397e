/* Any bytes as a stored limit, an account's key and an amount of money: what is read could have been said, and written
 * again gives the same bytes. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/budget/budget.h"
#include "src/price/money.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
    if (!good) abort();
}

static void as_limit(const uint8_t *data, size_t size) {
    weirp_budget budget;
    weirp_writer again = {0};
    if (weirp_budget_decode(&budget, data, size, NULL)) return;
    weirp_budget_encode(&budget, &again);
    must(again.size == size && !memcmp(again.data, data, size));
    memset(budget.zone, 0, sizeof budget.zone); /* one that this machine knows */
    must(weirp_budget_check(&budget, NULL) == WEIR_OK);
    weirp_writer_free(&again);
}

static void as_key(const uint8_t *data, size_t size) {
    weirp_budget budget = {.name = "b", .match = {"*", "", "*", "x", "*", "*"}};
    char scope[WEIRP_ACCOUNT_SCOPE];
    int64_t start;
    for (size_t i = 0; i < 4 && i < size; i++) budget.id = budget.id << 8 | data[i];
    if (weirp_account_key_read(&budget, data, size, &start, scope)) must(memchr(scope, 0, sizeof scope) != NULL);
}

static void as_money(const uint8_t *data, size_t size) {
    char text[64], back[WEIRP_MONEY_TEXT];
    int64_t nano, same;
    size_t n = size < sizeof text ? size : sizeof text - 1;
    memcpy(text, data, n);
    text[n] = 0;
    if (!weirp_money_parse(text, &nano)) return;
    must(nano >= 0);
    weirp_money_text(back, sizeof back, nano);
    must(weirp_money_parse(back, &same) && same == nano);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    as_limit(data, size);
    as_key(data, size);
    as_money(data, size);
    return 0;
}
