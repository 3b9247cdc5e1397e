/* Any bytes in any of the formats: what comes out is a right outcome file. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "tests/fuzz/memory_file.h"
#include "weir/weir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void refuse(void *user, const char *text) {
    (void)user;
    (void)text;
    abort();
}

/* Every line that a converter wrote must be read without complaint. */
static void read_back(const char *text, size_t size) {
    char path[32];
    int fd = memory_file((const uint8_t *)text, size, path);
    weir_reader *reader;
    weir_record record;
    weir_reader_options options = {.strict = true, .warning = refuse};
    if (weir_reader_open(&reader, path, &options, NULL)) abort();
    weir_status st;
    while ((st = weir_reader_next(reader, &record, NULL)) == WEIR_OK) continue;
    if (st != WEIR_END) abort();
    weir_reader_close(reader);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const formats[] = {"routerbench", "routellm", "mt-bench", "sprout", NULL};
    if (!size) return 0;
    char path[32], *text = NULL;
    size_t length = 0;
    int fd = memory_file(data + 1, size - 1, path);
    const char *inputs[] = {path};
    FILE *out = open_memstream(&text, &length);
    (void)!weir_convert(formats[data[0] % 5], inputs, 1, out, NULL, NULL, NULL);
    fclose(out);
    read_back(text, length);
    free(text);
    close(fd);
    return 0;
}
