/* metrics_process.c: the process under the names that Prometheus' own clients use. What the kernel doesn't tell is left
 * out. SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "src/gateway/observe/metrics_set.h"

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static void put_memory(weirp_writer *w) {
    unsigned long long size, resident;
    FILE *f = fopen("/proc/self/statm", "re");
    int n = f ? fscanf(f, "%llu %llu", &size, &resident) : 0;
    if (f) fclose(f);
    if (n != 2) return;
    double page = (double)sysconf(_SC_PAGESIZE);
    weirp_metrics_single(w, "process_virtual_memory_bytes", "gauge", "Virtual memory.", (double)size * page);
    weirp_metrics_single(w, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)resident * page);
}

static void put_descriptors(weirp_writer *w) {
    struct rlimit limit;
    DIR *folder = opendir("/proc/self/fd");
    size_t n = 0;
    if (folder) {
        while (readdir(folder)) n++;
        closedir(folder);
    }
    if (n > 3) /* ".", ".." and the folder itself */
        weirp_metrics_single(w, "process_open_fds", "gauge", "Open file descriptors.", (double)(n - 3));
    if (!getrlimit(RLIMIT_NOFILE, &limit))
        weirp_metrics_single(w, "process_max_fds", "gauge", "Most file descriptors that may be open.",
                             (double)limit.rlim_cur);
}

/* Boot time plus the start in clock ticks after it: proc(5), /proc/stat and /proc/pid/stat field 22. */
static void put_start(weirp_writer *w) {
    char line[1024];
    unsigned long long boot = 0, ticks = 0;
    FILE *f = fopen("/proc/stat", "re");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "btime %llu", &boot) != 1) continue;
    if (f) fclose(f);
    f = fopen("/proc/self/stat", "re");
    size_t n = f ? fread(line, 1, sizeof line - 1, f) : 0;
    if (f) fclose(f);
    line[n] = '\0';
    const char *field = strrchr(line, ')'); /* the second one: a name that may hold anything */
    for (int i = 2; field && i < 22; i++) field = strchr(field + 1, ' ');
    if (!boot || !field || sscanf(field, "%llu", &ticks) != 1) return;
    weirp_metrics_single(w, "process_start_time_seconds", "gauge", "When the process started (unix time).",
                         (double)boot + (double)ticks / (double)sysconf(_SC_CLK_TCK));
}

void weirp_metrics_process(weirp_writer *w) {
    struct rusage usage;
    if (!getrusage(RUSAGE_SELF, &usage))
        weirp_metrics_single(w, "process_cpu_seconds_total", "counter", "CPU time, user and system.",
                             seconds(usage.ru_utime) + seconds(usage.ru_stime));
    put_memory(w);
    put_descriptors(w);
    put_start(w);
}
