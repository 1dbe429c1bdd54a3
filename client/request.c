/*
 * Happy path: request_create() queues, the client's turn sends (request_send), an answer's arrival
 * ends it (request_answer). A refusal or a lost link puts it back into its queue under a new id, so
 * that a late second answer to the old one cannot be mistaken for one to the new one. The deadline
 * ends it wherever it is, and where it is says with which status.
 */
#include "client_state.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Pause after "ask again", when nobody tells the view earlier. */
#define REQUEST_HOLD_VIEW_MS 250u
/* Pause after a refusal that names none. */
#define REQUEST_HOLD_MS     50u
#define REQUEST_HOLD_MS_MAX 5000u

int32_t request_create(struct kv_client *client, const struct request_call *call)
{
    if (client->is_closing) {
        return KV_E_CLOSED;
    }
    if (call->key_len > CLIENT_PAYLOAD_MAX || call->value_len > CLIENT_PAYLOAD_MAX ||
        call->key_len + call->value_len > CLIENT_PAYLOAD_MAX) {
        return KV_E_TOO_LARGE;
    }
    uint64_t payload = call->key_len + call->value_len;
    if (client->inflight >= client->inflight_max ||
        payload > client->inflight_bytes_max - client->inflight_bytes) {
        return KV_E_BUSY;
    }
    size_t node_len = call->node == NULL ? 0 : strlen(call->node) + 1u;
    struct request *request = alloc_bytes(sizeof(*request) + payload + node_len);
    memset(request, 0, sizeof(*request));
    request->order = ++client->last_order;
    request->min_index = call->min_index;
    request->cursor = call->cursor;
    request->on_answer = call->on_answer;
    request->ctx = call->ctx;
    request->limit = call->limit;
    request->key_len = (uint32_t)call->key_len;
    request->value_len = (uint32_t)call->value_len;
    request->kind = (uint8_t)call->kind;
    if (call->key_len > 0) {
        memcpy(request->bytes, call->key, call->key_len);
    }
    if (call->value_len > 0) {
        memcpy(request->bytes + call->key_len, call->value, call->value_len);
    }
    if (call->node != NULL) {
        request->node = memcpy(request->bytes + payload, call->node, node_len);
    }
    uint64_t now_ms = client_now_ms();
    request->in_wheel.deadline_ms =
        now_ms + (call->deadline_ms != 0 ? call->deadline_ms : client->timeout_ms);
    wheel_add(&client->wheel, &request->in_wheel, now_ms);
    client->inflight++;
    client->inflight_bytes += payload;
    if (request->node != NULL) {
        queue_push(&client->lookups, request);
    } else {
        queue_push(request_queue(client, request), request);
    }
    client_start_tick(client);
    client_wake(client);
    return KV_OK;
}

bool request_changes(const struct request *request)
{
    return request->kind == REQUEST_INSERT || request->kind == REQUEST_REMOVE ||
           request_is_command(request);
}

bool request_is_command(const struct request *request)
{
    return request->kind == REQUEST_LEAVE || request->kind == REQUEST_HANDOVER ||
           request->kind == REQUEST_TAKEOVER;
}

struct queue *request_queue(struct kv_client *client, const struct request *request)
{
    if (request->kind == REQUEST_VIEW || request_is_command(request)) {
        return &client->arbiter.queue;
    }
    if (request->node == NULL) {
        return &client->primary_queue;
    }
    struct peer *peer = peer_find(client, request->node);
    return peer == NULL || peer->is_orphan ? &client->lookups : &peer->queue;
}

/* The state that a read has to wait for: what the caller gave, what another client handed over, and
 * this client's own updates. The primary's reads are linearizable, they show those anyway. */
static uint64_t request_min_index(const struct request *request, const struct kv_client *client)
{
    uint64_t index =
        request->min_index > client->seen_index ? request->min_index : client->seen_index;
    bool is_own_needed = request->node != NULL && !client->reads_stale;
    return is_own_needed && client->position.index > index ? client->position.index : index;
}

/* Fills the client's outgoing message. */
static void request_fill(struct request *request, struct kv_client *client, uint64_t id,
                         uint32_t deadline_ms)
{
    static const uint8_t types[] = {
        [REQUEST_INSERT] = MESSAGE_INSERT,    [REQUEST_REMOVE] = MESSAGE_REMOVE,
        [REQUEST_GET] = MESSAGE_GET,          [REQUEST_SCAN] = MESSAGE_SCAN,
        [REQUEST_STATUS] = MESSAGE_STATUS,    [REQUEST_VIEW] = MESSAGE_LOCATE,
        [REQUEST_LEAVE] = MESSAGE_LEAVE,      [REQUEST_HANDOVER] = MESSAGE_PROMOTE,
        [REQUEST_TAKEOVER] = MESSAGE_PROMOTE,
    };
    struct message *message = &client->outgoing;
    const struct bytes_view key = {request->bytes, request->key_len};
    const struct bytes_view value = {request->bytes + request->key_len, request->value_len};
    const struct bytes_view node = {(const uint8_t *)request->node,
                                    request->node == NULL ? 0 : strlen(request->node)};
    message->type = types[request->kind];
    switch (request->kind) {
    case REQUEST_SCAN:
        message->body.scan.request = id;
        message->body.scan.deadline_ms = deadline_ms;
        message->body.scan.at_primary = request->node == NULL;
        message->body.scan.min_index = request_min_index(request, client);
        message->body.scan.cursor = request->cursor;
        message->body.scan.limit = request->limit;
        message->body.scan.prefix = key;
        break;
    case REQUEST_STATUS:
    case REQUEST_VIEW:
        message->body.request.request = id;
        break;
    case REQUEST_LEAVE:
        message->body.leave.request = id;
        message->body.leave.incarnation = 0; /* no replica says it of itself */
        message->body.leave.name = node;
        break;
    case REQUEST_HANDOVER:
    case REQUEST_TAKEOVER:
        message->body.promote.request = id;
        message->body.promote.force = request->kind == REQUEST_TAKEOVER;
        message->body.promote.name = node;
        break;
    default:
        message->body.operation.request = id;
        message->body.operation.deadline_ms = deadline_ms;
        message->body.operation.at_primary = request->node == NULL;
        message->body.operation.min_index = request_min_index(request, client);
        message->body.operation.key = key;
        message->body.operation.value = value;
        break;
    }
}

int32_t request_send(struct request *request, struct peer *peer, struct queue *queue)
{
    struct kv_client *client = peer->client;
    KV_CHECK(request->peer == NULL);
    KV_CHECK(request->in_wheel.deadline_ms > client->now_ms);
    uint64_t left_ms = request->in_wheel.deadline_ms - client->now_ms;
    uint64_t id = ++client->last_id;
    request_fill(request, client, id, left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms);
    int32_t status = peer_send(peer, &client->outgoing);
    if (status != KV_OK) {
        return status;
    }
    list_remove(&request->in_queue);
    list_append(&peer->sent, &request->in_queue);
    request->peer = peer;
    request->queue = queue;
    request->id = id;
    request->sent_ms = client->now_ms;
    request->was_sent = true;
    request->reject = 0;
    table_put(&client->table, id, request);
    if (queue->is_probing) {
        queue->probe = request;
    }
    client->counters.sent++;
    return KV_OK;
}

/* It is sent no more, whatever comes next. */
static void request_unsend(struct kv_client *client, struct request *request)
{
    list_remove(&request->in_queue);
    if (request->peer == NULL) {
        return;
    }
    table_remove(&client->table, request->id);
    if (request->queue->probe == request) {
        request->queue->probe = NULL;
    }
    request->peer = NULL;
    request->queue = NULL;
    request->id = 0;
}

void request_requeue(struct kv_client *client, struct request *request)
{
    request_unsend(client, request);
    queue_push(request_queue(client, request), request);
    client->counters.retried++;
    client_wake(client);
}

void request_answer(struct kv_client *client, struct request *request,
                    const struct kv_answer *answer)
{
    request_unsend(client, request);
    if (!list_is_empty(&request->in_wheel.link)) {
        wheel_remove(&client->wheel, &request->in_wheel);
    }
    client->inflight--;
    client->inflight_bytes -= (uint64_t)request->key_len + request->value_len;
    client->counters.answered++;
    /* All books are closed before the callback, which may do anything with the client. */
    request->on_answer(request->ctx, answer);
    alloc_free(request);
}

void request_fail(struct kv_client *client, struct request *request, int32_t status,
                  const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(client->reason, sizeof(client->reason), format, arguments);
    va_end(arguments);
    const struct kv_answer answer = {
        .status = status,
        .reason = client->reason,
        .retry_after_ms = status == KV_E_REJECTED ? request->retry_after_ms : 0,
    };
    request_answer(client, request, &answer);
}

static void request_fail_without_arbiter(struct kv_client *client, struct request *request)
{
    const struct peer *arbiter = &client->arbiter;
    char tried[CLIENT_REASON_MAX] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < arbiter->uris_len && len < sizeof(tried) - 1u; i++) {
        int added = snprintf(tried + len, sizeof(tried) - len, "%s%s", i == 0 ? "" : ", ",
                             arbiter->uris[i]);
        len += added > 0 ? (size_t)added : 0;
    }
    request_fail(client, request, KV_E_UNREACHABLE,
                 "the arbiter answers at none of its %u addresses: %s", arbiter->uris_len, tried);
}

/* Never sent, or what was sent is void: says what was in the way. */
static void request_fail_unreachable(struct kv_client *client, struct request *request)
{
    const struct peer *peer = NULL;
    const struct peer *arbiter = &client->arbiter;
    bool needs_view = request->kind != REQUEST_VIEW && !request_is_command(request);
    if (!needs_view) {
        peer = arbiter;
    } else if (request->node != NULL) {
        peer = peer_find(client, request->node);
    } else {
        peer = client->primary;
    }
    bool has_peer = !needs_view || peer != NULL;
    if (request_is_command(request) && peer_has_more(arbiter)) {
        request_fail_without_arbiter(client, request);
        return;
    }
    if (has_peer && peer->is_up) {
        request_fail(client, request, KV_E_UNREACHABLE, "%s takes nothing more at the moment",
                     peer->name);
    } else if (has_peer) {
        request_fail(client, request, KV_E_UNREACHABLE, "no connection to %s at %s%s%s", peer->name,
                     peer_uri(peer), peer->trouble[0] != '\0' ? ": " : "", peer->trouble);
    } else if (client->view->number != 0 && request->node == NULL && arbiter->is_up) {
        request_fail(client, request, KV_E_UNREACHABLE, "the cluster has no primary (view %llu)",
                     (unsigned long long)client->view->number);
    } else if (!arbiter->is_up) {
        request_fail(client, request, KV_E_UNREACHABLE, "no connection to the arbiter at %s%s%s",
                     peer_uri(arbiter), arbiter->trouble[0] != '\0' ? ": " : "", arbiter->trouble);
    } else {
        request_fail(client, request, KV_E_UNREACHABLE, "the arbiter at %s tells no view",
                     peer_uri(arbiter));
    }
}

void request_expire(struct kv_client *client, struct request *request)
{
    if (request->peer != NULL) {
        request_fail(client, request, KV_E_TIMEOUT, "%s did not answer in time%s",
                     request->peer->name,
                     request_changes(request) ? "; it may have been executed" : "");
    } else if (request->reject != 0) {
        bool is_last = request->reject == client->reject;
        request_fail(client, request, KV_E_REJECTED, "%s",
                     is_last ? client->reject_text : message_reject_text(request->reject));
    } else {
        request_fail_unreachable(client, request);
    }
}

void request_reason(const char *reason, struct bytes_view text, char *ret_reason)
{
    snprintf(ret_reason, CLIENT_REASON_MAX, "%s%s%.*s", reason, text.len == 0 ? "" : ": ",
             (int)text.len, text.len == 0 ? "" : (const char *)text.at);
}

/* Reasons for which the primary may be another one by now, or is about to be. */
static bool request_is_for_view(uint8_t reason)
{
    return reason == REJECT_NOT_PRIMARY || reason == REJECT_NOT_READY || reason == REJECT_LEAVING;
}

/* Reasons that pass by themselves. */
static bool request_is_passing(uint8_t reason)
{
    return reason == REJECT_OVERLOADED || reason == REJECT_MIN_IN_SYNC || reason == REJECT_STORE;
}

/* The refusal stands. */
static void request_fail_refused(struct kv_client *client, struct request *request, uint8_t reason)
{
    int32_t status = KV_E_REJECTED;
    if (request_is_command(request) && reason == REJECT_NOT_FOUND) {
        status = KV_E_NOT_FOUND;
    } else if (reason == REJECT_TOO_LARGE) {
        status = KV_E_TOO_LARGE;
    }
    request->queue->is_probing = false;
    request_fail(client, request, status, "%s", client->reject_text);
}

void request_refused(struct kv_client *client, struct request *request, uint8_t reason,
                     uint32_t retry_after_ms, struct bytes_view text)
{
    request->retry_after_ms = retry_after_ms;
    request_reason(message_reject_text(reason), text, client->reject_text);
    client->reject = reason;
    if (reason == REJECT_UNSUPPORTED && request_is_command(request) &&
        peer_has_more(&client->arbiter)) {
        /* The address is a member's: the arbiter is at another one. */
        request_requeue(client, request);
        peer_try_next(&client->arbiter, "it is no arbiter");
        return;
    }
    bool is_for_view = request_is_for_view(reason);
    if (request_is_command(request) || (!is_for_view && !request_is_passing(reason))) {
        request_fail_refused(client, request, reason);
        return;
    }
    uint64_t pause_ms = retry_after_ms != 0 ? retry_after_ms : REQUEST_HOLD_MS;
    if (is_for_view) {
        pause_ms = request->node == NULL ? REQUEST_HOLD_VIEW_MS : REQUEST_HOLD_MS;
    }
    if (is_for_view || reason == REJECT_MIN_IN_SYNC || reason == REJECT_STORE) {
        locate_want(client);
    }
    if (pause_ms > REQUEST_HOLD_MS_MAX) {
        pause_ms = REQUEST_HOLD_MS_MAX;
    }
    queue_hold(request->queue, client_now_ms() + pause_ms, is_for_view);
    request->reject = reason;
    request_requeue(client, request);
}
