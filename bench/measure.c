/*
 * measure run <result file> <command>...   runs it; writes its peak memory
 * measure sync                             waits until all is on the disk
 * measure drop                             the same, then empties the caches (root)
 * measure warm <folder>                    the same, then reads all files below
 */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int read_all(const char *path, const struct stat *info, int type,
                    struct FTW *where) {
    static char buffer[1 << 20];
    (void)info, (void)where;
    int fd = type == FTW_F ? open(path, O_RDONLY) : -1;
    while (fd >= 0 && read(fd, buffer, sizeof buffer) > 0) continue;
    if (fd >= 0) close(fd);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    if (!strcmp(argv[1], "sync") || !strcmp(argv[1], "drop")) {
        sync();
        if (!strcmp(argv[1], "sync")) return 0;
        int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
        return fd < 0 || write(fd, "3", 1) != 1;
    }
    if (argc == 3 && !strcmp(argv[1], "warm")) {
        sync();
        return nftw(argv[2], read_all, 16, FTW_PHYS) != 0;
    }
    if (argc < 4) return 2;
    double from = now();
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[3], argv + 3);
        perror(argv[3]);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (child < 0 || wait4(child, &status, 0, &usage) < 0) return 1;
    double seconds = now() - from;
#ifdef __APPLE__
    usage.ru_maxrss /= 1024;
#endif
    FILE *file = fopen(argv[2], "w");
    if (!file) return 1;
    fprintf(file, "{\"wallSeconds\":%.6f,\"peakMiB\":%.1f}\n", seconds,
            usage.ru_maxrss / 1024.0);
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
