/*
 * Happy path: decode, find the request by id, check that it was sent on this very link and asked
 * for this kind of answer, build the struct kv_answer, call back. Arrays and texts of an answer
 * live in the client's arena until the callback has returned.
 * Failure modes: no message, another protocol version, an answer that fits no question (the link is
 * closed); an id that nobody waits for (late or repeated: counted, ignored).
 */
#include "client_state.h"

#include "logic/record.h"

#include <stdio.h>
#include <string.h>

static char *answer_text(struct kv_client *client, const void *bytes, size_t len)
{
    char *text = arena_alloc(&client->arena, len + 1u);
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    return text;
}

/* ---- what the answers say ---- */

static void answer_get(struct kv_client *client, struct request *request,
                       const struct message *message)
{
    bool is_found = message->body.get_result.found != 0;
    const struct kv_answer answer = {
        .status = is_found ? KV_OK : KV_E_NOT_FOUND,
        .reason = is_found ? "" : "no such key",
        .position = message->body.get_result.position,
        .value = is_found ? message->body.get_result.value.at : NULL,
        .value_len = is_found ? (uint32_t)message->body.get_result.value.len : 0,
    };
    request_answer(client, request, &answer);
}

/* False: the records are malformed; nothing was answered. */
static bool answer_scan(struct kv_client *client, struct request *request,
                        const struct message *message)
{
    const struct bytes_view bytes = message->body.scan_result.records;
    uint32_t count = message->body.scan_result.count;
    if (count > bytes.len / RECORD_HEADER_BYTES) {
        return false;
    }
    struct kv_record *records = arena_alloc(&client->arena, count * sizeof(*records));
    struct bytes_reader reader = bytes_reader_init(bytes.at, bytes.len);
    for (uint32_t i = 0; i < count; i++) {
        if (!record_decode(&reader, &records[i])) {
            return false;
        }
    }
    if (reader.left > 0) {
        return false;
    }
    const struct kv_answer answer = {
        .status = KV_OK,
        .reason = "",
        .records = records,
        .records_len = count,
        .next = message->body.scan_result.next,
        .end = message->body.scan_result.end,
    };
    request_answer(client, request, &answer);
    return true;
}

static void answer_status(struct kv_client *client, struct request *request,
                          const struct message *message)
{
    uint32_t len = message->body.status_result.counters_len;
    const char **names = arena_alloc(&client->arena, len * sizeof(*names));
    uint64_t *values = arena_alloc(&client->arena, len * sizeof(*values));
    for (uint32_t i = 0; i < len; i++) {
        const struct message_counter *counter = &message->body.status_result.counters[i];
        names[i] = answer_text(client, counter->name.at, counter->name.len);
        values[i] = counter->value;
    }
    const struct bytes_view name = message->body.status_result.name;
    const struct bytes_view plugin = message->body.status_result.persist_plugin;
    const struct bytes_view error = message->body.status_result.persist_error;
    const struct kv_answer answer = {
        .status = KV_OK,
        .reason = "",
        .position = message->body.status_result.position,
        .name = answer_text(client, name.at, name.len),
        .role = message_role_name(message->body.status_result.role),
        .durable_index = message->body.status_result.durable_index,
        .committed_index = message->body.status_result.committed_index,
        .keys = message->body.status_result.keys,
        .digest = message->body.status_result.digest,
        .persist_plugin = answer_text(client, plugin.at, plugin.len),
        .persist_state = message_persist_state_name(message->body.status_result.persist_state),
        .persist_error = answer_text(client, error.at, error.len),
        .counter_names = names,
        .counter_values = values,
        .counters_len = len,
    };
    request_answer(client, request, &answer);
}

static const char *answer_member_role(const struct view *view, const struct member *member)
{
    if (member->node == view->primary) {
        return message_role_name(ROLE_PRIMARY);
    }
    return message_role_name(member->state == MEMBER_IN_SYNC ? ROLE_SECONDARY : ROLE_CANDIDATE);
}

/* told_by: the member that told it; "": the arbiter. */
static void answer_view(struct kv_client *client, struct request *request, const struct view *view,
                        const char *told_by)
{
    struct kv_client_node *nodes = arena_alloc(&client->arena, view->members_len * sizeof(*nodes));
    const char *primary = "";
    const char **arbiter_uris =
        arena_alloc(&client->arena, view->arbiter_uris_len * sizeof(*arbiter_uris));
    for (uint32_t i = 0; i < view->arbiter_uris_len; i++) {
        arbiter_uris[i] = view->arbiter_uris[i];
    }
    for (uint32_t i = 0; i < view->members_len; i++) {
        const struct member *member = &view->members[i];
        const char **uris = arena_alloc(&client->arena, member->uris_len * sizeof(*uris));
        for (uint32_t j = 0; j < member->uris_len; j++) {
            uris[j] = member->uris[j];
        }
        nodes[i].name = member->name;
        nodes[i].role = answer_member_role(view, member);
        nodes[i].uris = uris;
        nodes[i].uris_len = member->uris_len;
        primary = member->node == view->primary ? member->name : primary;
    }
    const struct kv_answer answer = {
        .status = KV_OK,
        .reason = "",
        .cluster = view->cluster,
        .view = view->number,
        .primary = primary,
        .nodes = nodes,
        .nodes_len = view->members_len,
        .forced = view->forced,
        .told_by = told_by,
        .arbiter_uris = arbiter_uris,
        .arbiter_uris_len = view->arbiter_uris_len,
    };
    request_answer(client, request, &answer);
}

/* A member told its view since the arbiter does not answer: that has to do for those who ask for
 * one and cannot be sent. */
static void answer_views_by_member(struct kv_client *client, const char *told_by)
{
    struct list views;
    list_init(&views); /* a callback may ask again: that one waits for the next answer */
    struct list *queued[] = {&client->arbiter.queue.again, &client->arbiter.queue.fresh};
    for (uint32_t i = 0; i < 2; i++) {
        struct list *at = queued[i]->next;
        while (at != queued[i]) {
            struct request *request = LIST_ENTRY(at, struct request, in_queue);
            at = at->next;
            if (request->kind == REQUEST_VIEW) {
                list_remove(&request->in_queue);
                list_append(&views, &request->in_queue);
            }
        }
    }
    while (!list_is_empty(&views)) {
        answer_view(client, LIST_ENTRY(views.next, struct request, in_queue), client->view,
                    told_by);
    }
}

static void answer_failed(struct kv_client *client, struct request *request,
                          const struct message *message)
{
    uint8_t reason = message->body.operation_failed.reason;
    char text[CLIENT_REASON_MAX];
    bool is_late_command = reason == FAIL_TIMEOUT && request_is_command(request);
    request_reason(is_late_command ? "the arbiter has not done it in time"
                                   : message_fail_text(reason),
                   message->body.operation_failed.text, text);
    request_fail(client, request, reason == FAIL_REFUSED ? KV_E_REFUSED : KV_E_TIMEOUT, "%s", text);
}

/* ---- dispatch ---- */

/* The id of the request that the message answers; false: it is no answer. */
static bool answer_find_id(const struct message *message, uint64_t *ret_id)
{
    switch (message->type) {
    case MESSAGE_OPERATION_ACK:
        *ret_id = message->body.operation_ack.request;
        return true;
    case MESSAGE_OPERATION_FAILED:
        *ret_id = message->body.operation_failed.request;
        return true;
    case MESSAGE_OPERATION_REJECTED:
        *ret_id = message->body.operation_rejected.request;
        return true;
    case MESSAGE_GET_RESULT:
        *ret_id = message->body.get_result.request;
        return true;
    case MESSAGE_SCAN_RESULT:
        *ret_id = message->body.scan_result.request;
        return true;
    case MESSAGE_STATUS_RESULT:
        *ret_id = message->body.status_result.request;
        return true;
    case MESSAGE_LOCATED:
        *ret_id = message->body.located.request;
        return true;
    default:
        return false;
    }
}

/* May this type answer this kind of request? */
static bool answer_fits(uint8_t type, uint8_t kind)
{
    switch (type) {
    case MESSAGE_OPERATION_ACK:
        return kind == REQUEST_INSERT || kind == REQUEST_REMOVE || kind == REQUEST_LEAVE ||
               kind == REQUEST_HANDOVER || kind == REQUEST_TAKEOVER;
    case MESSAGE_GET_RESULT:
        return kind == REQUEST_GET;
    case MESSAGE_SCAN_RESULT:
        return kind == REQUEST_SCAN;
    case MESSAGE_STATUS_RESULT:
        return kind == REQUEST_STATUS;
    case MESSAGE_LOCATED:
        return kind == REQUEST_VIEW;
    default:
        return true; /* OperationFailed, OperationRejected */
    }
}

/* The member at this address, when it is a member's and not the arbiter's; "": the arbiter's, as
 * far as can be told. */
static const char *answer_teller(const struct view *view, const char *uri)
{
    for (uint32_t i = 0; i < view->arbiter_uris_len; i++) {
        if (strcmp(view->arbiter_uris[i], uri) == 0) {
            return "";
        }
    }
    for (uint32_t i = 0; i < view->members_len; i++) {
        const struct member *member = &view->members[i];
        for (uint32_t j = 0; j < member->uris_len && view->arbiter_uris_len > 0; j++) {
            if (strcmp(member->uris[j], uri) == 0) {
                return member->name;
            }
        }
    }
    return "";
}

/* Located, to a Locate of the library's own (request NULL) or to one of the caller's. False:
 * malformed. */
static bool answer_located(struct peer *peer, struct request *request,
                           const struct message *message)
{
    struct kv_client *client = peer->client;
    const struct bytes_view bytes = message->body.located.view;
    struct view *view = arena_alloc(&client->arena, sizeof(*view));
    if (view_decode(bytes.at, bytes.len, view) != KV_OK) {
        return false;
    }
    const char *told_by = answer_teller(view, peer_uri(peer));
    locate_adopt(client, view, peer); /* may move the peer to another address */
    if (request != NULL) {
        answer_view(client, request, view, told_by);
        return true;
    }
    locate_on_answered(client, peer);
    if (peer != &client->arbiter) {
        answer_views_by_member(client, peer->name);
    } else if (view->cluster == client->view->cluster && view->number < client->view->number) {
        peer_try_next(peer, "its view is old, it is the arbiter no more");
    }
    return true;
}

static void answer_ack(struct kv_client *client, struct request *request,
                       const struct message *message)
{
    const struct kv_answer answer = {
        .status = KV_OK,
        .reason = "",
        .position = message->body.operation_ack.position,
    };
    if (request_is_command(request)) {
        locate_want(client); /* there is a new view */
    } else {
        client_note_position(client, answer.position);
    }
    request_answer(client, request, &answer);
}

/* False: malformed, nothing was answered. */
static bool answer_give(struct peer *peer, struct request *request, const struct message *message)
{
    struct kv_client *client = peer->client;
    if (message->type != MESSAGE_OPERATION_REJECTED) {
        request->queue->is_probing = false;
    }
    switch (message->type) {
    case MESSAGE_OPERATION_ACK:
        answer_ack(client, request, message);
        return true;
    case MESSAGE_OPERATION_FAILED:
        answer_failed(client, request, message);
        return true;
    case MESSAGE_OPERATION_REJECTED:
        request_refused(client, request, message->body.operation_rejected.reason,
                        message->body.operation_rejected.retry_after_ms,
                        message->body.operation_rejected.text);
        return true;
    case MESSAGE_GET_RESULT:
        answer_get(client, request, message);
        return true;
    case MESSAGE_SCAN_RESULT:
        return answer_scan(client, request, message);
    case MESSAGE_STATUS_RESULT:
        answer_status(client, request, message);
        return true;
    default:
        return answer_located(peer, request, message);
    }
}

/* The answer to a question of the library's own. False: malformed. */
static bool answer_own(struct peer *peer, const struct message *message)
{
    if (message->type == MESSAGE_OPERATION_REJECTED) {
        locate_on_down(peer->client, peer); /* it knows no view: the next one is asked */
        return true;
    }
    return message->type == MESSAGE_LOCATED && answer_located(peer, NULL, message);
}

static void answer_malformed(struct peer *peer, const char *what)
{
    peer->client->counters.malformed++;
    peer_drop(peer, what);
}

void answer_on_message(struct peer *peer, const void *bytes, uint32_t len)
{
    struct kv_client *client = peer->client;
    if (client->is_closing) {
        return;
    }
    struct message message;
    int32_t status = message_decode(bytes, len, &message);
    if (status == KV_E_VERSION || (status == KV_OK && message.type == MESSAGE_UNSUPPORTED)) {
        client->counters.malformed++;
        peer_drop_version(peer,
                          status == KV_OK ? message.body.unsupported.version : message.version);
        return;
    }
    uint64_t id = 0;
    if (status != KV_OK) {
        answer_malformed(peer, "it sent what is no message");
        return;
    }
    if (!answer_find_id(&message, &id)) {
        answer_malformed(peer, "it sent a message that is no answer");
        return;
    }
    bool is_good = true;
    struct request *request = table_find(&client->table, id);
    if (request != NULL && request->peer == peer) {
        is_good = answer_fits(message.type, request->kind) && answer_give(peer, request, &message);
    } else if (locate_is_asked(client, peer, id)) {
        is_good = answer_own(peer, &message);
    } else {
        client->counters.strays++;
    }
    arena_reset(&client->arena);
    if (!is_good) {
        answer_malformed(peer, "it sent a malformed answer");
    }
}
