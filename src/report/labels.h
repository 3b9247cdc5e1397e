/* labels.h: where the names of points go in a picture, so that they hide neither each other nor the curves.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LABELS_H
#define WEIRP_LABELS_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/error.h"

typedef struct weirp_box {
    double x0, y0, x1, y1; /* pixels, y downwards */
} weirp_box;

/* Something that a label had better not cover, and how bad it is. */
typedef struct weirp_spot {
    double x, y, weight;
} weirp_spot;

typedef struct weirp_label {
    double x, y;          /* the point it names */
    double width, height; /* of its text */
    int rank;             /* when room is short, labels of the highest rank go first */
    /* out: */
    weirp_box box;
    bool shown;
    bool leader; /* far enough from its point to need a line, which ends at: */
    double end_x, end_y;
} weirp_label;

/* Fewest overlaps by trying 136 places a label, from several starts; deterministic. A label that would still
 * cover another one isn't shown. */
weir_status weirp_labels_place(weirp_label *labels, size_t n, weirp_box area, const weirp_spot *spots, size_t n_spots,
                               weir_error *err);

#endif
