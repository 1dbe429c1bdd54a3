#include "logic/source.h"

#include "base/check.h"
#include "logic/transfer.h"

void source_answer(struct replica *replica, uint64_t link, const struct message *message)
{
    KV_CHECK(message->type == MESSAGE_FETCH);
    uint64_t low = message->body.fetch.low;
    uint64_t high = message->body.fetch.high;
    struct buffer digests;
    struct buffer records;
    struct message answer = context_message(replica->context, MESSAGE_FETCHED);
    buffer_init(&digests);
    buffer_init(&records);
    answer.body.fetched.request = message->body.fetch.request;
    answer.body.fetched.as_of.view = replica->committed_view;
    answer.body.fetched.as_of.index = replica->committed;
    answer.body.fetched.low = low;
    if (message->body.fetch.parts == 0) {
        answer.body.fetched.high = transfer_cut(replica->store, low, high, SNAPSHOT_BYTES_MAX,
                                                &records, &answer.body.fetched.count);
    } else {
        uint32_t parts = message->body.fetch.parts;
        uint32_t len =
            transfer_digests(replica->store, low, high, parts, message->body.fetch.base,
                             SNAPSHOT_BYTES_MAX, &digests, &records, &answer.body.fetched.count);
        answer.body.fetched.high =
            transfer_parts_high(low, transfer_part_bits(low, high, parts), len);
        answer.body.fetched.digests_len = len;
    }
    answer.body.fetched.digests.at = digests.bytes;
    answer.body.fetched.digests.len = digests.len;
    answer.body.fetched.records.at = records.bytes;
    answer.body.fetched.records.len = records.len;
    context_count(replica->context, COUNTER_ranges_answered);
    context_send(replica->context, link, &answer);
    buffer_close(&digests);
    buffer_close(&records);
}
