/* Any bytes: what the fast JSON reader takes, Jansson reads to the same values.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>

#include "src/translate/quick.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *quick = weirp_json_quick((const char *)data, size);
    if (!quick) return 0;
    json_t *full = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!full || !json_equal(quick, full)) abort();
    json_decref(quick);
    json_decref(full);
    return 0;
}
