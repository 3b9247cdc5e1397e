/* chart.h: a picture of lines and named marks on two axes; chart.c says what of an evaluation is drawn, svg.c draws it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CHART_H
#define WEIRP_CHART_H

#include "src/report/labels.h"
#include "src/report/show.h"

enum { WEIRP_MAX_SERIES = 4 };

typedef struct weirp_xy {
    double x, y;
} weirp_xy;

/* A line of the chart. */
typedef struct weirp_series {
    const char *class; /* its look */
    char legend[96];
    weirp_xy *points; /* (n) new; data coordinates; NANs interrupt the line */
    size_t n;
    double weight; /* how bad it is for a label to lie over it */
    bool filled;   /* an area: its class fills it */
} weirp_series;

/* How uncertain a mark is. */
typedef struct weirp_bar {
    weirp_xy from, to; /* data coordinates */
} weirp_bar;

typedef struct weirp_chart {
    FILE *out;
    char title[256], subtitle[160], x_label[96], y_label[64];
    weirp_axis x, y;
    double top; /* of the plot: below title and legend */
    weirp_series lines[WEIRP_MAX_SERIES];
    size_t n_lines;
    const char *note; /* in the upper left corner, or NULL */
    char note_text[96];
    const char *mark_legend;
    /* marks: */
    size_t n_marks;
    weirp_xy *marks;                 /* (n_marks) new */
    char **mark_names;               /* (n_marks) new array, borrowed names */
    char (*short_names)[WEIRP_CELL]; /* (n_marks) new */
    weirp_label *labels;             /* (n_marks) new */
    weirp_bar *bars;                 /* (n_bars) new; may be NULL */
    size_t n_bars;
} weirp_chart;

/* A new line with room for n points; borrowed from the chart. NULL: out of memory. */
weirp_series *weirp_chart_line(weirp_chart *c, const char *class, double weight, size_t n);
/* Room for n marks; names that matter most first. */
weir_status weirp_chart_marks(weirp_chart *c, size_t n, weir_error *err);
/* Places the names, then writes everything. */
weir_status weirp_chart_put(weirp_chart *c, weir_error *err);
double weirp_chart_x(const weirp_chart *c, double x); /* pixels */
void weirp_chart_free(weirp_chart *c);

/* ---- for pictures of other kinds ---- */

extern const char weirp_svg_style[];              /* classes for text, grid, lines and marks, in light and dark */
void weirp_svg_text(FILE *out, const char *text); /* escaped */
/* Upper estimate of the width of text in whatever sans-serif font the reader has, in pixels. */
double weirp_svg_text_px(const char *text, double size);

#endif
