/* base/clock.c: the system's clocks. */
#include "base/clock.h"

#include <time.h>

static int64_t wall_ms(void *user_data)
{
    (void)user_data;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t mono_ns(void *user_data)
{
    (void)user_data;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const larder_clock larder__system_clock = {wall_ms, mono_ns, NULL};
