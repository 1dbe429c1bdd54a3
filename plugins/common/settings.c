#include "settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS_LOG_LEN 512

static void log_error(const struct kv_host *host, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void log_error(const struct kv_host *host, const char *format, ...)
{
    char text[SETTINGS_LOG_LEN];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    host->log(host->ctx, KV_LOG_ERROR, text);
}

static bool parse_number(const char *text, const struct settings_number *number)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < 0 || (uint64_t)value < number->min ||
        (uint64_t)value > number->max) {
        return false;
    }
    *number->value = (uint64_t)value;
    return true;
}

static int32_t set(const struct kv_host *host, const char *prefix,
                   const struct settings_number *numbers, uint32_t numbers_len, const char *name,
                   const char *text)
{
    for (uint32_t i = 0; i < numbers_len; i++) {
        if (strcmp(name, numbers[i].name) != 0) {
            continue;
        }
        if (parse_number(text, &numbers[i])) {
            return KV_OK;
        }
        log_error(host, "%s: %s = \"%s\": a number from %" PRIu64 " to %" PRIu64 " is needed",
                  prefix, name, text, numbers[i].min, numbers[i].max);
        return KV_E_INVALID;
    }
    log_error(host, "%s: unknown setting %s", prefix, name);
    return KV_E_INVALID;
}

int32_t settings_parse(const struct kv_host *host, const char *prefix,
                       const struct settings_number *numbers, uint32_t numbers_len,
                       const struct kv_option *options, uint32_t options_len,
                       const struct kv_setting *settings, uint32_t settings_len)
{
    int32_t status = KV_OK;
    for (uint32_t i = 0; i < options_len && status == KV_OK; i++) {
        status = set(host, prefix, numbers, numbers_len, options[i].name, options[i].default_value);
    }
    for (uint32_t i = 0; i < settings_len && status == KV_OK; i++) {
        status = set(host, prefix, numbers, numbers_len, settings[i].name, settings[i].value);
    }
    return status;
}
