/* Any bytes as a stream of events: in any pieces the same events, and the same end. The first bytes choose the bound
 * and the pieces. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/net/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static weir_status on_event(void *user, const weirp_sse_event *e, weir_error *err) {
    (void)err;
    weirp_writer *out = user;
    if (!e->data || (e->type_len && !e->type) || (e->id_len && !e->id)) abort();
    if (e->id && memchr(e->id, '\0', e->id_len)) abort();
    if (memchr(e->data, '\r', e->len)) abort();
    weirp_put_u64(out, e->type_len);
    weirp_put(out, e->type, e->type_len);
    weirp_put_u64(out, e->len);
    weirp_put(out, e->data, e->len);
    weirp_put_u64(out, e->id ? e->id_len : UINT64_MAX);
    weirp_put(out, e->id, e->id_len);
    return WEIR_OK;
}

/* Every piece in memory of its own, so that a look beyond it is seen. */
static weir_status feed_piece(weirp_sse *sse, const uint8_t *bytes, size_t len, weirp_writer *out) {
    char *piece = malloc(len ? len : 1);
    if (!piece) abort();
    memcpy(piece, bytes, len);
    weir_status st = weirp_sse_feed(sse, piece, len, on_event, out, NULL);
    free(piece);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    uint64_t seed = data[1];
    size_t max = data[0] < 128 ? data[0] : 1 << 20; /* 0: the default */
    data += 2;
    size -= 2;
    weirp_sse whole = {.max_event_bytes = max}, pieces = {.max_event_bytes = max};
    weirp_writer want = {0}, got = {0};
    weir_status st = feed_piece(&whole, data, size, &want), other = WEIR_OK;
    for (size_t at = 0, i = 0; at < size && !other; i++) {
        size_t n = seed ? weirp_random_u64(seed, 0, i) % (seed % 32 + 2) : 1; /* 0: an empty piece */
        if (n > size - at) n = size - at;
        other = feed_piece(&pieces, data + at, n, &got);
        at += n;
    }
    if (st != other || want.size != got.size || (want.size && memcmp(want.data, got.data, want.size) != 0)) abort();
    if (!st && weirp_sse_pending(&whole) != weirp_sse_pending(&pieces)) abort();
    weirp_sse_free(&whole);
    weirp_sse_free(&pieces);
    weirp_writer_free(&want);
    weirp_writer_free(&got);
    return 0;
}
