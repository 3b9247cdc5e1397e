/* Converters: each row comes out exactly or is left out with a reason; downloads are tested in tests/integration/.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "datasets/convert.h"
#include "datasets/csv.h"
#include "tests/unit/cases.h"
#include "weir/weir.h"

static void print_warning(void *user, const char *text) {
    fprintf(user, "warning: %s\n", text);
}

/* A case's file "inputs" holds a format ("-": to be told by content) and file names, a line each; "strict" asks for
 * strict reading, "pool.yaml" holds prices. */
static void print_case(FILE *out) {
    char *words[8], *save = NULL, *list = case_read("inputs");
    size_t n = 0;
    assert_non_null(list);
    for (char *w = strtok_r(list, "\n", &save); w && n < 8; w = strtok_r(NULL, "\n", &save)) words[n++] = w;
    weir_pool *pool = NULL;
    if (!access("pool.yaml", R_OK)) assert_int_equal(weir_pool_load(&pool, "pool.yaml", NULL), WEIR_OK);
    weir_convert_options o = {
        .pool = pool, .strict = !access("strict", R_OK), .warning = print_warning, .warning_user = out};
    weir_convert_report r;
    weir_error err = {0};
    weir_status st =
        weir_convert(strcmp(words[0], "-") ? words[0] : NULL, (const char *const *)words + 1, n - 1, out, &o, &r, &err);
    fprintf(out, "%s%s%s\n", weir_status_name(st), *err.text ? ": " : "", err.text);
    fprintf(out, "rows %zu written %zu malformed %zu truncated %zu\n", r.n_rows, r.n_written, r.n_malformed,
            r.n_truncated);
    weir_pool_free(pool);
    free(list);
}

static void convert_cases(void **state) {
    (void)state;
    assert_int_equal(cases_run("convert", print_case), 0);
}

/* What comes out can be read in. */
static void round_trip(void **state) {
    (void)state;
    char path[] = "/tmp/weir-convert-XXXXXX";
    const char *inputs[] = {"tests/cases/convert/routerbench/table.csv"}, *paths[] = {path};
    FILE *out = fdopen(mkstemp(path), "wb");
    assert_int_equal(weir_convert(NULL, inputs, 1, out, NULL, NULL, NULL), WEIR_OK);
    fclose(out);
    weir_dataset *d;
    assert_int_equal(weir_dataset_load(&d, paths, 1, NULL, NULL), WEIR_OK);
    assert_int_equal(d->n_malformed, 0);
    assert_int_equal(d->n_models, 2);
    assert_string_equal(d->prompts[0], "Say \"hi\",\nplease.");
    assert_true(d->cost_usd[0] == 0.00077);
    weir_dataset_free(d);
    unlink(path);
}

static void formats_are_named(void **state) {
    (void)state;
    size_t n = 0;
    while (weir_convert_format(n)) n++;
    assert_int_equal(n, 5);
    weir_error err = {0};
    const char *inputs[] = {"x"};
    assert_int_equal(weir_convert("cvs", inputs, 1, stdout, NULL, NULL, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "routerbench, routellm, mt-bench, sprout, sprout-hub"));
    assert_int_equal(weir_convert(NULL, NULL, 0, stdout, NULL, NULL, NULL), WEIR_INVALID);
    assert_int_equal(weir_convert(NULL, inputs, 1, stdout, NULL, NULL, NULL), WEIR_NOTFOUND);
}

/* ---- CSV ---- */

static weirp_csv csv;

static void open_csv(const char *text, size_t len) {
    char path[] = "/tmp/weir-csv-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
    csv = (weirp_csv){.path = "t"};
    assert_int_equal(weirp_input_open(&csv.in, path, NULL), WEIR_OK);
    unlink(path);
}

static void close_csv(void) {
    weirp_input_close(csv.in);
    weirp_csv_free(&csv);
}

/* Checks the next record, fields separated by '|'. */
static void expect_record(size_t line, const char *fields) {
    char got[256] = "";
    assert_int_equal(weirp_csv_next(&csv, NULL), WEIR_OK);
    for (size_t i = 0; i < csv.n; i++) {
        if (i) strcat(got, "|");
        strcat(got, weirp_csv_field(&csv, i, NULL));
    }
    assert_string_equal(got, fields);
    assert_int_equal(csv.line, line);
}

static void csv_records(void **state) {
    (void)state;
    const char *text = "\xef\xbb\xbf"
                       "a,b\r\n\"x, \"\"y\"\"\",\"two\nlines\"\r\n\n\n,\r\n\"\"\nplain \"quote\",z\rlast,line";
    open_csv(text, strlen(text));
    expect_record(1, "a|b");
    expect_record(2, "x, \"y\"|two\nlines");
    expect_record(6, "|");
    expect_record(7, "");
    expect_record(8, "plain \"quote\"|z");
    expect_record(8, "last|line");
    assert_int_equal(weirp_csv_next(&csv, NULL), WEIR_END);
    assert_int_equal(weirp_csv_next(&csv, NULL), WEIR_END);
    close_csv();
}

static void csv_wrong_records(void **state) {
    (void)state;
    weir_error err = {0};
    const char *text = "a,\"b\"c\nnext,one\n\"open,\nto the end\n";
    open_csv(text, strlen(text));
    assert_int_equal(weirp_csv_next(&csv, &err), WEIR_PARSE);
    assert_string_equal(err.text, "t:1: text follows a closing quote: quotes inside are written twice");
    expect_record(2, "next|one");
    memset(&err, 0, sizeof err);
    assert_int_equal(weirp_csv_next(&csv, &err), WEIR_PARSE);
    assert_string_equal(
        err.text,
        "t:3: a quoted field doesn't end: is the file cut off? (by its quotes all of lines 3 to 4 is one record)");
    assert_int_equal(weirp_csv_next(&csv, NULL), WEIR_END);
    close_csv();
    /* sizes are bounded */
    size_t n = 100000;
    char *commas = malloc(n);
    memset(commas, ',', n);
    memcpy(commas + n - 5, "\nx,y\n", 5);
    open_csv(commas, n);
    assert_int_equal(weirp_csv_next(&csv, NULL), WEIR_PARSE);
    expect_record(2, "x|y");
    close_csv();
    free(commas);
}

/* ---- Python's strings ---- */

static void python_strings(void **state) {
    (void)state;
    static const struct {
        const char *text, *is; /* NULL: not a list of strings */
    } cases[] = {
        {"['a']", "a"},
        {"['it\\'s', \"it's\"]", "it's\n\nit's"},
        {"[]", ""},
        {" [ 'a' , 'b', ] ", "a\n\nb"},
        {"['\\n\\t\\\\\\x41\\u00e9\\U0001f600\\101\\0']", "\n\t\\A\xc3\xa9\xf0\x9f\x98\x80"
                                                          "A\0"},
        {"['\\ud800']", "\xef\xbf\xbd"},
        {"['\\q']", "\\q"},
        {"['caf\xc3\xa9']", "caf\xc3\xa9"},
        {"['a", NULL},
        {"['a'", NULL},
        {"['a']x", NULL},
        {"['\\x4']", NULL},
        {"['\\", NULL},
        {"['a' 'b']", NULL},
        {"[1]", NULL},
        {"plain", NULL},
        {"", NULL},
        {"[,]", NULL},
    };
    weirp_writer out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool ok = weirp_python_strings(cases[i].text, strlen(cases[i].text), &out);
        if (ok != (cases[i].is != NULL)) fail_msg("%s", cases[i].text);
        if (ok) assert_memory_equal(out.data ? (char *)out.data : "", cases[i].is, strlen(cases[i].is));
    }
    weirp_writer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convert_cases), cmocka_unit_test(round_trip),        cmocka_unit_test(formats_are_named),
        cmocka_unit_test(csv_records),   cmocka_unit_test(csv_wrong_records), cmocka_unit_test(python_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
