/*
 * Records what a program does to the files below one folder, in one order over
 * all its threads and over all processes that record to the same file, and
 * makes single calls fail.
 *
 *     cc -shared -fPIC -O1 -o recorder.so recorder.c -ldl
 *     LD_PRELOAD=recorder.so RECORD_TO=<file> RECORD_BELOW=<folder> <program>
 *
 * Each record is a header, a path, a second path and data; see recording.ts.
 * A call that fails is not recorded, but for a sync: what it was to cover may
 * never reach the disk.
 *
 * RECORD_FAIL=<kind>:<errno>:<n>:<then>:<text> makes the n-th call of a kind fail,
 * from 1 on, of those on paths that end in the text; kinds are the names of the
 * operations below. A sync fails once, as Linux does it: the next one succeeds.
 * `then` is "return", or "kill": the process dies before it learns of the failure.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum operation {
  CREATE = 1, WRITE, TRUNCATE, SYNC, SYNC_DIR, RENAME, UNLINK, MKDIR, RMDIR,
  LINK, SYNC_FAILED, OPEN
};
static const char *const names[] = {
  "", "create", "write", "truncate", "sync", "syncdir", "rename", "unlink",
  "mkdir", "rmdir", "link", "", "open"
};

struct header {
  uint32_t operation, path, second, size;
  uint64_t file, offset;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static char below[PATH_MAX];
static size_t below_length;
static int fail_kind, fail_errno, is_killed;
static long fail_left;
static char fail_path[256];

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int real_open(const char *path, int flags, mode_t mode) {
  static int (*real)(const char *, int, ...);
  if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
  return real(path, flags, mode);
}

static ssize_t real_write(int fd, const void *data, size_t size) {
  REAL(write);
  return real(fd, data, size);
}

__attribute__((constructor)) static void begin(void) {
  const char *to = getenv("RECORD_TO"), *folder = getenv("RECORD_BELOW");
  if (!to || !folder || !realpath(folder, below)) return;
  below_length = strlen(below);
  const char *fail = getenv("RECORD_FAIL");
  if (fail) {
    char kind[16], then[16];
    if (sscanf(fail, "%15[a-z]:%d:%ld:%15[a-z]:%255s", kind, &fail_errno,
               &fail_left, then, fail_path) >= 4)
      for (int i = 1; i <= OPEN; i++)
        if (!strcmp(kind, names[i])) fail_kind = i;
    is_killed = !strcmp(then, "kill");
  }
  out = real_open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

/* One order over all threads and processes. */
static void enter(void) {
  pthread_mutex_lock(&mutex);
  flock(out, LOCK_EX);
}

static void leave(void) {
  int error = errno;
  if (is_killed && fail_kind && fail_left == 0)
    for (kill(getpid(), SIGKILL);;) pause();
  flock(out, LOCK_UN);
  pthread_mutex_unlock(&mutex);
  errno = error;
}

/* An absolute path without links and dots, and whether it is to be recorded. */
static int is_below(const char *path) {
  return out >= 0 && !strncmp(path, below, below_length) &&
    path[below_length] == '/';
}

static int absolute(int at, const char *path, char *result) {
  if (out < 0) return 0;
  char joined[PATH_MAX];
  if (path[0] == '/') snprintf(joined, sizeof joined, "%s", path);
  else {
    char link[64], folder[PATH_MAX];
    ssize_t length;
    if (at == AT_FDCWD) {
      if (!getcwd(folder, sizeof folder)) return 0;
    } else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", at);
      length = readlink(link, folder, sizeof folder - 1);
      if (length < 0) return 0;
      folder[length] = 0;
    }
    if (snprintf(joined, sizeof joined, "%s/%s", folder, path) >= PATH_MAX)
      return 0;
  }
  char *slash = strrchr(joined, '/');
  char parent[PATH_MAX];
  *slash = 0;
  if (!realpath(joined[0] ? joined : "/", parent)) return 0;
  if (snprintf(result, PATH_MAX, "%s/%s", parent, slash + 1) >= PATH_MAX)
    return 0;
  return is_below(result);
}

static int path_of(int fd, char *result) {
  if (out < 0 || fd == out) return 0;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, result, PATH_MAX - 1);
  if (length < 0) return 0;
  result[length] = 0;
  return is_below(result) || !strcmp(result, below);
}

static void put(enum operation operation, const char *path, const char *second,
                uint64_t file, uint64_t offset, const struct iovec *data,
                int pieces) {
  struct header header = { operation, (uint32_t)strlen(path),
    second ? (uint32_t)strlen(second) : 0, 0, file, offset };
  for (int i = 0; i < pieces; i++) header.size += (uint32_t)data[i].iov_len;
  real_write(out, &header, sizeof header);
  real_write(out, path, header.path);
  if (second) real_write(out, second, header.second);
  for (int i = 0; i < pieces; i++)
    if (data[i].iov_len) real_write(out, data[i].iov_base, data[i].iov_len);
}

/* Whether this call is the one that has to fail. */
static int fails(enum operation operation, const char *path) {
  if (operation != (enum operation)fail_kind) return 0;
  if (strstr(path, "/journal-")) return 0; /* the test's own */
  size_t length = strlen(path), end = strlen(fail_path);
  if (length < end || strcmp(path + length - end, fail_path)) return 0;
  if (--fail_left != 0) return 0;
  errno = fail_errno;
  return 1;
}

static uint64_t inode_of(int fd) {
  struct stat info;
  return fstat(fd, &info) ? 0 : info.st_ino;
}

/* --- opening --------------------------------------------------------------- */

static int open_at(int at, const char *path, int flags, mode_t mode,
                   int (*call)(int, const char *, int, mode_t)) {
  char whole[PATH_MAX];
  int writes = (flags & O_ACCMODE) != O_RDONLY;
  if (!absolute(at, path, whole)) return call(at, path, flags, mode);
  enter();
  struct stat info;
  int is_new = (flags & O_CREAT) && lstat(whole, &info) && errno == ENOENT;
  int fd = -1;
  if (!(is_new && fails(CREATE, whole)) && !fails(OPEN, whole))
    fd = call(at, path, flags, mode);
  if (fd >= 0 && is_new) put(CREATE, whole, NULL, inode_of(fd), 0, NULL, 0);
  else if (fd >= 0 && writes && (flags & O_TRUNC))
    put(TRUNCATE, whole, NULL, inode_of(fd), 0, NULL, 0);
  leave();
  return fd;
}

static int call_openat(int at, const char *path, int flags, mode_t mode) {
  static int (*real)(int, const char *, int, ...);
  if (!real)
    real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
  return real(at, path, flags, mode);
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list list; \
    va_start(list, flags); \
    mode = (mode_t)va_arg(list, int); \
    va_end(list); \
  }

int open(const char *path, int flags, ...) {
  MODE(flags);
  return open_at(AT_FDCWD, path, flags, mode, call_openat);
}
int open64(const char *path, int flags, ...) {
  MODE(flags);
  return open_at(AT_FDCWD, path, flags, mode, call_openat);
}
int openat(int at, const char *path, int flags, ...) {
  MODE(flags);
  return open_at(at, path, flags, mode, call_openat);
}
int openat64(int at, const char *path, int flags, ...) {
  MODE(flags);
  return open_at(at, path, flags, mode, call_openat);
}

/* --- bytes ----------------------------------------------------------------- */

static ssize_t written(int fd, int64_t offset, const struct iovec *data,
                       int pieces, ssize_t (*call)(int, int64_t,
                       const struct iovec *, int)) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return call(fd, offset, data, pieces);
  enter();
  struct stat info;
  fstat(fd, &info);
  int64_t at = offset;
  if (at < 0) {
    at = fcntl(fd, F_GETFL) & O_APPEND ? info.st_size : lseek(fd, 0, SEEK_CUR);
  }
  ssize_t done = fails(WRITE, path) ? -1 : call(fd, offset, data, pieces);
  if (done > 0) {
    struct iovec part[pieces];
    size_t left = (size_t)done;
    int count = 0;
    for (; count < pieces && left; count++) {
      part[count] = data[count];
      if (part[count].iov_len > left) part[count].iov_len = left;
      left -= part[count].iov_len;
    }
    put(WRITE, path, NULL, info.st_ino, (uint64_t)at, part, count);
  }
  leave();
  return done;
}

static ssize_t call_write(int fd, int64_t o, const struct iovec *d, int n) {
  (void)o, (void)n;
  return real_write(fd, d[0].iov_base, d[0].iov_len);
}
static ssize_t call_writev(int fd, int64_t o, const struct iovec *d, int n) {
  REAL(writev);
  (void)o;
  return real(fd, d, n);
}
static ssize_t call_pwrite(int fd, int64_t o, const struct iovec *d, int n) {
  REAL(pwrite64);
  (void)n;
  return real(fd, d[0].iov_base, d[0].iov_len, o);
}
static ssize_t call_pwritev(int fd, int64_t o, const struct iovec *d, int n) {
  REAL(pwritev64);
  return real(fd, d, n, o);
}

ssize_t write(int fd, const void *data, size_t size) {
  struct iovec one = { (void *)data, size };
  return written(fd, -1, &one, 1, call_write);
}
ssize_t writev(int fd, const struct iovec *data, int pieces) {
  return written(fd, -1, data, pieces, call_writev);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  struct iovec one = { (void *)data, size };
  return written(fd, offset, &one, 1, call_pwrite);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  struct iovec one = { (void *)data, size };
  return written(fd, offset, &one, 1, call_pwrite);
}
ssize_t pwritev(int fd, const struct iovec *data, int pieces, off_t offset) {
  return written(fd, offset, data, pieces, call_pwritev);
}
ssize_t pwritev64(int fd, const struct iovec *data, int pieces, off64_t at) {
  return written(fd, at, data, pieces, call_pwritev);
}

/* These would copy bytes unseen: callers fall back to reading and writing. */
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size,
                        unsigned flags) {
  (void)from, (void)a, (void)to, (void)b, (void)size, (void)flags;
  errno = ENOSYS;
  return -1;
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) {
  (void)to, (void)from, (void)offset, (void)size;
  errno = ENOSYS;
  return -1;
}
ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
  (void)to, (void)from, (void)offset, (void)size;
  errno = ENOSYS;
  return -1;
}

static int truncated(int fd, int64_t size) {
  REAL(ftruncate64);
  char path[PATH_MAX];
  if (!path_of(fd, path)) return real(fd, size);
  enter();
  int result = fails(TRUNCATE, path) ? -1 : real(fd, size);
  if (!result)
    put(TRUNCATE, path, NULL, inode_of(fd), (uint64_t)size, NULL, 0);
  leave();
  return result;
}

int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size); }

/* --- syncs ----------------------------------------------------------------- */

static int synced(int fd, int (*call)(int)) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return call(fd);
  enter();
  struct stat info;
  fstat(fd, &info);
  int is_dir = S_ISDIR(info.st_mode);
  int result = fails(is_dir ? SYNC_DIR : SYNC, path) ? -1 : call(fd);
  enum operation operation =
    is_dir ? (result ? 0 : SYNC_DIR) : (result ? SYNC_FAILED : SYNC);
  if (operation) put(operation, path, NULL, info.st_ino, 0, NULL, 0);
  leave();
  return result;
}

/* The disk itself is not waited for: what counts is what was asked for. */
static int no_wait(int fd) { return fcntl(fd, F_GETFD) < 0 ? -1 : 0; }

int fsync(int fd) { return synced(fd, no_wait); }
int fdatasync(int fd) { return synced(fd, no_wait); }

/* --- names ----------------------------------------------------------------- */

static int renamed(int from_at, const char *from, int to_at, const char *to,
                   unsigned flags) {
  REAL(renameat2);
  char old[PATH_MAX], new[PATH_MAX];
  int is_seen = absolute(from_at, from, old) & absolute(to_at, to, new);
  if (!is_seen) return real(from_at, from, to_at, to, flags);
  enter();
  int result = fails(RENAME, new) ? -1 : real(from_at, from, to_at, to, flags);
  if (!result) put(RENAME, old, new, 0, 0, NULL, 0);
  leave();
  return result;
}

int rename(const char *from, const char *to) {
  return renamed(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int a, const char *from, int b, const char *to) {
  return renamed(a, from, b, to, 0);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
  return renamed(a, from, b, to, flags);
}

static int unlinked(int at, const char *path, int flags) {
  REAL(unlinkat);
  char whole[PATH_MAX];
  if (!absolute(at, path, whole)) return real(at, path, flags);
  enter();
  enum operation operation = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
  int result = fails(operation, whole) ? -1 : real(at, path, flags);
  if (!result) put(operation, whole, NULL, 0, 0, NULL, 0);
  leave();
  return result;
}

int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) {
  return unlinked(at, path, flags);
}
int remove(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinked(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char *path, mode_t mode) {
  REAL(mkdirat);
  char whole[PATH_MAX];
  if (!absolute(at, path, whole)) return real(at, path, mode);
  enter();
  int result = fails(MKDIR, whole) ? -1 : real(at, path, mode);
  if (!result) put(MKDIR, whole, NULL, 0, 0, NULL, 0);
  leave();
  return result;
}

int mkdir(const char *path, mode_t mode) {
  return mkdirat(AT_FDCWD, path, mode);
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
  REAL(linkat);
  char old[PATH_MAX], new[PATH_MAX];
  int is_seen = absolute(a, from, old) & absolute(b, to, new);
  if (!is_seen) return real(a, from, b, to, flags);
  enter();
  int result = fails(LINK, new) ? -1 : real(a, from, b, to, flags);
  if (!result) put(LINK, old, new, 0, 0, NULL, 0);
  leave();
  return result;
}

int link(const char *from, const char *to) {
  return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}
