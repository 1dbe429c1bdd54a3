/* What the scripted peers do: clients, secondaries, the arbiter. */
#include "story_internal.h"

#include "base/alloc.h"
#include "logic/record.h"

#include <string.h>

#define STORY_RECORDS_MAX 4096u

struct message story_message(const struct story *story, uint8_t type, enum story_peer from)
{
    struct message message;
    bool is_client = from == CLIENT1 || from == CLIENT2;
    memset(&message, 0, sizeof(message));
    message.type = type;
    message.cluster = is_client ? 0 : STORY_CLUSTER;
    message.view = is_client ? 0 : story->view.number;
    message.sender = story_peer_node(from);
    return message;
}

static uint64_t story_link(const struct story *story, enum story_peer peer)
{
    if (peer == ARBITER) {
        return story->arbiter_link;
    }
    return peer >= S1 && peer <= S3 ? story->secondaries[peer].last_link : (uint64_t)peer;
}

static void story_deliver_alone(struct story *story, enum story_peer peer, uint64_t link,
                                const struct message *message)
{
    char text[STORY_TEXT_MAX];
    size_t size = message_size(message);
    uint8_t *bytes = alloc_bytes(size);
    assert_int_equal(message_encode(message, bytes, size), size);
    story_message_text(message, text, sizeof(text));
    story_trace(story, "node < %-8s %s", story_peer_name(peer), text);
    struct event event = {.kind = EVENT_MESSAGE, .now_ms = story->now_ms};
    event.as.message.link = link;
    event.as.message.bytes = bytes;
    event.as.message.len = size;
    story_step_alone(story, &event);
    alloc_free(bytes);
}

void story_deliver(struct story *story, enum story_peer peer, const struct message *message)
{
    story_deliver_alone(story, peer, story_link(story, peer), message);
    story_turn_over(story);
}

uint8_t *story_encode_records(const char *text, struct kv_position *last, size_t *ret_len,
                              uint32_t *ret_count)
{
    uint8_t *bytes = alloc_bytes(STORY_RECORDS_MAX);
    size_t len = 0;
    *ret_count = 0;
    while (*text != '\0') {
        size_t key_len = strcspn(text, "=");
        assert_int_equal(text[key_len], '=');
        const char *value = text + key_len + 1;
        size_t value_len = strcspn(value, " ");
        bool is_removal = value_len == 1 && value[0] == '-';
        last->index++;
        struct kv_record record = {.key = text,
                                   .key_len = (uint32_t)key_len,
                                   .value = is_removal ? NULL : value,
                                   .value_len = is_removal ? 0 : (uint32_t)value_len,
                                   .kind = is_removal ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
                                   .position = *last,
                                   .client = story_peer_node(CLIENT1)};
        assert_true(len + record_size(&record) <= STORY_RECORDS_MAX);
        record_encode(&record, bytes + len);
        len += record_size(&record);
        (*ret_count)++;
        text = value + value_len;
        text += *text == ' ' ? 1 : 0;
    }
    *ret_len = len;
    return bytes;
}

void story_deliver_bytes(struct story *story, enum story_peer peer, const void *bytes, size_t len)
{
    struct event event = {.kind = EVENT_MESSAGE, .now_ms = story->now_ms};
    event.as.message.link = story_link(story, peer);
    event.as.message.bytes = bytes;
    event.as.message.len = len;
    story_trace(story, "node < %-8s %zu bytes", story_peer_name(peer), len);
    story_step(story, &event);
}

/* --- clients --- */

static void story_request(struct story *story, uint8_t type, enum story_peer client, uint64_t id,
                          const char *key, const char *value, uint64_t min_index)
{
    struct message message = story_message(story, type, client);
    message.body.operation.request = id;
    message.body.operation.key = story_text(key);
    message.body.operation.min_index = min_index;
    if (value != NULL) {
        message.body.operation.value = story_text(value);
    }
    story_deliver(story, client, &message);
}

uint64_t story_insert(struct story *story, enum story_peer client, const char *key,
                      const char *value)
{
    uint64_t id = story->requests[client]++;
    story_request(story, MESSAGE_INSERT, client, id, key, value, 0);
    return id;
}

uint64_t story_remove(struct story *story, enum story_peer client, const char *key)
{
    uint64_t id = story->requests[client]++;
    story_request(story, MESSAGE_REMOVE, client, id, key, NULL, 0);
    return id;
}

uint64_t story_get(struct story *story, enum story_peer client, const char *key)
{
    return story_get_after(story, client, key, 0);
}

uint64_t story_get_at_primary(struct story *story, enum story_peer client, const char *key)
{
    struct message message = story_message(story, MESSAGE_GET, client);
    message.body.operation.request = story->requests[client]++;
    message.body.operation.key = story_text(key);
    message.body.operation.at_primary = 1;
    story_deliver(story, client, &message);
    return message.body.operation.request;
}

uint64_t story_get_after(struct story *story, enum story_peer client, const char *key,
                         uint64_t index)
{
    uint64_t id = story->requests[client]++;
    story_request(story, MESSAGE_GET, client, id, key, NULL, index);
    return id;
}

void story_insert_id(struct story *story, enum story_peer client, uint64_t id, const char *key,
                     const char *value)
{
    story_request(story, MESSAGE_INSERT, client, id, key, value, 0);
}

void story_client_goes(struct story *story, enum story_peer client)
{
    struct event event = {.kind = EVENT_LINK_DOWN, .now_ms = story->now_ms};
    event.as.link.link = (uint64_t)client;
    story->gone[client] = true;
    story_trace(story, "node < %-8s connection lost", story_peer_name(client));
    story_step(story, &event);
}

/* --- secondaries --- */

/* Those that the node has not dealt with. */
static void story_tell_refusals(const struct story_secondary *secondary, struct buffer *bytes,
                                struct message *ack)
{
    for (uint32_t i = secondary->refused_dealt; i < secondary->refused_len; i++) {
        struct message_refusal refusal = {secondary->refused[i], story_text(secondary->reason)};
        size_t size = message_refusal_size(&refusal);
        struct bytes_writer writer = bytes_writer_init(buffer_room(bytes, size), size);
        message_write_refusal(&writer, &refusal);
        ack->body.snapshot_ack.refusals_len++;
    }
    ack->body.snapshot_ack.refusals_first = secondary->refused_dealt;
    ack->body.snapshot_ack.refusals.at = bytes->bytes;
    ack->body.snapshot_ack.refusals.len = bytes->len;
}

void story_secondary_refuses(struct story *story, enum story_peer secondary, const char *record,
                             const char *reason)
{
    story->secondaries[secondary].refuses = record;
    story->secondaries[secondary].reason = reason;
}

void story_secondary_acks(struct story *story, enum story_peer secondary, uint64_t session,
                          uint64_t received, uint64_t durable)
{
    struct message message = story_message(story, MESSAGE_SNAPSHOT_ACK, secondary);
    message.body.snapshot_ack.session = session;
    message.body.snapshot_ack.received = received;
    message.body.snapshot_ack.durable = durable;
    message.body.snapshot_ack.heard_ms = story->secondaries[secondary].heard_ms;
    message.body.snapshot_ack.complete =
        story->secondaries[secondary].complete && durable > 0 ? 1 : 0;
    struct buffer refusals;
    buffer_init(&refusals);
    if (session == story->secondaries[secondary].session) {
        story->secondaries[secondary].owes = false;
        story_tell_refusals(&story->secondaries[secondary], &refusals, &message);
    }
    story_deliver_alone(story, secondary, story->secondaries[secondary].link, &message);
    buffer_close(&refusals);
}

void story_secondary_resumes(struct story *story, enum story_peer secondary)
{
    struct story_secondary *peer = &story->secondaries[secondary];
    struct message message = story_message(story, MESSAGE_RESUME, secondary);
    peer->asked_resume = false;
    message.body.resume.session = peer->session;
    message.body.resume.committed = peer->committed;
    message.body.resume.last = peer->last;
    message.body.resume.complete = peer->has_content ? 1 : 0;
    story_deliver_alone(story, secondary, peer->link, &message);
}

void story_resumes(struct story *story, enum story_peer secondary)
{
    story_secondary_resumes(story, secondary);
    story_turn_over(story);
}

void story_secondary_has(struct story *story, enum story_peer secondary,
                         struct kv_position committed, struct kv_position last)
{
    story->secondaries[secondary].committed = committed;
    story->secondaries[secondary].last = last;
    story->secondaries[secondary].has_content = true;
}

/* Of so small a content all at once. */
void story_secondary_fetches(struct story *story, enum story_peer secondary)
{
    struct story_secondary *peer = &story->secondaries[secondary];
    struct message message = story_message(story, MESSAGE_FETCH, secondary);
    peer->lacks = false; /* asked */
    message.body.fetch.request = 1;
    message.body.fetch.min_index = peer->as_of;
    message.body.fetch.base = UINT64_MAX;
    message.body.fetch.high = UINT64_MAX;
    story_deliver_alone(story, secondary, peer->link, &message);
}

void story_fetches(struct story *story, enum story_peer secondary)
{
    story_secondary_fetches(story, secondary);
    story_turn_over(story);
}

void story_secondary_prompt(struct story *story, enum story_peer secondary, bool prompt)
{
    story->secondaries[secondary].prompt = prompt;
    story_react(story);
}

void story_ack_exactly(struct story *story, enum story_peer secondary, uint64_t received,
                       uint64_t durable)
{
    story_secondary_acks(story, secondary, story->secondaries[secondary].session, received,
                         durable);
    story_turn_over(story);
}

uint64_t story_session(const struct story *story, enum story_peer secondary)
{
    return story->secondaries[secondary].session;
}

void story_ack_of_session(struct story *story, enum story_peer secondary, uint64_t session,
                          uint64_t received, uint64_t durable)
{
    story_secondary_acks(story, secondary, session, received, durable);
    story_turn_over(story);
}

void story_ack(struct story *story, enum story_peer secondary)
{
    uint64_t expected = story->secondaries[secondary].expected;
    story_ack_exactly(story, secondary, expected, expected);
}

void story_ack_received(struct story *story, enum story_peer secondary)
{
    /* What was durable before is what a session's start left: nothing newer is claimed. */
    story_ack_exactly(story, secondary, story->secondaries[secondary].expected, SEQ(0));
}

void story_cut(struct story *story, enum story_peer secondary, bool cut)
{
    story->secondaries[secondary].cut = cut;
    story_trace(story, "-- %s is %s", story_peer_name(secondary), cut ? "cut off" : "back");
}

uint64_t story_received(const struct story *story, enum story_peer secondary)
{
    return story->secondaries[secondary].expected;
}

void story_ack_in_view(struct story *story, enum story_peer secondary, uint64_t view)
{
    struct message message = story_message(story, MESSAGE_SNAPSHOT_ACK, secondary);
    message.view = view;
    message.body.snapshot_ack.session = story->secondaries[secondary].session;
    message.body.snapshot_ack.received = story->secondaries[secondary].expected;
    message.body.snapshot_ack.durable = story->secondaries[secondary].expected;
    story_deliver(story, secondary, &message);
}

/* --- the arbiter --- */

static struct member *story_view_put(struct story *story, uint64_t node, uint64_t incarnation,
                                     const char *name, enum member_state state)
{
    struct view *view = &story->view;
    assert_true(view_find(view, node) == NULL);
    struct member *member = &view->members[view->members_len++];
    memset(member, 0, sizeof(*member));
    member->node = node;
    member->incarnation = incarnation;
    member->joined = view->number + 1;
    member->state = (uint8_t)state;
    member->uris_len = 1;
    snprintf(member->name, sizeof(member->name), "%s", name);
    snprintf(member->uris[0], sizeof(member->uris[0]), "test://%s", name);
    return member;
}

static void story_view_drop(struct story *story, uint64_t node)
{
    struct view *view = &story->view;
    uint32_t place = 0;
    while (place < view->members_len && view->members[place].node != node) {
        place++;
    }
    assert_true(place < view->members_len);
    view->members[place] = view->members[--view->members_len];
}

static void story_new_session(struct story_secondary *peer)
{
    peer->owes = false;
    peer->asked_resume = false;
    peer->lacks = false;
    peer->complete = false;
    peer->heard_ms = 0;
    peer->refused_len = 0;
    peer->refused_dealt = 0;
    buffer_close(&peer->records);
    buffer_init(&peer->records);
}

void story_view_add(struct story *story, enum story_peer secondary)
{
    struct story_secondary *peer = &story->secondaries[secondary];
    struct member *member =
        story_view_put(story, story_peer_node(secondary), STORY_INCARNATION + secondary,
                       story_peer_name(secondary), MEMBER_CANDIDATE);
    if (peer->has_second) {
        snprintf(member->uris[member->uris_len++], URI_MAX + 1, "second://%s",
                 story_peer_name(secondary));
    }
    peer->session = member->joined;
    peer->expected = 0;
    story_new_session(peer);
}

void story_has_second_address(struct story *story, enum story_peer secondary)
{
    story->secondaries[secondary].has_second = true;
}

const char *story_first_address(const struct story *story, enum story_peer secondary)
{
    return story->secondaries[secondary].address;
}

void story_view_remove(struct story *story, enum story_peer secondary)
{
    story_view_drop(story, story_peer_node(secondary));
}

static void story_make_in_sync(struct story *story, uint64_t node)
{
    struct view *view = &story->view;
    for (uint32_t i = 0; i < view->members_len; i++) {
        if (view->members[i].node == node) {
            view->members[i].state = MEMBER_IN_SYNC;
        }
    }
}

void story_view_in_sync(struct story *story, enum story_peer secondary)
{
    story_make_in_sync(story, story_peer_node(secondary));
}

/* joined: as the answer to the node's Join. */
static void story_tell(struct story *story, uint8_t type, enum story_peer from)
{
    uint8_t *bytes = alloc_bytes(VIEW_BYTES_MAX);
    struct bytes_writer writer = bytes_writer_init(bytes, VIEW_BYTES_MAX);
    view_encode(&story->view, &writer);
    struct bytes_view encoded = {bytes, writer.len};
    struct message message = story_message(story, type, from);
    if (type == MESSAGE_REPLICAS) {
        message.body.replicas.view = encoded;
    } else {
        message.body.joined.incarnation = story->incarnation;
        message.body.joined.view = encoded;
    }
    story_deliver(story, from, &message);
    alloc_free(bytes);
}

void story_arbiter_answers(struct story *story)
{
    uint8_t *bytes = alloc_bytes(VIEW_BYTES_MAX);
    struct bytes_writer writer = bytes_writer_init(bytes, VIEW_BYTES_MAX);
    struct message message = story_message(story, MESSAGE_REPLICAS, ARBITER);
    view_encode(&story->view, &writer);
    message.body.replicas.view = (struct bytes_view){bytes, writer.len};
    story->arbiter_asked = false;
    story_deliver_alone(story, ARBITER, story->arbiter_link, &message);
    alloc_free(bytes);
}

void story_tell_view(struct story *story)
{
    story->view.number++;
    story_tell(story, MESSAGE_REPLICAS, ARBITER);
}

void story_tell_view_again(struct story *story)
{
    story_tell(story, MESSAGE_REPLICAS, ARBITER);
}

uint64_t story_view_number(const struct story *story)
{
    return story->view.number;
}

void story_view_turn_round(struct story *story)
{
    struct view *view = &story->view;
    for (uint32_t i = 0; i < view->members_len / 2; i++) {
        struct member member = view->members[i];
        view->members[i] = view->members[view->members_len - 1 - i];
        view->members[view->members_len - 1 - i] = member;
    }
}

void story_primary_tells_view(struct story *story)
{
    story_tell(story, MESSAGE_REPLICAS, PRIMARY);
}

void story_view_unheard(struct story *story)
{
    story->view.number++;
    story_trace(story, "-- view %llu is made; the node does not hear of it",
                (unsigned long long)story->view.number);
}

void story_joined_again(struct story *story, bool as_primary, bool for_other_incarnation)
{
    uint64_t incarnation = story->incarnation;
    story->incarnation += for_other_incarnation ? 1 : 0;
    story_tell(story, as_primary ? MESSAGE_JOINED_PRIMARY : MESSAGE_JOINED_SECONDARY, ARBITER);
    story->incarnation = incarnation;
}

void story_join_rejected(struct story *story, enum reject_reason reason, bool retry)
{
    struct message message = story_message(story, MESSAGE_JOIN_REJECTED, ARBITER);
    message.body.join_rejected.incarnation = story->incarnation;
    message.body.join_rejected.reason = (uint8_t)reason;
    message.body.join_rejected.retry = retry ? 1 : 0;
    message.body.join_rejected.text = story_text("no");
    story_deliver(story, ARBITER, &message);
}

void story_view_follows(struct story *story, uint64_t number)
{
    story->view.number = number;
}

void story_links_up(struct story *story)
{
    for (uint32_t i = S1; i <= S3; i++) {
        struct story_secondary *secondary = &story->secondaries[i];
        if (secondary->link != 0 && !secondary->up) {
            secondary->up = true;
            story_link_up(story, secondary->link);
        }
    }
}

uint64_t story_link_to(const struct story *story, enum story_peer secondary)
{
    return story->secondaries[secondary].link;
}

void story_link_goes(struct story *story, uint64_t link)
{
    struct event event = {.kind = EVENT_LINK_DOWN, .now_ms = story->now_ms};
    event.as.link.link = link;
    story_trace(story, "-- word comes that a link has ended");
    story_step(story, &event);
}

void story_link_returns(struct story *story, enum story_peer peer)
{
    struct event event = {.kind = EVENT_LINK_DOWN, .now_ms = story->now_ms};
    event.as.link.link = story_link(story, peer);
    story_trace(story, "-- the link to %s breaks and returns", story_peer_name(peer));
    story_step(story, &event);
    story_link_up(story, story_link(story, peer));
}

void story_joins(struct story *story, enum story_peer secondary)
{
    story_view_add(story, secondary);
    story_tell_view(story);
    story_links_up(story);
}

void story_leaves(struct story *story, enum story_peer secondary)
{
    story_view_remove(story, secondary);
    story_tell_view(story);
}

void story_is_in_sync(struct story *story, enum story_peer secondary)
{
    story_view_in_sync(story, secondary);
    story_tell_view(story);
}

void story_brings_in(struct story *story, enum story_peer secondary)
{
    story->secondaries[secondary].prompt = true;
    story_joins(story, secondary);
    expect_caught_up(story, secondary);
    story_is_in_sync(story, secondary);
    story->secondaries[secondary].prompt = false;
}

void story_joined_primary(struct story *story)
{
    story_view_put(story, STORY_NODE, story->incarnation, "node", MEMBER_IN_SYNC);
    story->view.primary = STORY_NODE;
    story->view.ack = ACK_DURABLE;
    story->view.number++;
    story_tell(story, MESSAGE_JOINED_PRIMARY, ARBITER);
}

void story_promotes(struct story *story, enum story_peer peer)
{
    struct view *view = &story->view;
    view->primary = peer == HOST ? STORY_NODE : story_peer_node(peer);
    for (uint32_t i = 0; i < view->members_len; i++) {
        view->members[i].joined = view->number + 1;
    }
    for (uint32_t i = S1; i <= S3; i++) {
        if (view_find(view, story_peer_node((enum story_peer)i)) != NULL) {
            story->secondaries[i].session = view->number + 1;
            story->secondaries[i].expected = 0;
            story_new_session(&story->secondaries[i]);
        }
    }
    story->primary.session = view->number + 1;
    story->primary.next = 0;
    story->primary.dealt = 0;
    story_tell_view(story);
    if (peer == HOST) {
        story_links_up(story);
    }
}

void story_orders_handover(struct story *story, enum story_peer secondary)
{
    struct message message = story_message(story, MESSAGE_HANDOVER, ARBITER);
    message.body.member.node = story_peer_node(secondary);
    message.body.member.joined = story->secondaries[secondary].session;
    story_deliver(story, ARBITER, &message);
}

void story_primary_marked(struct story *story)
{
    expect_persist(story, "");
    assert_int_not_equal(story->store.position.view, 0);
    if (story->store.in_flight) {
        story_persisted(story);
    }
}

void story_joined_secondary(struct story *story)
{
    if (story->view.primary == 0) {
        story_view_put(story, story_peer_node(PRIMARY), 1, "PR", MEMBER_IN_SYNC);
        story->view.primary = story_peer_node(PRIMARY);
        story->view.ack = ACK_DURABLE;
        story->view.number++;
    }
    if (view_find(&story->view, STORY_NODE) != NULL) {
        story_view_drop(story, STORY_NODE);
    }
    const struct member *member =
        story_view_put(story, STORY_NODE, story->incarnation, "node", MEMBER_CANDIDATE);
    story->primary.session = member->joined;
    story->primary.next = 0;
    story->primary.dealt = 0;
    story->view.number++;
    story_tell(story, MESSAGE_JOINED_SECONDARY, ARBITER);
}

uint64_t story_incarnation(const struct story *story)
{
    return story->incarnation;
}

void story_node_in_sync(struct story *story)
{
    story_make_in_sync(story, STORY_NODE);
    story_tell_view(story);
}

void story_node_taken_out(struct story *story)
{
    story_view_drop(story, STORY_NODE);
    if (story->view.primary == STORY_NODE) {
        story->view.primary = 0;
        story->view.ack = 0;
    }
    story_tell_view(story);
}
