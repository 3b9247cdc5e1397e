/* svg.c: the chart. One picture for both colour schemes; Okabe and Ito's colours, and dashes besides, so that no line
 * is told by its colour alone. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/base/base.h"
#include "src/report/chart.h"

enum { WIDTH = 760, LEFT = 66, RIGHT = 742, BOTTOM = 452, HEIGHT = 506, LEGEND_TOP = 62, LEGEND_ROW = 19 };
/* More marks than CROWD: smaller ones, and names only for the first FEW. */
enum { LABEL_COLUMNS = 30, CROWD = 40, FEW = 24 };

static const double LABEL_PX = 11, LEGEND_PX = 12;

const char weirp_svg_style[] =
    "text{font-family:sans-serif;fill:#1f2328}"
    ".bg{fill:#fff}.soft{fill:#57606a}"
    ".grid{stroke:#e4e8ec;stroke-width:1}.axis{stroke:#57606a;stroke-width:1}"
    ".line{fill:none;stroke-linejoin:round;stroke-linecap:round}"
    ".plugin{stroke:#0072b2;stroke-width:2.4}"
    ".minimax{stroke:#d55e00;stroke-width:1.7;stroke-dasharray:7 4}"
    ".zero{stroke:#6e7781;stroke-width:1.5;stroke-dasharray:1.5 4}"
    ".oracle{stroke:#009e73;stroke-width:1.6;stroke-dasharray:9 3 2 3}"
    ".band{fill:#0072b2;fill-opacity:.16;stroke:none}.bar{stroke:#57606a;stroke-width:1;stroke-opacity:.55;fill:none}"
    ".mark{fill:#1f2328;stroke:#fff;stroke-width:1.2}.leader{stroke:#8c959f;stroke-width:.8}"
    ".name{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}"
    "@media (prefers-color-scheme:dark){"
    "text{fill:#e6edf3}.bg{fill:#0d1117}.soft{fill:#9aa4af}"
    ".grid{stroke:#21262d}.axis{stroke:#8b949e}"
    ".plugin{stroke:#56b4e9}.minimax{stroke:#e69f00}.zero{stroke:#9aa4af}.oracle{stroke:#2fd0a0}"
    ".band{fill:#56b4e9;fill-opacity:.22}.bar{stroke:#9aa4af}"
    ".mark{fill:#e6edf3;stroke:#0d1117}.leader{stroke:#6e7681}.name{stroke:#0d1117}"
    "}";

/* ---- text ---- */

void weirp_svg_text(FILE *out, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc((unsigned char)*text < 32 ? ' ' : *text, out);
        }
    }
}

/* Upper estimate of the width of text in whatever sans-serif font the reader has, in pixels. */
double weirp_svg_text_px(const char *text, double size) {
    double em = 0;
    for (utf8proc_ssize_t used; *text; text += used) {
        utf8proc_int32_t c;
        used = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &c);
        if (used <= 0) used = 1, c = 'x';
        if (c < 128 && strchr("iljI.,:;'|! ", (int)c))
            em += 0.34;
        else if (c < 128 && strchr("ftr()[]/-\"", (int)c))
            em += 0.42;
        else if (c < 128 && strchr("mwMW@%", (int)c))
            em += 0.96;
        else if (c >= 'A' && c <= 'Z')
            em += 0.71;
        else
            em += utf8proc_charwidth(c) == 2 ? 1.05 : utf8proc_charwidth(c) == 0 ? 0 : 0.63;
    }
    return em * size;
}

/* Text with its middle left out where it is wider than the picture has room for; bold letters are wider. */
static void put_heading(FILE *out, const char *text, double size, bool bold) {
    char fitted[512];
    for (size_t columns = weirp_text_width(text);; columns--) {
        weirp_text_fit(fitted, sizeof fitted, text, columns);
        if (!columns || (bold ? 1.1 : 1) * weirp_svg_text_px(fitted, size) <= RIGHT - LEFT) break;
    }
    weirp_svg_text(out, fitted);
}

/* ---- places ---- */

double weirp_chart_x(const weirp_chart *c, double x) {
    return LEFT + (RIGHT - LEFT) * weirp_axis_at(&c->x, x);
}

static double px_y(const weirp_chart *c, double y) {
    return BOTTOM - (BOTTOM - c->top) * weirp_axis_at(&c->y, y);
}

/* ---- drawing ---- */

static void put_axes(const weirp_chart *c) {
    FILE *out = c->out;
    for (size_t t = 0; t < c->y.n_ticks; t++) {
        const double y = px_y(c, c->y.tick[t]);
        fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, y, RIGHT);
        fprintf(out, "<text class=\"soft\" x=\"%d\" y=\"%.1f\" font-size=\"12\" text-anchor=\"end\">%s</text>\n",
                LEFT - 9, y + 4, c->y.text[t]);
    }
    for (size_t t = 0; t < c->x.n_ticks; t++) {
        const double x = weirp_chart_x(c, c->x.tick[t]);
        fprintf(out, "<path class=\"grid\" d=\"M%.1f %.1fV%d\"/><path class=\"axis\" d=\"M%.1f %dv5\"/>", x, c->top,
                BOTTOM, x, BOTTOM);
        fprintf(out, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" font-size=\"12\" text-anchor=\"middle\">%s</text>\n", x,
                BOTTOM + 19, c->x.text[t]);
    }
    fprintf(out, "<path class=\"axis\" fill=\"none\" d=\"M%d %.1fV%dH%d\"/>\n", LEFT, c->top, BOTTOM, RIGHT);
    fprintf(out, "<text x=\"%d\" y=\"%d\" font-size=\"13\" text-anchor=\"middle\">%s</text>\n", (LEFT + RIGHT) / 2,
            BOTTOM + 42, c->x_label);
    fprintf(out,
            "<text transform=\"translate(18 %.1f) rotate(-90)\" font-size=\"13\" text-anchor=\"middle\">%s</text>\n",
            (c->top + BOTTOM) / 2, c->y_label);
}

static void put_line(const weirp_chart *c, const weirp_series *s) {
    fprintf(c->out, "<path class=\"line %s\" d=\"", s->class);
    double last_x = -1e9, last_y = -1e9;
    bool drawing = false;
    for (size_t i = 0; i < s->n; i++) {
        const bool ends = i + 1 == s->n || isnan(s->points[i + 1].y);
        const double x = weirp_chart_x(c, s->points[i].x), y = px_y(c, s->points[i].y);
        if (!isnan(s->points[i].y) && !(drawing && !ends && hypot(x - last_x, y - last_y) < 0.6)) {
            fprintf(c->out, "%s%.1f %.1f", drawing ? "L" : "M", x, y);
            last_x = x, last_y = y;
            if (!drawing && ends && !s->filled) fputs("m-2 0h4", c->out); /* a point that stands alone */
        }
        drawing = !isnan(s->points[i].y);
    }
    fputs("\"/>\n", c->out);
}

/* Where the legend's entries go: rows of them, as many in a row as fit. Draws where `out` isn't NULL; gives the rows.
 */
static size_t put_legend(const weirp_chart *c, FILE *out) {
    size_t row = 0;
    double x = LEFT;
    for (size_t i = 0; i <= c->n_lines; i++) {
        const char *text = i < c->n_lines ? c->lines[i].legend : c->mark_legend;
        const double width = 34 + weirp_svg_text_px(text, LEGEND_PX) + 16;
        if (x > LEFT && x + width - 16 > RIGHT) row++, x = LEFT;
        const double y = LEGEND_TOP + (double)row * LEGEND_ROW;
        if (out && i < c->n_lines && c->lines[i].filled)
            fprintf(out, "<path class=\"line %s\" d=\"M%.1f %.1fh26v12h-26z\"/>", c->lines[i].class, x, y - 6);
        else if (out && i < c->n_lines)
            fprintf(out, "<path class=\"line %s\" d=\"M%.1f %.1fh26\"/>", c->lines[i].class, x, y);
        else if (out)
            fprintf(out, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/>", x + 13, y);
        if (out) {
            fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"12\">", x + 34, y + 4);
            weirp_svg_text(out, text);
            fputs("</text>\n", out);
        }
        x += width;
    }
    return row + 1;
}

static void put_name(FILE *out, const weirp_label *l, const char *name) {
    /* The real font may be narrower than the box: keep the side that faces the point where it is. */
    const bool right = l->box.x0 >= l->x, left = l->box.x1 <= l->x;
    const double x = right ? l->box.x0 : left ? l->box.x1 : (l->box.x0 + l->box.x1) / 2;
    fprintf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" font-size=\"11\" text-anchor=\"%s\">", x,
            l->box.y1 - 0.24 * l->height,
            right  ? "start"
            : left ? "end"
                   : "middle");
    weirp_svg_text(out, name);
    fputs("</text>\n", out);
}

/* Leaders, then names, whose halos may cover leaders, then the marks, which nothing may cover. */
static void put_marks(const weirp_chart *c) {
    FILE *out = c->out;
    for (size_t i = 0; i < c->n_marks; i++) {
        const weirp_label *l = &c->labels[i];
        if (l->shown && l->leader)
            fprintf(out, "<path class=\"leader\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", l->x, l->y, l->end_x, l->end_y);
    }
    for (size_t i = 0; i < c->n_marks; i++)
        if (c->labels[i].shown) put_name(out, &c->labels[i], c->short_names[i]);
    for (size_t i = c->n_marks; i-- > 0;) {
        fprintf(out, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>", c->labels[i].x, c->labels[i].y,
                c->n_marks > CROWD ? "3" : "4.5");
        weirp_svg_text(out, c->mark_names[i]);
        fprintf(out, ": %.4g, %.4g</title></circle>\n", c->marks[i].x, c->marks[i].y);
    }
}

static void put_bars(const weirp_chart *c) {
    for (size_t i = 0; i < c->n_bars; i++)
        fprintf(c->out, "<path class=\"bar\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", weirp_chart_x(c, c->bars[i].from.x),
                px_y(c, c->bars[i].from.y), weirp_chart_x(c, c->bars[i].to.x), px_y(c, c->bars[i].to.y));
}

/* ---- label placement ---- */

/* What labels had better not cover: every line, about every 4 pixels, and what else is there. Bands may be. */
static size_t line_spots(const weirp_chart *c, weirp_spot *spots) {
    size_t n = 0;
    for (size_t s = 0; s < c->n_lines; s++) {
        const weirp_series *line = &c->lines[s];
        if (line->filled) continue;
        for (size_t i = 1; i < line->n; i++) {
            if (isnan(line->points[i - 1].y) || isnan(line->points[i].y)) continue;
            const double x0 = weirp_chart_x(c, line->points[i - 1].x), y0 = px_y(c, line->points[i - 1].y);
            const double x1 = weirp_chart_x(c, line->points[i].x), y1 = px_y(c, line->points[i].y);
            const size_t steps = (size_t)(hypot(x1 - x0, y1 - y0) / 4) + 1;
            for (size_t k = 0; k < steps; k++, n++)
                if (spots)
                    spots[n] = (weirp_spot){x0 + (x1 - x0) * (double)k / (double)steps,
                                            y0 + (y1 - y0) * (double)k / (double)steps,
                                            line->weight * fmin(1, hypot(x1 - x0, y1 - y0) / 4)};
        }
    }
    for (size_t i = FEW; i < c->n_marks && c->n_marks > CROWD; i++, n++) /* marks without a name */
        if (spots) spots[n] = (weirp_spot){weirp_chart_x(c, c->marks[i].x), px_y(c, c->marks[i].y), 60};
    /* the note in the corner */
    for (double x = LEFT; c->note && x < LEFT + 12 + weirp_svg_text_px(c->note, LEGEND_PX); x += 6)
        for (double y = c->top; y < c->top + 24; y += 6, n++)
            if (spots) spots[n] = (weirp_spot){x, y, 20};
    return n;
}

static weir_status place_labels(weirp_chart *c, weir_error *err) {
    weir_status st = WEIR_OK;
    const size_t n_spots = line_spots(c, NULL);
    weirp_spot *spots = weirp_array(n_spots, sizeof *spots);
    c->labels = weirp_array(c->n_marks, sizeof *c->labels);
    if (!spots || !c->labels) WEIRP_TRY(weirp_nomem(err));
    line_spots(c, spots);
    weirp_short_names(c->mark_names, c->n_marks, LABEL_COLUMNS, c->short_names);
    for (size_t i = 0; i < c->n_marks; i++) {
        c->labels[i] = (weirp_label){.x = weirp_chart_x(c, c->marks[i].x),
                                     .y = px_y(c, c->marks[i].y),
                                     .width = weirp_svg_text_px(c->short_names[i], LABEL_PX),
                                     .height = LABEL_PX * 1.15,
                                     .rank = (int)i};
    }
    const weirp_box area = {LEFT + 2, c->top + 1, RIGHT + 12, BOTTOM - 2};
    const size_t named = c->n_marks > CROWD ? FEW : c->n_marks;
    WEIRP_TRY(weirp_labels_place(c->labels, named, area, spots, n_spots, err));
done:
    free(spots);
    return st;
}

weir_status weirp_chart_put(weirp_chart *c, weir_error *err) {
    FILE *out = c->out;
    c->top = LEGEND_TOP + (double)put_legend(c, NULL) * LEGEND_ROW + 4;
    const weir_status st = place_labels(c, err);
    if (st != WEIR_OK) return st;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n"
            "<title>",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    weirp_svg_text(out, c->title);
    fprintf(out, "</title>\n<style>%s</style>\n<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", weirp_svg_style,
            WIDTH, HEIGHT);
    fprintf(out, "<text x=\"%d\" y=\"24\" font-size=\"16\" font-weight=\"bold\">", LEFT);
    put_heading(out, c->title, 16, true);
    fprintf(out, "</text>\n<text class=\"soft\" x=\"%d\" y=\"43\" font-size=\"12\">", LEFT);
    put_heading(out, c->subtitle, 12, false);
    fputs("</text>\n", out);
    put_legend(c, out);
    put_axes(c);
    for (size_t s = c->n_lines; s-- > 0;) put_line(c, &c->lines[s]);
    if (c->note) {
        fprintf(out, "<text class=\"soft\" x=\"%d\" y=\"%.1f\" font-size=\"12\">", LEFT + 8, c->top + 16);
        weirp_svg_text(out, c->note);
        fputs("</text>\n", out);
    }
    put_bars(c);
    put_marks(c);
    fputs("</svg>\n", out);
    return fflush(out) != 0 || ferror(out) ? weirp_fail(err, WEIR_IO, 0, "the chart can't be written") : WEIR_OK;
}

void weirp_chart_free(weirp_chart *c) {
    for (size_t s = 0; s < c->n_lines; s++) free(c->lines[s].points);
    free(c->marks), free(c->mark_names), free(c->short_names), free(c->labels), free(c->bars);
}

weirp_series *weirp_chart_line(weirp_chart *c, const char *class, double weight, size_t n) {
    weirp_series *s = &c->lines[c->n_lines];
    *s = (weirp_series){.class = class, .weight = weight, .points = weirp_array(n, sizeof *s->points)};
    if (!s->points) return NULL;
    c->n_lines++;
    return s;
}

weir_status weirp_chart_marks(weirp_chart *c, size_t n, weir_error *err) {
    c->n_marks = n;
    c->marks = weirp_array(n, sizeof *c->marks);
    c->mark_names = weirp_array(n, sizeof *c->mark_names);
    c->short_names = weirp_array(n, sizeof *c->short_names);
    return c->marks && c->mark_names && c->short_names ? WEIR_OK : weirp_nomem(err);
}
