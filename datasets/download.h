/* download.h: one GET with patience. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_DOWNLOAD_H
#define WEIRP_DOWNLOAD_H

#include <curl/curl.h>

#include "src/base/base.h"

enum { WEIRP_FETCH_MAX_BYTES = 128 << 20 };

/* Asked now and then, also while waiting: true gives up with WEIR_CANCELED. */
typedef bool (*weirp_download_stop_fn)(void *user);

typedef struct weirp_download {
    CURL *curl;         /* kept from one request to the next, with its connection */
    size_t max_retries; /* of a request, after the first try */
    double first_wait_s, longest_wait_s;
    weirp_download_stop_fn stop;
    void *stop_user;
    /* results */
    weirp_writer body; /* NUL-terminated behind its size */
    size_t n_retries;  /* over all requests */
    /* the library's */
    uint64_t seed; /* of the jitter */
} weirp_download;

weir_status weirp_download_init(weirp_download *fetch, size_t max_retries, weir_error *err);
/* GETs `url`. Connection failures, broken bodies, 429, 500, 502, 503 and 504 are tried again, with waits that double
 * from first_wait_s, half of each by chance, or as long as Retry-After asks. Any other status but 200 is an error with
 * what the server says. */
weir_status weirp_download_get(weirp_download *fetch, const char *url, weir_error *err);
void weirp_download_free(weirp_download *fetch);

#endif
