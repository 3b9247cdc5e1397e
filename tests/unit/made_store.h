/* made_store.h: tests that begin with an empty store, and say what a failure must say.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MADE_STORE_H
#define MADE_STORE_H

#include "tests/unit/store_helpers.h"

static weir_error err;

static int make_store(void **state) {
    if (make_folder(state)) return -1;
    err = (weir_error){0};
    weirp_store *store = NULL;
    if (weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) != WEIR_OK) return -1;
    weirp_store_close(store);
    return 0;
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, make_store, remove_folder)

#define FAILS(call, status_, said)                                                                                     \
    do {                                                                                                               \
        err = (weir_error){0};                                                                                         \
        assert_int_equal(call, status_);                                                                               \
        if (!strstr(err.text, said)) fail_msg("'%s' isn't in: %s", said, err.text);                                    \
        err = (weir_error){0};                                                                                         \
    } while (0)

#endif
