/*
 * Byte form of the messages, sizes and writing: a row of cases each, in the order of enum
 * message_type; message_decode.c reads them. docs/protocol.md shows the same as tables.
 */
#include "logic/message.h"

#include "base/check.h"

/* --- size --- */

static size_t message_view_size(struct bytes_view view)
{
    return 4u + view.len;
}

static struct bytes_view message_cut(struct bytes_view text, size_t len_max)
{
    if (text.len > len_max) {
        text.len = len_max;
    }
    return text;
}

static size_t message_status_result_size(const struct message *message)
{
    size_t size = 8 + 1 + 1 + 16 + 8 + 8 + 8 + 8 + 4;
    size += message_view_size(message->body.status_result.name);
    size +=
        message_view_size(message_cut(message->body.status_result.persist_plugin, NODE_NAME_MAX));
    size += message_view_size(message_cut(message->body.status_result.persist_error, TEXT_MAX));
    for (uint32_t i = 0; i < message->body.status_result.counters_len; i++) {
        struct bytes_view name = message->body.status_result.counters[i].name;
        size += message_view_size(message_cut(name, NODE_NAME_MAX)) + 8;
    }
    return size;
}

static size_t message_join_size(const struct message *message)
{
    size_t size = 8 + 8 + 1 + 16 + message_view_size(message->body.join.name) + 1;
    for (uint32_t i = 0; i < message->body.join.uris_len; i++) {
        size += message_view_size(message->body.join.uris[i]);
    }
    return size;
}

static size_t message_body_size(const struct message *message)
{
    switch (message->type) {
    case MESSAGE_JOIN:
        return message_join_size(message);
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        return 8 + message_view_size(message->body.joined.view);
    case MESSAGE_JOIN_REJECTED:
        return 8 + 1 + 1 +
               message_view_size(message_cut(message->body.join_rejected.text, TEXT_MAX));
    case MESSAGE_REPLICAS:
        return message_view_size(message->body.replicas.view);
    case MESSAGE_LEAVE:
        return 8 + 8 + message_view_size(message->body.leave.name);
    case MESSAGE_HEARTBEAT:
        return 8 + 16 + 8 + 8 + 1;
    case MESSAGE_OPERATION_ACK:
        return 24;
    case MESSAGE_SNAPSHOT_ACK:
        return 8 + 8 + 8 + 8 + 1 + 8 + 4 + message->body.snapshot_ack.refusals.len;
    case MESSAGE_RESUME:
        return 8 + 16 + 16 + 1;
    case MESSAGE_FETCH:
        return 8 + 8 + 8 + 8 + 8 + 4;
    case MESSAGE_FETCHED:
        return 8 + 16 + 8 + 8 + 4 + message->body.fetched.digests.len + 4 +
               message->body.fetched.records.len;
    case MESSAGE_CAUGHT_UP:
    case MESSAGE_SUSPECT:
    case MESSAGE_HANDOVER:
        return 16;
    case MESSAGE_SNAPSHOT:
        return 8 + 8 + 8 + 8 + 8 + 1 + 1 + 16 + 8 + 8 + 4 +
               (message->body.snapshot.records.at == NULL ? 0 : message->body.snapshot.records.len);
    case MESSAGE_INSERT:
        return 8 + 4 + message_view_size(message->body.operation.key) +
               message_view_size(message->body.operation.value);
    case MESSAGE_REMOVE:
        return 8 + 4 + message_view_size(message->body.operation.key);
    case MESSAGE_GET:
        return 8 + 4 + 1 + 8 + message_view_size(message->body.operation.key);
    case MESSAGE_SCAN:
        return 8 + 4 + 1 + 8 + 8 + 4 + message_view_size(message->body.scan.prefix);
    case MESSAGE_STATUS:
    case MESSAGE_LOCATE:
        return 8;
    case MESSAGE_PROMOTE:
        return 8 + 1 + message_view_size(message->body.promote.name);
    case MESSAGE_OPERATION_FAILED:
        return 8 + 1 +
               message_view_size(message_cut(message->body.operation_failed.text, TEXT_MAX));
    case MESSAGE_OPERATION_REJECTED:
        return 8 + 1 + 4 +
               message_view_size(message_cut(message->body.operation_rejected.text, TEXT_MAX));
    case MESSAGE_GET_RESULT:
        return 8 + 1 + 16 + message_view_size(message->body.get_result.value);
    case MESSAGE_SCAN_RESULT:
        return 8 + 1 + 8 + 4 + message->body.scan_result.records.len;
    case MESSAGE_STATUS_RESULT:
        return message_status_result_size(message);
    case MESSAGE_LOCATED:
        return 8 + message_view_size(message->body.located.view);
    case MESSAGE_UNSUPPORTED:
        return 1;
    default:
        KV_CHECK(false && "no message type");
        return 0;
    }
}

size_t message_size(const struct message *message)
{
    return MESSAGE_HEADER_BYTES + message_body_size(message);
}

/* --- refusals --- */

size_t message_refusal_size(const struct message_refusal *refusal)
{
    return 8 + message_view_size(message_cut(refusal->text, TEXT_MAX));
}

void message_write_refusal(struct bytes_writer *writer, const struct message_refusal *refusal)
{
    bytes_write_u64(writer, refusal->index);
    struct bytes_view text = message_cut(refusal->text, TEXT_MAX);
    bytes_write_view(writer, text.at, text.len);
}

bool message_read_refusal(struct bytes_reader *reader, struct message_refusal *ret_refusal)
{
    ret_refusal->index = bytes_read_u64(reader);
    ret_refusal->text = bytes_read_view(reader);
    if (ret_refusal->text.len > TEXT_MAX) {
        reader->failed = true;
    }
    return !reader->failed;
}

/* --- encode --- */

static void message_write_view(struct bytes_writer *writer, struct bytes_view view)
{
    bytes_write_view(writer, view.at, view.len);
}

static void message_write_position(struct bytes_writer *writer, struct kv_position position)
{
    bytes_write_u64(writer, position.view);
    bytes_write_u64(writer, position.index);
}

static void message_encode_membership(const struct message *message, struct bytes_writer *writer)
{
    switch (message->type) {
    case MESSAGE_JOIN:
        KV_CHECK(message->body.join.uris_len >= 1 && message->body.join.uris_len <= URIS_MAX);
        bytes_write_u64(writer, message->body.join.incarnation);
        bytes_write_u64(writer, message->body.join.starts);
        bytes_write_u8(writer, message->body.join.ack);
        message_write_position(writer, message->body.join.durable);
        message_write_view(writer, message->body.join.name);
        bytes_write_u8(writer, (uint8_t)message->body.join.uris_len);
        for (uint32_t i = 0; i < message->body.join.uris_len; i++) {
            message_write_view(writer, message->body.join.uris[i]);
        }
        break;
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        bytes_write_u64(writer, message->body.joined.incarnation);
        message_write_view(writer, message->body.joined.view);
        break;
    case MESSAGE_JOIN_REJECTED:
        bytes_write_u64(writer, message->body.join_rejected.incarnation);
        bytes_write_u8(writer, message->body.join_rejected.reason);
        bytes_write_u8(writer, message->body.join_rejected.retry);
        message_write_view(writer, message_cut(message->body.join_rejected.text, TEXT_MAX));
        break;
    case MESSAGE_REPLICAS:
        message_write_view(writer, message->body.replicas.view);
        break;
    case MESSAGE_LEAVE:
        bytes_write_u64(writer, message->body.leave.request);
        bytes_write_u64(writer, message->body.leave.incarnation);
        message_write_view(writer, message->body.leave.name);
        break;
    case MESSAGE_HEARTBEAT:
        bytes_write_u64(writer, message->body.heartbeat.incarnation);
        message_write_position(writer, message->body.heartbeat.last);
        bytes_write_u64(writer, message->body.heartbeat.durable_index);
        bytes_write_u64(writer, message->body.heartbeat.committed_index);
        bytes_write_u8(writer, message->body.heartbeat.asks);
        break;
    default:
        KV_CHECK(message->type == MESSAGE_CAUGHT_UP || message->type == MESSAGE_SUSPECT ||
                 message->type == MESSAGE_HANDOVER);
        bytes_write_u64(writer, message->body.member.node);
        bytes_write_u64(writer, message->body.member.joined);
        break;
    }
}

static void message_encode_snapshot(const struct message *message, struct bytes_writer *writer)
{
    bytes_write_u64(writer, message->body.snapshot.session);
    bytes_write_u64(writer, message->body.snapshot.seq);
    bytes_write_u64(writer, message->body.snapshot.committed);
    bytes_write_u64(writer, message->body.snapshot.refusals);
    bytes_write_u64(writer, message->body.snapshot.sent_ms);
    bytes_write_u8(writer, message->body.snapshot.kind);
    bytes_write_u8(writer, message->body.snapshot.tail);
    message_write_position(writer, message->body.snapshot.as_of);
    bytes_write_u64(writer, message->body.snapshot.base);
    bytes_write_u64(writer, message->body.snapshot.last);
    bytes_write_u32(writer, message->body.snapshot.count);
    if (message->body.snapshot.records.at != NULL) {
        bytes_write(writer, message->body.snapshot.records.at, message->body.snapshot.records.len);
    }
}

static void message_encode_snapshot_ack(const struct message *message, struct bytes_writer *writer)
{
    KV_CHECK(message->body.snapshot_ack.durable <= message->body.snapshot_ack.received);
    bytes_write_u64(writer, message->body.snapshot_ack.session);
    bytes_write_u64(writer, message->body.snapshot_ack.received);
    bytes_write_u64(writer, message->body.snapshot_ack.durable);
    bytes_write_u64(writer, message->body.snapshot_ack.heard_ms);
    bytes_write_u8(writer, message->body.snapshot_ack.complete);
    bytes_write_u64(writer, message->body.snapshot_ack.refusals_first);
    bytes_write_u32(writer, message->body.snapshot_ack.refusals_len);
    bytes_write(writer, message->body.snapshot_ack.refusals.at,
                message->body.snapshot_ack.refusals.len);
}

static void message_encode_catch_up(const struct message *message, struct bytes_writer *writer)
{
    switch (message->type) {
    case MESSAGE_RESUME:
        bytes_write_u64(writer, message->body.resume.session);
        message_write_position(writer, message->body.resume.committed);
        message_write_position(writer, message->body.resume.last);
        bytes_write_u8(writer, message->body.resume.complete);
        break;
    case MESSAGE_FETCH:
        bytes_write_u64(writer, message->body.fetch.request);
        bytes_write_u64(writer, message->body.fetch.min_index);
        bytes_write_u64(writer, message->body.fetch.base);
        bytes_write_u64(writer, message->body.fetch.low);
        bytes_write_u64(writer, message->body.fetch.high);
        bytes_write_u32(writer, message->body.fetch.parts);
        break;
    default:
        KV_CHECK(message->type == MESSAGE_FETCHED);
        KV_CHECK(message->body.fetched.digests.len == 8ull * message->body.fetched.digests_len);
        bytes_write_u64(writer, message->body.fetched.request);
        message_write_position(writer, message->body.fetched.as_of);
        bytes_write_u64(writer, message->body.fetched.low);
        bytes_write_u64(writer, message->body.fetched.high);
        bytes_write_u32(writer, message->body.fetched.digests_len);
        bytes_write(writer, message->body.fetched.digests.at, message->body.fetched.digests.len);
        bytes_write_u32(writer, message->body.fetched.count);
        bytes_write(writer, message->body.fetched.records.at, message->body.fetched.records.len);
        break;
    }
}

static void message_encode_request(const struct message *message, struct bytes_writer *writer)
{
    switch (message->type) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
    case MESSAGE_GET:
        bytes_write_u64(writer, message->body.operation.request);
        bytes_write_u32(writer, message->body.operation.deadline_ms);
        if (message->type == MESSAGE_GET) {
            bytes_write_u8(writer, message->body.operation.at_primary);
            bytes_write_u64(writer, message->body.operation.min_index);
        }
        message_write_view(writer, message->body.operation.key);
        if (message->type == MESSAGE_INSERT) {
            message_write_view(writer, message->body.operation.value);
        }
        break;
    case MESSAGE_SCAN:
        bytes_write_u64(writer, message->body.scan.request);
        bytes_write_u32(writer, message->body.scan.deadline_ms);
        bytes_write_u8(writer, message->body.scan.at_primary);
        bytes_write_u64(writer, message->body.scan.min_index);
        bytes_write_u64(writer, message->body.scan.cursor);
        bytes_write_u32(writer, message->body.scan.limit);
        message_write_view(writer, message->body.scan.prefix);
        break;
    case MESSAGE_PROMOTE:
        bytes_write_u64(writer, message->body.promote.request);
        bytes_write_u8(writer, message->body.promote.force);
        message_write_view(writer, message->body.promote.name);
        break;
    default:
        KV_CHECK(message->type == MESSAGE_STATUS || message->type == MESSAGE_LOCATE);
        bytes_write_u64(writer, message->body.request.request);
        break;
    }
}

static void message_encode_status_result(const struct message *message, struct bytes_writer *writer)
{
    KV_CHECK(message->body.status_result.counters_len <= COUNTERS_MAX);
    bytes_write_u64(writer, message->body.status_result.request);
    bytes_write_u8(writer, message->body.status_result.role);
    bytes_write_u8(writer, message->body.status_result.persist_state);
    message_write_position(writer, message->body.status_result.position);
    bytes_write_u64(writer, message->body.status_result.durable_index);
    bytes_write_u64(writer, message->body.status_result.committed_index);
    bytes_write_u64(writer, message->body.status_result.keys);
    bytes_write_u64(writer, message->body.status_result.digest);
    message_write_view(writer, message->body.status_result.name);
    message_write_view(writer,
                       message_cut(message->body.status_result.persist_plugin, NODE_NAME_MAX));
    message_write_view(writer, message_cut(message->body.status_result.persist_error, TEXT_MAX));
    bytes_write_u32(writer, message->body.status_result.counters_len);
    for (uint32_t i = 0; i < message->body.status_result.counters_len; i++) {
        const struct message_counter *counter = &message->body.status_result.counters[i];
        message_write_view(writer, message_cut(counter->name, NODE_NAME_MAX));
        bytes_write_u64(writer, counter->value);
    }
}

static void message_encode_answer(const struct message *message, struct bytes_writer *writer)
{
    switch (message->type) {
    case MESSAGE_OPERATION_ACK:
        bytes_write_u64(writer, message->body.operation_ack.request);
        message_write_position(writer, message->body.operation_ack.position);
        break;
    case MESSAGE_OPERATION_FAILED:
        bytes_write_u64(writer, message->body.operation_failed.request);
        bytes_write_u8(writer, message->body.operation_failed.reason);
        message_write_view(writer, message_cut(message->body.operation_failed.text, TEXT_MAX));
        break;
    case MESSAGE_OPERATION_REJECTED:
        bytes_write_u64(writer, message->body.operation_rejected.request);
        bytes_write_u8(writer, message->body.operation_rejected.reason);
        bytes_write_u32(writer, message->body.operation_rejected.retry_after_ms);
        message_write_view(writer, message_cut(message->body.operation_rejected.text, TEXT_MAX));
        break;
    case MESSAGE_GET_RESULT:
        bytes_write_u64(writer, message->body.get_result.request);
        bytes_write_u8(writer, message->body.get_result.found);
        message_write_position(writer, message->body.get_result.position);
        message_write_view(writer, message->body.get_result.value);
        break;
    case MESSAGE_SCAN_RESULT:
        bytes_write_u64(writer, message->body.scan_result.request);
        bytes_write_u8(writer, message->body.scan_result.end);
        bytes_write_u64(writer, message->body.scan_result.next);
        bytes_write_u32(writer, message->body.scan_result.count);
        bytes_write(writer, message->body.scan_result.records.at,
                    message->body.scan_result.records.len);
        break;
    case MESSAGE_STATUS_RESULT:
        message_encode_status_result(message, writer);
        break;
    case MESSAGE_LOCATED:
        bytes_write_u64(writer, message->body.located.request);
        message_write_view(writer, message->body.located.view);
        break;
    default:
        KV_CHECK(message->type == MESSAGE_UNSUPPORTED);
        bytes_write_u8(writer, message->body.unsupported.version);
        break;
    }
}

size_t message_encode(const struct message *message, uint8_t *at, size_t capacity)
{
    struct bytes_writer writer = bytes_writer_init(at, capacity);
    uint8_t *header = bytes_write_room(&writer, MESSAGE_HEADER_BYTES);
    KV_CHECK(header != NULL);
    header[0] = 'K';
    header[1] = 'V';
    header[2] = MESSAGE_VERSION;
    header[3] = message->type;
    bytes_put_u64(header + 4, message->cluster);
    bytes_put_u64(header + 12, message->view);
    bytes_put_u64(header + 20, message->sender);
    if (message->type == MESSAGE_SNAPSHOT) {
        message_encode_snapshot(message, &writer);
    } else if (message->type == MESSAGE_SNAPSHOT_ACK) {
        message_encode_snapshot_ack(message, &writer);
    } else if (message->type < MESSAGE_SNAPSHOT) {
        message_encode_membership(message, &writer);
    } else if (message->type < MESSAGE_INSERT) {
        message_encode_catch_up(message, &writer);
    } else if (message->type < MESSAGE_OPERATION_ACK) {
        message_encode_request(message, &writer);
    } else {
        message_encode_answer(message, &writer);
    }
    KV_CHECK(!writer.failed);
    return writer.len;
}
