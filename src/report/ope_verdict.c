/* ope_verdict.c: the verdict of an evaluation of a log as a sentence for whoever must decide.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "src/report/ope_report.h"

/* ---- text that grows ---- */

static void add(weirp_ope_headline *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What doesn't fit any more is left out: names and numbers of metrics at most do. */
static void add(weirp_ope_headline *h, const char *format, ...) {
    const size_t at = strlen(h->text);
    va_list rest;
    va_start(rest, format);
    vsnprintf(h->text + at, sizeof h->text - at, format, rest);
    va_end(rest);
}

/* What was asked for; NULL: no trade was. */
static const weirp_ope_trade *asked_trade(const weir_ope *ope, size_t policy, size_t other) {
    const weirp_ope_trade *t = weirp_ope_trade_of(ope, policy, other);
    return t && (t->saving_wanted > 0 || t->quality_margin > 0) ? t : NULL;
}

/* The contrasts that the verdict is about: the loss alone where it is known. */
static size_t contrasts_of(const weir_ope *ope, size_t policy, size_t other,
                           const weirp_contrast *out[WEIR_N_METRICS]) {
    size_t n = 0;
    if ((out[0] = weirp_ope_contrast_of(ope, policy, other, WEIR_METRIC_LOSS))) return 1;
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
        if ((out[n] = weirp_ope_contrast_of(ope, policy, other, m))) n++;
    return n;
}

static size_t count(const weirp_contrast *const *c, size_t n, weirp_verdict verdict) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += c[i]->verdict == verdict;
    return found;
}

/* Of which of the two, too: the candidate's own reason goes first. */
static const char *reason_of(const weir_ope *ope, const weirp_contrast *c, size_t *whose) {
    const char *own = weirp_ope_cell(ope, c->policy, c->metric)->standing.refusal;
    *whose = c->policy;
    if (*own) return own;
    if (c->other < ope->n_policies) {
        const char *theirs = weirp_ope_cell(ope, c->other, c->metric)->standing.refusal;
        if (*theirs) *whose = c->other;
        if (*theirs) return theirs;
    }
    return "there is no estimate of the difference";
}

/* "cost and latency" */
static void add_metrics(weirp_ope_headline *h, const weirp_contrast *const *c, size_t n, weirp_verdict verdict) {
    const size_t all = count(c, n, verdict);
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        if (c[i]->verdict != verdict) continue;
        add(h, "%s%s", done == 0 ? "" : done + 1 < all ? ", " : " and ", weirp_ope_metric_name(c[i]->metric));
        done++;
    }
}

/* ": quality +0.013 [...]; 31 % less cost [...]", with the other metrics behind where the loss spoke. */
static void add_differences(weirp_ope_headline *h, const weir_ope *ope, const weirp_contrast *const *c, size_t n) {
    char text[256];
    const char *before = "";
    for (size_t i = 0; i < n; i++) {
        if (c[i]->verdict == WEIRP_VERDICT_REFUSED) continue;
        weirp_ope_difference(text, sizeof text, ope, c[i]);
        add(h, "%s %s", before, text);
        before = ";";
    }
    for (weir_metric m = 0; n == 1 && c[0]->metric == WEIR_METRIC_LOSS && m < WEIR_METRIC_LOSS; m++) {
        const weirp_contrast *more = weirp_ope_contrast_of(ope, c[0]->policy, c[0]->other, m);
        if (!more || more->verdict == WEIRP_VERDICT_REFUSED) continue;
        weirp_ope_difference(text, sizeof text, ope, more);
        add(h, "; %s", text);
    }
    add(h, ".");
}

/* What it would take to settle what isn't: the most that any metric needs. */
static void add_more(weirp_ope_headline *h, const weir_ope *ope, const weirp_contrast *const *c, size_t n) {
    enum { FAR = 100 }; /* times the log: nobody waits for that */
    for (size_t i = 0; i < n; i++) {
        if (c[i]->verdict != WEIRP_VERDICT_MORE) continue;
        char rows[64];
        const char *name = weirp_ope_metric_name(c[i]->metric);
        weirp_ope_rows(rows, sizeof rows, c[i]->n_more);
        if (*rows && c[i]->n_more > FAR * (double)ope->n_rows)
            add(h, " The %s may well be the same: it would take about %s rows more to tell.", name, rows);
        else if (*rows)
            add(h, " About %s rows more would settle the %s, if the difference is what it looks like.", rows, name);
        else
            add(h, " The %s may well be the same: no number of rows is sure to settle it.", name);
    }
}

static void add_refusals(weirp_ope_headline *h, const weir_ope *ope, const weirp_contrast *const *c, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (c[i]->verdict != WEIRP_VERDICT_REFUSED) continue;
        size_t whose;
        const char *reason = reason_of(ope, c[i], &whose);
        add(h, " The %s can't be judged", weirp_ope_metric_name(c[i]->metric));
        if (whose != c[i]->policy) add(h, " of %s", weirp_ope_policy_name(ope, whose));
        add(h, ": %s.", reason);
    }
}

static double unsigned_zero(double x) {
    return fabs(x) < 5e-5 ? 0 : x;
}

static void say_same(weirp_ope_headline *h, const char *name, const char *than) {
    h->word = weirp_verdict_text(WEIRP_VERDICT_SAME);
    add(h,
        "%s is the same as %s on this log: both give every model the same chance on every row that both can be asked "
        "about, so "
        "there is nothing to choose between them.",
        name, than);
}

static void refuse_all(weirp_ope_headline *h, const weir_ope *ope, const weirp_contrast *c) {
    size_t whose;
    const char *reason = reason_of(ope, c, &whose);
    h->word = weirp_verdict_text(WEIRP_VERDICT_REFUSED);
    add(h, "Refused: this log can't judge %s", weirp_ope_policy_name(ope, whose));
    if (whose != c->policy) add(h, ", which %s is compared with", weirp_ope_policy_name(ope, c->policy));
    add(h, ": %s.", reason);
}

/* Both parts must be there: which aren't, and why. */
static void refuse_trade(weirp_ope_headline *h, const weir_ope *ope, const weirp_ope_trade *t, const char *name,
                         const char *than) {
    const weirp_contrast *c[] = {weirp_ope_contrast_of(ope, t->policy, t->other, WEIR_METRIC_COST),
                                 weirp_ope_contrast_of(ope, t->policy, t->other, WEIR_METRIC_QUALITY)};
    bool told = false;
    add(h, "Refused: this log can't judge the trade that was asked of %s, compared with %s.", name, than);
    for (size_t i = 0; i < 2; i++) {
        if (!c[i] || c[i]->verdict != WEIRP_VERDICT_REFUSED) continue;
        add_refusals(h, ope, &c[i], 1);
        told = true;
    }
    if (!told) add(h, " Nothing can be saved, compared with a cost of 0.");
}

/* A saving below 0 is a rise: nobody should have to turn its sign in their head. */
static void add_saving(weirp_ope_headline *h, const weirp_ope_trade *t) {
    const bool rise = 100 * t->saving <= -0.05; /* what isn't shown as 0.0 */
    const double sign = rise ? -1 : 1;
    add(h, rise ? " it costs %.1f %% more (" : " it saves %.1f %% of the cost (",
        100 * sign * (rise ? t->saving : fmax(t->saving, 0)));
    if (isfinite(t->saving_lo))
        add(h, "%s %.1f %%; ", rise ? "at most" : "at least", 100 * sign * t->saving_lo);
    else
        add(h, "%s: not known; ", rise ? "at most" : "at least");
    add(h, "wanted: %smore than %.1f %%)", rise ? "a saving of " : "", 100 * t->saving_wanted);
}

static void say_trade(weirp_ope_headline *h, const weir_ope *ope, const weirp_ope_trade *t) {
    const char *name = weirp_ope_policy_name(ope, t->policy), *than = weirp_ope_policy_name(ope, t->other);
    h->word = weirp_verdict_text(t->verdict);
    if (t->verdict == WEIRP_VERDICT_REFUSED) {
        refuse_trade(h, ope, t, name, than);
        return;
    }
    if (t->verdict == WEIRP_VERDICT_SAME) {
        say_same(h, name, than);
        return;
    }
    if (t->verdict == WEIRP_VERDICT_BETTER)
        add(h, "%s is better than %s:", name, than);
    else if (t->verdict == WEIRP_VERDICT_WORSE)
        add(h, "%s doesn't do what was asked of it, compared with %s:", name, than);
    else
        add(h, "Not enough evidence on %s, compared with %s:", name, than);
    add_saving(h, t);
    add(h, ", and quality changes by %+.4f (at worst %+.4f; allowed: above %.4f).", unsigned_zero(-t->quality_lost),
        unsigned_zero(-t->quality_lost_hi), unsigned_zero(-t->quality_margin));
}

static void say_mixed(weirp_ope_headline *h, const weir_ope *ope, const weirp_contrast *const *c, size_t n,
                      const char *name, const char *than) {
    h->word = "mixed";
    add(h, "%s is better than %s in ", name, than);
    add_metrics(h, c, n, WEIRP_VERDICT_BETTER);
    add(h, " and worse in ");
    add_metrics(h, c, n, WEIRP_VERDICT_WORSE);
    add(h, ":");
    add_differences(h, ope, c, n);
    add(h, " Say what a right answer is worth (--value), or how much quality may be lost (--margin-quality), and there "
           "is one verdict.");
}

/* Cheaper with a quality that isn't known isn't better yet; a latency that stays as it was may stay undecided. */
static bool is_open(const weir_ope *ope, const weirp_contrast *const *c, size_t n) {
    if (ope->quality_unknown) return true;
    for (size_t i = 0; i < n; i++)
        if ((c[i]->metric == WEIR_METRIC_QUALITY || c[i]->metric == WEIR_METRIC_COST) &&
            (c[i]->verdict == WEIRP_VERDICT_MORE || c[i]->verdict == WEIRP_VERDICT_REFUSED))
            return true;
    return false;
}

static void say_all(weirp_ope_headline *h, const weir_ope *ope, size_t policy, size_t other) {
    const char *name = weirp_ope_policy_name(ope, policy), *than = weirp_ope_policy_name(ope, other);
    const weirp_contrast *c[WEIR_N_METRICS];
    const size_t n = contrasts_of(ope, policy, other, c);
    const size_t better = count(c, n, WEIRP_VERDICT_BETTER), worse = count(c, n, WEIRP_VERDICT_WORSE);
    const size_t refused = count(c, n, WEIRP_VERDICT_REFUSED), more = count(c, n, WEIRP_VERDICT_MORE);
    const size_t same = count(c, n, WEIRP_VERDICT_SAME);
    if (!n) {
        h->word = weirp_verdict_text(WEIRP_VERDICT_REFUSED);
        add(h, "Refused: this log can't judge %s: nothing was compared.", name);
        return;
    }
    if (refused == n) {
        refuse_all(h, ope, c[0]);
        return;
    }
    if (same && same + refused == n) {
        say_same(h, name, than);
        add_refusals(h, ope, c, n);
        return;
    }
    if (better && worse) {
        say_mixed(h, ope, c, n, name, than);
    } else if (better || worse) {
        const char *found = weirp_verdict_text(better ? WEIRP_VERDICT_BETTER : WEIRP_VERDICT_WORSE);
        h->word = is_open(ope, c, n) ? weirp_verdict_text(WEIRP_VERDICT_MORE) : found;
        add(h, "%s is %s than %s", name, found, than);
        if (more || refused || ope->quality_unknown) {
            add(h, " in ");
            add_metrics(h, c, n, better ? WEIRP_VERDICT_BETTER : WEIRP_VERDICT_WORSE);
        }
        if (more) {
            add(h, ", with not enough evidence on ");
            add_metrics(h, c, n, WEIRP_VERDICT_MORE);
        }
        add(h, ":");
        add_differences(h, ope, c, n);
    } else {
        h->word = weirp_verdict_text(WEIRP_VERDICT_MORE);
        add(h, "Not enough evidence that %s is better or worse than %s:", name, than);
        add_differences(h, ope, c, n);
    }
    add_more(h, ope, c, n);
    add_refusals(h, ope, c, n);
    if (ope->quality_unknown) add(h, " No row of the log knows the quality.");
}

void weirp_ope_headline_make(weirp_ope_headline *h, const weir_ope *ope, size_t policy, size_t other) {
    h->word = "";
    h->text[0] = '\0';
    const weirp_ope_trade *trade = asked_trade(ope, policy, other);
    if (trade)
        say_trade(h, ope, trade);
    else
        say_all(h, ope, policy, other);
}

bool weirp_ope_comparison(const weir_ope *ope, size_t i, size_t *policy, size_t *other) {
    const size_t n = ope->n_policies;
    *policy = i < n ? 0 : i - n + 1;
    *other = i && i < n ? i : WEIRP_OPE_LOGGED;
    return *policy < n;
}

bool weirp_ope_is_curve_alone(const weir_ope *ope) {
    return ope->curve.policy && ope->n_policies == 1 && strcmp(ope->policy[0], "logged") == 0;
}

bool weir_ope_is_refused(const weir_ope *ope) {
    const char *refused = weirp_verdict_text(WEIRP_VERDICT_REFUSED);
    weirp_ope_headline h;
    size_t policy, other;
    for (size_t i = 0; weirp_ope_comparison(ope, i, &policy, &other); i++) {
        weirp_ope_headline_make(&h, ope, policy, other);
        if (strcmp(h.word, refused) == 0) return true;
    }
    return *ope->curve.refusal != '\0';
}

const char *weirp_ope_certain(const weir_ope *ope) {
    if (!ope->deterministic) return NULL;
    return "Every decision of this log was certain (propensity 1), so inverse propensity weighting is impossible: "
           "nothing in the log shows what another model would have done with the same request. What is left is replay "
           "(the rows on which the candidate takes the same model, as if they were like the others) and the direct "
           "method, which is as right as its reward model. Log with exploration instead: policy.explore_floor "
           "of 0.01 to 0.05 gives every eligible model a chance, and its propensity is logged with each decision.";
}
