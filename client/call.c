/* The requests of <kvnode/client.h>: each fills a struct request_call. */
#include "client_state.h"

int32_t kv_client_insert(struct kv_client *client, const void *key, size_t key_len,
                         const void *value, size_t value_len, uint32_t deadline_ms,
                         kv_answer_fn on_answer, void *ctx)
{
    const struct request_call call = {
        .kind = REQUEST_INSERT,
        .key = key,
        .key_len = key_len,
        .value = value,
        .value_len = value_len,
        .deadline_ms = deadline_ms,
        .on_answer = on_answer,
        .ctx = ctx,
    };
    return request_create(client, &call);
}

int32_t kv_client_remove(struct kv_client *client, const void *key, size_t key_len,
                         uint32_t deadline_ms, kv_answer_fn on_answer, void *ctx)
{
    const struct request_call call = {
        .kind = REQUEST_REMOVE,
        .key = key,
        .key_len = key_len,
        .deadline_ms = deadline_ms,
        .on_answer = on_answer,
        .ctx = ctx,
    };
    return request_create(client, &call);
}

int32_t kv_client_get(struct kv_client *client, const char *node, const void *key, size_t key_len,
                      uint64_t min_index, uint32_t deadline_ms, kv_answer_fn on_answer, void *ctx)
{
    const struct request_call call = {
        .kind = REQUEST_GET,
        .node = node,
        .key = key,
        .key_len = key_len,
        .min_index = min_index,
        .deadline_ms = deadline_ms,
        .on_answer = on_answer,
        .ctx = ctx,
    };
    return request_create(client, &call);
}

int32_t kv_client_scan(struct kv_client *client, const char *node, const void *prefix,
                       size_t prefix_len, uint64_t cursor, uint32_t limit, uint32_t deadline_ms,
                       kv_answer_fn on_answer, void *ctx)
{
    const struct request_call call = {
        .kind = REQUEST_SCAN,
        .node = node,
        .key = prefix,
        .key_len = prefix_len,
        .cursor = cursor,
        .limit = limit,
        .deadline_ms = deadline_ms,
        .on_answer = on_answer,
        .ctx = ctx,
    };
    return request_create(client, &call);
}

int32_t kv_client_view(struct kv_client *client, uint32_t deadline_ms, kv_answer_fn on_answer,
                       void *ctx)
{
    const struct request_call call = {
        .kind = REQUEST_VIEW,
        .deadline_ms = deadline_ms,
        .on_answer = on_answer,
        .ctx = ctx,
    };
    return request_create(client, &call);
}

int32_t kv_client_status(struct kv_client *client, const char *node, uint32_t deadline_ms,
                         kv_answer_fn on_answer, void *ctx)
{
    const struct request_call call = {
        .kind = REQUEST_STATUS,
        .node = node,
        .deadline_ms = deadline_ms,
        .on_answer = on_answer,
        .ctx = ctx,
    };
    return request_create(client, &call);
}

static int32_t call_command(struct kv_client *client, enum request_kind kind, const char *node,
                            uint32_t deadline_ms, kv_answer_fn on_answer, void *ctx)
{
    const struct request_call call = {
        .kind = kind,
        .node = node != NULL ? node : "",
        .deadline_ms = deadline_ms,
        .on_answer = on_answer,
        .ctx = ctx,
    };
    return request_create(client, &call);
}

int32_t kv_client_leave(struct kv_client *client, const char *node, uint32_t deadline_ms,
                        kv_answer_fn on_answer, void *ctx)
{
    return call_command(client, REQUEST_LEAVE, node, deadline_ms, on_answer, ctx);
}

int32_t kv_client_handover(struct kv_client *client, const char *node, uint32_t deadline_ms,
                           kv_answer_fn on_answer, void *ctx)
{
    return call_command(client, REQUEST_HANDOVER, node, deadline_ms, on_answer, ctx);
}

int32_t kv_client_takeover(struct kv_client *client, const char *node, uint32_t deadline_ms,
                           kv_answer_fn on_answer, void *ctx)
{
    return call_command(client, REQUEST_TAKEOVER, node, deadline_ms, on_answer, ctx);
}
