/* What the scripted store does: it stores, fails, refuses a record, or answers amiss. */
#include "story_internal.h"

#include "logic/record.h"

#include <string.h>

void story_store_prompt(struct story *story, bool prompt)
{
    story->store.prompt = prompt;
    story_react(story);
}

uint64_t story_batch(const struct story *story)
{
    return story->store.batch;
}

bool story_batch_in_flight(const struct story *story)
{
    return story->store.in_flight;
}

struct kv_position story_batch_position(const struct story *story)
{
    return story->store.position;
}

/* What was borrowed for the batch has stayed as it was. */
static void story_check_slices(struct story *story)
{
    const struct story_store *store = &story->store;
    size_t at = 0;
    for (uint32_t i = 0; i < store->slices_len; i++) {
        if (memcmp(store->bytes + at, store->slices[i].bytes, store->slices[i].len) != 0) {
            story_fail(story, "the bytes of a batch in flight have changed");
        }
        at += store->slices[i].len;
    }
}

void story_store_answers(struct story *story, uint64_t batch, bool stored, const char *reason)
{
    struct story_store *store = &story->store;
    if (store->in_flight && batch == store->batch) {
        story_check_slices(story);
        store->in_flight = false;
        if (stored && store->len > 0) {
            story_content_apply(&story->content[STORE], store->bytes, store->len, 0);
        }
    }
    struct event event = {.kind = stored ? EVENT_PERSISTED : EVENT_PERSIST_FAILED,
                          .now_ms = story->now_ms};
    event.as.persist.batch = batch;
    event.as.persist.status = stored ? KV_OK : KV_E_IO;
    event.as.persist.error = reason;
    story_trace(story, "node < store    %s batch=%llu", stored ? "Persisted" : "PersistFailed",
                (unsigned long long)batch);
    story_step_alone(story, &event);
}

void story_persisted_but(struct story *story, const char *record, const char *reason)
{
    struct story_store *store = &story->store;
    struct persist_refusal refusals[STORY_REFUSALS_MAX];
    uint32_t refusals_len = 0;
    assert_true(store->in_flight);
    story_check_slices(story);
    store->in_flight = false;
    struct bytes_reader reader = bytes_reader_init(store->bytes, store->len);
    struct kv_record given;
    for (uint32_t number = 0; reader.left > 0; number++) {
        const uint8_t *begin = reader.at;
        assert_true(record_decode(&reader, &given));
        if (story_record_is(&given, record)) {
            assert_true(refusals_len < STORY_REFUSALS_MAX);
            refusals[refusals_len++] = (struct persist_refusal){number, reason};
        } else {
            story_content_apply(&story->content[STORE], begin, (size_t)(reader.at - begin), 0);
        }
    }
    assert_true(refusals_len > 0);
    struct event event = {.kind = EVENT_PERSISTED, .now_ms = story->now_ms};
    event.as.persist.batch = store->batch;
    event.as.persist.status = KV_OK;
    event.as.persist.refusals = refusals;
    event.as.persist.refusals_len = refusals_len;
    story_trace(story, "node < store    Persisted batch=%llu but for %s: %s",
                (unsigned long long)store->batch, record, reason);
    story_step(story, &event);
}

void story_persisted(struct story *story)
{
    assert_true(story->store.in_flight);
    story_persist_answer(story, story->store.batch, true);
}

void story_persist_fails(struct story *story, const char *reason)
{
    assert_true(story->store.in_flight);
    story_store_answers(story, story->store.batch, false, reason);
    story_turn_over(story);
}

void story_persist_answer(struct story *story, uint64_t batch, bool stored)
{
    story_store_answers(story, batch, stored, NULL);
    story_turn_over(story);
}
