/* Any bytes as the record of a virtual key, and as what people say about keys and budgets. What is read as a record is
 * written as the same bytes again. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/budget/amount.h"
#include "src/budget/keys.h"
#include "src/base/when.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
    if (!good) abort();
}

static void as_record(const uint8_t *data, size_t size) {
    weirp_arena arena = {0};
    weirp_writer again = {0};
    weirp_key key;
    if (weirp_key_decode(&key, "name", 4, data, size, &arena, NULL) == WEIR_OK) {
        must(weirp_key_check(&key, NULL) == WEIR_OK);
        weirp_key_encode(&key, &again);
        must(!again.failed && again.size == size && !memcmp(again.data, data, size));
    }
    weirp_writer_free(&again);
    weirp_arena_free(&arena);
}

static void as_words(const uint8_t *data, size_t size) {
    char *text = weirp_strndup((const char *)data, size), shown[WEIRP_AMOUNT_TEXT];
    weirp_unit unit;
    int64_t value, again;
    if (!text) return;
    if (weirp_amount_parse(text, &unit, &value, NULL) == WEIR_OK) {
        must(value >= 0);
        weirp_amount_text(shown, unit, value);
        must(weirp_amount_parse_in(shown, unit, &again, NULL) == WEIR_OK && again == value);
    }
    if (weirp_when_parse("it", text, 1000, &value, NULL) == WEIR_OK) must(value >= 0);
    if (weirp_duration_parse("it", text, &value, NULL) == WEIR_OK) must(value >= 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    as_record(data, size);
    as_words(data, size);
    return 0;
}
