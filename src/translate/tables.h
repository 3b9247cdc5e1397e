/* tables.h: who can read and write what. A new vendor protocol or client API is one file and one line in answer.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_TABLES_H
#define WEIRP_TRANSLATE_TABLES_H

#include "src/translate/parts.h"

extern const weirp_api_ops weirp_embeddings_ops;

extern const weirp_api_ops *const weirp_api_table[];           /* by weirp_api */
extern const weirp_protocol_ops *const weirp_protocol_table[]; /* by weirp_protocol */

#endif
