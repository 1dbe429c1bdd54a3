/* The trace: what happened, line by line, and its golden text. */
#include "story_internal.h"

#include "base/alloc.h"
#include "logic/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_TAIL_LINES 40u
#define SHOWN_MAX        24

void story_trace(struct story *story, const char *format, ...)
{
    if (story->muted) {
        return;
    }
    char line[2 * STORY_TEXT_MAX];
    int head = snprintf(line, sizeof(line), "%6" PRIu64 "  ", story->now_ms - story->begun_ms);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, arguments);
    va_end(arguments);
    size_t len = strlen(line);
    line[len++] = '\n';
    memcpy(buffer_room(&story->trace, len), line, len);
}

/* --- texts --- */

static int story_shown(size_t len)
{
    return len > SHOWN_MAX ? SHOWN_MAX : (int)len;
}

void story_records_text(const void *bytes, size_t len, char *text, size_t size)
{
    struct bytes_reader reader = bytes_reader_init(bytes, len);
    struct kv_record record;
    size_t used = 0;
    text[0] = '\0';
    while (reader.left > 0 && used + 1 < size) {
        assert_true(record_decode(&reader, &record));
        bool is_removal = record.kind == KV_RECORD_REMOVE;
        int more = snprintf(text + used, size - used, "%s%.*s=%.*s", used == 0 ? "" : " ",
                            story_shown(record.key_len), (const char *)record.key,
                            is_removal ? 1 : story_shown(record.value_len),
                            is_removal ? "-" : (const char *)record.value);
        used += (size_t)more;
    }
}

static void story_snapshot_text(const struct message *message, char *text, size_t size)
{
    static const char *const kinds[] = {"?", "Begin", "Records", "Commit", "Probe"};
    static const char *const tails[] = {"fetch", "tail", "tail, compare"};
    char records[STORY_TEXT_MAX / 4];
    story_records_text(message->body.snapshot.records.at, message->body.snapshot.records.len,
                       records, sizeof(records));
    uint8_t kind = message->body.snapshot.kind;
    if (kind == SNAPSHOT_COMMIT || kind == SNAPSHOT_PROBE) {
        snprintf(text, size, "%s committed=%" PRIu64, kinds[kind],
                 message->body.snapshot.committed);
    } else if (kind == SNAPSHOT_RECORDS) {
        snprintf(text, size, "Records seq=%" PRIu64 " committed=%" PRIu64 " %s",
                 message->body.snapshot.seq, message->body.snapshot.committed, records);
    } else {
        snprintf(text, size,
                 "Begin seq=%" PRIu64 " (%s) as_of=(%" PRIu64 ", %" PRIu64 ") last=%" PRIu64
                 " committed=%" PRIu64,
                 message->body.snapshot.seq, tails[message->body.snapshot.tail],
                 message->body.snapshot.as_of.view, message->body.snapshot.as_of.index,
                 message->body.snapshot.last, message->body.snapshot.committed);
    }
}

static void story_client_text(const struct message *message, char *text, size_t size)
{
    struct bytes_view value = message->body.operation.value;
    bool is_refused;
    uint64_t id = message->body.request.request; /* the first member of all of these */
    switch (message->type) {
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
    case MESSAGE_GET:
        snprintf(text, size, "id=%" PRIu64 " %.*s%s%.*s", id,
                 story_shown(message->body.operation.key.len),
                 (const char *)message->body.operation.key.at,
                 message->type == MESSAGE_INSERT ? "=" : "",
                 message->type == MESSAGE_INSERT ? story_shown(value.len) : 0,
                 value.len == 0 ? "" : (const char *)value.at);
        break;
    case MESSAGE_OPERATION_ACK:
        snprintf(text, size, "id=%" PRIu64 " at (%" PRIu64 ", %" PRIu64 ")", id,
                 message->body.operation_ack.position.view,
                 message->body.operation_ack.position.index);
        break;
    case MESSAGE_OPERATION_FAILED:
        value = message->body.operation_failed.text;
        is_refused = message->body.operation_failed.reason == FAIL_REFUSED && value.len > 0;
        snprintf(text, size, "id=%" PRIu64 " %s%s%.*s", id,
                 message_fail_text(message->body.operation_failed.reason), is_refused ? ": " : "",
                 is_refused ? (int)value.len : 0, is_refused ? (const char *)value.at : "");
        break;
    case MESSAGE_OPERATION_REJECTED:
        snprintf(text, size, "id=%" PRIu64 " %s", id,
                 message_reject_text(message->body.operation_rejected.reason));
        break;
    case MESSAGE_GET_RESULT:
        value = message->body.get_result.value;
        snprintf(text, size, "id=%" PRIu64 " %s%.*s", id,
                 message->body.get_result.found ? "value=" : "none", story_shown(value.len),
                 value.len == 0 ? "" : (const char *)value.at);
        break;
    default:
        snprintf(text, size, "id=%" PRIu64, id);
    }
}

static void story_view_text(struct bytes_view bytes, char *text, size_t size)
{
    struct view *view = alloc_zeroed(1, sizeof(*view));
    assert_int_equal(view_decode(bytes.at, bytes.len, view), KV_OK);
    size_t used = (size_t)snprintf(text, size, "view %" PRIu64 ":", view->number);
    for (uint32_t i = 0; i < view->members_len && used < size; i++) {
        const struct member *member = &view->members[i];
        const char *what = member->node == view->primary     ? "(primary)"
                           : member->state == MEMBER_IN_SYNC ? ""
                                                             : "(candidate)";
        used += (size_t)snprintf(text + used, size - used, " %s%s", member->name, what);
    }
    alloc_free(view);
}

static const char *story_node_name(uint64_t node)
{
    for (uint32_t i = 0; i < STORY_PEERS_LEN; i++) {
        if (story_peer_node((enum story_peer)i) == node) {
            return story_peer_name((enum story_peer)i);
        }
    }
    return node == STORY_NODE ? "node" : "a stranger";
}

static void story_ack_text(const struct message *message, char *text, size_t size)
{
    struct bytes_view bytes = message->body.snapshot_ack.refusals;
    struct bytes_reader reader = bytes_reader_init(bytes.at, bytes.len);
    struct message_refusal refusal;
    size_t used =
        (size_t)snprintf(text, size, "received=%" PRIu64 " durable=%" PRIu64,
                         message->body.snapshot_ack.received, message->body.snapshot_ack.durable);
    if (message->body.snapshot_ack.complete != 0 && used < size) {
        used += (size_t)snprintf(text + used, size - used, " complete");
    }
    while (used < size && reader.left > 0 && message_read_refusal(&reader, &refusal)) {
        used += (size_t)snprintf(text + used, size - used, " refused=%" PRIu64, refusal.index);
    }
}

static void story_catch_up_text(const struct message *message, char *text, size_t size)
{
    char records[STORY_TEXT_MAX / 4];
    switch (message->type) {
    case MESSAGE_RESUME:
        snprintf(text, size,
                 "committed=(%" PRIu64 ", %" PRIu64 ") last=(%" PRIu64 ", %" PRIu64 ")%s",
                 message->body.resume.committed.view, message->body.resume.committed.index,
                 message->body.resume.last.view, message->body.resume.last.index,
                 message->body.resume.complete != 0 ? "" : " incomplete");
        break;
    case MESSAGE_FETCH:
        snprintf(text, size, "id=%" PRIu64 " from=%016" PRIx64 " to=%016" PRIx64 " parts=%" PRIu32,
                 message->body.fetch.request, message->body.fetch.low, message->body.fetch.high,
                 message->body.fetch.parts);
        break;
    default:
        story_records_text(message->body.fetched.records.at, message->body.fetched.records.len,
                           records, sizeof(records));
        snprintf(text, size, "id=%" PRIu64 " as_of=%" PRIu64 " %s", message->body.fetched.request,
                 message->body.fetched.as_of.index, records);
    }
}

void story_message_text(const struct message *message, char *text, size_t size)
{
    char body[STORY_TEXT_MAX / 2];
    body[0] = '\0';
    switch (message->type) {
    case MESSAGE_JOIN:
        snprintf(body, sizeof(body), "incarnation=%" PRIu64 " durable=(%" PRIu64 ", %" PRIu64 ")",
                 message->body.join.incarnation, message->body.join.durable.view,
                 message->body.join.durable.index);
        break;
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        story_view_text(message->body.joined.view, body, sizeof(body));
        break;
    case MESSAGE_JOIN_REJECTED:
        snprintf(body, sizeof(body), "%s", message_reject_text(message->body.join_rejected.reason));
        break;
    case MESSAGE_REPLICAS:
        story_view_text(message->body.replicas.view, body, sizeof(body));
        break;
    case MESSAGE_LEAVE:
    case MESSAGE_UNSUPPORTED:
        break;
    case MESSAGE_CAUGHT_UP:
    case MESSAGE_SUSPECT:
    case MESSAGE_HANDOVER:
        snprintf(body, sizeof(body), "%s joined=%" PRIu64,
                 story_node_name(message->body.member.node), message->body.member.joined);
        break;
    case MESSAGE_HEARTBEAT:
        snprintf(body, sizeof(body), "durable=%" PRIu64 " committed=%" PRIu64 "%s",
                 message->body.heartbeat.durable_index, message->body.heartbeat.committed_index,
                 message->body.heartbeat.asks != 0 ? " asks" : "");
        break;
    case MESSAGE_SNAPSHOT:
        story_snapshot_text(message, body, sizeof(body));
        break;
    case MESSAGE_SNAPSHOT_ACK:
        story_ack_text(message, body, sizeof(body));
        break;
    case MESSAGE_RESUME:
    case MESSAGE_FETCH:
    case MESSAGE_FETCHED:
        story_catch_up_text(message, body, sizeof(body));
        break;
    default:
        story_client_text(message, body, sizeof(body));
    }
    snprintf(text, size, "%s %s", message_type_name(message->type), body);
}

void story_seen_text(const struct story_seen *seen, char *text, size_t size)
{
    if (seen->type != 0) {
        story_message_text(&seen->message, text, size);
    } else if (seen->peer == STORE) {
        char records[STORY_TEXT_MAX / 2];
        story_records_text(seen->bytes, seen->len, records, sizeof(records));
        snprintf(text, size, "Persist %s", records);
    } else {
        snprintf(text, size, "stop status=%d", seen->exit_status);
    }
}

/* --- failing --- */

static void story_print_tail(const struct story *story)
{
    const char *at = (const char *)story->trace.bytes;
    size_t from = story->trace.len;
    for (uint32_t lines = 0; from > 0; from--) {
        if (at[from - 1] == '\n' && ++lines > TRACE_TAIL_LINES) {
            break;
        }
    }
    fprintf(stderr, "--- the last lines of %s\n%.*s---\n", story->name,
            (int)(story->trace.len - from), story->trace.len == 0 ? "" : at + from);
}

void story_fail(struct story *story, const char *format, ...)
{
    char text[2 * STORY_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    story_print_tail(story);
    fail_msg("%s, line %u or after it, at %" PRIu64 " ms: %s", story->name, story->line,
             story->now_ms - story->begun_ms, text);
    abort(); /* not reached: a failed test does not return */
}

/* --- golden texts --- */

static void story_golden_path(const struct story *story, char *path, size_t size)
{
    int len = snprintf(path, size, "%s/%s.txt", STORY_GOLDEN_DIR, story->name);
    assert_true(len > 0 && (size_t)len < size);
}

/* The whole file, NULL when there is none. */
static char *story_read_golden(const char *path, size_t *ret_len)
{
    struct buffer buffer;
    buffer_init(&buffer);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    char part[4096];
    size_t got;
    while ((got = fread(part, 1, sizeof(part), file)) > 0) {
        memcpy(buffer_room(&buffer, got), part, got);
    }
    assert_int_equal(ferror(file), 0);
    fclose(file);
    buffer_room(&buffer, 1)[0] = '\0';
    char *text = (char *)buffer_take(&buffer, ret_len);
    (*ret_len)--;
    return text;
}

static void story_bless(const struct story *story, const char *path)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(story->trace.bytes, 1, story->trace.len, file), story->trace.len);
    assert_int_equal(fclose(file), 0);
}

/* Names the first line that differs. */
static void story_fail_at_difference(struct story *story, char *golden, size_t golden_len)
{
    const char *actual = (const char *)story->trace.bytes;
    size_t at = 0;
    size_t line_start = 0;
    uint32_t line = 1;
    while (at < golden_len && at < story->trace.len && golden[at] == actual[at]) {
        if (golden[at++] == '\n') {
            line_start = at;
            line++;
        }
    }
    char want[STORY_TEXT_MAX] = "the end";
    char have[STORY_TEXT_MAX] = "the end";
    if (line_start < golden_len) {
        snprintf(want, sizeof(want), "%.*s", (int)strcspn(golden + line_start, "\n"),
                 golden + line_start);
    }
    if (line_start < story->trace.len) {
        const char *end = memchr(actual + line_start, '\n', story->trace.len - line_start);
        snprintf(have, sizeof(have), "%.*s", (int)(end - (actual + line_start)),
                 actual + line_start);
    }
    alloc_free(golden);
    story_fail(story,
               "the trace differs from golden/%s.txt in line %u (KV_BLESS=1 writes it anew)\n"
               "  golden: %s\n  actual: %s",
               story->name, line, want, have);
}

void story_compare_golden(struct story *story)
{
    char path[1024];
    size_t len = 0;
    story_golden_path(story, path, sizeof(path));
    const char *bless = getenv("KV_BLESS");
    if (bless != NULL && strcmp(bless, "1") == 0) {
        story_bless(story, path);
        return;
    }
    char *golden = story_read_golden(path, &len);
    if (golden == NULL) {
        story_fail(story, "there is no golden/%s.txt (KV_BLESS=1 writes it)", story->name);
    }
    if (len != story->trace.len || memcmp(golden, story->trace.bytes, len) != 0) {
        story_fail_at_difference(story, golden, len);
    }
    alloc_free(golden);
}
