/* memory_file.h: fuzz input as a file with a path. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TESTS_MEMORY_FILE_H
#define WEIR_TESTS_MEMORY_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Gives a descriptor to close; the path goes into `path`. */
static inline int memory_file(const uint8_t *data, size_t size, char path[32]) {
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size)) abort();
    snprintf(path, 32, "/dev/fd/%d", fd);
    return fd;
}

#endif
