#include "logic/view.h"

#include "base/check.h"

#include <kvnode/status.h>

#define VIEW_ACK_MAX 3u /* the last of enum ack_mode (node.h) */

const struct member *view_find(const struct view *view, uint64_t node)
{
    KV_CHECK(view->members_len <= MEMBERS_MAX);
    for (uint32_t i = 0; i < view->members_len; i++) {
        if (view->members[i].node == node) {
            return &view->members[i];
        }
    }
    return NULL;
}

const struct member *view_find_name(const struct view *view, const char *name)
{
    KV_CHECK(view->members_len <= MEMBERS_MAX);
    for (uint32_t i = 0; i < view->members_len; i++) {
        if (strcmp(view->members[i].name, name) == 0) {
            return &view->members[i];
        }
    }
    return NULL;
}

uint32_t view_in_sync_len(const struct view *view)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < view->members_len; i++) {
        len += view->members[i].state == MEMBER_IN_SYNC ? 1u : 0u;
    }
    return len;
}

bool view_name_valid(const char *name, size_t len)
{
    if (len == 0 || len > NODE_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return true;
}

/* --- byte form --- */

static void view_encode_member(const struct member *member, struct bytes_writer *writer)
{
    KV_CHECK(member->uris_len >= 1 && member->uris_len <= URIS_MAX);
    bytes_write_u64(writer, member->node);
    bytes_write_u64(writer, member->starts);
    bytes_write_u64(writer, member->incarnation);
    bytes_write_u64(writer, member->joined);
    bytes_write_u8(writer, member->state);
    bytes_write_u8(writer, member->uris_len);
    bytes_write_view(writer, member->name, strlen(member->name));
    for (uint32_t i = 0; i < member->uris_len; i++) {
        bytes_write_view(writer, member->uris[i], strlen(member->uris[i]));
    }
}

void view_encode(const struct view *view, struct bytes_writer *writer)
{
    KV_CHECK(view->members_len <= MEMBERS_MAX && view->arbiter_uris_len <= URIS_MAX);
    bytes_write_u64(writer, view->number);
    bytes_write_u64(writer, view->cluster);
    bytes_write_u64(writer, view->primary);
    bytes_write_u64(writer, view->forced);
    bytes_write_u8(writer, view->ack);
    bytes_write_u8(writer, view->arbiter_uris_len);
    for (uint32_t i = 0; i < view->arbiter_uris_len; i++) {
        bytes_write_view(writer, view->arbiter_uris[i], strlen(view->arbiter_uris[i]));
    }
    bytes_write_u32(writer, view->members_len);
    for (uint32_t i = 0; i < view->members_len; i++) {
        view_encode_member(&view->members[i], writer);
    }
}

static bool view_decode_name(struct bytes_reader *reader, char *ret_name)
{
    struct bytes_view name = bytes_read_view(reader);
    if (reader->failed || !view_name_valid((const char *)name.at, name.len)) {
        return false;
    }
    KV_CHECK(name.at != NULL); /* a valid name has a letter */
    memcpy(ret_name, name.at, name.len);
    ret_name[name.len] = '\0';
    return true;
}

static bool view_decode_uri(struct bytes_reader *reader, char *ret_uri)
{
    struct bytes_view uri = bytes_read_view(reader);
    if (reader->failed || !view_uri_valid((const char *)uri.at, uri.len)) {
        return false;
    }
    memcpy(ret_uri, uri.at, uri.len);
    ret_uri[uri.len] = '\0';
    return true;
}

bool view_uri_valid(const char *uri, size_t len)
{
    return len >= 1 && len <= URI_MAX && memchr(uri, '\0', len) == NULL;
}

static bool view_decode_member(struct bytes_reader *reader, struct member *member)
{
    member->node = bytes_read_u64(reader);
    member->starts = bytes_read_u64(reader);
    member->incarnation = bytes_read_u64(reader);
    member->joined = bytes_read_u64(reader);
    member->state = bytes_read_u8(reader);
    member->uris_len = bytes_read_u8(reader);
    if (reader->failed || member->node == 0 ||
        (member->state != MEMBER_CANDIDATE && member->state != MEMBER_IN_SYNC) ||
        member->uris_len < 1 || member->uris_len > URIS_MAX ||
        !view_decode_name(reader, member->name)) {
        return false;
    }
    for (uint32_t i = 0; i < member->uris_len; i++) {
        if (!view_decode_uri(reader, member->uris[i])) {
            return false;
        }
    }
    return true;
}

/* What no arbiter writes: see the comments of struct view. */
static bool view_consistent(const struct view *view)
{
    if (view->forced > view->number || view->ack > VIEW_ACK_MAX ||
        (view->primary == 0) != (view->ack == 0)) {
        return false;
    }
    if (view->number == 0) {
        return view->primary == 0 && view->members_len == 0;
    }
    if (view->cluster == 0) {
        return false;
    }
    for (uint32_t i = 0; i < view->members_len; i++) {
        const struct member *member = &view->members[i];
        if (member->joined > view->number || view_find(view, member->node) != member ||
            view_find_name(view, member->name) != member) {
            return false;
        }
    }
    if (view->primary == 0) {
        return true;
    }
    const struct member *primary = view_find(view, view->primary);
    return primary != NULL && primary->state == MEMBER_IN_SYNC;
}

int32_t view_decode(const void *bytes, size_t len, struct view *ret_view)
{
    struct bytes_reader reader = bytes_reader_init(bytes, len);
    memset(ret_view, 0, sizeof(*ret_view));
    ret_view->number = bytes_read_u64(&reader);
    ret_view->cluster = bytes_read_u64(&reader);
    ret_view->primary = bytes_read_u64(&reader);
    ret_view->forced = bytes_read_u64(&reader);
    ret_view->ack = bytes_read_u8(&reader);
    uint8_t uris_len = bytes_read_u8(&reader);
    if (reader.failed || uris_len > URIS_MAX) {
        return KV_E_MALFORMED;
    }
    for (uint32_t i = 0; i < uris_len; i++) {
        if (!view_decode_uri(&reader, ret_view->arbiter_uris[i])) {
            return KV_E_MALFORMED;
        }
    }
    ret_view->arbiter_uris_len = uris_len;
    uint32_t members_len = bytes_read_u32(&reader);
    if (reader.failed || members_len > MEMBERS_MAX) {
        return KV_E_MALFORMED;
    }
    for (uint32_t i = 0; i < members_len; i++) {
        if (!view_decode_member(&reader, &ret_view->members[i])) {
            return KV_E_MALFORMED;
        }
    }
    ret_view->members_len = members_len;
    return reader.left == 0 && view_consistent(ret_view) ? KV_OK : KV_E_MALFORMED;
}
