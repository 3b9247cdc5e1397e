/* table_file.c: blocks of bytes, in memory while they are few, then in a file without a name.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/ope/table_parts.h"

void weirp_blocks_init(weirp_blocks *b) {
    *b = (weirp_blocks){.fd = -1, .limit = WEIRP_TABLE_MEMORY};
}

void weirp_blocks_free(weirp_blocks *b) {
    for (size_t i = 0; b->memory && i < b->n; i++) free(b->memory[i]);
    free(b->memory);
    free(b->start);
    free(b->folder);
    if (b->fd >= 0) close(b->fd);
    weirp_blocks_init(b);
}

/* A file that nobody else sees, and that goes with the process. */
static weir_status open_file(weirp_blocks *b, weir_error *err) {
    const char *folder = getenv("TMPDIR");
    char path[4096];
    if (!folder || !*folder) folder = "/tmp";
    b->folder = weirp_strndup(folder, strlen(folder));
    if (!b->folder) return weirp_nomem(err);
    b->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (b->fd >= 0) return WEIR_OK;
    if (snprintf(path, sizeof path, "%s/weir-ope-XXXXXX", folder) >= (int)sizeof path)
        return weirp_fail(err, WEIR_IO, 0, "TMPDIR is too long a path");
    b->fd = mkostemp(path, O_CLOEXEC); /* file systems that know no such files */
    if (b->fd < 0) return weirp_fail_errno(err, errno, "can't make a temporary file in", folder);
    unlink(path);
    return WEIR_OK;
}

static weir_status write_at(weirp_blocks *b, const uint8_t *data, size_t size, uint64_t at, weir_error *err) {
    while (size) {
        ssize_t n = pwrite(b->fd, data, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return weirp_fail_errno(err, n ? errno : ENOSPC, "can't keep the log's rows in a temporary file in",
                                    b->folder);
        data += n, size -= (size_t)n, at += (uint64_t)n;
    }
    return WEIR_OK;
}

static weir_status move_to_file(weirp_blocks *b, weir_error *err) {
    weir_status st = open_file(b, err);
    for (size_t i = 0; st == WEIR_OK && i < b->n; i++)
        st = write_at(b, b->memory[i], (size_t)(b->start[i + 1] - b->start[i]), b->start[i], err);
    if (st != WEIR_OK) return st;
    for (size_t i = 0; i < b->n; i++) free(b->memory[i]);
    free(b->memory);
    b->memory = NULL;
    return WEIR_OK;
}

weir_status weirp_blocks_add(weirp_blocks *b, const uint8_t *data, size_t size, weir_error *err) {
    if (!weirp_reserve((void **)&b->start, &b->capacity, b->n + 2, sizeof *b->start)) return weirp_nomem(err);
    if (!b->n) b->start[0] = 0;
    uint64_t end = b->start[b->n] + size;
    weir_status st = WEIR_OK;
    if (b->fd < 0 && end > b->limit) st = move_to_file(b, err);
    if (st == WEIR_OK && b->fd >= 0) st = write_at(b, data, size, b->start[b->n], err);
    if (st != WEIR_OK) return st;
    if (b->fd < 0) {
        uint8_t *copy = malloc(size ? size : 1);
        if (!copy || !weirp_reserve((void **)&b->memory, &b->memory_capacity, b->n + 1, sizeof *b->memory)) {
            free(copy);
            return weirp_nomem(err);
        }
        memcpy(copy, data, size);
        b->memory[b->n] = copy;
    }
    b->start[++b->n] = end;
    if (size > b->most) b->most = size;
    return WEIR_OK;
}

weir_status weirp_blocks_get(const weirp_blocks *b, size_t i, uint8_t *buffer, const uint8_t **data, size_t *size,
                             weir_error *err) {
    *size = (size_t)(b->start[i + 1] - b->start[i]);
    *data = b->fd < 0 ? b->memory[i] : buffer;
    for (size_t done = 0; b->fd >= 0 && done < *size;) {
        ssize_t n = pread(b->fd, buffer + done, *size - done, (off_t)(b->start[i] + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return weirp_fail_errno(err, n ? errno : EIO, "can't read the log's rows from a temporary file in",
                                    b->folder);
        done += (size_t)n;
    }
    return WEIR_OK;
}
