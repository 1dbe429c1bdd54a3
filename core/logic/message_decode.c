/*
 * Reading messages: one row of cases for each group of types, in the order of enum message_type, as
 * message.c writes them.
 *
 * Happy path: the header, the body's members in their order, then nothing left over. Whatever does
 * not fit is KV_E_MALFORMED; the reader of bytes.h remembers a length that runs beyond the end, so
 * only ranges are checked here.
 */
#include "logic/message.h"

#include "logic/node.h"
#include "logic/record.h"

#include <kvnode/status.h>

static struct kv_position message_read_position(struct bytes_reader *reader)
{
    struct kv_position position;
    position.view = bytes_read_u64(reader);
    position.index = bytes_read_u64(reader);
    return position;
}

/* A value that must be in [first, last]. */
static uint8_t message_read_range(struct bytes_reader *reader, uint8_t first, uint8_t last)
{
    uint8_t value = bytes_read_u8(reader);
    if (value < first || value > last) {
        reader->failed = true;
    }
    return value;
}

static struct bytes_view message_read_text(struct bytes_reader *reader, size_t len_max)
{
    struct bytes_view text = bytes_read_view(reader);
    if (text.len > len_max) {
        reader->failed = true;
    }
    return text;
}

static struct bytes_view message_read_name(struct bytes_reader *reader)
{
    struct bytes_view name = bytes_read_view(reader);
    if (!reader->failed && !view_name_valid((const char *)name.at, name.len)) {
        reader->failed = true;
    }
    return name;
}

/* Everything that is left must be exactly count whole records. */
static struct bytes_view message_read_records(struct bytes_reader *reader, uint32_t count,
                                              bool insertions_only)
{
    struct bytes_view records = {reader->at, reader->left};
    struct kv_record record;
    while (count > 0 && record_decode(reader, &record)) {
        if (insertions_only && record.kind != KV_RECORD_INSERT) {
            reader->failed = true;
        }
        count--;
    }
    return records;
}

static void message_decode_join(struct bytes_reader *reader, struct message *message)
{
    message->body.join.incarnation = bytes_read_u64(reader);
    message->body.join.starts = bytes_read_u64(reader);
    message->body.join.ack = message_read_range(reader, ACK_DURABLE, ACK_LOCAL);
    message->body.join.durable = message_read_position(reader);
    message->body.join.name = message_read_name(reader);
    uint32_t uris_len = message_read_range(reader, 1, URIS_MAX);
    message->body.join.uris_len = uris_len;
    for (uint32_t i = 0; i < uris_len && !reader->failed; i++) {
        struct bytes_view uri = bytes_read_view(reader);
        if (!reader->failed && !view_uri_valid((const char *)uri.at, uri.len)) {
            reader->failed = true;
        }
        message->body.join.uris[i] = uri;
    }
}

static void message_decode_membership(struct bytes_reader *reader, struct message *message)
{
    switch (message->type) {
    case MESSAGE_JOIN:
        message_decode_join(reader, message);
        break;
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        message->body.joined.incarnation = bytes_read_u64(reader);
        message->body.joined.view = bytes_read_view(reader);
        break;
    case MESSAGE_JOIN_REJECTED:
        message->body.join_rejected.incarnation = bytes_read_u64(reader);
        message->body.join_rejected.reason = message_read_range(reader, 1, REJECT_LAST);
        message->body.join_rejected.retry = message_read_range(reader, 0, 1);
        message->body.join_rejected.text = message_read_text(reader, TEXT_MAX);
        break;
    case MESSAGE_REPLICAS:
        message->body.replicas.view = bytes_read_view(reader);
        break;
    case MESSAGE_LEAVE:
        message->body.leave.request = bytes_read_u64(reader);
        message->body.leave.incarnation = bytes_read_u64(reader);
        message->body.leave.name = message_read_name(reader);
        break;
    case MESSAGE_HEARTBEAT:
        message->body.heartbeat.incarnation = bytes_read_u64(reader);
        message->body.heartbeat.last = message_read_position(reader);
        message->body.heartbeat.durable_index = bytes_read_u64(reader);
        message->body.heartbeat.committed_index = bytes_read_u64(reader);
        message->body.heartbeat.asks = message_read_range(reader, 0, 1);
        break;
    case MESSAGE_CAUGHT_UP:
    case MESSAGE_SUSPECT:
    case MESSAGE_HANDOVER:
        message->body.member.node = bytes_read_u64(reader);
        message->body.member.joined = bytes_read_u64(reader);
        break;
    default:
        reader->failed = true;
        break;
    }
}

static void message_decode_snapshot(struct bytes_reader *reader, struct message *message)
{
    uint64_t seq;
    message->body.snapshot.session = bytes_read_u64(reader);
    message->body.snapshot.seq = seq = bytes_read_u64(reader);
    message->body.snapshot.committed = bytes_read_u64(reader);
    message->body.snapshot.refusals = bytes_read_u64(reader);
    message->body.snapshot.sent_ms = bytes_read_u64(reader);
    uint8_t kind = message_read_range(reader, SNAPSHOT_BEGIN, SNAPSHOT_PROBE);
    message->body.snapshot.kind = kind;
    uint8_t tail = message_read_range(reader, TAIL_NONE, TAIL_COMPARE);
    message->body.snapshot.tail = tail;
    message->body.snapshot.as_of = message_read_position(reader);
    uint64_t base = bytes_read_u64(reader);
    message->body.snapshot.base = base;
    uint64_t last = bytes_read_u64(reader);
    message->body.snapshot.last = last;
    uint32_t count = bytes_read_u32(reader);
    message->body.snapshot.count = count;
    bool numbered = kind != SNAPSHOT_COMMIT && kind != SNAPSHOT_PROBE;
    if ((!numbered && seq != 0) || (kind != SNAPSHOT_RECORDS && count != 0) ||
        (kind != SNAPSHOT_BEGIN && (tail != 0 || base != 0 || last != 0)) ||
        (tail != 0 && base != 0)) {
        reader->failed = true;
    }
    message->body.snapshot.records = message_read_records(reader, count, false);
}

static void message_decode_snapshot_ack(struct bytes_reader *reader, struct message *message)
{
    message->body.snapshot_ack.session = bytes_read_u64(reader);
    message->body.snapshot_ack.received = bytes_read_u64(reader);
    message->body.snapshot_ack.durable = bytes_read_u64(reader);
    if (message->body.snapshot_ack.received < message->body.snapshot_ack.durable) {
        reader->failed = true;
    }
    message->body.snapshot_ack.heard_ms = bytes_read_u64(reader);
    message->body.snapshot_ack.complete = message_read_range(reader, 0, 1);
    message->body.snapshot_ack.refusals_first = bytes_read_u64(reader);
    uint32_t count = bytes_read_u32(reader);
    message->body.snapshot_ack.refusals_len = count;
    message->body.snapshot_ack.refusals.at = reader->at;
    message->body.snapshot_ack.refusals.len = reader->left;
    if (count > ACK_REFUSALS_MAX) {
        reader->failed = true;
    }
    struct message_refusal refusal;
    while (count > 0 && message_read_refusal(reader, &refusal)) {
        count--;
    }
}

/* Digests are of equal parts: a power of two of them, of a range that can be cut so. */
static bool message_parts_fit(uint64_t low, uint64_t high, uint32_t parts)
{
    uint64_t last = high - low; /* one less than the size of the range */
    bool is_power = parts != 0 && (parts & (parts - 1)) == 0;
    return is_power && parts <= FETCH_PARTS_MAX && (last & (last + 1)) == 0 && (low & last) == 0 &&
           last >= parts - 1;
}

static void message_decode_fetch(struct bytes_reader *reader, struct message *message)
{
    message->body.fetch.request = bytes_read_u64(reader);
    message->body.fetch.min_index = bytes_read_u64(reader);
    message->body.fetch.base = bytes_read_u64(reader);
    uint64_t low = message->body.fetch.low = bytes_read_u64(reader);
    uint64_t high = message->body.fetch.high = bytes_read_u64(reader);
    uint32_t parts = message->body.fetch.parts = bytes_read_u32(reader);
    if (low > high || (parts != 0 && !message_parts_fit(low, high, parts))) {
        reader->failed = true;
    }
}

static void message_decode_fetched(struct bytes_reader *reader, struct message *message)
{
    message->body.fetched.request = bytes_read_u64(reader);
    message->body.fetched.as_of = message_read_position(reader);
    message->body.fetched.low = bytes_read_u64(reader);
    message->body.fetched.high = bytes_read_u64(reader);
    uint32_t digests_len = bytes_read_u32(reader);
    if (digests_len > FETCH_PARTS_MAX || message->body.fetched.low > message->body.fetched.high) {
        reader->failed = true;
        return;
    }
    message->body.fetched.digests_len = digests_len;
    message->body.fetched.digests.len = 8ull * digests_len;
    message->body.fetched.digests.at = bytes_read(reader, 8ull * digests_len);
    message->body.fetched.count = bytes_read_u32(reader);
    message->body.fetched.records = message_read_records(reader, message->body.fetched.count, true);
}

static void message_decode_catch_up(struct bytes_reader *reader, struct message *message)
{
    switch (message->type) {
    case MESSAGE_RESUME:
        message->body.resume.session = bytes_read_u64(reader);
        message->body.resume.committed = message_read_position(reader);
        message->body.resume.last = message_read_position(reader);
        message->body.resume.complete = message_read_range(reader, 0, 1);
        if (message->body.resume.committed.index > message->body.resume.last.index) {
            reader->failed = true;
        }
        break;
    case MESSAGE_FETCH:
        message_decode_fetch(reader, message);
        break;
    case MESSAGE_FETCHED:
        message_decode_fetched(reader, message);
        break;
    default:
        reader->failed = true;
        break;
    }
}

static void message_decode_operation(struct bytes_reader *reader, struct message *message)
{
    static const struct bytes_view none = {NULL, 0};
    message->body.operation.request = bytes_read_u64(reader);
    message->body.operation.deadline_ms = bytes_read_u32(reader);
    bool is_get = message->type == MESSAGE_GET;
    message->body.operation.at_primary = is_get ? message_read_range(reader, 0, 1) : 0;
    message->body.operation.min_index = is_get ? bytes_read_u64(reader) : 0;
    message->body.operation.key = bytes_read_view(reader);
    message->body.operation.value =
        message->type == MESSAGE_INSERT ? bytes_read_view(reader) : none;
}

static void message_decode_request(struct bytes_reader *reader, struct message *message)
{
    switch (message->type) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
    case MESSAGE_GET:
        message_decode_operation(reader, message);
        break;
    case MESSAGE_SCAN:
        message->body.scan.request = bytes_read_u64(reader);
        message->body.scan.deadline_ms = bytes_read_u32(reader);
        message->body.scan.at_primary = message_read_range(reader, 0, 1);
        message->body.scan.min_index = bytes_read_u64(reader);
        message->body.scan.cursor = bytes_read_u64(reader);
        message->body.scan.limit = bytes_read_u32(reader);
        message->body.scan.prefix = bytes_read_view(reader);
        break;
    case MESSAGE_STATUS:
    case MESSAGE_LOCATE:
        message->body.request.request = bytes_read_u64(reader);
        break;
    case MESSAGE_PROMOTE:
        message->body.promote.request = bytes_read_u64(reader);
        message->body.promote.force = message_read_range(reader, 0, 1);
        message->body.promote.name = message_read_name(reader);
        break;
    default:
        reader->failed = true;
        break;
    }
}

static void message_decode_status_result(struct bytes_reader *reader, struct message *message)
{
    message->body.status_result.request = bytes_read_u64(reader);
    message->body.status_result.role = message_read_range(reader, ROLE_JOINING, ROLE_ARBITER);
    message->body.status_result.persist_state =
        message_read_range(reader, PERSIST_LOADING, PERSIST_REFUSING);
    message->body.status_result.position = message_read_position(reader);
    message->body.status_result.durable_index = bytes_read_u64(reader);
    message->body.status_result.committed_index = bytes_read_u64(reader);
    message->body.status_result.keys = bytes_read_u64(reader);
    message->body.status_result.digest = bytes_read_u64(reader);
    message->body.status_result.name = message_read_name(reader);
    message->body.status_result.persist_plugin = message_read_text(reader, NODE_NAME_MAX);
    message->body.status_result.persist_error = message_read_text(reader, TEXT_MAX);
    uint32_t counters_len = bytes_read_u32(reader);
    if (counters_len > COUNTERS_MAX) {
        reader->failed = true;
    }
    message->body.status_result.counters_len = counters_len;
    for (uint32_t i = 0; i < counters_len && !reader->failed; i++) {
        message->body.status_result.counters[i].name = message_read_text(reader, NODE_NAME_MAX);
        message->body.status_result.counters[i].value = bytes_read_u64(reader);
    }
}

static void message_decode_get_result(struct bytes_reader *reader, struct message *message)
{
    message->body.get_result.request = bytes_read_u64(reader);
    message->body.get_result.found = message_read_range(reader, 0, 1);
    message->body.get_result.position = message_read_position(reader);
    message->body.get_result.value = bytes_read_view(reader);
    if (message->body.get_result.found == 0 && message->body.get_result.value.len != 0) {
        reader->failed = true;
    }
}

static void message_decode_scan_result(struct bytes_reader *reader, struct message *message)
{
    message->body.scan_result.request = bytes_read_u64(reader);
    message->body.scan_result.end = message_read_range(reader, 0, 1);
    message->body.scan_result.next = bytes_read_u64(reader);
    message->body.scan_result.count = bytes_read_u32(reader);
    message->body.scan_result.records =
        message_read_records(reader, message->body.scan_result.count, true);
}

static void message_decode_answer(struct bytes_reader *reader, struct message *message)
{
    switch (message->type) {
    case MESSAGE_OPERATION_ACK:
        message->body.operation_ack.request = bytes_read_u64(reader);
        message->body.operation_ack.position = message_read_position(reader);
        break;
    case MESSAGE_OPERATION_FAILED:
        message->body.operation_failed.request = bytes_read_u64(reader);
        message->body.operation_failed.reason =
            message_read_range(reader, FAIL_TIMEOUT, FAIL_REFUSED);
        message->body.operation_failed.text = message_read_text(reader, TEXT_MAX);
        break;
    case MESSAGE_OPERATION_REJECTED:
        message->body.operation_rejected.request = bytes_read_u64(reader);
        message->body.operation_rejected.reason = message_read_range(reader, 1, REJECT_LAST);
        message->body.operation_rejected.retry_after_ms = bytes_read_u32(reader);
        message->body.operation_rejected.text = message_read_text(reader, TEXT_MAX);
        break;
    case MESSAGE_GET_RESULT:
        message_decode_get_result(reader, message);
        break;
    case MESSAGE_SCAN_RESULT:
        message_decode_scan_result(reader, message);
        break;
    case MESSAGE_STATUS_RESULT:
        message_decode_status_result(reader, message);
        break;
    case MESSAGE_LOCATED:
        message->body.located.request = bytes_read_u64(reader);
        message->body.located.view = bytes_read_view(reader);
        break;
    case MESSAGE_UNSUPPORTED:
        message->body.unsupported.version = bytes_read_u8(reader);
        break;
    default:
        reader->failed = true;
        break;
    }
}

/* Members, sessions and acknowledgements are told apart by the node's id, which is never 0; nor is
 * that of a client that updates, since 0 marks the records that a primary makes itself (undo.h). */
static bool message_sender_valid(const struct message *message)
{
    bool from_node = message->type == MESSAGE_JOIN || message->type == MESSAGE_HEARTBEAT ||
                     message->type == MESSAGE_CAUGHT_UP || message->type == MESSAGE_SUSPECT ||
                     message->type == MESSAGE_HANDOVER || message->type == MESSAGE_INSERT ||
                     message->type == MESSAGE_REMOVE ||
                     (message->type >= MESSAGE_SNAPSHOT && message->type < MESSAGE_INSERT);
    return message->sender != 0 || !from_node;
}

int32_t message_decode(const void *bytes, size_t len, struct message *ret_message)
{
    struct bytes_reader reader = bytes_reader_init(bytes, len);
    const uint8_t *header = bytes_read(&reader, MESSAGE_HEADER_BYTES);
    if (header == NULL || header[0] != 'K' || header[1] != 'V') {
        return KV_E_MALFORMED;
    }
    ret_message->version = header[2];
    ret_message->type = header[3];
    ret_message->cluster = bytes_get_u64(header + 4);
    ret_message->view = bytes_get_u64(header + 12);
    ret_message->sender = bytes_get_u64(header + 20);
    if (ret_message->version != MESSAGE_VERSION && ret_message->type != MESSAGE_UNSUPPORTED) {
        return KV_E_VERSION;
    }
    if (ret_message->type == MESSAGE_SNAPSHOT) {
        message_decode_snapshot(&reader, ret_message);
    } else if (ret_message->type == MESSAGE_SNAPSHOT_ACK) {
        message_decode_snapshot_ack(&reader, ret_message);
    } else if (ret_message->type < MESSAGE_SNAPSHOT) {
        message_decode_membership(&reader, ret_message);
    } else if (ret_message->type < MESSAGE_INSERT) {
        message_decode_catch_up(&reader, ret_message);
    } else if (ret_message->type < MESSAGE_OPERATION_ACK) {
        message_decode_request(&reader, ret_message);
    } else {
        message_decode_answer(&reader, ret_message);
    }
    if (reader.failed || reader.left > 0 || !message_sender_valid(ret_message)) {
        return KV_E_MALFORMED;
    }
    return KV_OK;
}
