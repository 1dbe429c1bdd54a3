#include "leading.h"

#include "base/check.h"
#include "logic/node.h"
#include "logic/record.h"

#include <string.h>

static void leading_start(struct leading *leading, enum ack_mode ack, uint64_t log_bytes)
{
    memset(leading, 0, sizeof(*leading));
    fixture_init(&leading->fixture, false, true);
    leading->fixture.config.ack = ack;
    leading->fixture.config.limits.log_bytes = log_bytes;
    fixture_become_primary(&leading->fixture);
    while (fixture_store_all(&leading->fixture) > 0) {
    }
    fixture_view(&leading->view, 1, FIXTURE_NODE);
    fixture_add_member(&leading->view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
}

void leading_begin(struct leading *leading)
{
    leading_start(leading, ACK_DURABLE, 0);
}

void leading_begin_keeping(struct leading *leading, uint64_t log_bytes)
{
    leading_start(leading, ACK_DURABLE, log_bytes);
}

void leading_begin_local(struct leading *leading)
{
    leading_start(leading, ACK_LOCAL, 0);
}

static void leading_replicate(struct leading *leading, const struct kv_record *records,
                              uint32_t records_len)
{
    for (uint32_t i = 0; i < records_len; i++) {
        uint8_t bytes[256];
        struct message message =
            fixture_snapshot(&leading->fixture, 2, SNAPSHOT_RECORDS, (uint64_t)i + 1);
        assert_true(record_size(&records[i]) <= sizeof(bytes));
        record_encode(&records[i], bytes);
        message.body.snapshot.committed = 10;
        message.body.snapshot.count = 1;
        message.body.snapshot.records.at = bytes;
        message.body.snapshot.records.len = record_size(&records[i]);
        fixture_deliver(&leading->fixture, FIXTURE_PRIMARY_LINK, &message);
        while (fixture_store_all(&leading->fixture) > 0) {
        }
    }
}

/* The configuration is made: now become a secondary, and then primary. */
static void leading_follow_and_lead(struct leading *leading, const struct kv_record *records,
                                    uint32_t records_len, uint32_t others)
{
    fixture_become_complete(&leading->fixture);
    leading_replicate(leading, records, records_len);
    fixture_view(&leading->view, 2, FIXTURE_NODE);
    fixture_add_member(&leading->view, FIXTURE_NODE, 3, MEMBER_IN_SYNC);
    for (uint32_t i = 0; i < others; i++) {
        fixture_add_member(&leading->view, 33 + i, 3, MEMBER_IN_SYNC);
    }
    leading_tell(leading);
}

void leading_take_over(struct leading *leading, const struct kv_record *records,
                       uint32_t records_len, uint32_t others)
{
    leading_take_over_needing(leading, records, records_len, others, 1);
}

void leading_take_over_needing(struct leading *leading, const struct kv_record *records,
                               uint32_t records_len, uint32_t others, uint32_t min_in_sync)
{
    memset(leading, 0, sizeof(*leading));
    fixture_init(&leading->fixture, false, true);
    leading->fixture.config.min_in_sync = min_in_sync;
    leading_follow_and_lead(leading, records, records_len, others);
}

void leading_take_over_shared(struct leading *leading, const struct kv_record *records,
                              uint32_t records_len, uint32_t others)
{
    memset(leading, 0, sizeof(*leading));
    fixture_init(&leading->fixture, false, true);
    leading->fixture.config.persist_shared = true;
    leading_follow_and_lead(leading, records, records_len, others);
}

void leading_end(struct leading *leading)
{
    fixture_close(&leading->fixture);
}

void leading_tell(struct leading *leading)
{
    leading->view.number++;
    fixture_tell_view(&leading->fixture, MESSAGE_REPLICAS, &leading->view);
    uint64_t opened[MEMBERS_MAX];
    uint32_t len = fixture_effects_len(&leading->fixture, EFFECT_OPEN_LINK);
    for (uint32_t i = 0; i < len; i++) {
        const struct effect *open = fixture_effect(&leading->fixture, EFFECT_OPEN_LINK, i);
        opened[i] = open->as.open_link.link;
        for (uint32_t j = 0; j < leading->view.members_len; j++) {
            const struct member *member = &leading->view.members[j];
            if (strcmp(member->uris[0], open->as.open_link.uris[0]) == 0) {
                leading->links[member->node] = opened[i];
            }
        }
    }
    for (uint32_t i = 0; i < len; i++) {
        fixture_link_event(&leading->fixture, EVENT_LINK_UP, opened[i]);
    }
}

void leading_add(struct leading *leading, uint64_t node, enum member_state state)
{
    KV_CHECK(node < LEADING_LINKS_MAX);
    fixture_add_member(&leading->view, node, leading->view.number + 1, state);
    leading_tell(leading);
}

void leading_promote(struct leading *leading, uint64_t node)
{
    for (uint32_t i = 0; i < leading->view.members_len; i++) {
        if (leading->view.members[i].node == node) {
            leading->view.members[i].state = MEMBER_IN_SYNC;
        }
    }
    leading_tell(leading);
}

static uint64_t leading_session(const struct leading *leading, uint64_t node)
{
    const struct member *member = view_find(&leading->view, node);
    assert_non_null(member);
    return member->joined;
}

void leading_resume(struct leading *leading, uint64_t node, struct kv_position committed,
                    struct kv_position last, bool complete)
{
    struct message resume = fixture_message(MESSAGE_RESUME, leading->view.number, node);
    resume.body.resume.session = leading_session(leading, node);
    resume.body.resume.committed = committed;
    resume.body.resume.last = last;
    resume.body.resume.complete = complete ? 1 : 0;
    fixture_deliver(&leading->fixture, leading->links[node], &resume);
}

void leading_ack(struct leading *leading, uint64_t node, uint64_t received, uint64_t durable,
                 uint64_t heard_ms)
{
    struct message ack = fixture_message(MESSAGE_SNAPSHOT_ACK, leading->view.number, node);
    ack.body.snapshot_ack.session = leading_session(leading, node);
    ack.body.snapshot_ack.received = received;
    ack.body.snapshot_ack.durable = durable;
    ack.body.snapshot_ack.heard_ms = heard_ms;
    ack.body.snapshot_ack.complete = 1;
    fixture_deliver(&leading->fixture, leading->links[node], &ack);
}

void leading_bring_in(struct leading *leading, uint64_t node)
{
    struct kv_position last = leading_observe(leading).last;
    leading_add(leading, node, MEMBER_CANDIDATE);
    leading_resume(leading, node, last, last, true);
    leading_ack(leading, node, 1, 1, leading->fixture.now_ms);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_CAUGHT_UP), 1);
    leading_promote(leading, node);
}

uint64_t leading_insert(struct leading *leading, const char *key, const char *value)
{
    struct message message = fixture_message(MESSAGE_INSERT, 0, 900);
    message.body.operation.request = ++leading->requests;
    message.body.operation.key = fixture_text(key);
    message.body.operation.value = fixture_text(value);
    fixture_deliver(&leading->fixture, FIXTURE_CLIENT_LINK, &message);
    return leading->requests;
}

uint64_t leading_get(struct leading *leading, const char *key)
{
    struct message message = fixture_message(MESSAGE_GET, 0, 900);
    message.body.operation.request = ++leading->requests;
    message.body.operation.at_primary = 1;
    message.body.operation.key = fixture_text(key);
    fixture_deliver(&leading->fixture, FIXTURE_CLIENT_LINK, &message);
    return leading->requests;
}

static bool leading_find_sent(struct leading *leading, uint64_t node, uint8_t kind,
                              uint32_t *ret_len, struct message *ret_message)
{
    uint32_t len = fixture_sent_len(&leading->fixture, MESSAGE_SNAPSHOT);
    *ret_len = 0;
    for (uint32_t i = 0; i < len; i++) {
        uint64_t link;
        struct message message = fixture_sent(&leading->fixture, MESSAGE_SNAPSHOT, i, &link);
        if (link == leading->links[node] && message.body.snapshot.kind == kind) {
            *ret_message = *ret_len == 0 ? message : *ret_message;
            (*ret_len)++;
        }
    }
    return *ret_len > 0;
}

struct message leading_sent(struct leading *leading, uint64_t node, uint8_t kind)
{
    struct message message = {.type = 0};
    uint32_t len;
    assert_true(leading_find_sent(leading, node, kind, &len, &message));
    return message;
}

uint32_t leading_sent_len(struct leading *leading, uint64_t node, uint8_t kind)
{
    struct message message;
    uint32_t len;
    leading_find_sent(leading, node, kind, &len, &message);
    return len;
}

void leading_store(struct leading *leading)
{
    struct event event = {.kind = EVENT_PERSISTED};
    fixture_happens(&leading->fixture, EVENT_FLUSH, 0);
    event.as.persist.batch = fixture_effect(&leading->fixture, EFFECT_PERSIST, 0)->as.persist.batch;
    fixture_step(&leading->fixture, &event);
}

struct node_state leading_observe(const struct leading *leading)
{
    struct node_state state;
    node_observe(leading->fixture.node, &state);
    return state;
}
