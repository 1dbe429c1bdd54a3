#include "logic/requests.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/check.h"
#include "logic/handover.h"
#include "logic/lease.h"
#include "logic/primary.h"
#include "logic/record.h"
#include "logic/source.h"

#include <stdio.h>
#include <string.h>

bool requests_is_request(uint8_t type)
{
    return type == MESSAGE_INSERT || type == MESSAGE_REMOVE || type == MESSAGE_GET ||
           type == MESSAGE_SCAN || type == MESSAGE_STATUS || type == MESSAGE_LOCATE ||
           type == MESSAGE_FETCH;
}

static bool requests_is_update(uint8_t type)
{
    return type == MESSAGE_INSERT || type == MESSAGE_REMOVE;
}

/* The request id and the time that the client gives; status requests carry no deadline. */
static uint64_t requests_id(const struct message *message, uint32_t *ret_deadline_ms)
{
    switch (message->type) {
    case MESSAGE_SCAN:
        *ret_deadline_ms = message->body.scan.deadline_ms;
        return message->body.scan.request;
    case MESSAGE_FETCH:
        *ret_deadline_ms = 0;
        return message->body.fetch.request;
    case MESSAGE_STATUS:
    case MESSAGE_LOCATE:
        *ret_deadline_ms = 0;
        return message->body.request.request;
    default:
        *ret_deadline_ms = message->body.operation.deadline_ms;
        return message->body.operation.request;
    }
}

/* --- reads --- */

static void requests_answer_get(struct replica *replica, uint64_t link,
                                const struct message *message)
{
    struct bytes_view key = message->body.operation.key;
    struct message answer = context_message(replica->context, MESSAGE_GET_RESULT);
    struct store_entry entry;
    answer.body.get_result.request = message->body.operation.request;
    answer.body.get_result.position.index = replica->committed;
    answer.body.get_result.position.view = replica->view.number;
    if (store_get(replica->store, key.at, (uint32_t)key.len, &entry)) {
        answer.body.get_result.found = 1;
        answer.body.get_result.position = entry.position;
        answer.body.get_result.value.at = entry.value;
        answer.body.get_result.value.len = entry.value_len;
    }
    context_count(replica->context, COUNTER_reads_answered);
    context_send(replica->context, link, &answer);
}

struct requests_scan {
    struct bytes_view prefix;
    struct buffer records;
    uint32_t count;
    uint32_t count_max;
    uint32_t visits;
    uint64_t hash; /* of the last pair visited */
};

static bool requests_scan_matches(const struct requests_scan *scan, const struct store_entry *entry)
{
    return entry->key_len >= scan->prefix.len &&
           (scan->prefix.len == 0 || memcmp(entry->key, scan->prefix.at, scan->prefix.len) == 0);
}

/* The answer is full: what follows is fetched with the cursor. */
static bool requests_scan_is_full(const struct requests_scan *scan, const struct store_entry *entry)
{
    size_t size = (size_t)RECORD_HEADER_BYTES + entry->key_len + entry->value_len;
    return scan->visits >= SCAN_VISITS_MAX || scan->count >= scan->count_max ||
           scan->records.len + size > SNAPSHOT_BYTES_MAX;
}

static bool requests_scan_visit(void *ctx, const struct store_entry *entry)
{
    struct requests_scan *scan = ctx;
    /* A cursor is a hash: pairs of one hash stay together. */
    if (scan->visits > 0 && entry->hash != scan->hash && requests_scan_is_full(scan, entry)) {
        return false;
    }
    scan->hash = entry->hash;
    scan->visits++;
    if (requests_scan_matches(scan, entry)) {
        struct kv_record record = {.key = entry->key,
                                   .value = entry->value,
                                   .key_len = entry->key_len,
                                   .value_len = entry->value_len,
                                   .kind = KV_RECORD_INSERT,
                                   .position = entry->position};
        record_encode(&record, buffer_room(&scan->records, record_size(&record)));
        scan->count++;
    }
    return true;
}

static void requests_answer_scan(struct replica *replica, uint64_t link,
                                 const struct message *message)
{
    uint32_t limit = message->body.scan.limit;
    struct requests_scan scan = {.prefix = message->body.scan.prefix,
                                 .count_max = limit == 0 ? UINT32_MAX : limit};
    struct message answer = context_message(replica->context, MESSAGE_SCAN_RESULT);
    uint64_t next = 0;
    buffer_init(&scan.records);
    bool complete = store_scan(replica->store, message->body.scan.cursor, UINT64_MAX, &next,
                               requests_scan_visit, &scan);
    answer.body.scan_result.request = message->body.scan.request;
    answer.body.scan_result.end = complete ? 1 : 0;
    answer.body.scan_result.next = complete ? 0 : next;
    answer.body.scan_result.count = scan.count;
    answer.body.scan_result.records.at = scan.records.bytes;
    answer.body.scan_result.records.len = scan.records.len;
    context_count(replica->context, COUNTER_reads_answered);
    context_send(replica->context, link, &answer);
    buffer_close(&scan.records);
}

static void requests_answer_read(struct replica *replica, uint64_t link,
                                 const struct message *message)
{
    switch (message->type) {
    case MESSAGE_GET:
        requests_answer_get(replica, link, message);
        break;
    case MESSAGE_SCAN:
        requests_answer_scan(replica, link, message);
        break;
    default:
        KV_CHECK(message->type == MESSAGE_FETCH);
        source_answer(replica, link, message);
    }
}

/* A request with what is needed to answer it later. */
struct requests_item {
    uint64_t link;
    uint64_t request;
    uint64_t deadline_ms;
    const void *bytes;
    size_t len;
};

static void requests_reject(struct replica *replica, const struct requests_item *item,
                            uint8_t reason)
{
    bool passing = reason == REJECT_OVERLOADED || reason == REJECT_NOT_READY;
    context_reject(replica->context, item->link, item->request, reason,
                   passing ? replica->context->config->retransmit_ms : 0);
}

static void requests_keep(struct replica *replica, struct waiting *waiting,
                          const struct requests_item *item, uint64_t min_index)
{
    if (!waiting_add(waiting, item->link, item->request, min_index, item->deadline_ms, item->bytes,
                     item->len)) {
        requests_reject(replica, item, REJECT_OVERLOADED);
    }
}

/* Only the primary may answer it; and from which index on. */
static bool requests_is_at_primary(const struct message *message, uint64_t *ret_min_index)
{
    switch (message->type) {
    case MESSAGE_GET:
        *ret_min_index = message->body.operation.min_index;
        return message->body.operation.at_primary != 0;
    case MESSAGE_SCAN:
        *ret_min_index = message->body.scan.min_index;
        return message->body.scan.at_primary != 0;
    default:
        *ret_min_index = message->body.fetch.min_index;
        return false;
    }
}

static void requests_on_read(struct replica *replica, const struct message *message,
                             const struct requests_item *item)
{
    uint64_t min_index;
    bool at_primary = requests_is_at_primary(message, &min_index);
    bool is_content = message->type == MESSAGE_FETCH;
    if (at_primary && replica->role != ROLE_PRIMARY) {
        requests_reject(replica, item, REJECT_NOT_PRIMARY);
    } else if (!replica_serves_reads(replica)) {
        requests_reject(replica, item, REJECT_NOT_READY);
    } else if (min_index > replica->committed) {
        requests_keep(replica, &replica->index_waiting, item, min_index);
    } else if (replica->role == ROLE_PRIMARY && !is_content && !lease_allows_reads(replica)) {
        context_count(replica->context, COUNTER_reads_waited);
        requests_keep(replica, &replica->primary.reads, item, replica->context->now_ms + 1);
        lease_ask(replica);
    } else {
        requests_answer_read(replica, item->link, message);
    }
}

/* --- status --- */

static struct bytes_view requests_text(const char *text)
{
    struct bytes_view view = {(const uint8_t *)text, strlen(text)};
    return view;
}

static void requests_fill_counters(const struct context *context, struct message *answer)
{
#define COUNTER_NAME_(name) #name,
    static const char *const names[COUNTERS_LEN] = {COUNTER_TABLE(COUNTER_NAME_)};
#undef COUNTER_NAME_
    answer->body.status_result.counters_len = COUNTERS_LEN;
    for (uint32_t i = 0; i < COUNTERS_LEN; i++) {
        answer->body.status_result.counters[i].name = requests_text(names[i]);
        answer->body.status_result.counters[i].value = context->counters[i];
    }
}

static uint8_t requests_persist_state(const struct replica *replica)
{
    if (!replica->loaded) {
        return PERSIST_LOADING;
    }
    if (replica->persister.error[0] != '\0') {
        return PERSIST_RETRYING;
    }
    if (persister_is_stuck(&replica->persister, replica->context)) {
        return PERSIST_HANGING;
    }
    return replica->refused[0] == '\0' ? PERSIST_OK : PERSIST_REFUSING;
}

static const char *requests_persist_error(const struct replica *replica)
{
    return replica->persister.error[0] == '\0' ? replica->refused : replica->persister.error;
}

void requests_answer_status(struct context *context, const struct replica *replica, uint64_t link,
                            uint64_t request)
{
    struct message answer = context_message(context, MESSAGE_STATUS_RESULT);
    answer.body.status_result.request = request;
    answer.body.status_result.role = ROLE_ARBITER;
    answer.body.status_result.persist_state = PERSIST_OK;
    answer.body.status_result.name = requests_text(context->config->name);
    if (replica != NULL) {
        answer.body.status_result.role = (uint8_t)replica->role;
        answer.body.status_result.persist_state = requests_persist_state(replica);
        answer.body.status_result.position = log_last(replica->log);
        answer.body.status_result.durable_index = replica_durable_index(replica);
        answer.body.status_result.committed_index = replica->committed;
        answer.body.status_result.keys = store_len(replica->store);
        answer.body.status_result.digest = store_digest(replica->store);
        answer.body.status_result.persist_plugin = requests_text(context->config->persist_plugin);
        answer.body.status_result.persist_error = requests_text(requests_persist_error(replica));
    }
    requests_fill_counters(context, &answer);
    context_send(context, link, &answer);
}

void requests_answer_locate(struct context *context, const struct view *view, uint64_t link,
                            uint64_t request)
{
    struct message answer = context_message(context, MESSAGE_LOCATED);
    answer.body.located.request = request;
    answer.body.located.view = context_encode_view(context, view);
    context_send(context, link, &answer);
}

/* --- all --- */

static void requests_on_update(struct replica *replica, const struct message *message,
                               const struct requests_item *item)
{
    if (handover_holds_updates(replica)) {
        requests_keep(replica, &replica->role_waiting, item, 0);
    } else if (replica->role == ROLE_PRIMARY) {
        primary_on_update(replica, item->link, message, item->deadline_ms);
    } else {
        requests_reject(replica, item, REJECT_NOT_PRIMARY);
    }
}

static void requests_dispatch(struct replica *replica, const struct message *message,
                              const struct requests_item *item)
{
    if (replica->role == ROLE_JOINING && replica->membership.leaving) {
        requests_reject(replica, item, REJECT_LEAVING);
    } else if (replica->role == ROLE_JOINING) {
        requests_keep(replica, &replica->role_waiting, item, 0);
    } else if (requests_is_update(message->type)) {
        requests_on_update(replica, message, item);
    } else {
        requests_on_read(replica, message, item);
    }
}

void requests_on_message(struct replica *replica, uint64_t link, const struct message *message,
                         const void *bytes, size_t len)
{
    uint32_t asked_ms;
    struct requests_item item = {.link = link, .bytes = bytes, .len = len};
    item.request = requests_id(message, &asked_ms);
    item.deadline_ms = replica_deadline_ms(replica, asked_ms);
    if (message->type == MESSAGE_STATUS) {
        requests_answer_status(replica->context, replica, link, item.request);
    } else if (message->type == MESSAGE_LOCATE) {
        requests_answer_locate(replica->context, &replica->view, link, item.request);
    } else {
        requests_dispatch(replica, message, &item);
    }
}

/* Takes up a request that has waited; its deadline goes on from its receipt. */
static void requests_again(struct replica *replica, struct waiting_request *waited)
{
    struct requests_item item = {.link = waited->link,
                                 .request = waited->request,
                                 .deadline_ms = waited->deadline_ms,
                                 .bytes = waited->bytes,
                                 .len = waited->len};
    if (item.deadline_ms <= replica->context->now_ms) {
        requests_reject(replica, &item, REJECT_DEADLINE);
    } else {
        struct message message;
        KV_CHECK(message_decode(item.bytes, item.len, &message) == KV_OK);
        requests_dispatch(replica, &message, &item);
    }
    alloc_free(waited);
}

void requests_take_waiting(struct replica *replica)
{
    struct waiting_request *request;
    while (replica->role != ROLE_JOINING && !handover_holds_updates(replica) &&
           (request = waiting_take_reached(&replica->role_waiting, 0)) != NULL) {
        requests_again(replica, request);
    }
}

void requests_take_reached(struct replica *replica)
{
    struct waiting_request *request;
    while (replica->index_waiting.len > 0 && replica_serves_reads(replica) &&
           (request = waiting_take_reached(&replica->index_waiting, replica->committed)) != NULL) {
        requests_again(replica, request);
    }
}

static const char requests_unconfirmed[] =
    "no member confirmed in time that this is still the primary";

/* Its answer is the state of this moment, which lies after the read and is confirmed. */
static void requests_answer_confirmed(struct replica *replica, struct waiting_request *waited)
{
    struct message message;
    KV_CHECK(message_decode(waited->bytes, waited->len, &message) == KV_OK);
    if (waited->deadline_ms <= replica->context->now_ms) {
        context_reject_with(replica->context, waited->link, waited->request, REJECT_DEADLINE, 0,
                            requests_unconfirmed);
    } else {
        requests_answer_read(replica, waited->link, &message);
    }
    alloc_free(waited);
}

void requests_take_confirmed(struct replica *replica)
{
    if (replica->primary.reads.len == 0) {
        return;
    }
    uint64_t confirmed_ms = lease_confirmed_ms(replica);
    struct waiting_request *request;
    while ((request = waiting_take_reached(&replica->primary.reads, confirmed_ms)) != NULL) {
        requests_answer_confirmed(replica, request);
    }
}

static void requests_reject_all(struct replica *replica, struct waiting *waiting, uint8_t reason)
{
    struct waiting_request *request;
    while ((request = waiting_take_reached(waiting, UINT64_MAX)) != NULL) {
        context_reject(replica->context, request->link, request->request, reason, 0);
        alloc_free(request);
    }
}

void requests_reject_reads(struct replica *replica, uint8_t reason)
{
    requests_reject_all(replica, &replica->primary.reads, reason);
}

void requests_reject_waiting(struct replica *replica, uint8_t reason)
{
    requests_reject_all(replica, &replica->role_waiting, reason);
    requests_reject_all(replica, &replica->index_waiting, reason);
    requests_reject_all(replica, &replica->primary.reads, reason);
}

/* A joiner asks again by itself, or somebody else. text: what it waited for. */
static void requests_reject_late(struct replica *replica, const struct waiting_request *request,
                                 const char *text)
{
    struct message message;
    KV_CHECK(message_decode(request->bytes, request->len, &message) == KV_OK);
    if (message.type != MESSAGE_FETCH) {
        context_reject_with(replica->context, request->link, request->request, REJECT_DEADLINE, 0,
                            text);
    }
}

static void requests_expire(struct replica *replica, struct waiting *waiting, const char *text)
{
    struct waiting_request *request;
    while ((request = waiting_take_expired(waiting, replica->context->now_ms)) != NULL) {
        requests_reject_late(replica, request, text);
        alloc_free(request);
    }
}

static void requests_expire_index(struct replica *replica)
{
    char text[64];
    if (replica->index_waiting.earliest_ms > replica->context->now_ms) {
        return;
    }
    snprintf(text, sizeof(text), "the node has only got to index %llu",
             (unsigned long long)replica->committed);
    requests_expire(replica, &replica->index_waiting, text);
}

void requests_tick(struct replica *replica)
{
    requests_expire(replica, &replica->role_waiting,
                    replica->role == ROLE_JOINING
                        ? "the node is not let in yet"
                        : "the place of the primary is being handed over");
    requests_expire_index(replica);
    requests_expire(replica, &replica->primary.reads, requests_unconfirmed);
}

uint64_t requests_wake_ms(const struct replica *replica)
{
    uint64_t wake_ms =
        context_earlier(replica->role_waiting.earliest_ms, replica->index_waiting.earliest_ms);
    return context_earlier(wake_ms, replica->primary.reads.earliest_ms);
}

void requests_on_link_down(struct replica *replica, uint64_t link)
{
    waiting_drop_link(&replica->role_waiting, link);
    waiting_drop_link(&replica->index_waiting, link);
    waiting_drop_link(&replica->primary.reads, link);
}
