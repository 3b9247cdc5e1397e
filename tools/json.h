/* json.h: reports for machines. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_JSON_H
#define WEIR_TOOLS_JSON_H

#include <jansson.h>

#include "tools/cli.h"

json_t *cli_json_number(double x); /* new; null for what JSON can't say (NAN, infinities) */
/* Puts a number under a key; false when memory is out. */
bool cli_json_set(json_t *object, const char *key, double x);
/* Writes `value` (stolen; NULL: memory ran out while it was made) to a file or "-". CLI_OK or CLI_FAILED. */
int cli_write_json(const char *command, const char *path, json_t *value);
/* A JSON text as lines for people: scalars as "key: value", arrays of objects as tables. */
int cli_print_json(const char *command, const char *text, FILE *out);

#endif
