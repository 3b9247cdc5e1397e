/* progress.c: a bar on stderr, and Ctrl-C as a wish to stop. SPDX-License-Identifier: GPL-3.0-or-later */
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1; /* SA_RESETHAND: a second one ends the process */
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

cli_progress_bar cli_progress_begin(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    struct sigaction old;
    if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(SIGINT, &action, NULL);
    interrupted = 0;
    return (cli_progress_bar){.draws = isatty(STDERR_FILENO), .started = now()};
}

static void print_time(double seconds) {
    unsigned long s = seconds > 0 && seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 0;
    if (s >= 3600)
        fprintf(stderr, " %luh%02lum left", s / 3600, s / 60 % 60);
    else if (s >= 60)
        fprintf(stderr, " %lum%02lus left", s / 60, s % 60);
    else
        fprintf(stderr, " %lus left", s);
}

int cli_progress(void *user, const char *stage, size_t done, size_t total) {
    enum { WIDTH = 30 };
    cli_progress_bar *bar = user;
    if (!bar->draws) return interrupted;
    double t = now();
    if (strncmp(bar->stage, stage, sizeof bar->stage - 1) != 0) {
        snprintf(bar->stage, sizeof bar->stage, "%s", stage);
        bar->started = t;
        bar->drawn = 0;
    }
    if (t - bar->drawn < 0.1 && done != total) return interrupted;
    bar->drawn = t;
    fprintf(stderr, "\r\033[K%s", bar->stage);
    if (total) {
        double share = (double)done / (double)total;
        int filled = (int)(share * WIDTH);
        if (filled > WIDTH) filled = WIDTH;
        fprintf(stderr, " [%.*s%*s] %3.0f%%", filled, "##############################", WIDTH - filled, "",
                100 * share);
        if (done && done < total && t - bar->started > 0.5) print_time((t - bar->started) * (1 - share) / share);
    } else {
        fprintf(stderr, " %zu", done);
    }
    fflush(stderr);
    return interrupted;
}

void cli_progress_end(cli_progress_bar *bar) {
    if (bar->draws && bar->stage[0]) fputs("\r\033[K", stderr);
    bar->stage[0] = '\0';
    struct sigaction old;
    if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler == on_interrupt) signal(SIGINT, SIG_DFL);
}
