/* Outcome files: every line is either read exactly or left out with a reason that names file, line and key.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <zstd.h>

#include "src/base/base.h"
#include "tests/unit/cases.h"
#include "weir/weir.h"

/* ---- cases as data ---- */

static void print_text(FILE *out, const char *text, size_t len) {
    putc('"', out);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c >= 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void print_warning(void *user, const char *text) {
    fprintf(user, "warning: %s\n", text);
}

static void print_record(FILE *out, const weir_reader *reader, const weir_record *r) {
    fprintf(out, "%zu id=%s task=%s prompt=", r->line, r->id, r->task);
    print_text(out, r->prompt, r->prompt_len);
    assert_int_equal(r->prompt[r->prompt_len], 0);
    for (size_t i = 0; i < r->n_outcomes; i++) {
        const weir_outcome *o = &r->outcome[i];
        fprintf(out, " %s(%g %g %g %g %g)", weir_reader_model(reader, r->model[i]), o->quality, o->cost_usd,
                o->input_tokens, o->output_tokens, o->latency_ms);
    }
    fputc('\n', out);
}

/* Reads "input" as records, then as a data set. A file "strict" asks for strict reading, "pool.yaml" holds prices. */
static void print_case(FILE *out) {
    weir_pool *pool = NULL;
    weir_reader *reader;
    weir_dataset *data;
    weir_error err = {0}, err2 = {0};
    if (!access("pool.yaml", R_OK)) assert_int_equal(weir_pool_load(&pool, "pool.yaml", NULL), WEIR_OK);
    weir_reader_options options = {!access("strict", R_OK), pool, print_warning, out, 0};
    assert_int_equal(weir_reader_open(&reader, "input", &options, &err), WEIR_OK);
    for (;;) {
        weir_record record;
        weir_status st = weir_reader_next(reader, &record, &err);
        if (st == WEIR_OK) {
            print_record(out, reader, &record);
            continue;
        }
        fprintf(out, "%s%s%s\n", weir_status_name(st), *err.text ? ": " : "", err.text);
        break;
    }
    fprintf(out, "malformed %zu models %zu\n", weir_reader_n_malformed(reader), weir_reader_n_models(reader));
    weir_reader_close(reader);
    const char *path = "input";
    options.warning = NULL;
    weir_status st = weir_dataset_load(&data, &path, 1, &options, &err2);
    fprintf(out, "%s%s%s\n", weir_status_name(st), *err2.text ? ": " : "", err2.text);
    if (st == WEIR_OK)
        fprintf(out, "%zu x %zu malformed %zu duplicates %zu\n", data->n_prompts, data->n_models, data->n_malformed,
                data->n_duplicates);
    weir_dataset_free(data);
    weir_pool_free(pool);
}

static void outcome_cases(void **state) {
    (void)state;
    assert_int_equal(cases_run("outcomes", print_case), 0);
}

/* ---- files made here ---- */

static char path[64];

static void write_file(const void *bytes, size_t n) {
    strcpy(path, "/tmp/weir-reader-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static char *many_lines(size_t n, size_t *size) {
    char *text = NULL;
    FILE *f = open_memstream(&text, size);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "{\"id\":\"%zu\",\"prompt\":\"prompt %zu\",\"outcomes\":{\"m%zu\":{\"quality\":%g,\"cost\":%zu}}}\n",
                i, i * 7, i % 19, (double)(i % 11) / 10, i);
    fclose(f);
    return text;
}

static void check_many(const weir_dataset *d, size_t n) {
    assert_int_equal(d->n_prompts, n);
    assert_int_equal(d->n_models, 19);
    assert_null(d->latency_ms);
    assert_null(d->input_tokens);
    for (size_t i = 0; i < n; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "prompt %zu", i * 7);
        assert_string_equal(d->prompts[i], expected);
        assert_int_equal(d->prompt_lens[i], strlen(expected));
        for (size_t m = 0; m < 19; m++) {
            double q = d->quality[i * 19 + m], c = d->cost_usd[i * 19 + m];
            if (m == i % 19)
                assert_true(q == (double)(i % 11) / 10 && c == (double)i);
            else
                assert_true(isnan(q) && isnan(c));
        }
    }
}

static weir_status load(weir_dataset **out, weir_error *err) {
    const char *paths[] = {path};
    return weir_dataset_load(out, paths, 1, NULL, err);
}

/* More rows than a chunk holds, and models that turn up late. */
static void many_rows(void **state) {
    (void)state;
    size_t size;
    weir_dataset *d;
    char *text = many_lines(5000, &size);
    write_file(text, size);
    assert_int_equal(load(&d, NULL), WEIR_OK);
    check_many(d, 5000);
    weir_dataset_free(d);
    /* the same file twice: every id of the second is a duplicate */
    const char *paths[] = {path, path};
    assert_int_equal(weir_dataset_load(&d, paths, 2, NULL, NULL), WEIR_OK);
    check_many(d, 5000);
    assert_int_equal(d->n_duplicates, 5000);
    weir_dataset_free(d);
    unlink(path);
    free(text);
}

/* Told by content; several frames in a row; cut off: an error, not an end. */
static void zstd_files(void **state) {
    (void)state;
    size_t size, bound;
    weir_dataset *d;
    weir_error err = {0};
    char *text = many_lines(20000, &size);
    bound = ZSTD_compressBound(size) * 2;
    char *packed = malloc(bound);
    size_t half = size / 2; /* in the middle of a line */
    size_t a = ZSTD_compress(packed, bound, text, half, 3);
    size_t b = ZSTD_compress(packed + a, bound - a, text + half, size - half, 3);
    write_file(packed, a + b);
    assert_int_equal(load(&d, &err), WEIR_OK);
    check_many(d, 20000);
    weir_dataset_free(d);
    unlink(path);
    write_file(packed, a + b / 2);
    assert_int_equal(load(&d, &err), WEIR_CORRUPT);
    assert_non_null(strstr(err.text, "cut off in the middle of a zstd frame"));
    assert_null(d);
    unlink(path);
    memset(packed + a / 2, 0x55, 64);
    write_file(packed, a + b);
    memset(&err, 0, sizeof err);
    assert_int_equal(load(&d, &err), WEIR_CORRUPT);
    unlink(path);
    free(packed);
    free(text);
}

static void from_a_pipe(void **state) {
    (void)state;
    int ends[2], keep = dup(STDIN_FILENO);
    size_t size;
    char *text = many_lines(300, &size);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, size), size);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    const char *paths[] = {"-"};
    weir_dataset *d;
    assert_int_equal(weir_dataset_load(&d, paths, 1, NULL, NULL), WEIR_OK);
    check_many(d, 300);
    weir_dataset_free(d);
    dup2(keep, STDIN_FILENO);
    close(keep);
    close(ends[0]);
    free(text);
}

static size_t n_warnings;
static char last_warning[WEIR_ERROR_TEXT];
static void keep_warning(void *user, const char *text) {
    (void)user;
    n_warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", text);
}

/* A line over the limit is left out wherever it lies, and the next one is read. */
static void long_lines(void **state) {
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (int i = 0; i < 6; i++) {
        fprintf(f, "{\"id\":\"%d\",\"prompt\":\"", i);
        for (int j = 0; j < (i % 2 ? 700000 : 10); j++) putc('x', f);
        fprintf(f, "\",\"outcomes\":{\"m\":{\"quality\":1}}}\n");
    }
    fclose(f);
    write_file(text, size);
    weir_dataset *d;
    const char *paths[] = {path};
    weir_reader_options options = {.max_line_bytes = 100000, .warning = keep_warning};
    n_warnings = 0;
    assert_int_equal(weir_dataset_load(&d, paths, 1, &options, NULL), WEIR_OK);
    assert_int_equal(d->n_prompts, 3);
    assert_int_equal(d->n_malformed, 3);
    assert_int_equal(n_warnings, 3);
    assert_non_null(strstr(last_warning, ":6: longer than 100000 bytes"));
    weir_dataset_free(d);
    assert_int_equal(load(&d, NULL), WEIR_OK);
    assert_int_equal(d->n_prompts, 6);
    assert_int_equal(d->prompt_lens[5], 700000);
    weir_dataset_free(d);
    unlink(path);
    free(text);
}

static void deep_nesting(void **state) {
    (void)state;
    size_t n = 1000000;
    char *text = malloc(n + 1);
    memset(text, '[', n);
    text[n] = '\n';
    write_file(text, n + 1);
    weir_dataset *d;
    weir_error err = {0};
    assert_int_equal(load(&d, &err), WEIR_NODATA);
    assert_non_null(strstr(err.text, "depth"));
    unlink(path);
    free(text);
}

/* A new model on every line must not make tables of lines x lines. */
static void too_many_models(void **state) {
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (int i = 0; i < 5000; i++) fprintf(f, "{\"prompt\":\"p\",\"outcomes\":{\"m%d\":{\"quality\":1}}}\n", i);
    fclose(f);
    write_file(text, size);
    weir_dataset *d;
    assert_int_equal(load(&d, NULL), WEIR_OK);
    assert_int_equal(d->n_models, 4096);
    assert_int_equal(d->n_malformed, 5000 - 4096);
    weir_dataset_free(d);
    unlink(path);
    free(text);
}

static void not_a_file(void **state) {
    (void)state;
    weir_dataset *d;
    weir_error err = {0};
    const char *paths[] = {"/nowhere/x.jsonl"}, *folder[] = {"/tmp"};
    assert_int_equal(weir_dataset_load(&d, paths, 1, NULL, &err), WEIR_NOTFOUND);
    assert_null(d);
    memset(&err, 0, sizeof err);
    assert_int_equal(weir_dataset_load(&d, folder, 1, NULL, &err), WEIR_IO);
    assert_int_equal(weir_dataset_load(&d, NULL, 0, NULL, NULL), WEIR_NODATA);
    weir_dataset_free(NULL);
    weir_reader_close(NULL);
}

/* The real files, where they are: nothing malformed, and the counts that their description gives. */
static void real_files(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t n_prompts, n_models;
    } files[] = {{"cascades-train", 3266, 9},
                 {"routerbench-train", 2225, 11},
                 {"routerdc-test", 9408, 7},
                 {"drift-stream", 3100, 2}};
    const char *root = getenv("WEIR_DATA") ? getenv("WEIR_DATA") : WEIR_SOURCE_DIR "/../shared/data";
    for (size_t i = 0; i < 4; i++) {
        char file[512];
        const char *paths[] = {file};
        snprintf(file, sizeof file, "%s/%s.jsonl", root, files[i].name);
        if (access(file, R_OK)) {
            print_message("no real data: %s isn't there (set WEIR_DATA)\n", file);
            skip();
        }
        weir_dataset *d;
        assert_int_equal(weir_dataset_load(&d, paths, 1, NULL, NULL), WEIR_OK);
        assert_int_equal(d->n_malformed, 0);
        assert_int_equal(d->n_prompts + d->n_duplicates, files[i].n_prompts);
        assert_int_equal(d->n_models, files[i].n_models);
        weir_dataset_free(d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcome_cases), cmocka_unit_test(many_rows),       cmocka_unit_test(zstd_files),
        cmocka_unit_test(from_a_pipe),   cmocka_unit_test(long_lines),      cmocka_unit_test(deep_nesting),
        cmocka_unit_test(not_a_file),    cmocka_unit_test(too_many_models), cmocka_unit_test(real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
