#include "describe.h"

#include "check.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "logic/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHORT(view) (int)((view).len > 24 ? 24 : (view).len), (const char *)(view).at

static void describe_snapshot(char *text, size_t size, const struct message *message)
{
    static const char *const kinds[] = {"?", "BEGIN", "RECORDS", "COMMIT", "PROBE"};
    uint8_t kind = message->body.snapshot.kind;
    snprintf(text, size,
             "%s session=%" PRIu64 " seq=%" PRIu64 " committed=%" PRIu64 " tail=%u as_of=(%" PRIu64
             ", %" PRIu64 ") records=%u",
             kinds[kind > SNAPSHOT_PROBE ? 0 : kind], message->body.snapshot.session,
             message->body.snapshot.seq, message->body.snapshot.committed,
             (unsigned)message->body.snapshot.tail, message->body.snapshot.as_of.view,
             message->body.snapshot.as_of.index, message->body.snapshot.count);
}

static void describe_fetch(char *text, size_t size, const struct message *message)
{
    if (message->type == MESSAGE_FETCH) {
        snprintf(text, size,
                 "request=%" PRIu64 " min=%" PRIu64 " base=%" PRIx64 " %" PRIx64 "..%" PRIx64
                 " parts=%u",
                 message->body.fetch.request, message->body.fetch.min_index,
                 message->body.fetch.base, message->body.fetch.low, message->body.fetch.high,
                 message->body.fetch.parts);
    } else {
        snprintf(text, size,
                 "request=%" PRIu64 " as_of=%" PRIu64 " %" PRIx64 "..%" PRIx64
                 " digests=%u records=%u",
                 message->body.fetched.request, message->body.fetched.as_of.index,
                 message->body.fetched.low, message->body.fetched.high,
                 message->body.fetched.digests_len, message->body.fetched.count);
    }
}

static void describe_client(char *text, size_t size, const struct message *message)
{
    uint64_t request = message->body.request.request;
    switch (message->type) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
    case MESSAGE_GET:
        snprintf(text, size, "request=%" PRIu64 " client=%" PRIu64 " key=%.*s value=%.*s", request,
                 message->sender, SHORT(message->body.operation.key),
                 SHORT(message->body.operation.value));
        break;
    case MESSAGE_OPERATION_ACK:
        snprintf(text, size, "request=%" PRIu64 " at (%" PRIu64 ", %" PRIu64 ")", request,
                 message->body.operation_ack.position.view,
                 message->body.operation_ack.position.index);
        break;
    case MESSAGE_OPERATION_FAILED:
        snprintf(text, size, "request=%" PRIu64 " %s", request,
                 message_fail_text(message->body.operation_failed.reason));
        break;
    case MESSAGE_OPERATION_REJECTED:
        snprintf(text, size, "request=%" PRIu64 " %s", request,
                 message_reject_text(message->body.operation_rejected.reason));
        break;
    case MESSAGE_GET_RESULT:
        snprintf(text, size, "request=%" PRIu64 " %s value=%.*s", request,
                 message->body.get_result.found ? "found" : "none",
                 SHORT(message->body.get_result.value));
        break;
    default:
        snprintf(text, size, "request=%" PRIu64, request);
    }
}

static uint64_t view_number_of(struct bytes_view bytes)
{
    struct view *view = alloc_zeroed(1, sizeof(*view));
    uint64_t number = view_decode(bytes.at, bytes.len, view) == KV_OK ? view->number : UINT64_MAX;
    alloc_free(view);
    return number;
}

static void describe_text(char *text, size_t size, const struct message *message)
{
    text[0] = '\0';
    switch (message->type) {
    case MESSAGE_JOIN:
        snprintf(text, size,
                 "%.*s incarnation=%" PRIx64 " starts=%" PRIu64 " durable=(%" PRIu64 ", %" PRIu64
                 ")",
                 SHORT(message->body.join.name), message->body.join.incarnation,
                 message->body.join.starts, message->body.join.durable.view,
                 message->body.join.durable.index);
        break;
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        snprintf(text, size, "view %" PRIu64, view_number_of(message->body.joined.view));
        break;
    case MESSAGE_JOIN_REJECTED:
        snprintf(text, size, "%s", message_reject_text(message->body.join_rejected.reason));
        break;
    case MESSAGE_REPLICAS:
        snprintf(text, size, "view %" PRIu64, view_number_of(message->body.replicas.view));
        break;
    case MESSAGE_CAUGHT_UP:
    case MESSAGE_SUSPECT:
    case MESSAGE_HANDOVER:
        snprintf(text, size, "node=%" PRIu64 " joined=%" PRIu64, message->body.member.node,
                 message->body.member.joined);
        break;
    case MESSAGE_HEARTBEAT:
        snprintf(text, size,
                 "last=(%" PRIu64 ", %" PRIu64 ") durable=%" PRIu64 " committed=%" PRIu64
                 " asks=%u",
                 message->body.heartbeat.last.view, message->body.heartbeat.last.index,
                 message->body.heartbeat.durable_index, message->body.heartbeat.committed_index,
                 (unsigned)message->body.heartbeat.asks);
        break;
    case MESSAGE_SNAPSHOT:
        describe_snapshot(text, size, message);
        break;
    case MESSAGE_SNAPSHOT_ACK:
        snprintf(text, size,
                 "session=%" PRIu64 " received=%" PRIu64 " durable=%" PRIu64 " complete=%u",
                 message->body.snapshot_ack.session, message->body.snapshot_ack.received,
                 message->body.snapshot_ack.durable, (unsigned)message->body.snapshot_ack.complete);
        break;
    case MESSAGE_RESUME:
        snprintf(text, size,
                 "session=%" PRIu64 " committed=(%" PRIu64 ", %" PRIu64 ") last=(%" PRIu64
                 ", %" PRIu64 ") complete=%u",
                 message->body.resume.session, message->body.resume.committed.view,
                 message->body.resume.committed.index, message->body.resume.last.view,
                 message->body.resume.last.index, (unsigned)message->body.resume.complete);
        break;
    case MESSAGE_FETCH:
    case MESSAGE_FETCHED:
        describe_fetch(text, size, message);
        break;
    case MESSAGE_PROMOTE:
        snprintf(text, size, "%.*s force=%u", SHORT(message->body.promote.name),
                 (unsigned)message->body.promote.force);
        break;
    default:
        describe_client(text, size, message);
    }
}

void describe_message(struct world *world, const char *who, const char *arrow, uint64_t link,
                      const struct message *message)
{
    char text[160];
    describe_text(text, sizeof(text), message);
    trace_line(world->trace, world->now_us, who, "%s %" PRIx64 " %s [%" PRIu64 "] %s", arrow, link,
               message_type_name(message->type), message->view, text);
}

void describe_views(struct world *world, struct machine *machine, const struct message *message)
{
    const char *type = message_type_name(message->type);
    check_primary_on_view(world, machine, type, message->view);
    if (message->type == MESSAGE_JOINED_PRIMARY || message->type == MESSAGE_JOINED_SECONDARY) {
        check_primary_on_view(world, machine, type, view_number_of(message->body.joined.view));
    } else if (message->type == MESSAGE_REPLICAS) {
        check_primary_on_view(world, machine, type, view_number_of(message->body.replicas.view));
    } else if (message->type == MESSAGE_LOCATED) {
        check_primary_on_view(world, machine, type, view_number_of(message->body.located.view));
    }
}
