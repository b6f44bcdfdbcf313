/* Makes a file operation fail as the device would: loaded before the C library (LD_PRELOAD).
 *
 * The test and this process share 64 bytes, the file that FAULT_CONTROL names. They say which
 * operation fails on files with which ending, with which errno, after how many that pass, and how
 * often; `hits` counts back how often it did. With the errno 0 the process is killed instead. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { NOTHING, SYNC, WRITE, TRUNCATE, READ, RENAME, LINK, UNLINK };

static struct control {
    int operation;
    int error;
    int passing; /* that many go well first */
    int failing; /* then that many fail */
    int hits;
    char ending[44];
} *control;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        abort();
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED)
        abort();
    close(fd);
}

static int ends(const char *path, size_t length)
{
    size_t ending = strnlen(control->ending, sizeof control->ending);
    return length >= ending && !memcmp(path + length - ending, control->ending, ending);
}

/* Whether this call is to fail; errno is set then. */
static int strike(void)
{
    if (__atomic_fetch_sub(&control->passing, 1, __ATOMIC_SEQ_CST) > 0)
        return 0;
    if (__atomic_fetch_sub(&control->failing, 1, __ATOMIC_SEQ_CST) <= 0)
        return 0;
    __atomic_fetch_add(&control->hits, 1, __ATOMIC_SEQ_CST);
    if (!control->error)
        kill(getpid(), SIGKILL);
    errno = control->error;
    return 1;
}

static int fails(int operation, int fd)
{
    char link[32], path[4096];
    ssize_t length;
    if (!control || control->operation != operation)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path);
    /* Pipes have no path. */
    return length > 0 && path[0] == '/' && ends(path, (size_t)length) && strike();
}

#define WRAP(operation, type, name, parameters, ...)              \
    type name parameters                                          \
    {                                                             \
        static type(*real) parameters;                            \
        if (!real)                                                \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);   \
        return fails(operation, fd) ? -1 : real(__VA_ARGS__);     \
    }

WRAP(SYNC, int, fsync, (int fd), fd)
WRAP(SYNC, int, fdatasync, (int fd), fd)
WRAP(WRITE, ssize_t, write, (int fd, const void *data, size_t size), fd, data, size)
WRAP(WRITE, ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), fd, data, size, at)
WRAP(WRITE, ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), fd, data, size, at)
WRAP(WRITE, ssize_t, copy_file_range,
     (int in, off64_t *from, int fd, off64_t *to, size_t size, unsigned int flags), in, from, fd, to,
     size, flags)
WRAP(TRUNCATE, int, ftruncate, (int fd, off_t size), fd, size)
WRAP(TRUNCATE, int, ftruncate64, (int fd, off64_t size), fd, size)
WRAP(READ, ssize_t, read, (int fd, void *data, size_t size), fd, data, size)
WRAP(READ, ssize_t, pread, (int fd, void *data, size_t size, off_t at), fd, data, size, at)
WRAP(READ, ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), fd, data, size, at)

static int fails_by_name(int operation, const char *path)
{
    return control && control->operation == operation && ends(path, strlen(path)) && strike();
}

#define WRAP_NAME(operation, name, parameters, ...)                   \
    int name parameters                                               \
    {                                                                 \
        static int(*real) parameters;                                 \
        if (!real)                                                    \
            real = (int(*) parameters)dlsym(RTLD_NEXT, #name);        \
        return fails_by_name(operation, path) ? -1 : real(__VA_ARGS__); \
    }

WRAP_NAME(RENAME, rename, (const char *path, const char *to), path, to)
WRAP_NAME(LINK, link, (const char *path, const char *to), path, to)
WRAP_NAME(LINK, linkat, (int from, const char *path, int in, const char *to, int flags), from, path,
          in, to, flags)
WRAP_NAME(UNLINK, unlink, (const char *path), path)
