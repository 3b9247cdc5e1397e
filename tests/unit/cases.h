/* cases.h: tests as data: every folder under tests/cases/KIND/ is a case, its file "expected" what must come out.
 *
 * Runs with WEIR_CASES_WRITE set write what came out instead; look at the difference before it is committed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TESTS_CASES_H
#define WEIR_TESTS_CASES_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Prints what the case in the current folder gives. */
typedef void (*case_fn)(FILE *out);

static int case_name(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static inline char *case_read(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *copy = open_memstream(&text, &size);
    for (int c; (c = getc(file)) != EOF;) putc(c, copy);
    fclose(copy);
    fclose(file);
    return text;
}

static inline int case_run(const char *name, case_fn fn) {
    char *text = NULL;
    size_t size = 0;
    int wrong = 0;
    FILE *out = open_memstream(&text, &size);
    fn(out);
    fclose(out);
    char *expected = case_read("expected");
    if (getenv("WEIR_CASES_WRITE")) {
        FILE *file = fopen("expected", "wb");
        fwrite(text, 1, size, file);
        fclose(file);
    } else if (!expected || strcmp(expected, text)) {
        fprintf(stderr, "case %s\n--- expected\n%s--- got\n%s", name, expected ? expected : "(no file)\n", text);
        wrong = 1;
    }
    free(expected);
    free(text);
    return wrong;
}

/* Gives how many cases went wrong, -1 where there were none. Each runs in its own folder. */
static inline int cases_run(const char *kind, case_fn fn) {
    char folder[512], home[512];
    struct dirent **entry = NULL;
    snprintf(folder, sizeof folder, "%s/tests/cases/%s", WEIR_SOURCE_DIR, kind);
    int n = scandir(folder, &entry, case_name, alphasort), wrong = 0;
    if (!getcwd(home, sizeof home)) return -1;
    for (int i = 0; i < n; i++) {
        if (chdir(folder) || chdir(entry[i]->d_name))
            wrong++;
        else
            wrong += case_run(entry[i]->d_name, fn);
        free(entry[i]);
    }
    free(entry);
    if (chdir(home)) return -1;
    return n > 0 ? wrong : -1;
}

#endif
