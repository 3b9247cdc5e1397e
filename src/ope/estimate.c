/* estimate.c: the estimators' table.
 *
 * ips: Horvitz and Thompson, JASA 47, 1952. snips: Swaminathan and Joachims, NIPS 2015. dr: Dudik, Langford, Li, ICML
 * 2011, arXiv 1103.4601. sndr: Thomas and Brunskill, ICML 2016 (weighted doubly robust, of one step). mrdr: Farajtabar,
 * Chow, Ghavamzadeh, ICML 2018. The others' sources stand with their changes of weights, estimate.h.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BASE_IPS  .base = WEIRP_BASE_IPS
#define BASE_DR   .base = WEIRP_BASE_DR
#define OF(which) .change = WEIRP_CHANGE_##which
#define SPARE(text, base_, which, value)                                                                               \
    { .name = text "(" #value ")", .base = WEIRP_BASE_##base_, OF(which), .lambda = value, .spare = true }
#define SPARES(text, base_, which)                                                                                     \
    SPARE(text, base_, which, 1), SPARE(text, base_, which, 5), SPARE(text, base_, which, 10),                         \
        SPARE(text, base_, which, 100), SPARE(text, base_, which, 1000)
#define SPARE_SUBGAUSS(text, base_)                                                                                    \
    SPARE(text, base_, SUBGAUSS, 0.001), SPARE(text, base_, SUBGAUSS, 0.002), SPARE(text, base_, SUBGAUSS, 0.005),     \
        SPARE(text, base_, SUBGAUSS, 0.01), SPARE(text, base_, SUBGAUSS, 0.02), SPARE(text, base_, SUBGAUSS, 0.05)

const weirp_ope_estimator weirp_ope_estimators[] = {
    {.name = "replay", BASE_IPS, OF(MATCH), .normalised = true},
    {.name = "dm", .base = WEIRP_BASE_DM},
    {.name = "ips", BASE_IPS},
    {.name = "clipped-ips", BASE_IPS, OF(CLIP), .tuning = WEIRP_TUNED_SLOPE},
    {.name = "clipped-ips-mse", BASE_IPS, OF(CLIP), .tuning = WEIRP_TUNED_MSE},
    {.name = "snips", BASE_IPS, .normalised = true},
    {.name = "sgips", BASE_IPS, OF(SUBGAUSS), .tuning = WEIRP_TUNED_BOUND},
    {.name = "bips", BASE_IPS, OF(BALANCED)},
    {.name = "dr", BASE_DR},
    {.name = "clipped-dr", BASE_DR, OF(CLIP), .tuning = WEIRP_TUNED_SLOPE},
    {.name = "clipped-dr-mse", BASE_DR, OF(CLIP), .tuning = WEIRP_TUNED_MSE},
    {.name = "sndr", BASE_DR, .normalised = true},
    {.name = "switch-dr", BASE_DR, OF(SWITCH), .tuning = WEIRP_TUNED_SLOPE},
    {.name = "switch-dr-mse", BASE_DR, OF(SWITCH), .tuning = WEIRP_TUNED_MSE},
    {.name = "dr-os", BASE_DR, OF(SHRINK), .tuning = WEIRP_TUNED_SLOPE},
    {.name = "dr-os-mse", BASE_DR, OF(SHRINK), .tuning = WEIRP_TUNED_MSE},
    {.name = "sgdr", BASE_DR, OF(SUBGAUSS), .tuning = WEIRP_TUNED_BOUND},
    {.name = "bdr", BASE_DR, OF(BALANCED)},
    {.name = "mrdr", BASE_DR, .robust = true},
    SPARES("clipped-ips", IPS, CLIP),
    SPARE_SUBGAUSS("sgips", IPS),
    SPARES("clipped-dr", DR, CLIP),
    SPARES("switch-dr", DR, SWITCH),
    SPARES("dr-os", DR, SHRINK),
    SPARE_SUBGAUSS("sgdr", DR),
    {.name = NULL},
};

size_t weirp_ope_n_estimators(void) {
    return sizeof weirp_ope_estimators / sizeof *weirp_ope_estimators - 1;
}

/* Names that papers and other programs use. */
static const struct alias {
    const char *name, *ours;
} aliases[] = {
    {"rm", "replay"},        {"direct", "dm"},   {"ipw", "ips"},     {"cips", "clipped-ips"},
    {"cipw", "clipped-ips"}, {"snipw", "snips"}, {"sgipw", "sgips"}, {"wdr", "sndr"},
    {"switch", "switch-dr"}, {"dros", "dr-os"},  {"bipw", "bips"},   {"balanced-ips", "bips"},
    {"balanced-dr", "bdr"},
};

static size_t find_exact(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strlen(aliases[i].name) == length && !memcmp(aliases[i].name, name, length))
            return find_exact(aliases[i].ours, strlen(aliases[i].ours));
    for (size_t i = 0; i < weirp_ope_n_estimators(); i++)
        if (strlen(weirp_ope_estimators[i].name) == length && !memcmp(weirp_ope_estimators[i].name, name, length))
            return i;
    return (size_t)-1;
}

/* The entry that changes weights as the one at `like` does, with this lambda; without a change: where lambda has none
 * left to make. */
static size_t find_lambda(size_t like, double lambda) {
    const weirp_ope_estimator *of = &weirp_ope_estimators[like];
    const bool none = of->change == WEIRP_CHANGE_SUBGAUSS ? lambda == 0 : isinf(lambda) && lambda > 0;
    for (size_t i = 0; i < weirp_ope_n_estimators(); i++) {
        const weirp_ope_estimator *e = &weirp_ope_estimators[i];
        if (e->base != of->base || e->normalised || e->robust || e->tuning != WEIRP_TUNED_NOT) continue;
        if (none ? e->change == WEIRP_CHANGE_NONE : e->change == of->change && e->lambda == lambda) return i;
    }
    return (size_t)-1;
}

size_t weirp_ope_estimator_find(const char *name) {
    static const char by_slope[] = "-slope";
    const size_t none = (size_t)-1, length = strlen(name), tail = sizeof by_slope - 1;
    size_t at = find_exact(name, length);
    if (at != none) return at;
    if (length > tail && !strcmp(name + length - tail, by_slope)) {
        at = find_exact(name, length - tail);
        return at != none && weirp_ope_estimators[at].tuning == WEIRP_TUNED_SLOPE ? at : none;
    }
    const char *open = strchr(name, '(');
    if (!open) return none;
    at = find_exact(name, (size_t)(open - name));
    if (at == none || weirp_ope_estimators[at].tuning == WEIRP_TUNED_NOT) return none;
    char *end;
    const double lambda = strtod(open + 1, &end);
    return end > open + 1 && !strcmp(end, ")") ? find_lambda(at, lambda) : none;
}
