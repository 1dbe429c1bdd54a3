#include "refusing.h"

#include "logic/node.h"
#include "logic/record.h"

#include <kvnode/status.h>
#include <string.h>

#define REFUSALS_MAX 1024u

static void refusing_text(const struct effect *persist, char *records, size_t size)
{
    size_t used = 0;
    records[0] = '\0';
    for (uint32_t i = 0; i < persist->as.persist.slices_len; i++) {
        const struct kv_slice *slice = &persist->as.persist.slices[i];
        struct bytes_reader reader = bytes_reader_init(slice->bytes, slice->len);
        struct kv_record record;
        while (reader.left > 0 && used < size) {
            assert_true(record_decode(&reader, &record));
            bool is_removal = record.kind == KV_RECORD_REMOVE;
            used +=
                (size_t)snprintf(records + used, size - used, "%s%.*s=%.*s", used == 0 ? "" : " ",
                                 (int)record.key_len, (const char *)record.key,
                                 is_removal ? 1 : (int)record.value_len,
                                 is_removal ? "-" : (const char *)record.value);
        }
    }
}

uint64_t refusing_flush(struct fixture *fixture, char *records, size_t size)
{
    fixture_happens(fixture, EVENT_FLUSH, 0);
    if (fixture_effects_len(fixture, EFFECT_PERSIST) == 0) {
        return 0;
    }
    const struct effect *persist = fixture_effect(fixture, EFFECT_PERSIST, 0);
    if (records != NULL) {
        refusing_text(persist, records, size);
    }
    return persist->as.persist.batch;
}

void refusing_persisted(struct fixture *fixture, uint64_t batch, const uint32_t *records,
                        uint32_t records_len, const char *reason)
{
    static struct persist_refusal refusals[REFUSALS_MAX];
    assert_true(records_len <= REFUSALS_MAX);
    for (uint32_t i = 0; i < records_len; i++) {
        refusals[i].record = records[i];
        refusals[i].reason = reason;
    }
    struct event event = {.kind = EVENT_PERSISTED};
    event.as.persist.batch = batch;
    event.as.persist.refusals = refusals;
    event.as.persist.refusals_len = records_len;
    fixture_step(fixture, &event);
}

void refusing_persist_failed(struct fixture *fixture, uint64_t batch, const char *error)
{
    struct event event = {.kind = EVENT_PERSIST_FAILED};
    event.as.persist.batch = batch;
    event.as.persist.status = KV_E_IO;
    event.as.persist.error = error;
    fixture_step(fixture, &event);
}

void refusing_stores(struct fixture *fixture, const char *records)
{
    char given[256];
    uint64_t batch = refusing_flush(fixture, given, sizeof(given));
    assert_true(batch != 0);
    assert_string_equal(given, records);
    refusing_persisted(fixture, batch, NULL, 0, NULL);
}

void refusing_expect(const struct fixture *fixture, const char *key, const char *value)
{
    struct bytes_view found;
    struct kv_position position;
    bool is_found = node_peek(fixture->node, key, (uint32_t)strlen(key), &found, &position);
    assert_int_equal(is_found, value != NULL);
    assert_true(value == NULL || fixture_equals(found, value));
}

struct node_state refusing_observe(const struct fixture *fixture)
{
    struct node_state state;
    node_observe(fixture->node, &state);
    return state;
}

void refusing_expect_persistence(struct fixture *fixture, uint8_t persist_state, const char *error)
{
    struct message status = fixture_message(MESSAGE_STATUS, 0, 900);
    status.cluster = 0;
    fixture_deliver(fixture, FIXTURE_CLIENT_LINK, &status);
    struct message answer = fixture_sent(fixture, MESSAGE_STATUS_RESULT, 0, NULL);
    assert_int_equal(answer.body.status_result.persist_state, persist_state);
    assert_true(fixture_equals(answer.body.status_result.persist_error, error));
}
