/* Makes the clock of a process wrong by CLOCK_WRONG seconds, loaded before the C library
 * (LD_PRELOAD). Clocks that only measure how long something takes stay right. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    const char *wrong = getenv("CLOCK_WRONG");
    long failed = syscall(SYS_clock_gettime, clock, time);

    if (!failed && clock == CLOCK_REALTIME && wrong)
        time->tv_sec += atol(wrong);
    return (int)failed;
}
