/* json.c: reports for machines, over Jansson. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/json.h"

json_t *cli_json_number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

bool cli_json_set(json_t *object, const char *key, double x) {
    return json_object_set_new(object, key, cli_json_number(x)) == 0;
}

int cli_write_json(const char *command, const char *path, json_t *value) {
    char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(value);
    if (!text) {
        cli_note(command, "out of memory");
        return CLI_FAILED;
    }
    int rc = cli_write(command, path, text);
    free(text);
    return rc;
}

static void format(const json_t *v, char *text, size_t size) {
    if (json_is_string(v)) {
        snprintf(text, size, "%s", json_string_value(v));
    } else if (json_is_integer(v)) {
        snprintf(text, size, "%lld", (long long)json_integer_value(v));
    } else if (json_is_real(v)) {
        snprintf(text, size, "%.6g", json_real_value(v));
    } else if (json_is_boolean(v)) {
        snprintf(text, size, "%s", json_is_true(v) ? "yes" : "no");
    } else if (json_is_null(v) || !v) {
        snprintf(text, size, "-");
    } else {
        char *dump = json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(6));
        snprintf(text, size, "%s", dump ? dump : "");
        free(dump);
    }
}

static void print_table(const char *name, json_t *rows, FILE *out) {
    enum { MAX_COLUMNS = 16 };
    const char *headers[MAX_COLUMNS], *key;
    size_t n = 0, i;
    json_t *row, *value;
    json_object_foreach(json_array_get(rows, 0), key, value) {
        if (n < MAX_COLUMNS) headers[n++] = key;
    }
    cli_table *table = cli_table_new(headers, n);
    if (!table) return;
    json_array_foreach(rows, i, row) {
        for (size_t c = 0; c < n; c++) {
            char text[200];
            format(json_object_get(row, headers[c]), text, sizeof text);
            cli_table_cell(table, "%s", text);
        }
    }
    fprintf(out, "\n%s\n", name);
    cli_table_print(table, out);
    cli_table_free(table);
}

static bool is_table(const json_t *v) {
    return json_array_size(v) > 0 && json_object_size(json_array_get(v, 0)) > 0;
}

int cli_print_json(const char *command, const char *text, FILE *out) {
    json_error_t why;
    json_t *root = json_loads(text, 0, &why);
    if (!root) {
        cli_note(command, "the library's report is not JSON: %s", why.text);
        return CLI_FAILED;
    }
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        char line[400];
        if (is_table(value)) continue;
        format(value, line, sizeof line);
        fprintf(out, "%s: %s\n", key, line);
    }
    json_object_foreach(root, key, value) {
        if (is_table(value)) print_table(key, value, out);
    }
    json_decref(root);
    return CLI_OK;
}
