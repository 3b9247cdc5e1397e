/* load.c: whole files into memory. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/datasets.h"
#include "src/base/words.h"

typedef struct loader {
    weirp_builder *builder;
    const weir_reader_options *options; /* the caller's */
    size_t n_malformed, n_duplicates;
    char first[WEIR_ERROR_TEXT]; /* the first warning, for an error that says why nothing was usable */
    size_t *column;              /* the reader's models to the data set's */
    size_t n_columns, column_capacity;
} loader;

static void warn(void *user, const char *text) {
    loader *l = user;
    if (!*l->first) snprintf(l->first, sizeof l->first, "%s", text);
    if (l->options && l->options->warning) l->options->warning(l->options->warning_user, text);
}

static weir_status map_models(loader *l, const weir_reader *reader, weir_error *err) {
    size_t n = weir_reader_n_models(reader);
    if (!weirp_reserve((void **)&l->column, &l->column_capacity, n, sizeof *l->column)) return weirp_nomem(err);
    for (; l->n_columns < n; l->n_columns++) {
        weir_status st =
            weirp_builder_model(l->builder, weir_reader_model(reader, l->n_columns), &l->column[l->n_columns], err);
        if (st) return st;
    }
    return WEIR_OK;
}

static void warn_duplicate(loader *l, const char *path, const weir_record *record) {
    char text[WEIR_ERROR_TEXT], id[64];
    l->n_duplicates++;
    snprintf(text, sizeof text, "%s:%zu: id \"%s\" was there before: the first one stays", path, record->line,
             weirp_excerpt(id, sizeof id, record->id, strlen(record->id)));
    warn(l, text);
}

static weir_status load_file(loader *l, const char *path, weir_error *err) {
    weir_status st;
    weir_reader *reader = NULL;
    weir_reader_options options = l->options ? *l->options : (weir_reader_options){0};
    options.warning = warn;
    options.warning_user = l;
    l->n_columns = 0;
    WEIRP_TRY(weir_reader_open(&reader, path, &options, err));
    for (;;) {
        weir_record record;
        bool duplicate;
        st = weir_reader_next(reader, &record, err);
        if (st == WEIR_END) break;
        WEIRP_TRY(st);
        WEIRP_TRY(map_models(l, reader, err));
        WEIRP_TRY(weirp_builder_add(l->builder, &record, l->column, &duplicate, err));
        if (duplicate) warn_duplicate(l, path, &record);
    }
    l->n_malformed += weir_reader_n_malformed(reader);
    st = WEIR_OK;
done:
    weir_reader_close(reader);
    return st;
}

weir_status weir_dataset_load(weir_dataset **out, const char *const *paths, size_t n_paths,
                              const weir_reader_options *options, weir_error *err) {
    weir_status st;
    loader l = {.options = options};
    *out = NULL;
    WEIRP_TRY(weirp_builder_new(&l.builder, err));
    for (size_t i = 0; i < n_paths; i++) WEIRP_TRY(load_file(&l, paths[i], err));
    WEIRP_TRY(weirp_builder_finish(l.builder, out, err));
    (*out)->n_malformed = l.n_malformed;
    (*out)->n_duplicates = l.n_duplicates;
    if (!(*out)->n_prompts || !(*out)->n_models) {
        const char *what = (*out)->n_prompts ? "no line has an outcome" : "no usable line";
        weir_dataset_free(*out);
        *out = NULL;
        st = weirp_fail(err, WEIR_NODATA, 0, "%s%s: %s (%zu malformed%s%s)", n_paths ? paths[0] : "no file",
                        n_paths > 1 ? " and others" : "", what, l.n_malformed, *l.first ? ": " : "", l.first);
    }
done:
    weirp_builder_free(l.builder);
    free(l.column);
    return st;
}
