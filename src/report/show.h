/* show.h: what the terminal report and the chart share: axes, numbers as text, the width of text.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SHOW_H
#define WEIRP_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "src/report/evaluation.h"

/* ---- axes ---- */

enum { WEIRP_MAX_TICKS = 16, WEIRP_TICK_TEXT = 16 };

/* Data from lo to hi, on a log scale or not. On a log scale anything at or below 0 is drawn at `lo`, which then is the
 * zero's own place, left of all that is positive. */
typedef struct weirp_axis {
    double lo, hi;
    bool log, zero;
    size_t n_ticks;
    double tick[WEIRP_MAX_TICKS];
    char text[WEIRP_MAX_TICKS][WEIRP_TICK_TEXT];
} weirp_axis;

/* An axis over [lo, hi], widened a little, with about `want` ticks of round numbers. */
weirp_axis weirp_axis_linear(double lo, double hi, size_t want);
weirp_axis weirp_axis_log(double lo, double hi, bool zero, size_t want);
double weirp_axis_at(const weirp_axis *axis, double x); /* place on the axis; 0: lo, 1: hi */

/* What is to be drawn of an evaluation, in either place. Costs in USD per 1,000 prompts. */
typedef struct weirp_frame {
    weirp_axis x, y;
    bool oracle_inside; /* its curve fits without squashing the rest; otherwise only its height is told */
} weirp_frame;

weirp_frame weirp_frame_make(const weir_evaluation *e, size_t x_ticks, size_t y_ticks, bool with_oracle);
/* Height of the random mixture of points: the hull at a cost (USD), NAN left of it. */
double weirp_curve_hull_at(const weirp_curve *hull, double cost);

/* ---- text ---- */

enum { WEIRP_CELL = 256 };

/* Columns that a terminal takes for UTF-8 text. */
size_t weirp_text_width(const char *text);
/* Copies `text` into (size) bytes, cut to `columns` with "…" in the middle, so that both ends of a long name can be
 * read; control characters become spaces. */
void weirp_text_fit(char *out, size_t size, const char *text, size_t columns);
/* Short names that tell models apart: without the vendor ("vendor/name"), where that leaves no two alike; then, where
 * cutting to `columns` would, without what all of them begin and end with. `out` has n rows. */
void weirp_short_names(char *const *names, size_t n, size_t columns, char (*out)[WEIRP_CELL]);
/* 12345 as "12,345". */
void weirp_text_count(char *out, size_t size, size_t n);
/* Three significant digits without an exponent where that is short. */
void weirp_text_amount(char *out, size_t size, double x);

/* ---- tables on a terminal ---- */

typedef struct weirp_column {
    const char *title;
    bool left;    /* aligned left; otherwise right */
    int priority; /* columns of the highest number go first when the terminal is narrow; 0: never */
} weirp_column;

typedef struct weirp_grid {
    const weirp_column *columns; /* (n_columns) borrowed */
    size_t n_columns, n_rows, capacity;
    char (*cells)[WEIRP_CELL]; /* (n_rows, n_columns) */
    bool *bold;                /* (n_rows) */
    size_t bold_capacity;
} weirp_grid;

/* A new row's cells, all empty; NULL: out of memory. */
char (*weirp_grid_row(weirp_grid *grid, bool bold))[WEIRP_CELL];
void weirp_grid_print(const weirp_grid *grid, FILE *out, size_t width, bool color);
void weirp_grid_free(weirp_grid *grid);

/* The small curve of the terminal report. */
weir_status weirp_plot(const weir_evaluation *e, FILE *out, size_t width, bool color, weir_error *err);
/* The letter under which plot and table show a model. */
char weirp_plot_letter(size_t model);

#endif
