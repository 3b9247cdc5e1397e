/* input.c: read(2), and libzstd's streaming decompression with a bounded window. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "datasets/input.h"
#include "src/base/base.h"

enum { RAW_BYTES = 256 << 10, PLAIN_BYTES = 256 << 10, PEEK_BYTES = 64 << 10 };
/* What zstd itself accepts without being asked: a file that needs a larger window must not take the machine's memory.
 */
enum { WINDOW_LOG_MAX = 27 };

struct weirp_input {
    char *path;
    int fd;
    bool sniffed, eof;
    ZSTD_DStream *zstd; /* NULL: the file is plain */
    bool in_frame;      /* zstd: a frame has begun and not ended */
    char *raw;          /* (RAW_BYTES) as read */
    size_t raw_at, raw_end;
    char *plain;     /* (PLAIN_BYTES) decompressed; zstd only */
    char *at, *end;  /* what is read and not yet handed out */
    char *long_line; /* a line that spans chunks */
    size_t long_capacity;
    size_t line;
    double n_read, n_all; /* bytes; n_all 0: not known */
};

weir_status weirp_input_open(weirp_input **out, const char *path, weir_error *err) {
    *out = NULL;
    weirp_input *in = calloc(1, sizeof *in);
    if (!in) return weirp_nomem(err);
    bool standard = !strcmp(path, "-");
    in->fd = -1;
    in->path = weirp_strndup(standard ? "(standard input)" : path, strlen(standard ? "(standard input)" : path));
    in->raw = malloc(RAW_BYTES);
    weir_status st = WEIR_OK;
    if (!in->path || !in->raw)
        st = weirp_nomem(err);
    else
        in->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (st == WEIR_OK && in->fd < 0) st = weirp_fail_errno(err, errno, "can't open", path);
    if (st) {
        weirp_input_close(in);
        return st;
    }
    struct stat file;
    if (fstat(in->fd, &file) == 0 && S_ISREG(file.st_mode)) in->n_all = (double)file.st_size;
    *out = in;
    return WEIR_OK;
}

double weirp_input_share(const weirp_input *in) {
    if (!(in->n_all > 0)) return NAN;
    return in->n_read < in->n_all ? in->n_read / in->n_all : 1;
}

void weirp_input_close(weirp_input *in) {
    if (!in) return;
    if (in->fd > STDIN_FILENO) close(in->fd);
    ZSTD_freeDStream(in->zstd);
    free(in->path);
    free(in->raw);
    free(in->plain);
    free(in->long_line);
    free(in);
}

/* Adds to raw what one read gives. */
static weir_status read_raw(weirp_input *in, weir_error *err) {
    if (in->raw_at == in->raw_end) in->raw_at = in->raw_end = 0;
    ssize_t n;
    do n = read(in->fd, in->raw + in->raw_end, RAW_BYTES - in->raw_end);
    while (n < 0 && errno == EINTR);
    if (n < 0) return weirp_fail_errno(err, errno, "can't read", in->path);
    if (!n) in->eof = true;
    in->raw_end += (size_t)n;
    in->n_read += (double)n;
    return WEIR_OK;
}

/* A zstd frame's magic number, or that of a frame to skip (RFC 8878, sections 3.1.1 and 3.1.2). */
static bool is_zstd(const unsigned char *b, size_t n) {
    if (n < 4) return false;
    return (b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd) ||
           ((b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18);
}

/* Of what isn't read, so that it isn't taken for text: RFC 1952, section 2.3.1; the .xz format's 2.1.1.1;
 * APPNOTE, 4.3.7. */
static const char *packed_by(const char *b, size_t n) {
    static const struct {
        const char *name, *magic;
        size_t len;
    } packers[] = {{"gzip", "\x1f\x8b", 2},
                   {"xz",
                    "\xfd"
                    "7zXZ",
                    4},
                   {"zip", "PK\3\4", 4}};
    for (size_t i = 0; i < sizeof packers / sizeof *packers; i++)
        if (n >= packers[i].len && !memcmp(b, packers[i].magic, packers[i].len)) return packers[i].name;
    return NULL;
}

static weir_status sniff(weirp_input *in, weir_error *err) {
    while (in->raw_end < 4 && !in->eof) {
        weir_status st = read_raw(in, err);
        if (st) return st;
    }
    const char *packer = packed_by(in->raw, in->raw_end);
    if (packer)
        return weirp_fail(err, WEIR_CORRUPT, 0,
                          "%s: is compressed by %s, and zstd alone is read: unpack it, or into standard input (-)",
                          in->path, packer);
    in->sniffed = true;
    if (is_zstd((const unsigned char *)in->raw, in->raw_end)) {
        in->zstd = ZSTD_createDStream();
        in->plain = malloc(PLAIN_BYTES);
        if (!in->zstd || !in->plain ||
            ZSTD_isError(ZSTD_DCtx_setParameter(in->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
            return weirp_nomem(err);
    } else if (in->raw_end >= 3 && !memcmp(in->raw, "\xef\xbb\xbf", 3)) {
        in->raw_at = 3;
    }
    return WEIR_OK;
}

/* Decompresses until there is something to hand out or the file ends. */
static weir_status fill_zstd(weirp_input *in, weir_error *err) {
    bool first = !in->at;
    for (;;) {
        if (in->raw_at == in->raw_end && !in->eof) {
            weir_status st = read_raw(in, err);
            if (st) return st;
        }
        ZSTD_inBuffer from = {in->raw + in->raw_at, in->raw_end - in->raw_at, 0};
        ZSTD_outBuffer to = {in->plain, PLAIN_BYTES, 0};
        if (!from.size && !in->in_frame) return WEIR_END;
        size_t left = ZSTD_decompressStream(in->zstd, &to, &from);
        if (ZSTD_isError(left))
            return weirp_fail(err, WEIR_CORRUPT, in->line, "%s: after line %zu: zstd: %s", in->path, in->line,
                              ZSTD_getErrorName(left));
        in->raw_at += from.pos;
        in->in_frame = left != 0;
        if (to.pos) {
            bool mark = first && to.pos >= 3 && !memcmp(in->plain, "\xef\xbb\xbf", 3);
            in->at = in->plain + (mark ? 3 : 0);
            in->end = in->plain + to.pos;
            if (in->at < in->end) return WEIR_OK;
        } else if (in->eof && in->raw_at == in->raw_end) {
            if (!in->in_frame) return WEIR_END;
            return weirp_fail(err, WEIR_CORRUPT, in->line,
                              "%s: after line %zu: the file is cut off in the middle of a zstd frame", in->path,
                              in->line);
        }
    }
}

/* Makes at < end, or WEIR_END. */
static weir_status fill(weirp_input *in, weir_error *err) {
    if (in->at < in->end) return WEIR_OK;
    weir_status st = in->sniffed ? WEIR_OK : sniff(in, err);
    if (st) return st;
    if (in->zstd) return fill_zstd(in, err);
    if (in->raw_at == in->raw_end && !in->eof) {
        st = read_raw(in, err);
        if (st) return st;
    }
    if (in->raw_at == in->raw_end) return WEIR_END;
    in->at = in->raw + in->raw_at;
    in->end = in->raw + in->raw_end;
    in->raw_at = in->raw_end;
    return WEIR_OK;
}

weir_status weirp_input_chunk(weirp_input *in, char **chunk, size_t *len, weir_error *err) {
    weir_status st = fill(in, err);
    if (st) return st;
    *chunk = in->at;
    *len = (size_t)(in->end - in->at);
    in->at = in->end;
    return WEIR_OK;
}

weir_status weirp_input_peek(weirp_input *in, size_t want, const char **start, size_t *len, weir_error *err) {
    if (want > PEEK_BYTES) want = PEEK_BYTES;
    *start = "";
    *len = 0;
    weir_status st = fill(in, err);
    if (st == WEIR_END) return WEIR_OK;
    /* a pipe gives its first bytes piecemeal: read on into the same buffer */
    while (st == WEIR_OK && !in->zstd && !in->eof && (size_t)(in->end - in->at) < want) {
        in->raw_at = (size_t)(in->at - in->raw);
        st = read_raw(in, err);
        in->end = in->raw + in->raw_end;
        in->raw_at = in->raw_end;
    }
    if (st) return st;
    *start = in->at;
    *len = (size_t)(in->end - in->at);
    return WEIR_OK;
}

/* Keeps a piece of a line that goes on in the next chunk, up to max bytes of it in all. */
static bool keep(weirp_input *in, size_t *kept, size_t n, size_t max, bool *too_long) {
    if (n > max - *kept) {
        *too_long = true;
        n = max - *kept;
    }
    if (!weirp_reserve((void **)&in->long_line, &in->long_capacity, *kept + n + 1, 1)) return false;
    memcpy(in->long_line + *kept, in->at, n);
    *kept += n;
    return true;
}

weir_status weirp_input_line(weirp_input *in, size_t max_bytes, weirp_line *line, weir_error *err) {
    size_t kept = 0;
    bool split = false;
    weir_status st = fill(in, err);
    if (st) return st;
    *line = (weirp_line){.number = ++in->line};
    for (;;) {
        char *lf = memchr(in->at, '\n', (size_t)(in->end - in->at));
        size_t n = (size_t)((lf ? lf : in->end) - in->at);
        if (lf && !split) {
            line->too_long = n > max_bytes;
            line->text = in->at;
            line->len = line->too_long ? max_bytes : n;
            in->at = lf + 1;
            break;
        }
        if (!keep(in, &kept, n, max_bytes, &line->too_long)) return weirp_nomem(err);
        split = true;
        in->at += n + (lf ? 1 : 0);
        if (!lf) {
            st = fill(in, err);
            if (st == WEIR_OK) continue;
            if (st != WEIR_END) return st;
            line->unfinished = true;
        }
        line->text = in->long_line;
        line->len = kept;
        break;
    }
    if (line->len && !line->too_long && line->text[line->len - 1] == '\r') line->len--;
    return WEIR_OK;
}
