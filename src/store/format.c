/* format.c: bytes of the store's records, all little-endian but the log's keys.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include <xxhash.h>

#include "src/store/internal.h"

/* The first 16 bytes are the same in every schema version, so that an old program can tell a newer store (which it
 * refuses with that word) from a damaged one. */
static const uint8_t magic[8] = {'w', 'e', 'i', 'r', 's', 't', 'o', 'r'};

void weirp_put_le32(uint8_t *out, uint32_t v) {
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(v >> (8 * i));
}

void weirp_put_le64(uint8_t *out, uint64_t v) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(v >> (8 * i));
}

uint32_t weirp_get_le32(const uint8_t *in) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) v |= (uint32_t)in[i] << (8 * i);
    return v;
}

uint64_t weirp_get_le64(const uint8_t *in) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= (uint64_t)in[i] << (8 * i);
    return v;
}

static size_t meta_size(uint32_t schema) {
    return schema == WEIRP_SCHEMA_PLAIN  ? WEIRP_META_SIZE_1
           : schema < WEIRP_SCHEMA_TABLE ? WEIRP_META_SIZE_2
                                         : WEIRP_META_SIZE;
}

size_t weirp_meta_encode(const weirp_meta *meta, uint8_t bytes[WEIRP_META_SIZE]) {
    size_t size = meta_size(meta->schema);
    memcpy(bytes, magic, 8);
    weirp_put_le32(bytes + 8, meta->schema);
    weirp_put_le32(bytes + 12, (uint32_t)XXH3_64bits(bytes, 12));
    weirp_put_le64(bytes + 16, meta->n_commits);
    weirp_put_le64(bytes + 24, meta->n_log);
    weirp_put_le64(bytes + 32, meta->n_sections);
    weirp_put_le64(bytes + 40, meta->sections_sum);
    if (meta->schema >= WEIRP_SCHEMA_INDEX) {
        weirp_put_le64(bytes + 48, meta->first_log);
        weirp_put_le64(bytes + 56, meta->n_indexed);
        weirp_put_le64(bytes + 64, meta->n_entries);
    }
    if (meta->schema >= WEIRP_SCHEMA_TABLE) {
        weirp_put_le64(bytes + 72, meta->n_table);
        weirp_put_le64(bytes + 80, meta->table_sum);
        weirp_put_le64(bytes + 88, meta->table_version);
    }
    weirp_put_le64(bytes + size - 8, XXH3_64bits(bytes, size - 8));
    return size;
}

weir_status weirp_meta_decode(weirp_meta *meta, const void *stored, size_t size, const char *path, weir_error *err) {
    const uint8_t *bytes = stored;
    if (size < 16 || memcmp(bytes, magic, 8) != 0)
        return weirp_fail(err, WEIR_FOREIGN, 0, "%s: not a weir store", path);
    if (weirp_get_le32(bytes + 12) != (uint32_t)XXH3_64bits(bytes, 12))
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: the store's header is damaged", path);
    meta->schema = weirp_get_le32(bytes + 8);
    if (meta->schema > WEIRP_SCHEMA)
        return weirp_fail(err, WEIR_NEWER, 0, "%s: schema version %u; this program reads up to %u", path, meta->schema,
                          WEIRP_SCHEMA);
    if (meta->schema < WEIRP_SCHEMA_PLAIN || size != meta_size(meta->schema) ||
        weirp_get_le64(bytes + size - 8) != XXH3_64bits(bytes, size - 8))
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: the store's header is damaged", path);
    meta->n_commits = weirp_get_le64(bytes + 16);
    meta->n_log = weirp_get_le64(bytes + 24);
    meta->n_sections = weirp_get_le64(bytes + 32);
    meta->sections_sum = weirp_get_le64(bytes + 40);
    bool index = meta->schema >= WEIRP_SCHEMA_INDEX, table = meta->schema >= WEIRP_SCHEMA_TABLE;
    meta->first_log = index ? weirp_get_le64(bytes + 48) : 0;
    meta->n_indexed = index ? weirp_get_le64(bytes + 56) : 0;
    meta->n_entries = index ? weirp_get_le64(bytes + 64) : 0;
    meta->n_table = table ? weirp_get_le64(bytes + 72) : 0;
    meta->table_sum = table ? weirp_get_le64(bytes + 80) : 0;
    meta->table_version = table ? weirp_get_le64(bytes + 88) : 0;
    if (meta->first_log > meta->n_log || meta->n_indexed > meta->n_log ||
        meta->n_entries > (meta->schema >= WEIRP_SCHEMA_FOLLOW ? meta->n_log : meta->n_indexed))
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: the store's header contradicts itself", path);
    return WEIR_OK;
}

uint64_t weirp_section_checksum(const void *name, size_t name_len, const uint8_t *data, size_t size) {
    /* the name is the seed: bytes that turn up under another name don't pass */
    return XXH3_64bits_withSeed(size ? (const void *)data : "", size, XXH3_64bits(name, name_len));
}

bool weirp_section_split(const MDB_val *stored, uint64_t *checksum, const uint8_t **data, size_t *size) {
    const uint8_t *bytes = stored->mv_data;
    if (stored->mv_size < WEIRP_SECTION_HEADER) return false;
    *checksum = weirp_get_le64(bytes);
    *size = stored->mv_size - WEIRP_SECTION_HEADER;
    *data = bytes + WEIRP_SECTION_HEADER;
    return weirp_get_le64(bytes + 8) == *size;
}

void weirp_log_key(uint64_t number, uint8_t key[8]) {
    for (int i = 0; i < 8; i++) key[i] = (uint8_t)(number >> (56 - 8 * i));
}

uint64_t weirp_log_number(const void *key) {
    const uint8_t *bytes = key;
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) number = number << 8 | bytes[i];
    return number;
}

size_t weirp_record_size(size_t size) {
    return WEIRP_RECORD_HEADER + (size + 7) / 8 * 8;
}

static uint64_t record_checksum(uint64_t number, const uint8_t *header, const uint8_t *data, size_t size) {
    /* the number and the header's size field go in through the seed: a record can't pass in another's place */
    uint64_t seed = weirp_mix64(number) ^ weirp_get_le64(header + 8);
    return XXH3_64bits_withSeed(size ? (const void *)data : "", size, seed);
}

void weirp_record_encode(uint64_t number, const uint8_t *data, size_t size, uint8_t *out) {
    size_t whole = weirp_record_size(size);
    memset(out + whole - 8, 0, 8);
    weirp_put_le32(out + 8, (uint32_t)size);
    weirp_put_le32(out + 12, 0);
    if (size) memcpy(out + WEIRP_RECORD_HEADER, data, size);
    weirp_put_le64(out, record_checksum(number, out, data, size));
}

bool weirp_record_decode(uint64_t number, const uint8_t *batch, size_t total, size_t *at, const uint8_t **data,
                         size_t *size) {
    if (*at > total || total - *at < WEIRP_RECORD_HEADER) return false;
    const uint8_t *header = batch + *at;
    *size = weirp_get_le32(header + 8);
    if (weirp_get_le32(header + 12) != 0 || weirp_record_size(*size) > total - *at) return false;
    *data = header + WEIRP_RECORD_HEADER;
    *at += weirp_record_size(*size);
    return weirp_get_le64(header) == record_checksum(number, header, *data, *size);
}
