/*
 * The settings of a plugin that are numbers, with their bounds. Pure but for one line of log; any
 * thread.
 */
#ifndef PLUGINS_COMMON_SETTINGS_H
#define PLUGINS_COMMON_SETTINGS_H

#include <stdint.h>

#include <kvnode/transport.h>

struct settings_number {
    const char *name;
    uint64_t *value;
    uint64_t min;
    uint64_t max;
};

/*
 * Sets the numbers: first what the options of the descriptor give as default, then the settings.
 * KV_E_INVALID: not a number within its bounds, or a setting that is none of the numbers; logged in
 * one line that begins with prefix ("tcp").
 */
int32_t settings_parse(const struct kv_host *host, const char *prefix,
                       const struct settings_number *numbers, uint32_t numbers_len,
                       const struct kv_option *options, uint32_t options_len,
                       const struct kv_setting *settings, uint32_t settings_len);

#endif
