/* weir.h: the whole public API. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include "weir/budget.h"
#include "weir/convert.h"
#include "weir/data.h"
#include "weir/error.h"
#include "weir/evaluate.h"
#include "weir/gateway.h"
#include "weir/ope.h"
#include "weir/policy.h"
#include "weir/pool.h"
#include "weir/router.h"
#include "weir/simulate.h"
#include "weir/store.h"
#include "weir/vendor.h"

#endif
