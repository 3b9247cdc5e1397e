/* python.c: strings as Python's repr() prints them (The Python Language Reference, section 2.4.1).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <utf8proc.h>

#include "datasets/convert.h"

typedef struct cursor {
    const char *at, *end;
} cursor;

static void put_character(weirp_writer *out, utf8proc_int32_t c) {
    utf8proc_uint8_t bytes[4];
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = 0xfffd;
    weirp_put(out, bytes, (size_t)utf8proc_encode_char(c, bytes));
}

static int digit(char c, int base) {
    int d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 99;
    return d < base ? d : -1;
}

/* Up to `most` digits, at least `least`. */
static bool number(cursor *in, int base, int least, int most, utf8proc_int32_t *value) {
    int n = 0;
    *value = 0;
    for (int d; n < most && in->at < in->end && (d = digit(*in->at, base)) >= 0; n++, in->at++) {
        if (*value > 0x7ffffff) return false;
        *value = *value * base + d;
    }
    return n >= least;
}

static bool escape(cursor *in, weirp_writer *out) {
    static const char plain[] = "\\\\''\"\"n\nr\rt\ta\ab\bf\fv\v";
    utf8proc_int32_t c;
    if (in->at == in->end) return false;
    char e = *in->at++;
    for (const char *p = plain; *p; p += 2)
        if (*p == e) {
            weirp_put(out, p + 1, 1);
            return true;
        }
    if (e == '\n') return true; /* a line that goes on */
    if (e == 'x' || e == 'u' || e == 'U') {
        int n = e == 'x' ? 2 : e == 'u' ? 4 : 8;
        if (!number(in, 16, n, n, &c)) return false;
    } else if (digit(e, 8) >= 0) {
        in->at--;
        if (!number(in, 8, 1, 3, &c)) return false;
    } else {
        weirp_put(out, "\\", 1); /* not an escape: Python keeps both */
        weirp_put(out, &e, 1);
        return true;
    }
    put_character(out, c);
    return true;
}

static bool string(cursor *in, weirp_writer *out) {
    char quote = *in->at++;
    while (in->at < in->end && *in->at != quote) {
        char c = *in->at++;
        if (c != '\\')
            weirp_put(out, &c, 1);
        else if (!escape(in, out))
            return false;
    }
    if (in->at == in->end) return false;
    in->at++;
    return true;
}

static void blanks(cursor *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r')) in->at++;
}

bool weirp_python_strings(const char *text, size_t len, weirp_writer *out) {
    cursor in = {text, text + len};
    out->size = 0;
    blanks(&in);
    if (in.at == in.end || *in.at++ != '[') return false;
    for (bool first = true;; first = false) {
        blanks(&in);
        if (in.at == in.end) return false;
        if (*in.at == ']') break;
        if (!first) weirp_put(out, "\n\n", 2);
        if ((*in.at != '\'' && *in.at != '"') || !string(&in, out)) return false;
        blanks(&in);
        if (in.at < in.end && *in.at == ',')
            in.at++;
        else if (in.at == in.end || *in.at != ']')
            return false;
    }
    in.at++;
    blanks(&in);
    return in.at == in.end;
}
