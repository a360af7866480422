/* core/options.c: defaults and checks of the options structs. */
#include "core/options.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

#define SIZE_SANE 4096 /* a struct that claims to be larger was not initialised */
#define WORKERS_MAX 1024

void larder_options_init(larder_options *options)
{
    *options = (larder_options){
        .size = sizeof *options,
        .durability = LARDER_DURABILITY_NORMAL,
        .memory_bytes = 64u << 20,
        .max_args_bytes = 1u << 20,
        .max_response_bytes = 16u << 20,
        .max_entry_bytes = 1u << 20,
        .queue_bytes = 16u << 20,
        .page_cache_bytes = 64u << 20,
        .max_in_flight = 100000,
        .workers = 4,
        .default_timeout_ms = 30000,
        .commit_interval_ms = 10,
        .metrics_interval_ms = 1000,
        .sweep_interval_ms = 60000,
        .lock_timeout_ms = 5000,
    };
}

void larder_handler_options_init(larder_handler_options *options)
{
    *options = (larder_handler_options){.size = sizeof *options, .version = 1, .ttl_ms = 300000};
}

void larder_send_options_init(larder_send_options *options)
{
    *options = (larder_send_options){.size = sizeof *options};
}

/* Copies what both sides know over the defaults in *out. */
static int overlay(void *out, size_t known, const void *given, const char *what, larder_error *error)
{
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > SIZE_SANE) {
        return larder__fail(error, LARDER_EINVAL, "%s.size is %zu: initialise it with %s_init()", what, size, what);
    }
    const unsigned char *bytes = given;
    for (size_t i = known; i < size; i++) {
        if (bytes[i] != 0) {
            return larder__fail(error, LARDER_EINVAL,
                                "%s has an option at byte %zu that this version of Larder (" LARDER_VERSION_STRING
                                ") does not know",
                                what, i);
        }
    }
    memcpy(out, given, size < known ? size : known);
    memcpy(out, &known, sizeof known);
    return LARDER_OK;
}

static int check_range(const char *name, uint64_t value, uint64_t low, uint64_t high, larder_error *error)
{
    if (value >= low && value <= high) {
        return LARDER_OK;
    }
    return larder__fail(error, LARDER_EINVAL, "%s is %llu, it must be %llu to %llu", name, (unsigned long long)value,
                        (unsigned long long)low, (unsigned long long)high);
}

static int check_switch(const char *name, int value, larder_error *error)
{
    if (value == 0 || value == 1) {
        return LARDER_OK;
    }
    return larder__fail(error, LARDER_EINVAL, "%s is %d, it must be 0 or 1", name, value);
}

int larder__options_read(larder_options *out, const larder_options *given, larder_error *error)
{
    larder_options_init(out);
    if (given != NULL && overlay(out, sizeof *out, given, "larder_options", error) != LARDER_OK) {
        return LARDER_EINVAL;
    }
    const struct {
        const char *name;
        uint64_t value;
        uint64_t low;
        uint64_t high;
    } ranges[] = {
        {"durability", (uint64_t)out->durability, 0, LARDER_DURABILITY_FULL},
        {"max_args_bytes", out->max_args_bytes, 1, INT32_MAX},
        {"max_response_bytes", out->max_response_bytes, 1, INT32_MAX},
        {"max_entry_bytes", out->max_entry_bytes, 0, INT32_MAX},
        {"queue_bytes", out->queue_bytes, 1, SIZE_MAX},
        {"max_in_flight", out->max_in_flight, 1, INT32_MAX},
        {"workers", out->workers, 1, WORKERS_MAX},
        {"default_timeout_ms", out->default_timeout_ms, 1, UINT32_MAX},
        {"metrics_interval_ms", out->metrics_interval_ms, 1, UINT32_MAX},
        {"sweep_interval_ms", out->sweep_interval_ms, 1, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, error) != LARDER_OK) {
            return LARDER_EINVAL;
        }
    }
    if (out->path != NULL && out->path[0] == '\0') {
        return larder__fail(error, LARDER_EINVAL, "path is empty: name a file, or leave it NULL for none");
    }
    if (out->clock != NULL && (out->clock->wall_ms == NULL || out->clock->mono_ns == NULL)) {
        return larder__fail(error, LARDER_EINVAL, "clock needs both its functions");
    }
    return LARDER_OK;
}

int larder__handler_options_read(larder_handler_options *out, const larder_handler_options *given, larder_error *error)
{
    larder_handler_options_init(out);
    if (given != NULL && overlay(out, sizeof *out, given, "larder_handler_options", error) != LARDER_OK) {
        return LARDER_EINVAL;
    }
    if (check_switch("cacheable", out->cacheable, error) != LARDER_OK
        || check_switch("blocking", out->blocking, error) != LARDER_OK
        || check_switch("scoped", out->scoped, error) != LARDER_OK) {
        return LARDER_EINVAL;
    }
    if (out->ttl_ms < 1) {
        return larder__fail(error, LARDER_EINVAL, "ttl_ms is %lld, it must be at least 1", (long long)out->ttl_ms);
    }
    if (out->description != NULL) {
        size_t len = strlen(out->description);
        size_t bad = larder__utf8_valid(out->description, len, 0);
        if (bad < len) {
            return larder__fail(error, LARDER_EINVAL, "description is not valid UTF-8 at byte %zu", bad);
        }
    }
    return LARDER_OK;
}

int larder__send_options_read(larder_send_options *out, const larder_send_options *given, larder_error *error)
{
    larder_send_options_init(out);
    if (given == NULL) {
        return LARDER_OK;
    }
    if (overlay(out, sizeof *out, given, "larder_send_options", error) != LARDER_OK) {
        return LARDER_EINVAL;
    }
    return check_range("cache", (uint64_t)out->cache, 0, LARDER_CACHE_BYPASS, error);
}
