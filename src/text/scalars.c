/* scalars.c: counts as numbers of about one unit. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "src/text/parts.h"

/* Means and deviations of the scalars over questions, exercises, code and chat of mixed length and language. They only
 * fix the scale that a featurizer without a corpus starts from. */
const float weirp_usual_mean[WEIRP_N_SCALARS] = {-0.1f, 0.0f,  -0.15f, 0.02f, 0.04f, 0.06f, 0.01f, 0.17f, 0.9f,  0.05f,
                                                 0.02f, 0.57f, 0.2f,   0.01f, 0.65f, 0.02f, 0.01f, -0.2f, -0.05f};
const float weirp_usual_sd[WEIRP_N_SCALARS] = {0.3f, 0.3f,  0.35f, 0.035f, 0.03f, 0.04f, 0.025f, 0.04f, 0.2f, 0.2f,
                                               0.1f, 0.08f, 0.2f,  0.015f, 0.2f,  0.04f, 0.025f, 0.3f,  0.35f};
/* log x = e log 2 + 2 atanh((m - 1) / (m + 1)) with x = m 2^e, m within sqrt(1/2) and sqrt(2). The C library's own
 * rounds its last bit differently where a fused multiply-add is at hand. */
double weirp_portable_log(double x) {
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752440) m *= 2, e--;
    double t = (m - 1) / (m + 1), square = t * t, sum = 0;
    for (int k = 23; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
    return e * 0.69314718055994530942 + 2 * t * sum;
}

static double share(double part, double whole) {
    return part / (whole < 1 ? 1 : whole);
}

void weirp_scalars(const weirp_counts *counts, double distinct, float scalars[WEIRP_N_SCALARS]) {
    const double *n = counts->whole, *tail = counts->tail;
    double chars = n[KIND_CHAR], visible = chars - n[KIND_SPACE];
    double letters = n[KIND_LATIN] + n[KIND_CJK] + n[KIND_OTHER];
    const double value[WEIRP_N_SCALARS] = {
        [WEIRP_SCALAR_log_chars] = (weirp_portable_log(1 + chars) - 6) / 4,
        [WEIRP_SCALAR_log_words] = (weirp_portable_log(1 + n[KIND_WORD]) - 4) / 4,
        [WEIRP_SCALAR_log_lines] = (weirp_portable_log(1 + n[KIND_NEWLINE]) - 2) / 4,
        [WEIRP_SCALAR_digit_share] = share(n[KIND_DIGIT], chars),
        [WEIRP_SCALAR_upper_share] = share(n[KIND_UPPER], chars),
        [WEIRP_SCALAR_punctuation_share] = share(n[KIND_PUNCTUATION], chars),
        [WEIRP_SCALAR_code_share] = share(n[KIND_CODE], chars),
        [WEIRP_SCALAR_space_share] = share(n[KIND_SPACE], chars),
        [WEIRP_SCALAR_latin_share] = share(n[KIND_LATIN], letters),
        [WEIRP_SCALAR_cjk_share] = share(n[KIND_CJK], letters),
        [WEIRP_SCALAR_other_script_share] = share(n[KIND_OTHER], letters),
        [WEIRP_SCALAR_mean_word_length] = weirp_portable_log(1 + share(visible, n[KIND_WORD])) / 3,
        [WEIRP_SCALAR_question_marks] = weirp_portable_log(1 + n[KIND_QUESTION]) / 3,
        [WEIRP_SCALAR_math_share] = share(n[KIND_MATH], chars),
        [WEIRP_SCALAR_distinct_share] = distinct,
        [WEIRP_SCALAR_tail_digit_share] = share(tail[KIND_DIGIT], tail[KIND_CHAR]),
        [WEIRP_SCALAR_tail_code_share] = share(tail[KIND_CODE], tail[KIND_CHAR]),
        [WEIRP_SCALAR_tail_log_lines] = (weirp_portable_log(1 + tail[KIND_NEWLINE]) - 2) / 4,
        [WEIRP_SCALAR_log_last_paragraph] = (weirp_portable_log(1 + counts->last_paragraph) - 5) / 4,
    };
    for (int i = 0; i < WEIRP_N_SCALARS; i++) scalars[i] = (float)value[i];
}
