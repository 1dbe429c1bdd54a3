#include "logic/context.h"

#include "base/check.h"

#include <string.h>

void context_count(struct context *context, enum counter counter)
{
    context->counters[counter]++;
}

struct message context_message(const struct context *context, uint8_t type)
{
    struct message message;
    memset(&message, 0, sizeof(message));
    message.type = type;
    message.cluster = context->cluster;
    message.view = context->view;
    message.sender = context->config->node;
    return message;
}

struct bytes_view context_encode_view(struct context *context, const struct view *view)
{
    uint8_t *bytes = arena_alloc(&context->effects->arena, VIEW_BYTES_MAX);
    struct bytes_writer writer = bytes_writer_init(bytes, VIEW_BYTES_MAX);
    view_encode(view, &writer);
    KV_CHECK(!writer.failed);
    struct bytes_view encoded = {bytes, writer.len};
    return encoded;
}

static struct effect *context_add_send(struct context *context, uint64_t link, uint32_t slices_len,
                                       struct kv_slice **ret_slices)
{
    struct kv_slice *slices = arena_alloc(&context->effects->arena, slices_len * sizeof(*slices));
    struct effect *effect = effects_add(context->effects, EFFECT_SEND);
    effect->as.send.link = link;
    effect->as.send.slices = slices;
    effect->as.send.slices_len = slices_len;
    *ret_slices = slices;
    return effect;
}

void context_send(struct context *context, uint64_t link, const struct message *message)
{
    if (link == 0) {
        return;
    }
    size_t size = message_size(message);
    uint8_t *bytes = arena_alloc(&context->effects->arena, size);
    struct kv_slice *slices;
    context_add_send(context, link, 1, &slices);
    slices[0].bytes = bytes;
    slices[0].len = message_encode(message, bytes, size);
    KV_CHECK(slices[0].len == size);
}

void context_send_records(struct context *context, uint64_t link, struct message *message,
                          const struct kv_slice *records, uint32_t records_len)
{
    KV_CHECK(message->type == MESSAGE_SNAPSHOT);
    if (link == 0) {
        return;
    }
    message->body.snapshot.records.at = NULL;
    size_t head_max = MESSAGE_HEADER_BYTES + 128;
    uint8_t *head = arena_alloc(&context->effects->arena, head_max);
    struct kv_slice *slices;
    context_add_send(context, link, records_len + 1, &slices);
    slices[0].bytes = head;
    slices[0].len = message_encode(message, head, head_max);
    memcpy(slices + 1, records, records_len * sizeof(*records));
}

uint64_t context_open_link(struct context *context, const char *const *uris, uint32_t uris_len)
{
    KV_CHECK(uris_len >= 1 && uris_len <= URIS_MAX);
    uint64_t link = LINK_OPENED_BIT | context->next_link++;
    struct arena *arena = &context->effects->arena;
    const char **copies = arena_alloc(arena, uris_len * sizeof(*copies));
    for (uint32_t i = 0; i < uris_len; i++) {
        size_t len = strlen(uris[i]) + 1;
        char *copy = arena_alloc(arena, len);
        memcpy(copy, uris[i], len);
        copies[i] = copy;
    }
    struct effect *effect = effects_add(context->effects, EFFECT_OPEN_LINK);
    effect->as.open_link.link = link;
    effect->as.open_link.uris = copies;
    effect->as.open_link.uris_len = uris_len;
    return link;
}

void context_close_link(struct context *context, uint64_t link)
{
    if (link != 0) {
        effects_add(context->effects, EFFECT_CLOSE_LINK)->as.close_link.link = link;
    }
}

void context_reject_with(struct context *context, uint64_t link, uint64_t request, uint8_t reason,
                         uint32_t retry_after_ms, const char *text)
{
    struct message answer = context_message(context, MESSAGE_OPERATION_REJECTED);
    answer.body.operation_rejected.request = request;
    answer.body.operation_rejected.reason = reason;
    answer.body.operation_rejected.retry_after_ms = retry_after_ms;
    answer.body.operation_rejected.text.at = (const uint8_t *)text;
    answer.body.operation_rejected.text.len = strlen(text);
    context_count(context, COUNTER_requests_rejected);
    context_send(context, link, &answer);
}

void context_reject(struct context *context, uint64_t link, uint64_t request, uint8_t reason,
                    uint32_t retry_after_ms)
{
    context_reject_with(context, link, request, reason, retry_after_ms, "");
}

const char *context_quotable(struct context *context, const char *text, size_t len)
{
    char *copy = arena_alloc(&context->effects->arena, len + 1);
    for (size_t i = 0; i < len; i++) {
        copy[i] = text[i] == '"' ? '\'' : text[i];
        if (text[i] == '\\') {
            copy[i] = '/';
        }
    }
    copy[len] = '\0';
    return copy;
}

uint64_t context_earlier(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}
