/* gzip.c: a gzip stream whose blocks are stored, not squeezed: what a reader must be able to undo is the frame, and
 * each block comes out as soon as it is there, as a stream's events must. So zlib stays out of the dependencies
 * (libcurl has it for the other side). SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/vendor/vendor.h"

/* RFC 1952, section 8: the polynomial 0xedb88320, bits from the low end. */
static uint32_t crc32_of(uint32_t crc, const uint8_t *bytes, size_t len) {
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

void vend_gzip_write(vend_gzip *z, weirp_writer *w, const char *bytes, size_t len, bool last) {
    enum { MOST = 65535 };
    static const uint8_t head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    if (!z->begun) weirp_put(w, head, sizeof head);
    z->begun = true;
    z->crc = crc32_of(z->crc, (const uint8_t *)bytes, len);
    z->size += (uint32_t)len;
    do {
        size_t n = len < MOST ? len : MOST;
        uint8_t block[5] = {last && n == len, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n, (uint8_t)(~n >> 8)};
        weirp_put(w, block, sizeof block);
        weirp_put(w, bytes, n);
        bytes += n;
        len -= n;
    } while (len);
    if (!last) return;
    weirp_put_u32(w, z->crc);
    weirp_put_u32(w, z->size);
}
