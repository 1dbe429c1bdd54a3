/* A persistence plugin as somebody built it with the headers of ABI 1.0, and of 1.1. It keeps a count only. */
#include <kvnode/persist.h>

struct frozen {
    const struct kv_host *host;
    struct kv_position position;
};

static int32_t frozen_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    if (settings_len != 1 || settings[0].value[0] != 'x') {
        return KV_E_INVALID;
    }
    struct frozen *frozen = host->allocate(host->ctx, sizeof(*frozen));
    if (frozen == NULL) {
        return KV_E_NOMEM;
    }
    frozen->host = host;
    frozen->position.view = 0;
    frozen->position.index = 0;
    *ret_self = frozen;
    return KV_OK;
}

static int32_t frozen_open(void *self, struct kv_position *ret_position)
{
    *ret_position = ((struct frozen *)self)->position;
    return KV_OK;
}

static int32_t frozen_apply(void *self, const struct kv_record *records, uint32_t count,
                            struct kv_position position, uint32_t *results)
{
    for (uint32_t i = 0; i < count; i++) {
        if (records[i].key_len > 8) {
            results[i] = KV_RESULT_REFUSED;
        }
    }
    ((struct frozen *)self)->position = position;
    return KV_OK;
}

static void frozen_close(void *self)
{
    (void)self;
}

static void frozen_destroy(void *self)
{
    const struct kv_host *host = ((struct frozen *)self)->host;
    host->release(host->ctx, self);
}

static const struct kv_option frozen_options[] = {
    {"first", "x", "A letter.", KV_OPTION_STRING, 0},
};

static const struct kv_persist_ops frozen_ops = {
    .create = frozen_create,
    .open = frozen_open,
    .apply = frozen_apply,
    .close = frozen_close,
    .destroy = frozen_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = 1,
    .name = "frozen-persist",
    .version = "1.0",
    .summary = "Built with the headers of ABI 1.0.",
    .options = frozen_options,
    .ops = &frozen_ops,
};
