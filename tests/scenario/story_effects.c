/* What the node emits: checked against the rules of effect.h, traced, and kept at its peer. */
#include "story_internal.h"

#include "base/alloc.h"
#include "logic/record.h"

#include <string.h>

/* --- contents --- */

static void story_content_put(struct story_content *content, const struct kv_record *record)
{
    char key[sizeof(content->pairs[0].key)];
    snprintf(key, sizeof(key), "%.*s", (int)record->key_len, (const char *)record->key);
    uint32_t place = 0;
    while (place < content->len && strcmp(content->pairs[place].key, key) != 0) {
        place++;
    }
    if (record->kind == KV_RECORD_REMOVE) {
        if (place < content->len) {
            content->pairs[place] = content->pairs[--content->len];
        }
        return;
    }
    assert_true(place < STORY_PAIRS_MAX);
    content->len += place == content->len ? 1 : 0;
    memcpy(content->pairs[place].key, key, sizeof(key));
    snprintf(content->pairs[place].value, sizeof(content->pairs[place].value), "%.*s",
             (int)record->value_len, (const char *)record->value);
}

void story_content_apply(struct story_content *content, const void *bytes, size_t len,
                         uint64_t after)
{
    struct bytes_reader reader = bytes_reader_init(bytes, len);
    struct kv_record record;
    while (reader.left > 0) {
        assert_true(record_decode(&reader, &record));
        if (record.position.index > after) {
            story_content_put(content, &record);
        }
    }
}

const char *story_content_get(const struct story_content *content, const char *key)
{
    for (uint32_t i = 0; i < content->len; i++) {
        if (strcmp(content->pairs[i].key, key) == 0) {
            return content->pairs[i].value;
        }
    }
    return NULL;
}

/* --- what is seen --- */

static struct story_seen *story_see(struct story *story, enum story_peer peer)
{
    if (story->seen_len == story->seen_capacity) {
        story->seen_capacity = story->seen_capacity == 0 ? 64 : story->seen_capacity * 2;
        story->seen = alloc_resize(story->seen, story->seen_capacity * sizeof(*story->seen));
    }
    struct story_seen *seen = &story->seen[story->seen_len++];
    memset(seen, 0, sizeof(*seen));
    seen->at_ms = story->now_ms;
    seen->peer = peer;
    return seen;
}

static uint8_t *story_join_slices(const struct kv_slice *slices, uint32_t slices_len,
                                  size_t *ret_len)
{
    struct buffer buffer;
    buffer_init(&buffer);
    for (uint32_t i = 0; i < slices_len; i++) {
        memcpy(buffer_room(&buffer, slices[i].len), slices[i].bytes, slices[i].len);
    }
    return buffer_take(&buffer, ret_len);
}

/* --- secondaries --- */

bool story_record_is(const struct kv_record *record, const char *text)
{
    char shown[STORY_TEXT_MAX];
    snprintf(shown, sizeof(shown), "%.*s=%.*s", (int)record->key_len, (const char *)record->key,
             (int)record->value_len, record->value_len == 0 ? "" : (const char *)record->value);
    return record->kind == KV_RECORD_INSERT && strcmp(shown, text) == 0;
}

/* Keeps what its store takes of the records of the log. */
static void story_secondary_stores(struct story *story, enum story_peer peer,
                                   struct bytes_view records)
{
    struct story_secondary *secondary = &story->secondaries[peer];
    struct bytes_reader reader = bytes_reader_init(records.at, records.len);
    struct kv_record record;
    while (reader.left > 0) {
        const uint8_t *begin = reader.at;
        assert_true(record_decode(&reader, &record));
        if (secondary->refuses != NULL && story_record_is(&record, secondary->refuses)) {
            assert_true(secondary->refused_len < STORY_REFUSALS_MAX);
            secondary->refused[secondary->refused_len++] = record.position.index;
            story_trace(story, "-- the store of %s refuses %s: %s", story_peer_name(peer),
                        secondary->refuses, secondary->reason);
            continue;
        }
        size_t len = (size_t)(reader.at - begin);
        memcpy(buffer_room(&secondary->records, len), begin, len);
        story_content_apply(&story->content[peer], begin, len, 0);
    }
}

static void story_secondary_takes(struct story *story, enum story_peer peer,
                                  const struct message *message)
{
    struct story_secondary *secondary = &story->secondaries[peer];
    struct bytes_view records = message->body.snapshot.records;
    if (message->body.snapshot.seq != secondary->expected) {
        return;
    }
    secondary->expected++;
    if (message->body.snapshot.kind == SNAPSHOT_BEGIN) {
        secondary->lacks = message->body.snapshot.tail == TAIL_NONE;
        secondary->complete = !secondary->lacks;
        secondary->as_of = message->body.snapshot.as_of.index;
        secondary->asked_resume = false;
    } else {
        story_secondary_stores(story, peer, records);
    }
}

/* All there is, as of an index: what came of the log after that is done again. */
static void story_secondary_fetched(struct story *story, enum story_peer peer,
                                    const struct message *message)
{
    struct story_secondary *secondary = &story->secondaries[peer];
    struct story_content *content = &story->content[peer];
    struct bytes_view records = message->body.fetched.records;
    assert_true(message->body.fetched.low == 0 && message->body.fetched.high == UINT64_MAX);
    content->len = 0;
    story_content_apply(content, records.at, records.len, 0);
    story_content_apply(content, secondary->records.bytes, secondary->records.len,
                        message->body.fetched.as_of.index);
    secondary->lacks = false;
    secondary->complete = true;
    secondary->owes = true;
}

static void story_secondary_hears(struct story *story, enum story_peer peer,
                                  const struct message *message)
{
    struct story_secondary *secondary = &story->secondaries[peer];
    if (message->type == MESSAGE_FETCHED) {
        story_secondary_fetched(story, peer, message);
    }
    if (message->type != MESSAGE_SNAPSHOT || message->body.snapshot.session != secondary->session) {
        return;
    }
    if (message->body.snapshot.sent_ms > secondary->heard_ms) {
        secondary->heard_ms = message->body.snapshot.sent_ms;
    }
    assert_true(message->body.snapshot.refusals <= secondary->refused_len);
    secondary->refused_dealt = (uint32_t)message->body.snapshot.refusals;
    uint8_t kind = message->body.snapshot.kind;
    if (kind != SNAPSHOT_COMMIT && kind != SNAPSHOT_PROBE) {
        story_secondary_takes(story, peer, message);
    }
    if (secondary->expected == 0) {
        secondary->asked_resume = true;
        return;
    }
    secondary->owes = secondary->owes || kind != SNAPSHOT_COMMIT;
}

/* --- sends --- */

/* HOST: a link that is none, or that was closed. */
static enum story_peer story_peer_of_link(const struct story *story, uint64_t link)
{
    if (link == story->arbiter_link) {
        return ARBITER;
    }
    if (link == story->source_link) {
        return PRIMARY;
    }
    for (uint32_t i = S1; i <= S3; i++) {
        if (link == story->secondaries[i].link) {
            return (enum story_peer)i;
        }
    }
    bool is_accepted = link == CLIENT1 || link == CLIENT2 || link == PRIMARY;
    return is_accepted ? (enum story_peer)link : HOST;
}

static bool story_is_lost(const struct story *story, enum story_peer peer)
{
    bool is_secondary = peer >= S1 && peer <= S3;
    return story->gone[peer] ||
           (is_secondary && (!story->secondaries[peer].up || story->secondaries[peer].cut));
}

static void story_take_send(struct story *story, const struct effect *effect)
{
    enum story_peer peer = story_peer_of_link(story, effect->as.send.link);
    if (effect->as.send.link == story->probe_link) {
        return; /* nobody is there */
    }
    char text[STORY_TEXT_MAX];
    if (peer == HOST) {
        story_fail(story, "a message for a link that does not exist");
    }
    struct story_seen *seen = story_see(story, peer);
    seen->bytes = story_join_slices(effect->as.send.slices, effect->as.send.slices_len, &seen->len);
    assert_int_equal(message_decode(seen->bytes, seen->len, &seen->message), KV_OK);
    seen->type = seen->message.type;
    bool lost = story_is_lost(story, peer);
    story_message_text(&seen->message, text, sizeof(text));
    story_trace(story, "node > %-8s %s%s", story_peer_name(peer), text, lost ? " (lost)" : "");
    if (peer == ARBITER && seen->type == MESSAGE_HEARTBEAT && seen->message.view == 0 && !lost) {
        story->arbiter_asked = true;
    }
    if (seen->type == MESSAGE_JOIN) {
        story->incarnation = seen->message.body.join.incarnation;
    }
    if (lost) {
        alloc_free(seen->bytes);
        story->seen_len--;
    } else if (peer >= S1 && peer <= S3) {
        story_secondary_hears(story, peer, &seen->message);
    }
}

/* --- the other effects --- */

static void story_take_persist(struct story *story, const struct effect *effect)
{
    struct story_store *store = &story->store;
    char text[STORY_TEXT_MAX];
    if (store->in_flight) {
        story_fail(story, "a second batch while one is in flight");
    }
    struct story_seen *seen = story_see(story, STORE);
    seen->bytes =
        story_join_slices(effect->as.persist.slices, effect->as.persist.slices_len, &seen->len);
    seen->batch = effect->as.persist.batch;
    assert_int_equal(seen->len, effect->as.persist.bytes);
    alloc_free(store->bytes);
    store->bytes =
        story_join_slices(effect->as.persist.slices, effect->as.persist.slices_len, &store->len);
    store->in_flight = true;
    store->batch = effect->as.persist.batch;
    store->position = effect->as.persist.position;
    store->slices = effect->as.persist.slices;
    store->slices_len = effect->as.persist.slices_len;
    story_records_text(seen->bytes, seen->len, text, sizeof(text));
    story_trace(story, "node > store    Persist batch=%llu position=(%llu, %llu) %s",
                (unsigned long long)seen->batch,
                (unsigned long long)effect->as.persist.position.view,
                (unsigned long long)effect->as.persist.position.index, text);
}

static void story_take_open_link(struct story *story, const struct effect *effect)
{
    const char *const *uris = effect->as.open_link.uris;
    const char *name = strstr(uris[0], "://") + strlen("://");
    if (effect->as.open_link.uris_len == 1) {
        story_trace(story, "node : open link to %s", name);
    } else {
        assert_int_equal(effect->as.open_link.uris_len, 2);
        story_trace(story, "node : open link to %s at %s, else %s", name, uris[0], uris[1]);
    }
    if (strcmp(name, story_peer_name(ARBITER)) == 0) {
        story->arbiter_link = effect->as.open_link.link;
        return;
    }
    if (strcmp(name, story_peer_name(PRIMARY)) == 0) {
        story->source_link = effect->as.open_link.link;
        return;
    }
    if (strcmp(name, story->config.name) == 0) {
        story->probe_link = effect->as.open_link.link;
        return;
    }
    for (uint32_t i = S1; i <= S3; i++) {
        bool is_it = strcmp(name, story_peer_name((enum story_peer)i)) == 0;
        if (is_it && story->secondaries[i].link != 0) {
            story->probe_link = effect->as.open_link.link;
            return;
        }
        if (is_it) {
            story->secondaries[i].link = effect->as.open_link.link;
            story->secondaries[i].last_link = effect->as.open_link.link;
            story->secondaries[i].up = false;
            snprintf(story->secondaries[i].address, sizeof(story->secondaries[i].address), "%s",
                     uris[0]);
            return;
        }
    }
    story_fail(story, "a link to %s", name);
}

static void story_take_close_link(struct story *story, const struct effect *effect)
{
    enum story_peer peer = story_peer_of_link(story, effect->as.close_link.link);
    if (effect->as.close_link.link == story->probe_link) {
        story_trace(story, "node : close link to nobody");
        story->probe_link = 0;
        return;
    }
    story_trace(story, "node : close link to %s", story_peer_name(peer));
    if (peer >= S1 && peer <= S3) {
        story->secondaries[peer].link = 0;
        story->secondaries[peer].up = false;
    } else if (effect->as.close_link.link == story->source_link) {
        story->source_link = 0;
    } else {
        story->gone[peer] = true;
    }
}

static void story_take_effect(struct story *story, const struct effect *effect)
{
    switch (effect->kind) {
    case EFFECT_PERSIST:
        story_take_persist(story, effect);
        break;
    case EFFECT_OPEN_LINK:
        story_take_open_link(story, effect);
        break;
    case EFFECT_CLOSE_LINK:
        story_take_close_link(story, effect);
        break;
    case EFFECT_SEND:
        story_take_send(story, effect);
        break;
    case EFFECT_NOTE:
        story_trace(story, "node : %s", effect->as.note.text);
        break;
    case EFFECT_IDENTITY:
        story->identity = effect->as.identity.cluster;
        story_trace(story, "node : cluster %llu", (unsigned long long)effect->as.identity.cluster);
        break;
    case EFFECT_READY:
        story_trace(story, "node : ready as %s", message_role_name(effect->as.ready.role));
        break;
    case EFFECT_STOP:
        story_trace(story, "node : stop status=%d: %s", effect->as.stop.exit_status,
                    effect->as.stop.reason);
        story_see(story, HOST)->exit_status = effect->as.stop.exit_status;
        break;
    default:
        story_fail(story, "effect %d is none of a replica", (int)effect->kind);
    }
}

void story_take_effects(struct story *story)
{
    bool sent = false;
    for (uint32_t i = 0; i < story->effects.len; i++) {
        const struct effect *effect = &story->effects.items[i];
        if (effect->kind == EFFECT_PERSIST && sent) {
            story_fail(story, "a batch after a message in one step: against the order rule");
        }
        sent = sent || effect->kind == EFFECT_SEND;
        story_take_effect(story, effect);
    }
}

/* --- prompt peers --- */

/* Does one thing that is due; false: nothing is. */
static bool story_react_once(struct story *story)
{
    if (story->arbiter_asked) {
        story_arbiter_answers(story);
        return true;
    }
    if (story->store.prompt && story->store.in_flight) {
        story_store_answers(story, story->store.batch, true, NULL);
        return true;
    }
    for (uint32_t i = S1; i <= S3; i++) {
        const struct story_secondary *secondary = &story->secondaries[i];
        if (!secondary->prompt || secondary->cut) {
            continue;
        }
        if (secondary->asked_resume) {
            story_secondary_resumes(story, (enum story_peer)i);
            return true;
        }
        if (secondary->lacks) {
            story_secondary_fetches(story, (enum story_peer)i);
            return true;
        }
        if (secondary->owes) {
            story_secondary_acks(story, (enum story_peer)i, secondary->session, secondary->expected,
                                 secondary->expected);
            return true;
        }
    }
    return false;
}

/* Each reaction is a turn of its own. */
void story_react(struct story *story)
{
    uint32_t reactions = 0;
    while (story_react_once(story)) {
        story_flush(story);
        if (++reactions > STORY_REACTIONS_MAX) {
            story_fail(story, "the node and its peers keep each other busy");
        }
    }
}
