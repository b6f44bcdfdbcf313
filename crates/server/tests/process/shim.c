/* Makes the storage fail, loaded before the C library (LD_PRELOAD).
 *
 * The file that FAULT_SWITCH names has lines like "sync -wal" or "write -wal": a sync of a file
 * whose name ends so fails with EIO, a write to it with ENOSPC; with "slow -wal" a write takes
 * its time. Without the file nothing fails.
 * FAULT_KILL_AT_STEP is the number of the step at which the process kills itself. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *what, int fd, int error)
{
    char link[32], path[4096], operation[16], ending[64];
    const char *name = getenv("FAULT_SWITCH");
    int saved = errno, found = 0;
    FILE *lines = name ? fopen(name, "re") : NULL;
    ssize_t length;

    if (!lines) {
        errno = saved;
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path);
    while (length > 0 && !found && fscanf(lines, "%15s %63s", operation, ending) == 2) {
        size_t end = strlen(ending);
        found = !strcmp(operation, what) && (size_t)length >= end &&
                !memcmp(path + length - end, ending, end);
    }
    fclose(lines);
    errno = found ? error : saved;
    return found;
}

#define WRAP(what, error, type, name, parameters, ...)            \
    type name parameters                                          \
    {                                                             \
        static type(*real) parameters;                            \
        if (!real)                                                \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);   \
        if (*what == 'w' && fails("slow", fd, 0))                 \
            usleep(300);                                          \
        return fails(what, fd, error) ? -1 : real(__VA_ARGS__);   \
    }

WRAP("sync", EIO, int, fsync, (int fd), fd)
WRAP("sync", EIO, int, fdatasync, (int fd), fd)
WRAP("write", ENOSPC, ssize_t, write, (int fd, const void *from, size_t size), fd, from, size)
WRAP("write", ENOSPC, ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), fd, from, size, at)
WRAP("write", ENOSPC, ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), fd, from, size, at)

/* A step is what changes the names of files. */
static void step(void)
{
    static int number;
    const char *last = getenv("FAULT_KILL_AT_STEP");

    if (last && ++number == atoi(last))
        raise(SIGKILL);
}

#define STEP(name, parameters, ...)                               \
    int name parameters                                           \
    {                                                             \
        static int(*real) parameters;                             \
        if (!real)                                                \
            real = (int(*) parameters)dlsym(RTLD_NEXT, #name);    \
        step();                                                   \
        return real(__VA_ARGS__);                                 \
    }

STEP(rename, (const char *from, const char *to), from, to)
STEP(unlink, (const char *path), path)
STEP(link, (const char *from, const char *to), from, to)
STEP(linkat, (int in, const char *from, int at, const char *to, int flags), in, from, at, to, flags)
