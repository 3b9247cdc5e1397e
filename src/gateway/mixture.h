/* mixture.h: two policies' decisions on one request, of which one is drawn. SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef WEIRP_MIXTURE_H
#define WEIRP_MIXTURE_H

#include "weir/policy.h"

/* With the chance `share` the candidate's decision is taken, `u` being uniform on [0,1): `base` becomes what is
 * dispatched, with the chances (1 - share) base + share candidate. Risks stay the base's: what comes after the first
 * choice must not depend on who made it, or a model's outcome would. Gives whether the candidate's was taken. */
bool weirp_mixture_draw(weir_decision *base, const weir_decision *candidate, double share, double u);

#endif
