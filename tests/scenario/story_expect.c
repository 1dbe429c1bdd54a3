/* What a story expects of the node. */
#include "story_internal.h"

#include <inttypes.h>
#include <string.h>

/* Repeats at rest; says nothing about the story. */
static bool story_is_background(const struct story_seen *seen)
{
    if (seen->peer == ARBITER) {
        return seen->type == MESSAGE_HEARTBEAT;
    }
    if (seen->peer == PRIMARY) {
        return seen->type == MESSAGE_FETCH || /* the story answers all there are */
               seen->type == MESSAGE_LOCATED || seen->type == MESSAGE_HEARTBEAT;
    }
    uint8_t kind = seen->message.body.snapshot.kind;
    return seen->type == MESSAGE_REPLICAS ||
           (seen->type == MESSAGE_SNAPSHOT && (kind == SNAPSHOT_COMMIT || kind == SNAPSHOT_PROBE));
}

/* The first thing unread there; NULL: none. */
static struct story_seen *story_next(struct story *story, enum story_peer peer)
{
    for (uint32_t i = 0; i < story->seen_len; i++) {
        struct story_seen *seen = &story->seen[i];
        if (seen->peer == peer && !seen->taken && !story_is_background(seen)) {
            return seen;
        }
    }
    return NULL;
}

static struct story_seen *story_take(struct story *story, enum story_peer peer, uint8_t type,
                                     const char *wanted)
{
    struct story_seen *seen = story_next(story, peer);
    char text[STORY_TEXT_MAX];
    if (seen == NULL) {
        story_fail(story, "%s waits for %s: nothing came", story_peer_name(peer), wanted);
    }
    if (seen->type != type) {
        story_seen_text(seen, text, sizeof(text));
        story_fail(story, "%s waits for %s: %s came", story_peer_name(peer), wanted, text);
    }
    seen->taken = true;
    return seen;
}

static void story_require(struct story *story, bool is_right, const struct story_seen *seen,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

static void story_require(struct story *story, bool is_right, const struct story_seen *seen,
                          const char *format, ...)
{
    if (is_right) {
        return;
    }
    char wanted[STORY_TEXT_MAX];
    char text[STORY_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(wanted, sizeof(wanted), format, arguments);
    va_end(arguments);
    story_seen_text(seen, text, sizeof(text));
    story_fail(story, "%s waits for %s: %s came", story_peer_name(seen->peer), wanted, text);
}

/* --- clients --- */

/* All answers to clients begin with the request's id. */
static struct story_seen *story_take_answer(struct story *story, enum story_peer client,
                                            uint64_t id, uint8_t type)
{
    struct story_seen *seen = story_take(story, client, type, message_type_name(type));
    story_require(story, seen->message.body.request.request == id, seen, "%s id=%" PRIu64,
                  message_type_name(type), id);
    return seen;
}

uint64_t expect_ack(struct story *story, enum story_peer client, uint64_t id)
{
    return story_take_answer(story, client, id, MESSAGE_OPERATION_ACK)->at_ms;
}

uint64_t expect_failed(struct story *story, enum story_peer client, uint64_t id)
{
    return story_take_answer(story, client, id, MESSAGE_OPERATION_FAILED)->at_ms;
}

static bool story_bytes_equal(struct bytes_view bytes, const char *text)
{
    return bytes.len == strlen(text) && (bytes.len == 0 || memcmp(bytes.at, text, bytes.len) == 0);
}

uint64_t expect_refused(struct story *story, enum story_peer client, uint64_t id,
                        const char *reason)
{
    const struct story_seen *seen = story_take_answer(story, client, id, MESSAGE_OPERATION_FAILED);
    bool is_right = seen->message.body.operation_failed.reason == FAIL_REFUSED &&
                    story_bytes_equal(seen->message.body.operation_failed.text, reason);
    story_require(story, is_right, seen, "refused: %s", reason);
    return seen->at_ms;
}

uint64_t expect_rejected(struct story *story, enum story_peer client, uint64_t id,
                         enum reject_reason reason)
{
    const struct story_seen *seen =
        story_take_answer(story, client, id, MESSAGE_OPERATION_REJECTED);
    story_require(story, seen->message.body.operation_rejected.reason == reason, seen, "\"%s\"",
                  message_reject_text((uint8_t)reason));
    return seen->at_ms;
}

uint64_t expect_result(struct story *story, enum story_peer client, uint64_t id, const char *value)
{
    const struct story_seen *seen = story_take_answer(story, client, id, MESSAGE_GET_RESULT);
    bool found = seen->message.body.get_result.found == 1;
    bool is_right = value == NULL
                        ? !found
                        : found && story_bytes_equal(seen->message.body.get_result.value, value);
    story_require(story, is_right, seen, "the value %s", value == NULL ? "none" : value);
    return seen->at_ms;
}

void expect_get(struct story *story, enum story_peer client, const char *key, const char *value)
{
    uint64_t id = story_get(story, client, key);
    expect_result(story, client, id, value);
}

void expect_persist_state(struct story *story, enum story_peer client, enum persist_state state,
                          const char *error)
{
    struct message message = story_message(story, MESSAGE_STATUS, client);
    message.body.request.request = story->requests[client]++;
    story_deliver(story, client, &message);
    const struct story_seen *seen =
        story_take_answer(story, client, message.body.request.request, MESSAGE_STATUS_RESULT);
    bool is_right = seen->message.body.status_result.persist_state == state &&
                    story_bytes_equal(seen->message.body.status_result.persist_error, error);
    story_require(story, is_right, seen, "the persistence %s: %s",
                  message_persist_state_name((uint8_t)state), error);
}

/* --- the store --- */

uint64_t expect_persist(struct story *story, const char *records)
{
    struct story_seen *seen = story_take(story, STORE, 0, "a batch");
    char text[STORY_TEXT_MAX];
    story_records_text(seen->bytes, seen->len, text, sizeof(text));
    story_require(story, strcmp(text, records) == 0, seen, "Persist %s", records);
    story->batch_taken = (uint32_t)(seen - story->seen) + 1;
    return seen->at_ms;
}

uint64_t expect_persist_again(struct story *story)
{
    const struct story_seen *seen = story_take(story, STORE, 0, "the batch again");
    assert_true(story->batch_taken > 0);
    const struct story_seen *before = &story->seen[story->batch_taken - 1];
    bool is_same = seen->len == before->len &&
                   (seen->len == 0 || memcmp(seen->bytes, before->bytes, seen->len) == 0);
    story_require(story, is_same, seen, "the same batch again");
    return seen->at_ms;
}

/* --- secondaries and the primary --- */

static const struct story_seen *story_take_snapshot(struct story *story, enum story_peer secondary,
                                                    enum snapshot_kind kind, uint64_t seq,
                                                    const char *records)
{
    char text[STORY_TEXT_MAX];
    const struct story_seen *seen = story_take(story, secondary, MESSAGE_SNAPSHOT, "a Snapshot");
    struct bytes_view bytes = seen->message.body.snapshot.records;
    story_records_text(bytes.at, bytes.len, text, sizeof(text));
    bool is_right = seen->message.body.snapshot.kind == kind &&
                    seen->message.body.snapshot.seq == seq && strcmp(text, records) == 0;
    story_require(story, is_right, seen, "Snapshot kind=%d seq=%" PRIu64 " %s", (int)kind, seq,
                  records);
    return seen;
}

uint64_t expect_snapshot(struct story *story, enum story_peer secondary, uint64_t seq,
                         const char *records)
{
    return story_take_snapshot(story, secondary, SNAPSHOT_RECORDS, seq, records)->at_ms;
}

uint64_t expect_begin(struct story *story, enum story_peer secondary)
{
    return story_take_snapshot(story, secondary, SNAPSHOT_BEGIN, 0, "")->at_ms;
}

uint64_t expect_fetched(struct story *story, enum story_peer secondary, const char *records)
{
    char text[STORY_TEXT_MAX];
    const struct story_seen *seen = story_take(story, secondary, MESSAGE_FETCHED, "a Fetched");
    struct bytes_view bytes = seen->message.body.fetched.records;
    story_records_text(bytes.at, bytes.len, text, sizeof(text));
    story_require(story, strcmp(text, records) == 0, seen, "Fetched %s", records);
    return seen->at_ms;
}

static bool story_is_at(struct kv_position position, uint64_t view, uint64_t index)
{
    return position.view == view && position.index == index;
}

uint64_t expect_begin_tail(struct story *story, enum story_peer secondary, struct kv_position as_of)
{
    const struct story_seen *seen = story_take_snapshot(story, secondary, SNAPSHOT_BEGIN, 0, "");
    bool is_right = seen->message.body.snapshot.tail == TAIL_FOLLOWS &&
                    story_is_at(seen->message.body.snapshot.as_of, as_of.view, as_of.index);
    story_require(story, is_right, seen, "the log's tail after (%" PRIu64 ", %" PRIu64 ")",
                  as_of.view, as_of.index);
    return seen->at_ms;
}

uint64_t expect_resume(struct story *story, struct kv_position committed, struct kv_position last)
{
    const struct story_seen *seen = story_take(story, PRIMARY, MESSAGE_RESUME, "a Resume");
    const struct message *message = &seen->message;
    bool is_right = message->body.resume.session == story->primary.session &&
                    message->body.resume.complete != 0 &&
                    story_is_at(message->body.resume.committed, committed.view, committed.index) &&
                    story_is_at(message->body.resume.last, last.view, last.index);
    story_require(story, is_right, seen,
                  "Resume committed=(%" PRIu64 ", %" PRIu64 ") last=(%" PRIu64 ", %" PRIu64 ")",
                  committed.view, committed.index, last.view, last.index);
    return seen->at_ms;
}

static const struct story_seen *story_take_ack(struct story *story, uint64_t received,
                                               uint64_t durable, uint32_t refusals_len)
{
    const struct story_seen *seen =
        story_take(story, PRIMARY, MESSAGE_SNAPSHOT_ACK, "a SnapshotAck");
    bool is_right = seen->message.body.snapshot_ack.session == story->primary.session &&
                    seen->message.body.snapshot_ack.received == received &&
                    seen->message.body.snapshot_ack.durable == durable &&
                    seen->message.body.snapshot_ack.refusals_len == refusals_len;
    story_require(story, is_right, seen,
                  "SnapshotAck received=%" PRIu64 " durable=%" PRIu64 " refusals=%" PRIu32,
                  received, durable, refusals_len);
    return seen;
}

uint64_t expect_snapshot_ack(struct story *story, uint64_t received, uint64_t durable)
{
    return story_take_ack(story, received, durable, 0)->at_ms;
}

uint64_t expect_snapshot_ack_refusing(struct story *story, uint64_t received, uint64_t durable,
                                      uint64_t index, const char *reason)
{
    const struct story_seen *seen = story_take_ack(story, received, durable, 1);
    struct bytes_view bytes = seen->message.body.snapshot_ack.refusals;
    struct bytes_reader reader = bytes_reader_init(bytes.at, bytes.len);
    struct message_refusal refusal;
    assert_true(message_read_refusal(&reader, &refusal));
    bool is_right = refusal.index == index && story_bytes_equal(refusal.text, reason);
    story_require(story, is_right, seen, "refused=%" PRIu64 ": %s", index, reason);
    return seen->at_ms;
}

/* --- the arbiter and the process --- */

static uint64_t story_take_report(struct story *story, enum story_peer secondary, uint8_t type)
{
    const struct story_seen *seen = story_take(story, ARBITER, type, message_type_name(type));
    bool is_right = seen->message.body.member.node == story_peer_node(secondary) &&
                    seen->message.body.member.joined == story->secondaries[secondary].session;
    story_require(story, is_right, seen, "%s of %s", message_type_name(type),
                  story_peer_name(secondary));
    return seen->at_ms;
}

uint64_t expect_caught_up(struct story *story, enum story_peer secondary)
{
    return story_take_report(story, secondary, MESSAGE_CAUGHT_UP);
}

uint64_t expect_suspect(struct story *story, enum story_peer secondary)
{
    return story_take_report(story, secondary, MESSAGE_SUSPECT);
}

uint64_t expect_handover(struct story *story, enum story_peer secondary)
{
    return story_take_report(story, secondary, MESSAGE_HANDOVER);
}

uint64_t expect_join(struct story *story)
{
    return story_take(story, ARBITER, MESSAGE_JOIN, "Join")->at_ms;
}

uint64_t expect_leave(struct story *story)
{
    return story_take(story, ARBITER, MESSAGE_LEAVE, "Leave")->at_ms;
}

void expect_stop(struct story *story, int exit_status)
{
    const struct story_seen *seen = story_take(story, HOST, 0, "the end of the process");
    story_require(story, seen->exit_status == exit_status, seen, "exit status %d", exit_status);
}

/* --- what is not, and what is where --- */

void expect_quiet(struct story *story, enum story_peer peer)
{
    const struct story_seen *seen = story_next(story, peer);
    char text[STORY_TEXT_MAX];
    if (seen != NULL) {
        story_seen_text(seen, text, sizeof(text));
        story_fail(story, "%s should have heard nothing more: %s came", story_peer_name(peer),
                   text);
    }
}

void expect_identity(struct story *story, bool told)
{
    if (story->identity != (told ? STORY_CLUSTER : 0)) {
        story_fail(story, "the data folder was told of cluster %" PRIu64, story->identity);
    }
}

void expect_content(struct story *story, enum story_peer peer, const char *key, const char *value)
{
    const char *has = story_content_get(&story->content[peer], key);
    bool is_right = value == NULL ? has == NULL : has != NULL && strcmp(has, value) == 0;
    if (!is_right) {
        story_fail(story, "%s has %s=%s, not %s", story_peer_name(peer), key,
                   has == NULL ? "none" : has, value == NULL ? "none" : value);
    }
}

void expect_node_has(struct story *story, const char *key, const char *value)
{
    struct bytes_view has = {NULL, 0};
    struct kv_position position;
    bool found = node_peek(story->node, key, (uint32_t)strlen(key), &has, &position);
    bool is_right = value == NULL ? !found : found && story_bytes_equal(has, value);
    if (!is_right) {
        story_fail(story, "the node has %s=%.*s, not %s", key, found ? (int)has.len : 4,
                   found ? (const char *)has.at : "none", value == NULL ? "none" : value);
    }
}

void expect_well(struct story *story)
{
    struct story_secondary before[STORY_PEERS_LEN];
    bool prompt = story->store.prompt;
    for (uint32_t i = S1; i <= S3; i++) {
        before[i] = story->secondaries[i];
        story_secondary_prompt(story, (enum story_peer)i, true);
    }
    story_store_prompt(story, true);
    expect_ack(story, CLIENT1, story_insert(story, CLIENT1, "well", "yes"));
    expect_get(story, CLIENT1, "well", "yes");
    expect_ack(story, CLIENT1, story_remove(story, CLIENT1, "well"));
    expect_get(story, CLIENT1, "well", NULL);
    for (uint32_t i = S1; i <= S3; i++) {
        story->secondaries[i].prompt = before[i].prompt;
        story_take_all(story, (enum story_peer)i);
    }
    story->store.prompt = prompt;
    story_take_all(story, STORE);
}

uint32_t story_take_count(struct story *story, enum story_peer peer, uint8_t type,
                          uint64_t since_ms)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < story->seen_len; i++) {
        struct story_seen *seen = &story->seen[i];
        bool is_meant = type == 0 || (seen->type == type && !story_is_background(seen));
        if (seen->peer == peer && seen->at_ms >= since_ms && is_meant) {
            seen->taken = true;
            count++;
        }
    }
    return count;
}

void story_take_all(struct story *story, enum story_peer peer)
{
    story_take_count(story, peer, 0, 0);
}
