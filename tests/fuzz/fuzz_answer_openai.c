/* Any bytes as an answer in OpenAI's protocol. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fuzz/answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_answers(WEIRP_PROTOCOL_OPENAI, data, size);
    return 0;
}
