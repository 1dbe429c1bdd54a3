#include "samples.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/check.h"
#include "logic/node.h"
#include "logic/record.h"
#include "samples_datagram.h"

#include <stdio.h>
#include <string.h>

static struct bytes_view sample_text(const char *text)
{
    struct bytes_view view = {(const uint8_t *)text, strlen(text)};
    return view;
}

void sample_view(struct view *view, uint32_t members_len)
{
    memset(view, 0, sizeof(*view));
    view->number = 7;
    view->cluster = 0x1122334455667788ull;
    view->primary = 101;
    view->forced = 4;
    view->ack = ACK_DURABLE;
    view->arbiter_uris_len = 2;
    for (uint32_t i = 0; i < view->arbiter_uris_len; i++) {
        snprintf(view->arbiter_uris[i], sizeof(view->arbiter_uris[i]), "tcp://127.0.0.1:%u",
                 7300 + i);
    }
    view->members_len = members_len;
    for (uint32_t i = 0; i < members_len; i++) {
        struct member *member = &view->members[i];
        bool candidate = i > 0 && i + 1 == members_len;
        member->node = 101 + i;
        member->starts = 3 + i;
        member->incarnation = 0xa000 + i;
        member->joined = i % 7 + 1;
        member->state = candidate ? MEMBER_CANDIDATE : MEMBER_IN_SYNC;
        member->uris_len = (uint8_t)(i % URIS_MAX + 1);
        snprintf(member->name, sizeof(member->name), "n-%u_x.y", i + 1);
        for (uint32_t j = 0; j < member->uris_len; j++) {
            snprintf(member->uris[j], sizeof(member->uris[j]), "tcp://127.0.0.1:%u", 7400 + i + j);
        }
    }
}

/* --- records --- */

static void sample_append(struct buffer *buffer, const struct kv_record *record)
{
    record_encode(record, buffer_room(buffer, record_size(record)));
}

static void sample_insert(struct buffer *buffer, const char *key, const char *value, uint64_t index)
{
    struct kv_record record = {.key = key,
                               .value = value,
                               .key_len = (uint32_t)strlen(key),
                               .value_len = (uint32_t)strlen(value),
                               .kind = KV_RECORD_INSERT,
                               .position = {3, index},
                               .client = 0xc11e47,
                               .request = 40 + index};
    sample_append(buffer, &record);
}

static void sample_remove(struct buffer *buffer, const char *key, uint64_t index)
{
    struct kv_record record = {.key = key,
                               .key_len = (uint32_t)strlen(key),
                               .kind = KV_RECORD_REMOVE,
                               .position = {3, index}};
    sample_append(buffer, &record);
}

enum sample_records { RECORDS_NONE, RECORDS_INSERT, RECORDS_REMOVE, RECORDS_EMPTY, RECORDS_MIXED };

static uint32_t sample_records(struct buffer *buffer, enum sample_records kind)
{
    switch (kind) {
    case RECORDS_NONE:
        return 0;
    case RECORDS_INSERT:
        sample_insert(buffer, "key", "value", 9);
        return 1;
    case RECORDS_REMOVE:
        sample_remove(buffer, "gone", 10);
        return 1;
    case RECORDS_EMPTY:
        sample_insert(buffer, "", "", 11);
        sample_remove(buffer, "", 12);
        return 2;
    default:
        sample_insert(buffer, "a", "first", 13);
        sample_remove(buffer, "b", 14);
        sample_insert(buffer, "c", "", 15);
        return 3;
    }
}

/* --- messages --- */

struct sample_parts {
    struct buffer records;
    uint8_t *view;
    size_t view_len;
};

static struct bytes_view sample_view_bytes(struct sample_parts *parts, uint32_t members_len)
{
    struct view *view = alloc_bytes(sizeof(*view));
    sample_view(view, members_len);
    parts->view = alloc_bytes(VIEW_BYTES_MAX);
    struct bytes_writer writer = bytes_writer_init(parts->view, VIEW_BYTES_MAX);
    view_encode(view, &writer);
    KV_CHECK(!writer.failed);
    alloc_free(view);
    parts->view_len = writer.len;
    struct bytes_view bytes = {parts->view, writer.len};
    return bytes;
}

static void sample_join(struct message *message)
{
    message->body.join.incarnation = 77;
    message->body.join.starts = 4;
    message->body.join.ack = ACK_DURABLE;
    message->body.join.durable.view = 2;
    message->body.join.durable.index = 500;
    message->body.join.name = sample_text("node-1");
    message->body.join.uris_len = 2;
    message->body.join.uris[0] = sample_text("tcp://127.0.0.1:7401");
    message->body.join.uris[1] = sample_text("udp://127.0.0.1:7402");
}

static void sample_membership(struct message *message, struct sample_parts *parts)
{
    switch (message->type) {
    case MESSAGE_JOIN:
        sample_join(message);
        break;
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        message->body.joined.incarnation = 77;
        message->body.joined.view = sample_view_bytes(parts, 3);
        break;
    case MESSAGE_JOIN_REJECTED:
        message->body.join_rejected.incarnation = 77;
        message->body.join_rejected.reason = REJECT_NAME_IN_USE;
        message->body.join_rejected.retry = 1;
        message->body.join_rejected.text = sample_text("n1 is already here");
        break;
    case MESSAGE_REPLICAS:
        message->body.replicas.view = sample_view_bytes(parts, 2);
        break;
    case MESSAGE_LEAVE:
        message->body.leave.request = 12;
        message->body.leave.name = sample_text("n2");
        break;
    case MESSAGE_HEARTBEAT:
        message->body.heartbeat.incarnation = 77;
        message->body.heartbeat.last = (struct kv_position){3, 1001};
        message->body.heartbeat.durable_index = 1000;
        message->body.heartbeat.committed_index = 990;
        message->body.heartbeat.asks = 1;
        break;
    default:
        message->body.member.node = 102;
        message->body.member.joined = 6;
        break;
    }
}

/* variant: kind of a Snapshot; 0: a BEGIN of a member that has to fetch. */
static void sample_snapshot(struct message *message, struct sample_parts *parts, int variant)
{
    uint8_t kind = variant == 0 ? SNAPSHOT_BEGIN : (uint8_t)variant;
    bool numbered = kind != SNAPSHOT_COMMIT && kind != SNAPSHOT_PROBE;
    message->body.snapshot.session = 6;
    message->body.snapshot.seq = numbered ? 20 + (uint64_t)variant : 0;
    message->body.snapshot.committed = 400;
    message->body.snapshot.refusals = 2;
    message->body.snapshot.sent_ms = 123456;
    message->body.snapshot.kind = kind;
    if (kind == SNAPSHOT_BEGIN) {
        message->body.snapshot.tail = variant == 0 ? TAIL_NONE : TAIL_FOLLOWS;
        message->body.snapshot.base = variant == 0 ? 350 : 0;
        message->body.snapshot.as_of = (struct kv_position){3, 399};
        message->body.snapshot.last = 410;
    }
    message->body.snapshot.count =
        sample_records(&parts->records, kind == SNAPSHOT_RECORDS ? RECORDS_MIXED : RECORDS_NONE);
    message->body.snapshot.records.at = parts->records.bytes;
    message->body.snapshot.records.len = parts->records.len;
}

static void sample_snapshot_ack(struct message *message, struct sample_parts *parts, int variant)
{
    message->body.snapshot_ack.session = 6;
    message->body.snapshot_ack.received = 25;
    message->body.snapshot_ack.durable = 21;
    message->body.snapshot_ack.heard_ms = 123400;
    message->body.snapshot_ack.complete = 1;
    message->body.snapshot_ack.refusals_first = variant == 0 ? 0 : 2;
    message->body.snapshot_ack.refusals_len = variant == 0 ? 0 : 2;
    for (uint32_t i = 0; i < message->body.snapshot_ack.refusals_len; i++) {
        struct message_refusal refusal = {400 + i, sample_text(i == 0 ? "too long" : "")};
        size_t size = message_refusal_size(&refusal);
        struct bytes_writer writer = bytes_writer_init(buffer_room(&parts->records, size), size);
        message_write_refusal(&writer, &refusal);
    }
    message->body.snapshot_ack.refusals.at = parts->records.bytes;
    message->body.snapshot_ack.refusals.len = parts->records.len;
}

/* variant 0: content; 1: digests of four parts, and what is new in them. */
static void sample_fetched(struct message *message, struct sample_parts *parts, int variant)
{
    static const uint8_t digests[4 * 8] = {1, 2, 3, 4};
    message->body.fetched.request = 31;
    message->body.fetched.as_of = (struct kv_position){3, 400};
    message->body.fetched.low = 1ull << 60;
    message->body.fetched.high = (1ull << 61) - 1;
    if (variant != 0) {
        message->body.fetched.digests_len = 4;
        message->body.fetched.digests.at = digests;
        message->body.fetched.digests.len = sizeof(digests);
    }
    message->body.fetched.count = sample_records(&parts->records, RECORDS_INSERT);
    message->body.fetched.records.at = parts->records.bytes;
    message->body.fetched.records.len = parts->records.len;
}

static void sample_replication(struct message *message, struct sample_parts *parts, int variant)
{
    switch (message->type) {
    case MESSAGE_SNAPSHOT:
        sample_snapshot(message, parts, variant);
        break;
    case MESSAGE_SNAPSHOT_ACK:
        sample_snapshot_ack(message, parts, variant);
        break;
    case MESSAGE_RESUME:
        message->body.resume.session = 6;
        message->body.resume.committed = (struct kv_position){2, 390};
        message->body.resume.last = (struct kv_position){3, 405};
        message->body.resume.complete = variant == 0 ? 1 : 0;
        break;
    case MESSAGE_FETCH:
        message->body.fetch.request = 31;
        message->body.fetch.min_index = 399;
        message->body.fetch.base = variant == 0 ? UINT64_MAX : 350;
        message->body.fetch.low = 1ull << 60;
        message->body.fetch.high = (1ull << 61) - 1;
        message->body.fetch.parts = variant == 0 ? 0 : 16;
        break;
    default:
        sample_fetched(message, parts, variant);
        break;
    }
}

static void sample_request(struct message *message, int variant)
{
    switch (message->type) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
    case MESSAGE_GET:
        message->body.operation.request = 1234;
        message->body.operation.deadline_ms = 1000;
        message->body.operation.at_primary = message->type == MESSAGE_GET ? 1 : 0;
        message->body.operation.min_index = message->type == MESSAGE_GET ? 88 : 0;
        message->body.operation.key = sample_text(variant == 0 ? "key" : "");
        message->body.operation.value =
            sample_text(message->type == MESSAGE_INSERT && variant == 0 ? "value" : "");
        break;
    case MESSAGE_SCAN:
        message->body.scan.request = 1235;
        message->body.scan.deadline_ms = 500;
        message->body.scan.at_primary = variant == 0 ? 1 : 0;
        message->body.scan.min_index = 89;
        message->body.scan.cursor = 1ull << 40;
        message->body.scan.limit = 100;
        message->body.scan.prefix = sample_text(variant == 0 ? "user/" : "");
        break;
    case MESSAGE_PROMOTE:
        message->body.promote.request = 1238;
        message->body.promote.force = (uint8_t)variant;
        message->body.promote.name = sample_text("n2");
        break;
    default:
        message->body.request.request = 1236;
        break;
    }
}

static void sample_status_result(struct message *message)
{
    message->body.status_result.request = 1236;
    message->body.status_result.role = ROLE_SECONDARY;
    message->body.status_result.persist_state = PERSIST_RETRYING;
    message->body.status_result.position.view = 3;
    message->body.status_result.position.index = 1001;
    message->body.status_result.durable_index = 1000;
    message->body.status_result.committed_index = 990;
    message->body.status_result.keys = 10;
    message->body.status_result.digest = 0xd16e57;
    message->body.status_result.name = sample_text("n2");
    message->body.status_result.persist_plugin = sample_text("persist-file");
    message->body.status_result.persist_error = sample_text("no space left on device");
    message->body.status_result.counters_len = 2;
    message->body.status_result.counters[0].name = sample_text("messages_malformed");
    message->body.status_result.counters[0].value = 1;
    message->body.status_result.counters[1].name = sample_text("reads_answered");
    message->body.status_result.counters[1].value = UINT64_MAX;
}

static void sample_answer(struct message *message, struct sample_parts *parts, int variant)
{
    switch (message->type) {
    case MESSAGE_OPERATION_ACK:
        message->body.operation_ack.request = 1234;
        message->body.operation_ack.position.view = 3;
        message->body.operation_ack.position.index = 1001;
        break;
    case MESSAGE_OPERATION_FAILED:
        message->body.operation_failed.request = 1234;
        message->body.operation_failed.reason = variant == 0 ? FAIL_TIMEOUT : FAIL_REFUSED;
        message->body.operation_failed.text = sample_text(variant == 0 ? "" : "CHECK failed");
        break;
    case MESSAGE_OPERATION_REJECTED:
        message->body.operation_rejected.request = 1234;
        message->body.operation_rejected.reason = REJECT_OVERLOADED;
        message->body.operation_rejected.retry_after_ms = 50;
        message->body.operation_rejected.text = sample_text("no space left on device");
        break;
    case MESSAGE_GET_RESULT:
        message->body.get_result.request = 1234;
        message->body.get_result.found = variant == 0;
        message->body.get_result.position.view = 3;
        message->body.get_result.position.index = 99;
        message->body.get_result.value = sample_text(variant == 0 ? "value" : "");
        break;
    case MESSAGE_SCAN_RESULT:
        message->body.scan_result.request = 1235;
        message->body.scan_result.end = variant != 0;
        message->body.scan_result.next = variant == 0 ? 1ull << 41 : 0;
        message->body.scan_result.count =
            sample_records(&parts->records, variant == 0 ? RECORDS_INSERT : RECORDS_NONE);
        message->body.scan_result.records.at = parts->records.bytes;
        message->body.scan_result.records.len = parts->records.len;
        break;
    case MESSAGE_STATUS_RESULT:
        sample_status_result(message);
        break;
    case MESSAGE_LOCATED:
        message->body.located.request = 1237;
        message->body.located.view = sample_view_bytes(parts, 1);
        break;
    default:
        message->body.unsupported.version = 9;
        break;
    }
}

static void sample_message(struct sample *sample, uint8_t type, int variant)
{
    struct sample_parts parts = {.view = NULL};
    buffer_init(&parts.records);
    struct message *message = alloc_zeroed(1, sizeof(*message));
    message->type = type;
    message->cluster = 0x1122334455667788ull;
    message->view = 7;
    message->sender = 101;
    if (type < MESSAGE_SNAPSHOT) {
        sample_membership(message, &parts);
    } else if (type < MESSAGE_INSERT) {
        sample_replication(message, &parts, variant);
    } else if (type < MESSAGE_OPERATION_ACK) {
        sample_request(message, variant);
    } else {
        sample_answer(message, &parts, variant);
    }
    sample->len = message_size(message);
    sample->bytes = alloc_bytes(sample->len);
    KV_CHECK(message_encode(message, sample->bytes, sample->len) == sample->len);
    alloc_free(message);
    alloc_free(parts.view);
    buffer_close(&parts.records);
}

/* --- the table --- */

struct sample_row {
    const char *folder;
    const char *name;
    uint8_t type; /* of a message; members of a view */
    int variant;  /* kind of a Snapshot, enum sample_records, or 0: ordinary, 1: empty */
};

static const struct sample_row sample_rows[] = {
    {"message", "join", MESSAGE_JOIN, 0},
    {"message", "joined-primary", MESSAGE_JOINED_PRIMARY, 0},
    {"message", "joined-secondary", MESSAGE_JOINED_SECONDARY, 0},
    {"message", "join-rejected", MESSAGE_JOIN_REJECTED, 0},
    {"message", "replicas", MESSAGE_REPLICAS, 0},
    {"message", "leave", MESSAGE_LEAVE, 0},
    {"message", "heartbeat", MESSAGE_HEARTBEAT, 0},
    {"message", "caught-up", MESSAGE_CAUGHT_UP, 0},
    {"message", "suspect", MESSAGE_SUSPECT, 0},
    {"message", "handover", MESSAGE_HANDOVER, 0},
    {"message", "snapshot-begin", MESSAGE_SNAPSHOT, SNAPSHOT_BEGIN},
    {"message", "snapshot-records", MESSAGE_SNAPSHOT, SNAPSHOT_RECORDS},
    {"message", "snapshot-begin-fetch", MESSAGE_SNAPSHOT, 0},
    {"message", "snapshot-commit", MESSAGE_SNAPSHOT, SNAPSHOT_COMMIT},
    {"message", "snapshot-probe", MESSAGE_SNAPSHOT, SNAPSHOT_PROBE},
    {"message", "snapshot-ack", MESSAGE_SNAPSHOT_ACK, 0},
    {"message", "snapshot-ack-refusals", MESSAGE_SNAPSHOT_ACK, 1},
    {"message", "resume", MESSAGE_RESUME, 0},
    {"message", "resume-incomplete", MESSAGE_RESUME, 1},
    {"message", "fetch", MESSAGE_FETCH, 0},
    {"message", "fetch-digests", MESSAGE_FETCH, 1},
    {"message", "fetched", MESSAGE_FETCHED, 0},
    {"message", "fetched-digests", MESSAGE_FETCHED, 1},
    {"message", "insert", MESSAGE_INSERT, 0},
    {"message", "insert-empty", MESSAGE_INSERT, 1},
    {"message", "remove", MESSAGE_REMOVE, 0},
    {"message", "get", MESSAGE_GET, 0},
    {"message", "scan", MESSAGE_SCAN, 0},
    {"message", "scan-all", MESSAGE_SCAN, 1},
    {"message", "status", MESSAGE_STATUS, 0},
    {"message", "locate", MESSAGE_LOCATE, 0},
    {"message", "promote", MESSAGE_PROMOTE, 0},
    {"message", "promote-force", MESSAGE_PROMOTE, 1},
    {"message", "operation-ack", MESSAGE_OPERATION_ACK, 0},
    {"message", "operation-failed", MESSAGE_OPERATION_FAILED, 0},
    {"message", "operation-failed-refused", MESSAGE_OPERATION_FAILED, 1},
    {"message", "operation-rejected", MESSAGE_OPERATION_REJECTED, 0},
    {"message", "get-result", MESSAGE_GET_RESULT, 0},
    {"message", "get-result-none", MESSAGE_GET_RESULT, 1},
    {"message", "scan-result", MESSAGE_SCAN_RESULT, 0},
    {"message", "scan-result-none", MESSAGE_SCAN_RESULT, 1},
    {"message", "status-result", MESSAGE_STATUS_RESULT, 0},
    {"message", "located", MESSAGE_LOCATED, 0},
    {"message", "unsupported", MESSAGE_UNSUPPORTED, 0},
    {"view", "one", 1, 0},
    {"view", "three", 3, 0},
    {"view", "five", 5, 0},
    {"record", "insert", 0, RECORDS_INSERT},
    {"record", "remove", 0, RECORDS_REMOVE},
    {"record", "empty", 0, RECORDS_EMPTY},
    {"record", "mixed", 0, RECORDS_MIXED},
};

static const size_t sample_rows_len = sizeof(sample_rows) / sizeof(sample_rows[0]);

size_t samples_len(void)
{
    return sample_rows_len + samples_datagram_len();
}

struct sample sample_make(size_t i)
{
    KV_CHECK(i < samples_len());
    if (i >= sample_rows_len) {
        struct sample sample = {"datagram", NULL, NULL, 0};
        sample.name = samples_datagram_make(i - sample_rows_len, &sample.bytes, &sample.len);
        return sample;
    }
    const struct sample_row *row = &sample_rows[i];
    struct sample sample = {row->folder, row->name, NULL, 0};
    if (strcmp(row->folder, "message") == 0) {
        sample_message(&sample, row->type, row->variant);
    } else if (strcmp(row->folder, "view") == 0) {
        struct sample_parts parts;
        sample_view_bytes(&parts, row->type);
        sample.bytes = parts.view;
        sample.len = parts.view_len;
    } else {
        struct buffer records;
        buffer_init(&records);
        sample_records(&records, (enum sample_records)row->variant);
        sample.bytes = buffer_take(&records, &sample.len);
    }
    return sample;
}
