/* Any bytes as a batch of entries, an account's row, a process's row and a spool's slot: what is read is within bounds,
 * and an entry written again is read as the same. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/budget/books.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
    if (!good) abort();
}

static void as_batch(const uint8_t *data, size_t size) {
    weirp_entry_reader reader;
    weirp_entry e, same;
    uint8_t head[WEIRP_BATCH_HEAD + WEIRP_ENTRY_MOST] = {0};
    if (weirp_batch_open(&reader, data, size, NULL)) return;
    while (weirp_batch_next(&reader, &e, NULL) == WEIR_OK) {
        weirp_entry_reader again;
        head[0] = head[4] = 1;
        memcpy(head + 8, &reader.base_ms, 8);
        size_t n = weirp_entry_encode(&e, reader.base_ms, reader.texts, head + WEIRP_BATCH_HEAD);
        must(n <= WEIRP_ENTRY_MOST);
        must(weirp_batch_open(&again, head, WEIRP_BATCH_HEAD + n, NULL) == WEIR_OK);
        must(weirp_batch_next(&again, &same, NULL) == WEIR_OK);
        must(same.kind == e.kind && same.at_ms == e.at_ms && same.n_postings == e.n_postings);
        must(!memcmp(again.texts, reader.texts, sizeof again.texts));
        must(!e.id == !same.id && (!e.id || !strcmp(e.id, same.id)));
        for (size_t i = 0; i < e.n_postings; i++)
            must(e.postings[i].account == same.postings[i].account && e.postings[i].amount == same.postings[i].amount);
    }
}

static void as_rows(const uint8_t *data, size_t size) {
    weirp_account_row row;
    weirp_process_row process;
    uint8_t bytes[WEIRP_ROW_MOST];
    uint64_t call, accounts[WEIRP_SPOOLED_PARTS];
    int64_t worst[WEIRP_SPOOLED_PARTS];
    size_t n;
    if (weirp_account_row_decode(&row, data, size, NULL) == WEIR_OK)
        must(weirp_account_row_encode(&row, bytes) == size);
    (void)weirp_process_row_decode(&process, data, size, NULL);
    if (weirp_slot_decode(data, size, &call, accounts, worst, &n)) must(n <= WEIRP_SPOOLED_PARTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    as_batch(data, size);
    as_rows(data, size);
    return 0;
}
