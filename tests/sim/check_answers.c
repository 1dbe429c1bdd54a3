#include "check.h"

#include "net.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <string.h>

/* A tick comes on the millisecond; what else stands between the deadline and the answer is one turn
 * of the loop. */
#define DUE_SLACK_MS 3u

static bool is_update(uint8_t type)
{
    return type == MESSAGE_INSERT || type == MESSAGE_REMOVE;
}

static uint32_t timeout_ms(const struct world *world, const struct operation *op)
{
    uint32_t limit = world->plan.operation_timeout_ms;
    return op->deadline_ms == 0 || op->deadline_ms > limit ? limit : op->deadline_ms;
}

static void pending_drop(struct world *world, uint32_t i)
{
    world->pendings[i] = world->pendings[--world->pendings_len];
}

void check_answers_on_request(struct world *world, struct machine *machine, uint64_t link,
                              uint32_t op)
{
    struct operation *asked = &world->ops[op];
    if (world->pendings_len == world->pendings_capacity) {
        world->pendings_capacity = world->pendings_capacity * 2 + 64;
        world->pendings =
            alloc_resize(world->pendings, world->pendings_capacity * sizeof(*world->pendings));
    }
    struct pending *pending = &world->pendings[world->pendings_len++];
    memset(pending, 0, sizeof(*pending));
    pending->serial = world->next_serial++;
    pending->op = op;
    pending->machine = machine->index;
    pending->epoch = machine->epoch;
    pending->link = link;
    pending->arrival = pending->serial;
    pending->settled = world->settled;
    pending->received_ms = world->now_us / 1000 + machine->clock_ms;
    asked->deliveries++;
    world->updates_calm += world->phase != PHASE_SAFETY && is_update(asked->type) ? 1 : 0;
    if (asked->type != MESSAGE_LEAVE && asked->type != MESSAGE_PROMOTE) {
        uint64_t limit_ms = timeout_ms(world, asked);
        heap_push(&world->heap,
                  world->now_us + 1000 * (limit_ms + DUE_SLACK_MS) + 2 * world->plan.flush_max_us,
                  WAKE_DUE, 0, pending->serial, NULL);
    }
}

void check_answers_on_due(struct world *world, uint64_t serial)
{
    for (uint32_t i = 0; i < world->pendings_len; i++) {
        const struct pending *pending = &world->pendings[i];
        if (pending->serial == serial && !pending->gone) {
            const struct operation *op = &world->ops[pending->op];
            uint64_t awake_us = world->machines[pending->machine].paused_until_us +
                                1000u * DUE_SLACK_MS + 2 * world->plan.flush_max_us;
            if (awake_us > world->now_us) { /* it stood still */
                heap_push(&world->heap, awake_us, WAKE_DUE, 0, serial, NULL);
                return;
            }
            world_fail(world, "G9 one answer",
                       "%s has not answered %s %" PRIu64 " of client %u "
                       "on link %" PRIu64 " by its deadline",
                       world->machines[pending->machine].name, message_type_name(op->type),
                       op->request, op->client, pending->link);
            return;
        }
    }
}

static bool answer_fits(uint8_t request, uint8_t answer)
{
    switch (request) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
        return answer == MESSAGE_OPERATION_ACK || answer == MESSAGE_OPERATION_FAILED ||
               answer == MESSAGE_OPERATION_REJECTED;
    case MESSAGE_GET:
        return answer == MESSAGE_GET_RESULT || answer == MESSAGE_OPERATION_REJECTED;
    case MESSAGE_SCAN:
        return answer == MESSAGE_SCAN_RESULT || answer == MESSAGE_OPERATION_REJECTED;
    case MESSAGE_STATUS:
        return answer == MESSAGE_STATUS_RESULT || answer == MESSAGE_OPERATION_REJECTED;
    case MESSAGE_LOCATE:
        return answer == MESSAGE_LOCATED || answer == MESSAGE_OPERATION_REJECTED;
    case MESSAGE_LEAVE:
    case MESSAGE_PROMOTE:
        return answer == MESSAGE_OPERATION_ACK || answer == MESSAGE_OPERATION_FAILED ||
               answer == MESSAGE_OPERATION_REJECTED;
    default:
        return false;
    }
}

static void check_failed(struct world *world, const struct machine *machine,
                         const struct pending *pending, const struct message *message)
{
    const struct operation *op = &world->ops[pending->op];
    uint64_t now_ms = world->now_us / 1000 + machine->clock_ms;
    if (is_update(op->type) && message->body.operation_failed.reason == FAIL_TIMEOUT &&
        now_ms < pending->received_ms + timeout_ms(world, op)) {
        world_fail(world, "G9 one answer", "%s fails request %" PRIu64 " after %" PRIu64 " ms",
                   machine->name, op->request, now_ms - pending->received_ms);
    }
    if (is_update(op->type) && world->plan.only_handover && op->deadline_ms == 0) {
        world_fail(world, "handover", "%s fails request %" PRIu64 ": %s", machine->name,
                   op->request, message_fail_text(message->body.operation_failed.reason));
    }
    if (message->body.operation_failed.reason == FAIL_REFUSED) {
        check_undone_on_failed(world, pending->op);
    }
}

static void check_acked(struct world *world, struct machine *machine, const struct pending *pending,
                        const struct message *message)
{
    const struct operation *op = &world->ops[pending->op];
    struct kv_position position = message->body.operation_ack.position;
    if (!is_update(op->type)) {
        return;
    }
    if (position.index <= machine->acked_index) {
        world_fail(world, "G2 ordered", "%s acknowledges %" PRIu64 " after %" PRIu64, machine->name,
                   position.index, machine->acked_index);
    }
    machine->acked_index = position.index;
    check_primary_on_ack(world, machine, message->view, position);
    check_durable_on_ack(world, machine, pending->op, position);
    check_undone_on_ack(world, machine, position);
    if (world->phase != PHASE_SAFETY) {
        world->acks_calm++;
    }
}

/* Of several pending requests with one id, the one whose record this acknowledges. */
static bool fits_better(const struct world *world, const struct pending *pending,
                        const struct pending *than, const struct message *message)
{
    uint32_t id = message->type == MESSAGE_OPERATION_ACK
                      ? model_find(&world->model, message->body.operation_ack.position)
                      : UNKNOWN;
    if (id != UNKNOWN && id != ROOT) {
        uint32_t key = world->model.records[id].key;
        bool one = world->ops[pending->op].key == key;
        bool other = world->ops[than->op].key == key;
        if (one != other) {
            return one;
        }
    }
    return pending->arrival < than->arrival;
}

/* The pending request that this answers. A client may have used an id again, or the network may
 * have doubled it: then several wait, and which of them is answered cannot always be told. */
static uint32_t pending_find(struct world *world, const struct machine *machine, uint64_t link,
                             const struct message *message)
{
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; i < world->pendings_len; i++) {
        struct pending *pending = &world->pendings[i];
        const struct operation *op = &world->ops[pending->op];
        if (pending->machine != machine->index || pending->epoch != machine->epoch ||
            pending->link != link || op->request != message->body.request.request ||
            !answer_fits(op->type, message->type)) {
            continue;
        }
        if (found != UINT32_MAX) {
            pending->twin = true;
            world->pendings[found].twin = true;
        }
        if (found == UINT32_MAX || fits_better(world, pending, &world->pendings[found], message)) {
            found = i;
        }
    }
    return found;
}

static void check_rejected(struct world *world, const struct machine *machine,
                           const struct pending *pending)
{
    struct operation *op = &world->ops[pending->op];
    op->rejections++;
    if (!pending->twin && op->records + op->rejections > op->deliveries) {
        world_fail(world, "G9 one answer", "%s rejects request %" PRIu64 ", which it executes",
                   machine->name, op->request);
    }
}

/* Nodes ask each other too. */
static bool answers_node(struct world *world, const struct machine *machine, uint64_t link)
{
    const struct conn *conn = net_find(world, machine->index, link);
    return conn == NULL || conn->opener < MACHINES_MAX;
}

void check_answers_on_answer(struct world *world, struct machine *machine, uint64_t link,
                             const struct message *message)
{
    uint64_t request = message->body.request.request;
    uint32_t i = pending_find(world, machine, link, message);
    if (i == UINT32_MAX && answers_node(world, machine, link)) {
        return;
    }
    if (i == UINT32_MAX) {
        world_fail(world, "G9 one answer",
                   "%s answers request %" PRIu64 " on link %" PRIu64
                   " with a %s: nobody waits for that",
                   machine->name, request, link, message_type_name(message->type));
        return;
    }
    struct pending pending = world->pendings[i];
    pending_drop(world, i);
    if (pending.twin && message->type != MESSAGE_OPERATION_ACK) {
        return;
    }
    switch (message->type) {
    case MESSAGE_OPERATION_ACK:
        check_acked(world, machine, &pending, message);
        break;
    case MESSAGE_OPERATION_FAILED:
        check_failed(world, machine, &pending, message);
        break;
    case MESSAGE_OPERATION_REJECTED:
        check_rejected(world, machine, &pending);
        break;
    case MESSAGE_GET_RESULT:
        check_reads_on_get(world, machine, &pending, message);
        break;
    case MESSAGE_SCAN_RESULT:
        check_reads_on_scan(world, machine, &pending, message);
        break;
    default:
        break;
    }
}

void check_answers_on_link_gone(struct world *world, struct machine *machine, uint64_t link)
{
    for (uint32_t i = world->pendings_len; i-- > 0;) {
        struct pending *pending = &world->pendings[i];
        if (pending->machine == machine->index && pending->link == link) {
            pending->gone = true; /* it may be answered, for nobody */
        }
    }
}

void check_answers_on_process_gone(struct world *world, struct machine *machine, bool clean)
{
    for (uint32_t i = world->pendings_len; i-- > 0;) {
        const struct pending *pending = &world->pendings[i];
        if (pending->machine != machine->index) {
            continue;
        }
        const struct operation *op = &world->ops[pending->op];
        if (clean && op->type != MESSAGE_LEAVE && op->type != MESSAGE_PROMOTE && !pending->gone) {
            world_fail(world, "G9 one answer", "%s stops cleanly and owes an answer to %s %" PRIu64,
                       machine->name, message_type_name(op->type), op->request);
        }
        pending_drop(world, i);
    }
}

static bool value_is(const struct operation *op, const struct kv_record *record)
{
    return op->value_len == record->value_len &&
           (op->value_len == 0 || memcmp(op->value, record->value, op->value_len) == 0);
}

void check_answers_on_record(struct world *world, const struct kv_record *record, uint32_t id)
{
    uint32_t key = model_key(&world->model, record->key, record->key_len);
    uint8_t type = record->kind == KV_RECORD_INSERT ? MESSAGE_INSERT : MESSAGE_REMOVE;
    struct operation *asked = NULL;
    for (uint32_t i = world->ops_len; i-- > 0 && asked == NULL;) {
        struct operation *op = &world->ops[i];
        bool same = op->type == type && op->key == key && op->request == record->request &&
                    world->clients[op->client].id == record->client && op->records < op->deliveries;
        if (same && (type == MESSAGE_REMOVE || value_is(op, record))) {
            asked = op;
        }
    }
    if (asked == NULL) {
        world_fail(world, "G2 ordered",
                   "(%" PRIu64 ", %" PRIu64 "), request %" PRIu64
                   ", is more often in the log than anybody asked for it",
                   record->position.view, record->position.index, record->request);
        return;
    }
    asked->records++;
    asked->record = id;
}
