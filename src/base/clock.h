/* base/clock.h: the two clocks, system or given. */
#ifndef LARDER_BASE_CLOCK_H
#define LARDER_BASE_CLOCK_H

#include <larder/larder.h>

extern const larder_clock larder__system_clock;

static inline int64_t larder__wall_ms(const larder_clock *clock)
{
    return clock->wall_ms(clock->user_data);
}

static inline uint64_t larder__mono_ns(const larder_clock *clock)
{
    return clock->mono_ns(clock->user_data);
}

#endif
