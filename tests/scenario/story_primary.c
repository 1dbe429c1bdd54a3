/* What the scripted primary of a secondary under test does: its Snapshots, and the answers to what
 * the node fetches. */
#include "story_internal.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "logic/record.h"

/* The next Snapshot, without records. */
static struct message *story_new_snapshot(struct story *story, uint8_t kind)
{
    struct story_primary *primary = &story->primary;
    assert_true(primary->next < STORY_SNAPSHOTS_MAX);
    struct message *message = &primary->snapshots[primary->next];
    *message = story_message(story, MESSAGE_SNAPSHOT, PRIMARY);
    message->sender = story->view.primary; /* whoever that is now */
    message->body.snapshot.session = primary->session;
    message->body.snapshot.seq = primary->next++;
    message->body.snapshot.kind = kind;
    return message;
}

/* The records take the positions after `last`, which moves on. */
static void story_fill_records(struct story *story, struct message *message, const char *records,
                               struct kv_position *last)
{
    uint64_t seq = message->body.snapshot.seq;
    size_t len;
    alloc_free(story->primary.records[seq]);
    story->primary.records[seq] =
        story_encode_records(records, last, &len, &message->body.snapshot.count);
    message->body.snapshot.records.at = story->primary.records[seq];
    message->body.snapshot.records.len = len;
}

void story_primary_has(struct story *story, uint64_t index)
{
    story->primary.index = index;
    story->primary.committed = index;
}

static uint64_t story_begin_at(struct story *story, enum snapshot_tail tail,
                               struct kv_position as_of)
{
    struct message *message = story_new_snapshot(story, SNAPSHOT_BEGIN);
    message->body.snapshot.tail = (uint8_t)tail;
    message->body.snapshot.as_of = as_of;
    message->body.snapshot.base = tail == TAIL_NONE ? UINT64_MAX : 0;
    message->body.snapshot.last = story->primary.index;
    story_send(story, message->body.snapshot.seq);
    return message->body.snapshot.seq;
}

uint64_t story_begin_session(struct story *story)
{
    return story_begin_at(story, TAIL_NONE,
                          (struct kv_position){story->view.number, story->primary.index});
}

uint64_t story_begin_tail(struct story *story, struct kv_position as_of)
{
    return story_begin_at(story, TAIL_FOLLOWS, as_of);
}

/* Those of the records whose hash is in the range, in ascending order of it. */
static void story_records_between(const uint8_t *bytes, size_t len, struct message *fetched,
                                  struct buffer *ret_records)
{
    uint64_t next = fetched->body.fetched.low;
    bool is_more = true;
    while (is_more) {
        struct bytes_reader reader = bytes_reader_init(bytes, len);
        struct kv_record record;
        struct kv_record first = {.key = NULL};
        uint64_t first_hash = fetched->body.fetched.high;
        is_more = false;
        while (reader.left > 0 && record_decode(&reader, &record)) {
            uint64_t hash = hash_bytes(record.key, record.key_len);
            if (hash >= next && hash <= first_hash) {
                first = record;
                first_hash = hash;
                is_more = true;
            }
        }
        if (is_more) {
            record_encode(&first, buffer_room(ret_records, record_size(&first)));
            fetched->body.fetched.count++;
            next = first_hash + 1;
        }
    }
}

static void story_answer_fetch(struct story *story, const struct message *fetch,
                               const uint8_t *bytes, size_t len, struct kv_position as_of)
{
    struct buffer records;
    struct message message = story_message(story, MESSAGE_FETCHED, PRIMARY);
    assert_int_equal(fetch->body.fetch.parts, 0); /* so little is not compared */
    message.body.fetched.request = fetch->body.fetch.request;
    message.body.fetched.as_of = as_of;
    message.body.fetched.low = fetch->body.fetch.low;
    message.body.fetched.high = fetch->body.fetch.high;
    buffer_init(&records);
    story_records_between(bytes, len, &message, &records);
    message.body.fetched.records.at = records.bytes;
    message.body.fetched.records.len = records.len;
    story_deliver(story, PRIMARY, &message);
    buffer_close(&records);
}

void story_content_as_of(struct story *story, const char *records, uint64_t index)
{
    struct kv_position last = {story->view.number, 0};
    struct kv_position as_of = {story->view.number, index};
    size_t len;
    uint32_t count;
    uint8_t *bytes = story_encode_records(records, &last, &len, &count);
    uint32_t answers = 0;
    uint32_t seen_len = story->seen_len;
    assert_true(last.index <= index);
    story_turn_begin(story);
    for (uint32_t i = 0; i < seen_len; i++) {
        if (story->seen[i].peer == PRIMARY && story->seen[i].type == MESSAGE_FETCH &&
            !story->seen[i].taken) {
            story->seen[i].taken = true;
            struct message fetch = story->seen[i].message;
            story_answer_fetch(story, &fetch, bytes, len, as_of);
            answers++;
        }
    }
    assert_true(answers > 0);
    story_turn_end(story);
    alloc_free(bytes);
}

void story_content(struct story *story, const char *records)
{
    story_content_as_of(story, records, story->primary.index);
}

uint64_t story_make(struct story *story, const char *records)
{
    struct message *message = story_new_snapshot(story, SNAPSHOT_RECORDS);
    struct kv_position last = {story->view.number, story->primary.index};
    story_fill_records(story, message, records, &last);
    story->primary.index = last.index;
    return message->body.snapshot.seq;
}

void story_send(struct story *story, uint64_t seq)
{
    assert_true(seq < story->primary.next);
    struct message *message = &story->primary.snapshots[seq];
    message->view = story->view.number;
    message->body.snapshot.committed = story->primary.committed;
    message->body.snapshot.refusals = story->primary.dealt;
    message->body.snapshot.sent_ms = story->now_ms;
    story_deliver(story, PRIMARY, message);
}

uint64_t story_write(struct story *story, const char *records)
{
    uint64_t seq = story_make(story, records);
    story_send(story, seq);
    return seq;
}

uint64_t story_index(const struct story *story)
{
    return story->primary.index;
}

static void story_send_outside(struct story *story, uint8_t kind)
{
    struct message message = story_message(story, MESSAGE_SNAPSHOT, PRIMARY);
    message.sender = story->view.primary;
    message.body.snapshot.session = story->primary.session;
    message.body.snapshot.kind = kind;
    message.body.snapshot.committed = story->primary.committed;
    message.body.snapshot.refusals = story->primary.dealt;
    message.body.snapshot.sent_ms = story->now_ms;
    story_deliver(story, PRIMARY, &message);
}

void story_commits(struct story *story, uint64_t index)
{
    story->primary.committed = index;
    story_send_outside(story, SNAPSHOT_COMMIT);
}

void story_probe(struct story *story)
{
    story_send_outside(story, SNAPSHOT_PROBE);
}

void story_primary_deals(struct story *story, uint64_t refusals)
{
    story->primary.dealt = refusals;
}
