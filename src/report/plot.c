/* plot.c: the curve in characters. Lines are braille dots (two by four a character, Unicode 2800-28FF), models letters.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/show.h"

enum { MARGIN = 8, LEAST_ROWS = 8, MOST_ROWS = 18, MOST_COLUMNS = 256 };

/* Colours of the 16 that terminals have: kept apart by brightness too. */
typedef enum ink { NONE, MODEL, ROUTER, MIXTURE, N_INKS } ink;
static const char *const escapes[N_INKS] = {"", "\033[1m", "\033[94m", "\033[33m"};

typedef struct canvas {
    size_t columns, rows;
    uint8_t *dots; /* (rows, columns) */
    uint8_t *ink;  /* (rows, columns) */
    char *mark;    /* (rows, columns) a letter instead; 0: none */
    const weirp_frame *frame;
} canvas;

char weirp_plot_letter(size_t model) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    return model < sizeof letters - 1 ? letters[model] : '*';
}

/* Sets one dot; x and y in dots from the lower left. */
static void dot(canvas *c, size_t x, size_t y, ink color) {
    static const uint8_t bits[4][2] = {{0x40, 0x80}, {0x04, 0x20}, {0x02, 0x10}, {0x01, 0x08}};
    if (x >= 2 * c->columns || y >= 4 * c->rows) return;
    const size_t cell = (c->rows - 1 - y / 4) * c->columns + x / 2;
    c->dots[cell] |= bits[y % 4][x % 2];
    if (c->ink[cell] == NONE || color == ROUTER) c->ink[cell] = (uint8_t)color;
}

static double dot_x(const canvas *c, double cost) {
    return weirp_axis_at(&c->frame->x, cost * 1000) * (double)(2 * c->columns - 1);
}

static double dot_y(const canvas *c, double quality) {
    return weirp_axis_at(&c->frame->y, quality) * (double)(4 * c->rows - 1);
}

/* The mixture of single models, every third dot. */
static void draw_mixture(canvas *c, const weirp_curve *hull) {
    const weirp_axis *x = &c->frame->x;
    for (size_t i = 0; i < 2 * c->columns; i += 3) {
        const double cost = x->lo * pow(x->hi / x->lo, (double)i / (double)(2 * c->columns - 1)) / 1000;
        const double q = weirp_curve_hull_at(hull, cost);
        if (!isnan(q)) dot(c, i, (size_t)(dot_y(c, q) + 0.5), MIXTURE);
    }
}

static void draw_curve(canvas *c, const weirp_curve *curve) {
    for (size_t i = 0; i < curve->n_points; i++) {
        const weirp_point *b = &curve->points[i], *a = i ? b - 1 : b;
        const double x0 = dot_x(c, a->cost), x1 = dot_x(c, b->cost), y0 = dot_y(c, a->quality),
                     y1 = dot_y(c, b->quality);
        const double steps = ceil(fmax(fabs(x1 - x0), fabs(y1 - y0))) + 1;
        for (double s = 0; s <= steps; s++) {
            const double x = x0 + (x1 - x0) * s / steps, y = y0 + (y1 - y0) * s / steps;
            if (x >= 0 && y >= 0) dot(c, (size_t)(x + 0.5), (size_t)(y + 0.5), ROUTER);
        }
    }
}

/* A letter in its cell, or in the nearest free one of the row. */
static void put_letter(canvas *c, size_t x, size_t row, char letter) {
    for (size_t away = 0; away < 4; away++) {
        const size_t at[2] = {x + away, x - away};
        for (size_t i = 0; i < 2; i++) {
            if (at[i] >= c->columns || c->mark[row * c->columns + at[i]]) continue;
            c->mark[row * c->columns + at[i]] = letter;
            return;
        }
    }
}

static void put_cell(FILE *out, const canvas *c, size_t cell, bool color) {
    const ink i = c->mark[cell] ? MODEL : (ink)c->ink[cell];
    if (color && i != NONE) fputs(escapes[i], out);
    if (c->mark[cell])
        fputc(c->mark[cell], out);
    else if (c->dots[cell])
        fprintf(out, "\xe2%c%c", 0xa0 | (c->dots[cell] >> 6), 0x80 | (c->dots[cell] & 0x3f));
    else
        fputc(' ', out);
    if (color && i != NONE) fputs("\033[0m", out);
}

static void put_rows(FILE *out, const canvas *c, bool color) {
    const weirp_axis *y = &c->frame->y;
    for (size_t r = 0; r < c->rows; r++) {
        const char *label = "";
        for (size_t t = 0; t < y->n_ticks; t++)
            if (c->rows - 1 - (size_t)(weirp_axis_at(y, y->tick[t]) * ((double)c->rows - 0.01)) == r)
                label = y->text[t];
        fprintf(out, "%*s %s", MARGIN - 2, label, *label ? "┤" : "│");
        size_t last = 0;
        for (size_t i = 0; i < c->columns; i++)
            if (c->dots[r * c->columns + i] || c->mark[r * c->columns + i]) last = i + 1;
        for (size_t i = 0; i < last; i++) put_cell(out, c, r * c->columns + i, color);
        fputc('\n', out);
    }
}

/* The axis below: ticks, then numbers where they have room. */
static void put_axis(FILE *out, const canvas *c) {
    const weirp_axis *x = &c->frame->x;
    char line[MOST_COLUMNS + WEIRP_TICK_TEXT + 1];
    memset(line, ' ', sizeof line);
    fprintf(out, "%*s└", MARGIN - 1, "");
    size_t next = 0, free_from = 0;
    for (size_t i = 0; i < c->columns; i++) {
        while (next < x->n_ticks && (size_t)(weirp_axis_at(x, x->tick[next]) * ((double)c->columns - 0.01)) < i) next++;
        const bool tick =
            next < x->n_ticks && (size_t)(weirp_axis_at(x, x->tick[next]) * ((double)c->columns - 0.01)) == i;
        fputs(tick ? "┬" : "─", out);
        const size_t length = tick ? strlen(x->text[next]) : 0, from = i >= length / 2 ? i - length / 2 : 0;
        if (!tick || from < free_from || from + length > c->columns) continue;
        memcpy(line + from, x->text[next], length);
        free_from = from + length + 1;
    }
    line[free_from > 0 ? free_from - 1 : 0] = '\0';
    fprintf(out, "\n%*s%s\n", MARGIN, "", line);
}

weir_status weirp_plot(const weir_evaluation *e, FILE *out, size_t width, bool color, weir_error *err) {
    const weirp_frame frame = weirp_frame_make(e, (width - MARGIN) / 9, 6, false);
    canvas c = {.columns = width - MARGIN - 1, .frame = &frame};
    if (c.columns > MOST_COLUMNS) c.columns = MOST_COLUMNS;
    c.rows = c.columns / 5 < LEAST_ROWS ? LEAST_ROWS : c.columns / 5 > MOST_ROWS ? MOST_ROWS : c.columns / 5;
    c.dots = weirp_array(c.rows * c.columns, 1);
    c.ink = weirp_array(c.rows * c.columns, 1);
    c.mark = weirp_array(c.rows * c.columns, 1);
    if (!c.dots || !c.ink || !c.mark) {
        free(c.dots), free(c.ink), free(c.mark);
        return weirp_nomem(err);
    }
    draw_mixture(&c, &e->curve[WEIRP_ZERO]);
    draw_curve(&c, &e->curve[WEIRP_PLUGIN]);
    for (size_t k = 0; k < e->tables->n_models; k++) {
        const size_t x = (size_t)(dot_x(&c, e->models[k].cost) / 2), y = (size_t)(dot_y(&c, e->models[k].quality) / 4);
        put_letter(&c, x, c.rows - 1 - y, weirp_plot_letter(k));
    }
    fprintf(out, "  mean quality over USD per 1,000 prompts, log scale\n");
    put_rows(out, &c, color);
    put_axis(out, &c);
    const char *reset = color ? "\033[0m" : "";
    fprintf(out, "  %s⠒⠒%s plug-in   %s⠂⠐%s zero router   %sA%s, B, ... single models\n", color ? escapes[ROUTER] : "",
            reset, color ? escapes[MIXTURE] : "", reset, color ? escapes[MODEL] : "", reset);
    free(c.dots), free(c.ink), free(c.mark);
    return WEIR_OK;
}
