#include "fake.h"

#include "base/alloc.h"
#include "logic/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FAKE_CLUSTER 77u

uint64_t fake_now_ms(void)
{
    return uv_hrtime() / 1000000u;
}

static void fake_text(char *to, size_t size, const void *bytes, size_t len)
{
    size_t taken = len < size - 1u ? len : size - 1u;
    if (taken > 0) {
        memcpy(to, bytes, taken);
    }
    to[taken] = '\0';
}

/* ---- links ---- */

static void fake_forget_link(struct fake_node *node, const struct guard_link *link)
{
    struct fake *fake = node->fake;
    for (uint32_t i = 0; i < node->links_len; i++) {
        if (node->links[i] == link) {
            node->links[i] = node->links[--node->links_len];
            break;
        }
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fake->lates_len; i++) {
        if (fake->lates[i].link == link) {
            alloc_free(fake->lates[i].bytes);
        } else {
            fake->lates[kept++] = fake->lates[i];
        }
    }
    fake->lates_len = kept;
}

static bool fake_on_accept(void *ctx, struct guard_link *link, const char *remote_uri)
{
    struct fake_node *node = ctx;
    (void)remote_uri;
    if (node->links_len == FAKE_LINKS_MAX) {
        return false;
    }
    node->links[node->links_len++] = link;
    return true;
}

static void fake_on_up(void *ctx, struct guard_link *link)
{
    (void)ctx;
    (void)link;
}

static void fake_on_down(void *ctx, struct guard_link *link, int32_t reason)
{
    (void)reason;
    fake_forget_link(ctx, link);
}

static void fake_on_stopped(void *ctx)
{
    struct fake_node *node = ctx;
    node->is_stopped = true;
}

uint64_t fake_request_id(const struct message *message)
{
    switch (message->type) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
    case MESSAGE_GET:
        return message->body.operation.request;
    case MESSAGE_SCAN:
        return message->body.scan.request;
    case MESSAGE_LEAVE:
        return message->body.leave.request;
    case MESSAGE_PROMOTE:
        return message->body.promote.request;
    default:
        return message->body.request.request;
    }
}

/* What tests look at of the last message. */
static void fake_note(struct fake_node *node, const struct message *message)
{
    if (message->type == MESSAGE_GET) {
        node->last_min_index = message->body.operation.min_index;
        node->last_at_primary = message->body.operation.at_primary;
    } else if (message->type == MESSAGE_SCAN) {
        node->last_min_index = message->body.scan.min_index;
        node->last_at_primary = message->body.scan.at_primary;
    } else if (message->type == MESSAGE_PROMOTE) {
        node->last_force = message->body.promote.force;
    } else if (message->type == MESSAGE_LEAVE) {
        assert_true(message->body.leave.incarnation == 0);
    }
}

static void fake_on_message(void *ctx, struct guard_link *link, const void *bytes, uint32_t len)
{
    struct fake_node *node = ctx;
    struct message message;
    assert_int_equal(message_decode(bytes, len, &message), KV_OK);
    assert_true(message.sender != 0);
    node->received++;
    node->locates += message.type == MESSAGE_LOCATE;
    if (message.type == MESSAGE_INSERT || message.type == MESSAGE_REMOVE) {
        node->updates++;
        node->last_deadline_ms = message.body.operation.deadline_ms;
    }
    node->last_request = fake_request_id(&message);
    fake_note(node, &message);
    if (node->is_deaf) {
        return;
    }
    if (node->fake->hook == NULL || !node->fake->hook(node->fake->hook_ctx, node, link, &message)) {
        fake_serve(node, link, &message, 0);
    }
    if (node->guard != NULL) {
        guard_transport_flush(node->guard);
    }
}

static void fake_on_writable(void *ctx, struct guard_link *link)
{
    (void)ctx;
    (void)link;
}

/* ---- sending ---- */

void fake_send_bytes(struct fake_node *node, struct guard_link *link, const void *bytes, size_t len,
                     uint32_t delay_ms)
{
    if (delay_ms == 0) {
        const struct kv_slice slice = {bytes, len};
        guard_transport_send(node->guard, link, &slice, 1);
        return;
    }
    struct fake *fake = node->fake;
    if (fake->lates_len == fake->lates_capacity) {
        fake->lates_capacity = fake->lates_capacity * 2u + 64u;
        fake->lates = alloc_resize(fake->lates, fake->lates_capacity * sizeof(*fake->lates));
    }
    struct fake_late *late = &fake->lates[fake->lates_len++];
    late->node = node;
    late->link = link;
    late->due_ms = fake_now_ms() + delay_ms;
    late->len = len;
    late->bytes = alloc_bytes(len);
    memcpy(late->bytes, bytes, len);
}

void fake_send(struct fake_node *node, struct guard_link *link, const struct message *message,
               uint32_t delay_ms)
{
    size_t len = message_size(message);
    uint8_t *bytes = alloc_bytes(len);
    assert_int_equal(message_encode(message, bytes, len), len);
    fake_send_bytes(node, link, bytes, len, delay_ms);
    alloc_free(bytes);
}

void fake_reject(struct fake_node *node, struct guard_link *link, const struct message *message,
                 uint8_t reason, uint32_t retry_after_ms)
{
    struct message answer = {.type = MESSAGE_OPERATION_REJECTED, .cluster = FAKE_CLUSTER};
    answer.body.operation_rejected.request = fake_request_id(message);
    answer.body.operation_rejected.reason = reason;
    answer.body.operation_rejected.retry_after_ms = retry_after_ms;
    fake_send(node, link, &answer, 0);
}

static void fake_serve_located(struct fake_node *node, struct guard_link *link, uint64_t id,
                               uint32_t delay_ms)
{
    struct message answer = {.type = MESSAGE_LOCATED, .cluster = FAKE_CLUSTER};
    uint8_t *bytes = alloc_bytes(VIEW_BYTES_MAX);
    struct bytes_writer writer = bytes_writer_init(bytes, VIEW_BYTES_MAX);
    view_encode(&node->fake->view, &writer);
    assert_false(writer.failed);
    answer.body.located.request = id;
    answer.body.located.view.at = bytes;
    answer.body.located.view.len = writer.len;
    fake_send(node, link, &answer, delay_ms);
    alloc_free(bytes);
}

static void fake_serve_scan(struct fake_node *node, struct guard_link *link, uint64_t id,
                            uint32_t delay_ms)
{
    const struct kv_record records[2] = {
        {.key = "a", .key_len = 1, .value = "1", .value_len = 1, .kind = KV_RECORD_INSERT},
        {.key = "b", .key_len = 1, .value = "", .value_len = 0, .kind = KV_RECORD_INSERT},
    };
    uint8_t bytes[256];
    size_t len = 0;
    for (uint32_t i = 0; i < 2; i++) {
        record_encode(&records[i], bytes + len);
        len += record_size(&records[i]);
    }
    struct message answer = {.type = MESSAGE_SCAN_RESULT, .cluster = FAKE_CLUSTER};
    answer.body.scan_result.request = id;
    answer.body.scan_result.end = 1;
    answer.body.scan_result.count = 2;
    answer.body.scan_result.records.at = bytes;
    answer.body.scan_result.records.len = len;
    fake_send(node, link, &answer, delay_ms);
}

static void fake_serve_status(struct fake_node *node, struct guard_link *link, uint64_t id,
                              uint32_t delay_ms)
{
    struct message answer = {.type = MESSAGE_STATUS_RESULT, .cluster = FAKE_CLUSTER};
    answer.body.status_result.request = id;
    answer.body.status_result.role = ROLE_SECONDARY;
    answer.body.status_result.persist_state = PERSIST_OK;
    answer.body.status_result.keys = 5;
    answer.body.status_result.name.at = (const uint8_t *)node->name;
    answer.body.status_result.name.len = strlen(node->name);
    answer.body.status_result.counters_len = 1;
    answer.body.status_result.counters[0].name.at = (const uint8_t *)"turns";
    answer.body.status_result.counters[0].name.len = 5;
    answer.body.status_result.counters[0].value = 9;
    fake_send(node, link, &answer, delay_ms);
}

static void fake_serve_promote(struct fake_node *node, struct guard_link *link,
                               const struct message *message)
{
    struct fake *fake = node->fake;
    char name[NODE_NAME_MAX + 1u];
    fake_text(name, sizeof(name), message->body.promote.name.at, message->body.promote.name.len);
    const struct member *member = view_find_name(&fake->view, name);
    if (member == NULL) {
        fake_reject(node, link, message, REJECT_NOT_FOUND, 0);
        return;
    }
    fake_set_primary(fake, (uint32_t)member->node);
    if (message->body.promote.force != 0) {
        fake->view.forced = fake->view.number;
    }
    struct message answer = {.type = MESSAGE_OPERATION_ACK, .cluster = FAKE_CLUSTER};
    answer.body.operation_ack.request = fake_request_id(message);
    fake_send(node, link, &answer, 0);
}

void fake_serve(struct fake_node *node, struct guard_link *link, const struct message *message,
                uint32_t delay_ms)
{
    struct fake *fake = node->fake;
    uint64_t id = fake_request_id(message);
    struct message answer = {.cluster = FAKE_CLUSTER};
    switch (message->type) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
        if (node->index != fake->view.primary) {
            fake_reject(node, link, message, REJECT_NOT_PRIMARY, 0);
            return;
        }
        answer.type = MESSAGE_OPERATION_ACK;
        answer.body.operation_ack.request = id;
        answer.body.operation_ack.position.view = fake->view.number;
        answer.body.operation_ack.position.index = ++fake->index;
        fake_send(node, link, &answer, delay_ms);
        return;
    case MESSAGE_LEAVE:
        answer.type = MESSAGE_OPERATION_ACK;
        answer.body.operation_ack.request = id;
        fake_send(node, link, &answer, delay_ms);
        return;
    case MESSAGE_PROMOTE:
        fake_serve_promote(node, link, message);
        return;
    case MESSAGE_GET: /* a key that starts with '-' is absent; else the value is the key */
        answer.type = MESSAGE_GET_RESULT;
        answer.body.get_result.request = id;
        answer.body.get_result.found =
            !(message->body.operation.key.len > 0 && message->body.operation.key.at[0] == '-');
        if (answer.body.get_result.found != 0) {
            answer.body.get_result.value = message->body.operation.key;
        }
        fake_send(node, link, &answer, delay_ms);
        return;
    case MESSAGE_SCAN:
        fake_serve_scan(node, link, id, delay_ms);
        return;
    case MESSAGE_STATUS:
        fake_serve_status(node, link, id, delay_ms);
        return;
    default:
        assert_int_equal(message->type, MESSAGE_LOCATE);
        fake_serve_located(node, link, id, delay_ms);
        return;
    }
}

static void fake_on_timer(uv_timer_t *timer)
{
    struct fake *fake = timer->data;
    uint64_t now_ms = fake_now_ms();
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fake->lates_len; i++) {
        struct fake_late *late = &fake->lates[i];
        if (late->due_ms > now_ms) {
            fake->lates[kept++] = *late;
            continue;
        }
        if (late->node->guard != NULL) {
            fake_send_bytes(late->node, late->link, late->bytes, late->len, 0);
        }
        alloc_free(late->bytes);
    }
    fake->lates_len = kept;
    for (uint32_t i = 0; i < fake->nodes_len; i++) {
        if (fake->nodes[i].guard != NULL) {
            guard_transport_flush(fake->nodes[i].guard);
        }
    }
}

/* ---- life of the servers ---- */

void fake_node_start(struct fake *fake, uint32_t index)
{
    static const struct guard_transport_events events = {
        .on_accept = fake_on_accept,
        .on_up = fake_on_up,
        .on_message = fake_on_message,
        .on_writable = fake_on_writable,
        .on_down = fake_on_down,
        .on_stopped = fake_on_stopped,
    };
    const struct kv_transport_limits limits = {
        .message_max = 80u * 1024u * 1024u,
        .links_max = FAKE_LINKS_MAX,
        .queue_bytes_max = 256u * 1024u * 1024u,
    };
    struct fake_node *node = &fake->nodes[index];
    char uri[KV_URI_MAX];
    memcpy(uri, node->uri, sizeof(uri));
    node->is_stopped = false;
    node->services = services_create("transport-tcp", &fake->loop, NULL, NULL);
    assert_int_equal(guard_transport_create(fake->plugin, node->services, fake->settings, &limits,
                                            &events, node, &node->guard),
                     KV_OK);
    assert_int_equal(
        guard_transport_listen(node->guard, uri[0] != '\0' ? uri : "tcp://127.0.0.1:0", node->uri),
        KV_OK);
}

void fake_node_cut(struct fake *fake, uint32_t index)
{
    struct fake_node *node = &fake->nodes[index];
    while (node->links_len > 0) {
        struct guard_link *link = node->links[0];
        fake_forget_link(node, link);
        guard_transport_close_link(node->guard, link);
    }
}

void fake_node_stop(struct fake *fake, uint32_t index)
{
    struct fake_node *node = &fake->nodes[index];
    if (node->guard == NULL) {
        return;
    }
    fake_node_cut(fake, index);
    guard_transport_stop(node->guard);
    while (!node->is_stopped) {
        uv_run(&fake->loop, UV_RUN_ONCE);
    }
    guard_transport_destroy(node->guard);
    services_destroy(node->services);
    node->guard = NULL;
}

void fake_set_primary(struct fake *fake, uint32_t index)
{
    fake->view.number++;
    fake->view.primary = index;
    fake->view.ack = index == 0 ? 0 : 1;
}

void fake_remove_member(struct fake *fake, uint32_t index)
{
    fake->view.number++;
    for (uint32_t i = 0; i < fake->view.members_len; i++) {
        if (fake->view.members[i].node == index) {
            fake->view.members_len--;
            fake->view.members[i] = fake->view.members[fake->view.members_len];
        }
    }
}

void fake_init(struct fake *fake, uint32_t nodes_len)
{
    char error[LOADER_ERROR_MAX] = "";
    uint32_t given = 0;
    memset(fake, 0, sizeof(*fake));
    assert_int_equal(uv_loop_init(&fake->loop), 0);
    uv_timer_init(&fake->loop, &fake->timer);
    fake->timer.data = fake;
    uv_timer_start(&fake->timer, fake_on_timer, 1, 1);
    if (loader_load("transport-tcp", TEST_PLUGIN_FOLDER, KV_KIND_TRANSPORT, &fake->plugin, error) !=
        KV_OK) {
        fail_msg("%s", error);
    }
    assert_int_equal(loader_settings(fake->plugin, NULL, 0, &fake->settings, &given, error), KV_OK);
    fake->nodes_len = 1u + nodes_len;
    fake->view.number = 1;
    fake->view.cluster = FAKE_CLUSTER;
    fake->view.primary = 1;
    fake->view.ack = 1;
    for (uint32_t i = 0; i < fake->nodes_len; i++) {
        struct fake_node *node = &fake->nodes[i];
        node->fake = fake;
        node->index = i;
        snprintf(node->name, sizeof(node->name), i == 0 ? "arbiter" : "n%u", i);
        fake_node_start(fake, i);
        if (i == 0) {
            continue;
        }
        struct member *member = &fake->view.members[fake->view.members_len++];
        member->node = i;
        member->starts = 1;
        member->incarnation = 1;
        member->joined = 1;
        member->state = MEMBER_IN_SYNC;
        member->uris_len = 1;
        fake_text(member->name, sizeof(member->name), node->name, strlen(node->name));
        fake_text(member->uris[0], sizeof(member->uris[0]), node->uri, strlen(node->uri));
    }
}

static void fake_on_client_closed(void *ctx)
{
    struct fake *fake = ctx;
    fake->is_client_closed = true;
}

void fake_client_close(struct fake *fake)
{
    if (fake->client == NULL) {
        return;
    }
    kv_client_close(fake->client, fake_on_client_closed, fake);
    uint64_t deadline_ms = fake_now_ms() + 5000u;
    while (!fake->is_client_closed && fake_now_ms() < deadline_ms) {
        uv_run(&fake->loop, UV_RUN_ONCE);
    }
    assert_true(fake->is_client_closed);
    fake->client = NULL;
}

void fake_client(struct fake *fake, const struct kv_client_options *options)
{
    struct kv_client_options filled = {0};
    char error[LOADER_ERROR_MAX] = "";
    if (options != NULL) {
        filled = *options;
    }
    filled.arbiter_uri = fake->nodes[FAKE_ARBITER].uri;
    filled.plugin_folder = TEST_PLUGIN_FOLDER;
    fake->is_client_closed = false;
    if (kv_client_create(&fake->loop, &filled, &fake->client, error) != KV_OK) {
        fail_msg("%s", error);
    }
}

void fake_close(struct fake *fake)
{
    fake_client_close(fake);
    for (uint32_t i = 0; i < fake->nodes_len; i++) {
        fake_node_stop(fake, i);
    }
    uv_close((uv_handle_t *)&fake->timer, NULL);
    uv_run(&fake->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fake->loop), 0);
    loader_settings_free(fake->settings);
    loader_release(fake->plugin);
    for (uint32_t i = 0; i < fake->lates_len; i++) {
        alloc_free(fake->lates[i].bytes);
    }
    alloc_free(fake->lates);
}

/* ---- waiting ---- */

bool fake_wait(struct fake *fake, const uint32_t *count, uint32_t wanted, uint32_t timeout_ms)
{
    uint64_t deadline_ms = fake_now_ms() + timeout_ms;
    while (*count < wanted && fake_now_ms() < deadline_ms) {
        uv_run(&fake->loop, UV_RUN_ONCE);
    }
    return *count >= wanted;
}

void fake_run(struct fake *fake, uint32_t ms)
{
    uint32_t never = 0;
    fake_wait(fake, &never, 1, ms);
}

void outcome_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct outcome *outcome = ctx;
    outcome->answers++;
    outcome->status = answer->status;
    outcome->at_ms = fake_now_ms();
    outcome->retry_after_ms = answer->retry_after_ms;
    outcome->position = answer->position;
    outcome->value_len = answer->value_len;
    outcome->records_len = answer->records_len;
    outcome->view = answer->view;
    outcome->forced = answer->forced;
    outcome->arbiter_uris_len = answer->arbiter_uris_len;
    outcome->nodes_len = answer->nodes_len;
    outcome->keys = answer->keys;
    assert_non_null(answer->reason);
    fake_text(outcome->reason, sizeof(outcome->reason), answer->reason, strlen(answer->reason));
    fake_text(outcome->value, sizeof(outcome->value), answer->value, answer->value_len);
    if (answer->primary != NULL) {
        fake_text(outcome->primary, sizeof(outcome->primary), answer->primary,
                  strlen(answer->primary));
    }
    if (answer->told_by != NULL) {
        fake_text(outcome->told_by, sizeof(outcome->told_by), answer->told_by,
                  strlen(answer->told_by));
    }
    if (answer->name != NULL) {
        fake_text(outcome->name, sizeof(outcome->name), answer->name, strlen(answer->name));
    }
}
