#include "harness.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/message.h"
#include "logic/record.h"

#include <kvnode/status.h>
#include <string.h>

static uint8_t *harness_copy(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = alloc_bytes(len);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

/* --- view --- */

static void harness_check_view(const struct view *view, const uint8_t *bytes, size_t len)
{
    KV_CHECK(len <= VIEW_BYTES_MAX);
    uint8_t *again = alloc_bytes(len);
    struct bytes_writer writer = bytes_writer_init(again, len);
    view_encode(view, &writer);
    KV_CHECK(!writer.failed && writer.len == len && memcmp(again, bytes, len) == 0);
    alloc_free(again);
    uint32_t in_sync_len = 0;
    for (uint32_t i = 0; i < view->members_len; i++) {
        const struct member *member = &view->members[i];
        KV_CHECK(view_find(view, member->node) == member);
        KV_CHECK(view_find_name(view, member->name) == member);
        KV_CHECK(view_name_valid(member->name, strlen(member->name)));
        in_sync_len += member->state == MEMBER_IN_SYNC ? 1u : 0u;
    }
    KV_CHECK(view_in_sync_len(view) == in_sync_len);
    KV_CHECK(view->primary == 0 || view_find(view, view->primary)->state == MEMBER_IN_SYNC);
}

bool harness_view(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = harness_copy(bytes, len);
    struct view *view = alloc_bytes(sizeof(*view));
    bool accepted = view_decode(copy, len, view) == KV_OK;
    if (accepted) {
        harness_check_view(view, copy, len);
    }
    alloc_free(view);
    alloc_free(copy);
    return accepted;
}

/* --- record --- */

bool harness_record(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = harness_copy(bytes, len);
    struct bytes_reader reader = bytes_reader_init(copy, len);
    while (reader.left > 0) {
        const uint8_t *start = reader.at;
        struct kv_record record;
        if (!record_decode(&reader, &record)) {
            KV_CHECK(reader.failed);
            break;
        }
        size_t size = record_size(&record);
        KV_CHECK(size == (size_t)(reader.at - start));
        uint8_t *again = alloc_bytes(size);
        record_encode(&record, again);
        KV_CHECK(memcmp(again, start, size) == 0);
        alloc_free(again);
    }
    bool accepted = !reader.failed;
    alloc_free(copy);
    return accepted;
}

/* --- message --- */

/* The part of a Snapshot before its records is the same when these are sent as further slices. */
static void harness_check_head(struct message *message, const uint8_t *bytes, size_t len)
{
    size_t records_len = message->body.snapshot.records.len;
    KV_CHECK(records_len < len);
    KV_CHECK(harness_record(message->body.snapshot.records.at, records_len));
    message->body.snapshot.records.at = NULL;
    size_t head_len = message_size(message);
    KV_CHECK(head_len == len - records_len);
    uint8_t *head = alloc_bytes(head_len);
    KV_CHECK(message_encode(message, head, head_len) == head_len);
    KV_CHECK(memcmp(head, bytes, head_len) == 0);
    alloc_free(head);
}

static void harness_check_refusals(const struct message *message)
{
    const struct bytes_view *refusals = &message->body.snapshot_ack.refusals;
    struct bytes_reader reader = bytes_reader_init(refusals->at, refusals->len);
    for (uint32_t i = 0; i < message->body.snapshot_ack.refusals_len; i++) {
        struct message_refusal refusal;
        KV_CHECK(message_read_refusal(&reader, &refusal));
        KV_CHECK(refusal.text.len <= TEXT_MAX);
    }
    KV_CHECK(reader.left == 0);
}

static void harness_check_fetched(const struct message *message)
{
    const struct bytes_view *records = &message->body.fetched.records;
    struct bytes_reader reader = bytes_reader_init(records->at, records->len);
    for (uint32_t i = 0; i < message->body.fetched.count; i++) {
        struct kv_record record;
        KV_CHECK(record_decode(&reader, &record) && record.kind == KV_RECORD_INSERT);
    }
    KV_CHECK(reader.left == 0);
    KV_CHECK(message->body.fetched.low <= message->body.fetched.high);
    KV_CHECK(message->body.fetched.digests.len == 8ull * message->body.fetched.digests_len);
}

static void harness_check_message(struct message *message, uint8_t *bytes, size_t len)
{
    KV_CHECK(strcmp(message_type_name(message->type), "?") != 0);
    if (message->type == MESSAGE_UNSUPPORTED) {
        bytes[2] = MESSAGE_VERSION; /* accepted in any version, sent in ours */
    }
    KV_CHECK(message_size(message) == len);
    uint8_t *again = alloc_bytes(len);
    KV_CHECK(message_encode(message, again, len) == len);
    KV_CHECK(memcmp(again, bytes, len) == 0);
    alloc_free(again);
    switch (message->type) {
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        harness_view(message->body.joined.view.at, message->body.joined.view.len);
        break;
    case MESSAGE_REPLICAS:
        harness_view(message->body.replicas.view.at, message->body.replicas.view.len);
        break;
    case MESSAGE_LOCATED:
        harness_view(message->body.located.view.at, message->body.located.view.len);
        break;
    case MESSAGE_SNAPSHOT_ACK:
        harness_check_refusals(message);
        break;
    case MESSAGE_FETCHED:
        harness_check_fetched(message);
        break;
    case MESSAGE_SCAN_RESULT:
        KV_CHECK(harness_record(message->body.scan_result.records.at,
                                message->body.scan_result.records.len));
        break;
    case MESSAGE_SNAPSHOT:
        harness_check_head(message, bytes, len);
        break;
    default:
        break;
    }
}

bool harness_message(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = harness_copy(bytes, len);
    struct message *message = alloc_bytes(sizeof(*message));
    int32_t status = message_decode(copy, len, message);
    KV_CHECK(status == KV_OK || status == KV_E_MALFORMED || status == KV_E_VERSION);
    if (status == KV_OK) {
        harness_check_message(message, copy, len);
    } else if (status == KV_E_VERSION) {
        KV_CHECK(len >= MESSAGE_HEADER_BYTES && message->version == copy[2] &&
                 message->version != MESSAGE_VERSION && message->type == copy[3] &&
                 message->cluster == bytes_get_u64(copy + 4) &&
                 message->view == bytes_get_u64(copy + 12) &&
                 message->sender == bytes_get_u64(copy + 20));
    }
    alloc_free(message);
    alloc_free(copy);
    return status == KV_OK;
}
