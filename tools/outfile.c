/* outfile.c: output files, and libzstd behind a stdio stream. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include "tools/cli.h"
#include "tools/outfile.h"

enum { LEVEL = 6 };

struct cli_outfile {
    const char *command, *path; /* borrowed; path NULL: standard output */
    char *written;              /* where it is written until it is whole; NULL: in place */
    FILE *file;                 /* the file's own stream */
    FILE *stream;               /* what the caller writes to: file, or a stream that compresses into it */
};

/* ---- a stream that compresses into another ---- */

typedef struct packer {
    FILE *to;
    ZSTD_CCtx *context;
    char buffer[1 << 16];
} packer;

static bool pack(packer *p, const char *bytes, size_t n, ZSTD_EndDirective how) {
    ZSTD_inBuffer from = {bytes, n, 0};
    for (;;) {
        ZSTD_outBuffer to = {p->buffer, sizeof p->buffer, 0};
        size_t left = ZSTD_compressStream2(p->context, &to, &from, how);
        if (ZSTD_isError(left)) {
            errno = ENOMEM;
            return false;
        }
        if (fwrite(p->buffer, 1, to.pos, p->to) != to.pos) return false;
        if (how == ZSTD_e_end ? !left : from.pos == from.size) return true;
    }
}

static ssize_t packer_write(void *cookie, const char *bytes, size_t n) {
    return pack(cookie, bytes, n, ZSTD_e_continue) ? (ssize_t)n : 0;
}

static int packer_close(void *cookie) {
    packer *p = cookie;
    bool ok = pack(p, "", 0, ZSTD_e_end);
    ZSTD_freeCCtx(p->context);
    free(p);
    return ok ? 0 : EOF;
}

static FILE *packer_new(FILE *to) {
    packer *p = malloc(sizeof *p);
    ZSTD_CCtx *context = p ? ZSTD_createCCtx() : NULL;
    FILE *stream = NULL;
    if (context) {
        p->to = to;
        p->context = context;
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
        stream = fopencookie(p, "wb", (cookie_io_functions_t){.write = packer_write, .close = packer_close});
    }
    if (!stream) {
        ZSTD_freeCCtx(context);
        free(p);
    }
    return stream;
}

/* ---- files ---- */

static int say(const cli_outfile *f, const char *what) {
    cli_note(f->command, "%s: %s: %s", f->path ? f->path : "standard output", what, strerror(errno ? errno : EIO));
    return CLI_FAILED;
}

static bool is_regular_or_new(const char *path) {
    struct stat s;
    return stat(path, &s) || S_ISREG(s.st_mode);
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static void drop(cli_outfile *f) {
    if (f->written) remove(f->written);
    free(f->written);
    free(f);
}

cli_outfile *cli_outfile_open(const char *command, const char *path, cli_outmode mode) {
    cli_outfile *f = calloc(1, sizeof *f);
    if (!f) {
        cli_note(command, "out of memory");
        return NULL;
    }
    f->command = command;
    if (!path || !strcmp(path, "-")) {
        f->file = f->stream = stdout;
        cli_stdout_is_the_work();
        return f;
    }
    f->path = path;
    errno = 0;
    bool beside = mode == CLI_OUT_WHOLE && is_regular_or_new(path);
    if (beside) {
        size_t size = strlen(path) + sizeof ".part";
        f->written = malloc(size);
        if (f->written) snprintf(f->written, size, "%s.part", path);
    }
    if (!beside || f->written) f->file = fopen(beside ? f->written : path, mode == CLI_OUT_CONTINUE ? "ab" : "wb");
    if (f->file) f->stream = ends_with(path, ".zst") ? packer_new(f->file) : f->file;
    if (f->stream) return f;
    say(f, "can't write");
    if (f->file) fclose(f->file);
    drop(f);
    return NULL;
}

FILE *cli_outfile_stream(cli_outfile *file) {
    return file->stream;
}

int cli_outfile_close(cli_outfile *f, bool keep) {
    if (!f) return CLI_OK;
    errno = 0;
    bool wrong = ferror(f->stream) != 0;
    if (f->stream != f->file && fclose(f->stream)) wrong = true;
    if (f->file == stdout ? fflush(stdout) : fclose(f->file)) wrong = true;
    int rc = CLI_OK;
    if (keep && wrong && !(f->file == stdout && cli_reader_left())) rc = say(f, "can't write");
    if (keep && !wrong && f->written) {
        if (rename(f->written, f->path))
            rc = say(f, "can't be put in place");
        else
            f->written[0] = '\0';
    }
    if (f->written && !f->written[0]) {
        free(f->written);
        f->written = NULL;
    }
    drop(f);
    return rc;
}
