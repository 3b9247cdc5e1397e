/* write.c: Jansson writes the lines; it escapes, and keeps '.' the decimal point in every locale.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "datasets/write.h"

/* Fifteen digits: 0.00077 stays 0.00077, and what is lost is below a double's own rounding. */
enum { DIGITS = 15 };

/* Whole numbers, such as tokens, without ".0". */
static bool put(json_t *object, const char *key, double value) {
    if (isnan(value)) return true;
    bool whole = value == floor(value) && value < 0x1p53;
    json_t *number = whole ? json_integer((json_int_t)value) : json_real(value);
    return !json_object_set_new_nocheck(object, key, number);
}

/* To a billionth: expectations are compared, not added up, and short lines read faster. */
static double brief(double value) {
    return round(value * 1e9) / 1e9;
}

static json_t *outcome_object(const weir_outcome *o, const weirp_truth *truth) {
    json_t *object = json_object();
    bool ok = object && put(object, "quality", o->quality) && put(object, "cost", o->cost_usd) &&
              put(object, "input_tokens", o->input_tokens) && put(object, "output_tokens", o->output_tokens) &&
              put(object, "latency_ms", o->latency_ms);
    if (ok && truth)
        ok = put(object, "expected_quality", brief(truth->expected_quality)) &&
             put(object, "expected_cost", brief(truth->expected_cost));
    if (ok) return object;
    json_decref(object);
    return NULL;
}

static bool put_text(json_t *object, const char *key, const char *text, size_t len) {
    return !json_object_set_new_nocheck(object, key, json_stringn_nocheck(text, len));
}

weir_status weirp_write_line(FILE *out, const char *path, const char *id, const char *task, const char *prompt,
                             size_t prompt_len, size_t n, const char *const *names, const weir_outcome *outcomes,
                             const weirp_truth *truth, weir_error *err) {
    json_t *line = json_object(), *all = json_object();
    bool ok = line && all;
    if (ok && *id) ok = put_text(line, "id", id, strlen(id));
    if (ok && *task) ok = put_text(line, "task", task, strlen(task));
    ok = ok && put_text(line, "prompt", prompt, prompt_len);
    for (size_t i = 0; i < n && ok; i++)
        ok = !json_object_set_new_nocheck(all, names[i], outcome_object(&outcomes[i], truth ? &truth[i] : NULL));
    ok = ok && !json_object_set_nocheck(line, "outcomes", all);
    weir_status st = ok ? WEIR_OK : weirp_nomem(err);
    errno = 0;
    if (ok && (json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) || putc('\n', out) == EOF))
        st = ferror(out) ? weirp_fail_errno(err, errno ? errno : EIO, "can't write", path) : weirp_nomem(err);
    json_decref(all);
    json_decref(line);
    return st;
}
