/* error.c: the one table of codes, and filling a caller's error. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/base.h"

const char *weir_status_name(weir_status status) {
    switch (status) {
#define NAME(name, text)                                                                                               \
    case WEIR_##name: return "WEIR_" #name;
        WEIR_STATUS_TABLE(NAME)
#undef NAME
    }
    return "WEIR_UNKNOWN";
}

const char *weir_status_text(weir_status status) {
    switch (status) {
#define TEXT(name, text)                                                                                               \
    case WEIR_##name: return text;
        WEIR_STATUS_TABLE(TEXT)
#undef TEXT
    }
    return "unknown status";
}

const char *weir_version(void) {
    return WEIR_VERSION;
}

weir_status weirp_fail(weir_error *err, weir_status status, size_t line, const char *format, ...) {
    if (!err || err->status != WEIR_OK) return status;
    err->status = status;
    err->line = line;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}

weir_status weirp_nomem(weir_error *err) {
    return weirp_fail(err, WEIR_NOMEM, 0, "out of memory");
}

weir_status weirp_fail_errno(weir_error *err, int errno_value, const char *what, const char *path) {
    weir_status status = WEIR_IO;
    if (errno_value == ENOSPC || errno_value == EDQUOT) status = WEIR_FULL;
    if (errno_value == EROFS || errno_value == EACCES || errno_value == EPERM) status = WEIR_READONLY;
    if (errno_value == ENOENT) status = WEIR_NOTFOUND;
    if (errno_value == ENOMEM) status = WEIR_NOMEM;
    return weirp_fail(err, status, 0, "%s: %s: %s", path, what, strerror(errno_value));
}
