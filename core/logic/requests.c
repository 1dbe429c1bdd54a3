#include "logic/requests.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/check.h"
#include "logic/primary.h"
#include "logic/record.h"

#include <string.h>

bool requests_is_request(uint8_t type)
{
    return type == MESSAGE_INSERT || type == MESSAGE_REMOVE || type == MESSAGE_GET ||
           type == MESSAGE_SCAN || type == MESSAGE_STATUS;
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
    case MESSAGE_STATUS:
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
    if (message->type == MESSAGE_GET) {
        requests_answer_get(replica, link, message);
    } else {
        requests_answer_scan(replica, link, message);
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

static void requests_on_read(struct replica *replica, const struct message *message,
                             const struct requests_item *item)
{
    uint64_t min_index = message->type == MESSAGE_GET ? message->body.operation.min_index : 0;
    if (!replica_serves_reads(replica)) {
        requests_reject(replica, item, REJECT_NOT_READY);
    } else if (min_index <= replica->committed) {
        requests_answer_read(replica, item->link, message);
    } else {
        requests_keep(replica, &replica->index_waiting, item, min_index);
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

/* --- all --- */

static void requests_on_update(struct replica *replica, const struct message *message,
                               const struct requests_item *item)
{
    if (replica->role == ROLE_PRIMARY) {
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
    while (replica->role != ROLE_JOINING &&
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

void requests_reject_waiting(struct replica *replica, uint8_t reason)
{
    struct waiting *const queues[] = {&replica->role_waiting, &replica->index_waiting};
    for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        struct waiting_request *request;
        while ((request = waiting_take_reached(queues[i], UINT64_MAX)) != NULL) {
            context_reject(replica->context, request->link, request->request, reason, 0);
            alloc_free(request);
        }
    }
}

static void requests_expire(struct replica *replica, struct waiting *waiting)
{
    struct waiting_request *request;
    while ((request = waiting_take_expired(waiting, replica->context->now_ms)) != NULL) {
        context_reject(replica->context, request->link, request->request, REJECT_DEADLINE, 0);
        alloc_free(request);
    }
}

void requests_tick(struct replica *replica)
{
    requests_expire(replica, &replica->role_waiting);
    requests_expire(replica, &replica->index_waiting);
}

uint64_t requests_wake_ms(const struct replica *replica)
{
    return context_earlier(replica->role_waiting.earliest_ms, replica->index_waiting.earliest_ms);
}

void requests_on_link_down(struct replica *replica, uint64_t link)
{
    waiting_drop_link(&replica->role_waiting, link);
    waiting_drop_link(&replica->index_waiting, link);
}
