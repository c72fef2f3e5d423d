/*
 * The raw limit: the system calls that a save or a load cannot do without, and
 * nothing else, on one or many threads. Payloads by generator.mjs's definition.
 *
 *   raw <mode> <threads> <count> <size> <dir> [<stored> [<in order>]]
 *
 *   safe     create, write, fsync, rename, directory sync
 *   synced   create, write, fsync, rename
 *   renamed  create, write, rename
 *   created  create, write
 *   append   one file per thread: write, fdatasync
 *   large    create, write, fdatasync
 *   fill     as created, untimed
 *   read     open, read, SHA-256 of a random one of <stored> files
 *   sha      SHA-256 of bytes in memory
 *
 * Prints one line of JSON.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POOL (1u << 20)
#define PATH 4096

static const char *mode, *dir;
static long count, size, stored;
static int in_order, dir_fd;
static char (*ids)[65];
static unsigned char *pool;
static atomic_long next_index;
static atomic_int next_thread;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint32_t mix(uint32_t n) {
    n = (n ^ (n >> 16)) * 0x85ebca6bu;
    n = (n ^ (n >> 13)) * 0xc2b2ae35u;
    return n ^ (n >> 16);
}

static void sha256(const void *bytes, size_t length, unsigned char *digest) {
    if (!EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL)) exit(1);
}

static void make_ids(long number) {
    ids = malloc(number * sizeof *ids);
    for (long i = 0; i < number; i++) {
        char text[24];
        unsigned char digest[32];
        sha256(text, snprintf(text, sizeof text, "%ld", i), digest);
        for (int k = 0; k < 32; k++) sprintf(ids[i] + 2 * k, "%02x", digest[k]);
    }
}

/* Long enough that any payload is one piece of it. */
static void make_pool(void) {
    pool = malloc(POOL + size);
    for (uint32_t k = 0; k < POOL / 4; k++) {
        uint32_t word = mix(k);
        memcpy(pool + 4 * k, &word, 4); /* little-endian machines only */
    }
    for (long at = 0; at < size; at += POOL)
        memcpy(pool + POOL + at, pool, size - at < POOL ? size - at : POOL);
}

static void write_all(int fd, const unsigned char *bytes, long length) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0) fail("write");
        bytes += written;
        length -= written;
    }
}

static void save(long i, unsigned char *payload, int log_fd) {
    char tmp[PATH], final[PATH];
    uint64_t mark = i;
    if (size < (1 << 20)) memcpy(payload, pool + i * 64 % POOL, size);
    if (size >= 8) memcpy(payload, &mark, 8);
    if (log_fd >= 0) {
        write_all(log_fd, payload, size);
        if (fdatasync(log_fd)) fail("fdatasync");
        return;
    }
    int renames = !strcmp(mode, "safe") || !strcmp(mode, "synced") ||
                  !strcmp(mode, "renamed");
    snprintf(tmp, PATH, "%s/tmp/%s", dir, ids[i]);
    snprintf(final, PATH, "%s/%s.bin", dir, ids[i]);
    int fd = open(renames ? tmp : final, O_CREAT | O_EXCL | O_WRONLY, 0666);
    if (fd < 0) fail("create");
    write_all(fd, payload, size);
    if (!strcmp(mode, "safe") || !strcmp(mode, "synced"))
        if (fsync(fd)) fail("fsync");
    if (!strcmp(mode, "large") && fdatasync(fd)) fail("fdatasync");
    close(fd);
    if (renames && rename(tmp, final)) fail("rename");
    if (!strcmp(mode, "safe") && fsync(dir_fd)) fail("fsync of the directory");
}

static void load(long n, unsigned char *payload) {
    char path[PATH];
    unsigned char digest[32];
    long i = (in_order ? (uint32_t)n : mix(n)) % stored;
    snprintf(path, PATH, "%s/%s.bin", dir, ids[i]);
    int fd = open(path, O_RDONLY);
    if (fd < 0) fail(path);
    long length = 0;
    for (ssize_t got; (got = read(fd, payload + length, size - length)) > 0;)
        length += got;
    close(fd);
    sha256(payload, length, digest);
}

static void *thread(void *unused) {
    unsigned char digest[32], *payload = malloc(size + 8);
    int log_fd = -1;
    memcpy(payload, pool, size);
    if (!strcmp(mode, "append")) {
        char path[PATH];
        snprintf(path, PATH, "%s/log-%d", dir, next_thread++);
        log_fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0666);
        if (log_fd < 0) fail("create");
    }
    for (long i; (i = next_index++) < count;) {
        if (!strcmp(mode, "read")) load(i, payload);
        else if (!strcmp(mode, "sha")) sha256(payload, size, digest);
        else save(i, payload, log_fd);
    }
    free(payload);
    return unused;
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "raw: see raw.c\n"), 2;
    mode = argv[1];
    int threads = atoi(argv[2]);
    count = atol(argv[3]);
    size = atol(argv[4]);
    dir = argv[5];
    stored = argc > 6 ? atol(argv[6]) : count;
    in_order = argc > 7 && atoi(argv[7]);
    char tmp[PATH];
    snprintf(tmp, PATH, "%s/tmp", dir);
    mkdir(dir, 0777);
    mkdir(tmp, 0777);
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    make_ids(stored > count ? stored : count);
    make_pool();

    pthread_t handles[256];
    if (threads < 1 || threads > 256) return 2;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int t = 0; t < threads; t++)
        if (pthread_create(&handles[t], NULL, thread, NULL)) fail("thread");
    for (int t = 0; t < threads; t++) pthread_join(handles[t], NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("{\"seconds\":%.9f,\"ops\":%ld}\n",
           to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9, count);
    return 0;
}
