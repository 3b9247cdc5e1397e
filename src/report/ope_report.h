/* ope_report.h: what the three reports of an evaluation of a log share: which numbers stand for a policy, and how they
 * are said.
 *
 * ope_words.c    finding and saying numbers
 * ope_verdict.c  the verdict as a sentence
 * ope_caution.c  what speaks against believing it
 * ope_json.c, ope_print.c, ope_tables.c, ope_svg.c, ope_curve.c  the reports
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_REPORT_H
#define WEIRP_OPE_REPORT_H

#include "src/base/when.h"
#include "src/ope/result.h"
#include "src/report/show.h"

#define WEIRP_OPE_LOGGED ((size_t)-1) /* as a policy's index: what ran */

/* ---- finding ---- */

const weirp_cell_result *weirp_ope_cell(const weir_ope *ope, size_t policy, weir_metric metric);
/* Some policy has been asked for this metric. */
bool weirp_ope_asked(const weir_ope *ope, weir_metric metric);
/* The estimate that verdicts go by; NULL: there is none. */
const weirp_ope_estimate *weirp_ope_shown(const weir_ope *ope, const weirp_cell_result *cell);
/* Its interval of the kind that verdicts go by, wider by as much as mass that the log doesn't support may move it, as
 * differences' are; NANs without an estimate. */
weirp_interval weirp_ope_shown_interval(const weir_ope *ope, size_t policy, weir_metric metric);
/* `policy` against `other`, NULL: they weren't compared. */
const weirp_contrast *weirp_ope_contrast_of(const weir_ope *ope, size_t policy, size_t other, weir_metric metric);
const weirp_ope_trade *weirp_ope_trade_of(const weir_ope *ope, size_t policy, size_t other); /* NULL: as above */
const char *weirp_ope_policy_name(const weir_ope *ope, size_t policy); /* "what ran" for the logged one */
const char *weirp_ope_metric_name(weir_metric metric);
bool weirp_ope_less_is_better(weir_metric metric);
bool weirp_ope_time_known(int64_t ms);
void weirp_ope_time_text(char out[WEIRP_WHEN_TEXT], int64_t ms); /* as weirp_when_text; 0 is a time like any other */

/* ---- saying ---- */

/* How a metric's numbers are shown: costs by 1,000 rows, with as many digits as its size needs. */
typedef struct weirp_ope_scale {
    const char *unit; /* "USD/1k", "ms", "" */
    double factor;
    int decimals;
} weirp_ope_scale;

weirp_ope_scale weirp_ope_scale_of(const weir_ope *ope, weir_metric metric);
/* "0.8123", "+0.0130" when signed, "-" for NAN. */
void weirp_ope_number(char *out, size_t size, const weirp_ope_scale *scale, double x, bool with_sign);
/* "[0.8031, 0.8214]"; "" for NANs. */
void weirp_ope_between(char *out, size_t size, const weirp_ope_scale *scale, weirp_interval interval, bool with_sign);
/* 12345.6 as "12,400": three digits, upwards. "" for what isn't a number of rows. */
void weirp_ope_rows(char *out, size_t size, double n);
/* "quality +0.0130 [+0.0040, +0.0220]", "31 % less cost [27 %, 35 %]". */
void weirp_ope_difference(char *out, size_t size, const weir_ope *ope, const weirp_contrast *contrast);

/* ---- the verdict ---- */

enum { WEIRP_OPE_SENTENCE = 2048 };

typedef struct weirp_ope_headline {
    const char *word; /* weirp_verdict_text's, or "mixed": better in one metric, worse in another; static. A
                         "refused" here is a refusal of the whole */
    char text[WEIRP_OPE_SENTENCE];
} weirp_ope_headline;

/* The comparisons, from 0: the first policy with what ran (WEIRP_OPE_LOGGED) and with each other policy, then these
 * with what ran. False: there are no more. */
bool weirp_ope_comparison(const weir_ope *ope, size_t i, size_t *policy, size_t *other);
/* One of them in words: by the trade, where that was asked for, else by the loss, where an answer's value is known,
 * else by all metrics together. */
void weirp_ope_headline_make(weirp_ope_headline *headline, const weir_ope *ope, size_t policy, size_t other);
/* Nobody is compared with what ran: a curve was asked for, and no candidate named. */
bool weirp_ope_is_curve_alone(const weir_ope *ope);
/* Why IPS is impossible and what to log instead; NULL: it isn't. Static. */
const char *weirp_ope_certain(const weir_ope *ope);

/* Why verdicts that were told may be less sure than their level says, from i = 0: a sentence or a few. False: there is
 * no more. */
bool weirp_ope_caution(const weir_ope *ope, size_t i, char text[WEIRP_OPE_SENTENCE]);

/* ---- the terminal's tables, and the picture of a curve ---- */

/* Text with its lines broken at spaces, the later ones indented; the first begins at `column`. */
void weirp_ope_paragraph(const char *text, FILE *out, size_t width, size_t column, size_t indent);
weir_status weirp_ope_put_estimators(const weir_ope *ope, FILE *out, size_t width, bool color, weir_error *err);
weir_status weirp_ope_put_tails(const weir_ope *ope, FILE *out, size_t width, bool color, weir_error *err);
weir_status weirp_ope_put_curve(const weir_ope *ope, FILE *out, size_t width, bool color, weir_error *err);

/* A whole SVG of the curve. */
weir_status weirp_ope_curve_svg(const weir_ope *ope, FILE *out, weir_error *err);

#endif
