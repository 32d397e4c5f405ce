/* Preloaded: at the N-th call that would change something under a folder, the process is killed or the disk is full.

   A write that is killed has written half of its bytes. A full disk stays full: from the N-th call on, whatever needs
   room fails with ENOSPC, and removing still works. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL = 0, FULL = 1 };
enum { PROCEED, DIE, FAIL };

static char folder[PATH_MAX];
static size_t folder_length;
static long strike_at;
static int mode;
static atomic_long calls;

void shim_arm(const char *path, long at, int how) {
  strncpy(folder, path, sizeof folder - 1);
  folder_length = strlen(folder);
  strike_at = at;
  mode = how;
  atomic_store(&calls, 0);
}

long shim_calls(void) { return atomic_load(&calls); }

static int strike(int inside, int needs_room) {
  if (!folder_length || !inside) return PROCEED;
  long n = atomic_fetch_add(&calls, 1) + 1;
  if (mode == KILL && n == strike_at) return DIE;
  if (mode == FULL && n >= strike_at && needs_room) {
    errno = ENOSPC;
    return FAIL;
  }
  return PROCEED;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static int inside_path(const char *path) { return !strncmp(path, folder, folder_length); }

static int inside_fd(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return inside_path(path);
}

static int inside_at(int fd, const char *path) {
  return *path == '/' || fd == AT_FDCWD ? inside_path(path) : inside_fd(fd);
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

/* A call without data: name(parameters), forwarded as name(arguments). */
#define SIMPLE(name, parameters, arguments, inside, needs_room) \
  int name parameters {                                         \
    int verdict = strike(inside, needs_room);                   \
    if (verdict == DIE) die();                                  \
    return verdict == FAIL ? -1 : REAL(name) arguments;         \
  }

SIMPLE(fsync, (int fd), (fd), inside_fd(fd), 1)
SIMPLE(fdatasync, (int fd), (fd), inside_fd(fd), 1)
SIMPLE(ftruncate, (int fd, off_t n), (fd, n), inside_fd(fd), 1)
SIMPLE(ftruncate64, (int fd, off64_t n), (fd, n), inside_fd(fd), 1)
SIMPLE(mkdir, (const char *p, mode_t m), (p, m), inside_path(p), 1)
SIMPLE(mkdirat, (int fd, const char *p, mode_t m), (fd, p, m), inside_at(fd, p), 1)
SIMPLE(rename, (const char *a, const char *b), (a, b), inside_path(b), 1)
SIMPLE(renameat, (int c, const char *a, int d, const char *b), (c, a, d, b), inside_at(d, b), 1)
SIMPLE(renameat2, (int c, const char *a, int d, const char *b, unsigned f), (c, a, d, b, f), inside_at(d, b), 1)
SIMPLE(unlink, (const char *p), (p), inside_path(p), 0)
SIMPLE(unlinkat, (int fd, const char *p, int f), (fd, p, f), inside_at(fd, p), 0)
SIMPLE(rmdir, (const char *p), (p), inside_path(p), 0)

/* A call that creates or empties a file. */
#define OPEN(name, parameters, arguments, inside)                             \
  int name parameters {                                                       \
    mode_t permissions = 0;                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                      \
      va_list rest;                                                           \
      va_start(rest, flags);                                                  \
      permissions = va_arg(rest, mode_t);                                     \
      va_end(rest);                                                           \
    }                                                                         \
    int verdict = flags & (O_CREAT | O_TRUNC) ? strike(inside, 1) : PROCEED;  \
    if (verdict == DIE) die();                                                \
    return verdict == FAIL ? -1 : REAL(name) arguments;                       \
  }

OPEN(open, (const char *p, int flags, ...), (p, flags, permissions), inside_path(p))
OPEN(open64, (const char *p, int flags, ...), (p, flags, permissions), inside_path(p))
OPEN(openat, (int fd, const char *p, int flags, ...), (fd, p, flags, permissions), inside_at(fd, p))
OPEN(openat64, (int fd, const char *p, int flags, ...), (fd, p, flags, permissions), inside_at(fd, p))

/* A write of `size` bytes at `data`: killed half-way. */
#define WRITE(name, parameters, arguments, data, size)                    \
  ssize_t name parameters {                                               \
    int verdict = strike(inside_fd(fd), 1);                               \
    if (verdict == DIE) {                                                 \
      (void)!REAL(write)(fd, data, (size) / 2);                           \
      die();                                                              \
    }                                                                     \
    return verdict == FAIL ? -1 : REAL(name) arguments;                   \
  }

WRITE(write, (int fd, const void *b, size_t n), (fd, b, n), b, n)
WRITE(pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), b, n)
WRITE(pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), b, n)
WRITE(writev, (int fd, const struct iovec *v, int k), (fd, v, k), v[0].iov_base, v[0].iov_len)
WRITE(pwritev, (int fd, const struct iovec *v, int k, off_t o), (fd, v, k, o), v[0].iov_base, v[0].iov_len)
WRITE(pwritev64, (int fd, const struct iovec *v, int k, off64_t o), (fd, v, k, o), v[0].iov_base, v[0].iov_len)
