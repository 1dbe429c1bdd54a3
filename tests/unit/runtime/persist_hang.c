/* A persistence plugin for test_process.c whose apply() never comes back, or whose open() fails
 * with the code that the setting `open` gives. */
#include <kvnode/persist.h>

#include <stdlib.h>
#include <unistd.h>

struct hang {
    const struct kv_host *host;
    int32_t open_status;
};

static int32_t hang_create(const struct kv_host *host, const struct kv_setting *settings,
                           uint32_t settings_len, void **ret_self)
{
    struct hang *hang = host->allocate(host->ctx, sizeof(*hang));
    if (hang == NULL || settings_len != 1) {
        return KV_E_NOMEM;
    }
    hang->host = host;
    hang->open_status = (int32_t)strtol(settings[0].value, NULL, 10);
    if (hang->open_status > 0) {
        host->log(host->ctx, KV_LOG_ERROR,
                  hang->open_status == 1 ? "this setting is not for me" : "not \"2\" in c:\\here");
        host->release(host->ctx, hang);
        return KV_E_INVALID;
    }
    *ret_self = hang;
    return KV_OK;
}

static int32_t hang_open(void *self, struct kv_position *ret_position)
{
    struct hang *hang = self;
    if (hang->open_status != KV_OK) {
        hang->host->log(hang->host->ctx, KV_LOG_ERROR, "page 3 is damaged");
        return hang->open_status;
    }
    *ret_position = (struct kv_position){0, 0};
    return KV_OK;
}

static int32_t hang_apply(void *self, const struct kv_record *records, uint32_t count,
                          struct kv_position position, uint32_t *results)
{
    (void)self;
    (void)records;
    (void)count;
    (void)position;
    while (results != NULL) {
        pause();
    }
    return KV_E_UNKNOWN;
}

static void hang_close(void *self)
{
    (void)self;
}

static void hang_destroy(void *self)
{
    struct hang *hang = self;
    hang->host->release(hang->host->ctx, hang);
}

static const struct kv_option hang_options[] = {
    {"open", "0", "What open() returns; 1, 2: create() refuses.", KV_OPTION_INT, 0},
};

static const struct kv_persist_ops hang_ops = {
    .create = hang_create,
    .open = hang_open,
    .apply = hang_apply,
    .close = hang_close,
    .destroy = hang_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = 1,
    .name = "persist-hang",
    .version = "1",
    .summary = "Never comes back.",
    .options = hang_options,
    .ops = &hang_ops,
};
