/* What the common kit has to know of persist-bdb. Its options after the path are sync, cache_bytes,
 * log_bytes and checkpoint_bytes. */
#include "kit.h"

#include "../store.h"

static bool may_load(const struct kit_store *store)
{
    return !((const struct store *)store->self)->written;
}

static const struct kv_setting bad_options[] = {
    {"path", ""},
    {"sync", "sometimes"},
    {"sync", ""},
    {"cache_bytes", "1048575"},
    {"cache_bytes", "-1"},
    {"cache_bytes", "12 MB"},
    {"log_bytes", "99999999999999999999999"},
    {"log_bytes", "131071"},
    {"log_bytes", "1073741825"},
    {"checkpoint_bytes", "65535"},
    {"checkpoint_bytes", ""},
    {"colour", "blue"},
};

const struct kit_plugin kit_plugin = {
    .small = {"always", "1048576", "131072", "262144"},
    .never = {"never", "1048576", "131072", "262144"},
    .bad_options = bad_options,
    .bad_options_len = sizeof(bad_options) / sizeof(bad_options[0]),
    .long_values = true,
    .gives_reasons = true,
    .may_load = may_load,
};
