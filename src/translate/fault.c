/* fault.c: what is wrong with a request, as the caller's struct. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>

#include "src/translate/parts.h"

weir_status weirp_fault_set(weirp_fault *fault, const char *param, const char *code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    snprintf(fault->param, sizeof fault->param, "%s", param ? param : "");
    snprintf(fault->code, sizeof fault->code, "%s", code ? code : "");
    return WEIR_PARSE;
}
