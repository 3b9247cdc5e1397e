/* export.h: what is visible outside the library, and compiler hints.
 *
 * Everything declared under include/weir/ is API; anything else is unsupported.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_EXPORT_H
#define WEIR_EXPORT_H

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0
#define WEIR_VERSION       "0.1.0"

#if defined(__GNUC__)
#define WEIR_API               __attribute__((visibility("default")))
#define WEIR_MUST_CHECK        __attribute__((warn_unused_result))
#define WEIR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define WEIR_API
#define WEIR_MUST_CHECK
#define WEIR_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
#define WEIR_BEGIN_DECLS extern "C" {
#define WEIR_END_DECLS   }
#else
#define WEIR_BEGIN_DECLS
#define WEIR_END_DECLS
#endif

#endif
