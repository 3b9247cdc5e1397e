/* stdout.c: a standard output whose reader may leave before the end, as head does.
 *
 * That is no failure of the work: a command that was asked for files writes them, and its exit status is what it would
 * have been. So what nobody reads any more is taken and dropped, and no command sees a failed write; all other failures
 * stay what they are. Only a pipe or a socket has a reader that can leave: terminals and files keep stdio's own stream,
 * descriptor and all. glibc's stdout is a variable that may be set. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli_internal.h"

static bool left, stops;

/* What fopencookie asks for: how much was written, 0 for a failure. */
static ssize_t write_all(void *cookie, const char *bytes, size_t n) {
    (void)cookie;
    for (size_t done = 0; done < n && !left;) {
        const ssize_t wrote = write(STDOUT_FILENO, bytes + done, n - done);
        if (wrote >= 0)
            done += (size_t)wrote;
        else if (errno == EPIPE || errno == ECONNRESET)
            left = true;
        else if (errno != EINTR)
            return 0;
    }
    if (!(left && stops)) return (ssize_t)n;
    errno = EPIPE;
    return 0;
}

void cli_stdout_begin(void) {
    struct stat s;
    if (fstat(STDOUT_FILENO, &s) != 0 || !(S_ISFIFO(s.st_mode) || S_ISSOCK(s.st_mode))) return;
    FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_all});
    if (f) stdout = f; /* else a reader that leaves is a failure again, and nothing worse */
}

void cli_stdout_is_the_work(void) {
    stops = true;
}

bool cli_reader_left(void) {
    return left;
}
