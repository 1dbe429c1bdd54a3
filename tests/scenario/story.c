#include "story_internal.h"

#include "base/alloc.h"

#include <string.h>

/* Passes after the standard start, so that what belongs to it has an earlier time. */
#define STORY_SETTLE_MS 10u

static const char *const story_peer_names[STORY_PEERS_LEN] = {
    "host", "arbiter", "store", "C1", "C2", "S1", "S2", "S3", "PR"};

const char *story_peer_name(enum story_peer peer)
{
    return story_peer_names[peer];
}

/* What the peer calls itself in a message: a node's or a client's id. */
uint64_t story_peer_node(enum story_peer peer)
{
    return 200u + (uint64_t)peer;
}

struct bytes_view story_text(const char *text)
{
    struct bytes_view view = {(const uint8_t *)text, strlen(text)};
    return view;
}

/* --- life --- */

int story_setup(void **state)
{
    int64_t before = alloc_live();
    struct story *story = alloc_zeroed(1, sizeof(*story));
    story->alloc_before = before;
    story->now_ms = STORY_START_MS;
    story->begun_ms = STORY_START_MS;
    struct node_config *config = &story->config;
    config->is_replica = true;
    config->node = STORY_NODE;
    config->incarnation = STORY_INCARNATION;
    config->name = "node";
    config->arbiter_uri = "test://arbiter";
    config->uris[0] = "test://node";
    config->uris_len = 1;
    config->ack = ACK_DURABLE;
    config->min_in_sync = 1;
    config->operation_timeout_ms = STORY_OPERATION_MS;
    config->retransmit_ms = STORY_RETRANSMIT_MS;
    config->replica_timeout_ms = STORY_REPLICA_TIMEOUT_MS;
    config->starts = 1;
    config->limits = (struct node_limits){.key_bytes = 1024,
                                          .value_bytes = 64 * 1024,
                                          .inflight_ops = STORY_INFLIGHT_OPS_MAX,
                                          .inflight_bytes = 1024 * 1024};
    config->persist_plugin = "persist-story";
    story->view.cluster = STORY_CLUSTER;
    buffer_init(&story->trace);
    effects_init(&story->effects);
    for (uint32_t i = 0; i < STORY_PEERS_LEN; i++) {
        buffer_init(&story->secondaries[i].records);
    }
    *state = story;
    return 0;
}

int story_teardown(void **state)
{
    struct story *story = *state;
    int64_t before = story->alloc_before;
    bool ended = story->ended;
    node_destroy(story->node);
    effects_close(&story->effects);
    buffer_close(&story->trace);
    for (uint32_t i = 0; i < story->seen_len; i++) {
        alloc_free(story->seen[i].bytes);
    }
    alloc_free(story->seen);
    for (uint32_t i = 0; i < STORY_PEERS_LEN; i++) {
        buffer_close(&story->secondaries[i].records);
    }
    for (uint32_t i = 0; i < STORY_SNAPSHOTS_MAX; i++) {
        alloc_free(story->primary.records[i]);
    }
    alloc_free(story->store.bytes);
    alloc_free(story);
    /* A story that failed has failed already; one that did not must leave nothing behind. */
    return ended && alloc_live() != before ? -1 : 0;
}

struct node_config *story_config(struct story *story)
{
    return &story->config;
}

struct story *story_begin(void **state, const char *name)
{
    struct story *story = *state;
    snprintf(story->name, sizeof(story->name), "%s", name);
    return story;
}

void story_end(struct story *story)
{
    for (uint32_t peer = ARBITER; peer < STORY_PEERS_LEN; peer++) {
        expect_quiet(story, (enum story_peer)peer);
    }
    story_compare_golden(story);
    story->ended = true;
}

void story_at(struct story *story, unsigned line)
{
    story->line = line;
}

const struct node *story_node(const struct story *story)
{
    return story->node;
}

uint64_t story_now_ms(const struct story *story)
{
    return story->now_ms;
}

void story_say(struct story *story, const char *text)
{
    story_trace(story, "-- %s", text);
}

/* --- steps and time --- */

void story_step_alone(struct story *story, const struct event *event)
{
    node_step(story->node, event, &story->effects);
    story_take_effects(story);
}

void story_flush(struct story *story)
{
    struct event event = {.kind = EVENT_FLUSH, .now_ms = story->now_ms};
    story_step_alone(story, &event);
    if (story->source_link != story->source_up) {
        story->source_up = story->source_link;
        event.kind = EVENT_LINK_UP;
        event.as.link.link = story->source_link;
        if (story->source_link != 0) {
            story_step_alone(story, &event);
        }
    }
}

void story_turn_over(struct story *story)
{
    if (!story->in_turn) {
        story_flush(story);
        story_react(story);
    }
}

void story_step(struct story *story, const struct event *event)
{
    story_step_alone(story, event);
    story_turn_over(story);
}

void story_turn_begin(struct story *story)
{
    story->in_turn = true;
}

void story_turn_end(struct story *story)
{
    story->in_turn = false;
    story_turn_over(story);
}

void story_run_ms(struct story *story, uint64_t ms)
{
    uint64_t end_ms = story->now_ms + ms;
    while (node_wake_ms(story->node) <= end_ms) {
        uint64_t wake_ms = node_wake_ms(story->node);
        if (wake_ms > story->now_ms) {
            story->now_ms = wake_ms;
            story->ticks_in_a_row = 0;
        } else if (++story->ticks_in_a_row > STORY_TICKS_IN_A_ROW) {
            story_fail(story, "the node wants a tick again and again at the same time");
        }
        struct event event = {.kind = EVENT_TICK, .now_ms = story->now_ms};
        story_step(story, &event);
    }
    if (end_ms > story->now_ms) {
        story->now_ms = end_ms;
        story->ticks_in_a_row = 0;
    }
}

void story_stand_still_ms(struct story *story, uint64_t ms)
{
    story->now_ms += ms;
    story->ticks_in_a_row = 0;
    story_trace(story, "-- after standing still");
}

void story_asked_to_stop(struct story *story)
{
    struct event event = {.kind = EVENT_LEAVE, .now_ms = story->now_ms};
    story_trace(story, "node < host     asked to stop");
    story_step(story, &event);
}

/* --- start --- */

void story_link_up(struct story *story, uint64_t link)
{
    struct event event = {.kind = EVENT_LINK_UP, .now_ms = story->now_ms};
    event.as.link.link = link;
    story_step(story, &event);
}

void story_create_node(struct story *story)
{
    assert_int_equal(node_create(&story->config, &story->node), KV_OK);
    struct event event = {.kind = EVENT_START, .now_ms = story->now_ms};
    story_step(story, &event);
    story_link_up(story, story->arbiter_link);
}

void story_loaded(struct story *story)
{
    struct event event = {.kind = EVENT_LOADED, .now_ms = story->now_ms};
    story_step(story, &event);
}

void story_loaded_with(struct story *story, const char *records, struct kv_position position)
{
    struct kv_position last = {position.view, 0};
    size_t len;
    uint32_t count;
    uint8_t *bytes = story_encode_records(records, &last, &len, &count);
    struct event load = {.kind = EVENT_LOADED_RECORDS, .now_ms = story->now_ms};
    load.as.loaded_records.bytes = bytes;
    load.as.loaded_records.len = len;
    story_step(story, &load);
    story_content_apply(&story->content[STORE], bytes, len, 0);
    alloc_free(bytes);
    struct event loaded = {.kind = EVENT_LOADED, .now_ms = story->now_ms};
    loaded.as.loaded.position = position;
    story_step(story, &loaded);
}

static void story_begin_muted(struct story *story)
{
    story->muted = true;
    story->store.prompt = true;
    story_create_node(story);
    story_loaded(story);
    expect_join(story);
}

static void story_end_muted(struct story *story, const char *text)
{
    story_run_ms(story, STORY_SETTLE_MS);
    story->begun_ms = story->now_ms;
    story->store.prompt = false;
    story_take_all(story, STORE);
    story_take_all(story, PRIMARY);
    for (uint32_t i = S1; i <= S3; i++) {
        story_take_all(story, (enum story_peer)i);
    }
    expect_quiet(story, ARBITER);
    story->muted = false;
    story_trace(story, "-- %s", text);
}

void story_start_primary(struct story *story, uint32_t secondaries)
{
    static const char *const texts[] = {"a primary alone", "a primary with S1",
                                        "a primary with S1 and S2", "a primary with S1, S2 and S3"};
    story_begin_muted(story);
    story_joined_primary(story);
    for (uint32_t i = 0; i < secondaries; i++) {
        story_brings_in(story, (enum story_peer)(S1 + i));
    }
    story_end_muted(story, texts[secondaries]);
}

void story_start_secondary(struct story *story)
{
    story_begin_muted(story);
    story_joined_secondary(story);
    story_begin_session(story);
    story_content(story, "");
    story_node_in_sync(story);
    expect_get(story, CLIENT1, "k", NULL);
    story->requests[CLIENT1] = 0;
    story_end_muted(story, "a secondary of PR, in sync");
}
