/* estimate.c: the estimators' table. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/estimate.h"
