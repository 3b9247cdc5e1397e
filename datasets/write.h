/* write.h: outcome lines out. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_WRITE_H
#define WEIRP_WRITE_H

#include <stdio.h>

#include "src/base/base.h"
#include "weir/data.h"

/* What the simulator knows beyond an outcome; NAN: left out. */
typedef struct weirp_truth {
    double expected_quality, expected_cost;
} weirp_truth;

/* Writes one line: names[i], outcomes[i] and truth[i] (NULL: none) for i < n. Fields that are NAN are left out; so is
 * an id or task of "". `path` names the file in errors. */
weir_status weirp_write_line(FILE *out, const char *path, const char *id, const char *task, const char *prompt,
                             size_t prompt_len, size_t n, const char *const *names, const weir_outcome *outcomes,
                             const weirp_truth *truth, weir_error *err);

#endif
