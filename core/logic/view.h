/*
 * The view: who is primary, who is in sync, who is a candidate. Only the arbiter makes a new one;
 * its number grows by one at each change and never goes back (SYSTEM.md section 3, rule 3). Plain
 * data with a byte form used on the wire and in the arbiter's durable state.
 */
#ifndef LOGIC_VIEW_H
#define LOGIC_VIEW_H

#include "base/bytes.h"
#include "logic/limits.h"

enum member_state {
    MEMBER_CANDIDATE = 1, /* receives the stream, does not count */
    MEMBER_IN_SYNC = 2,   /* its durable acknowledgement is needed */
};

struct member {
    uint64_t node;        /* identity of its data folder, never 0 */
    uint64_t starts;      /* how often a process was started with that folder, this one included */
    uint64_t incarnation; /* of its process and of its join: a new one means it begins anew */
    uint64_t joined;      /* number of the view in which it became a candidate: names the session */
    uint8_t state;        /* enum member_state */
    uint8_t uris_len;     /* 1 to URIS_MAX */
    char name[NODE_NAME_MAX + 1];
    char uris[URIS_MAX][URI_MAX + 1];
};

struct view {
    uint64_t number;  /* 0: no view yet */
    uint64_t cluster; /* drawn at random when the arbiter first started; never 0 in a view >= 1 */
    uint64_t primary; /* node; 0: none yet. The primary is a member and in sync */
    uint64_t forced;  /* number of the last view that an operator forced; 0: none. What was
                         acknowledged before it may be lost */
    uint8_t ack;      /* enum ack_mode of its primary: what an acknowledgement vouches for; 0 while
                         there is no primary */
    uint8_t arbiter_uris_len; /* 0 to URIS_MAX: where its arbiter listens */
    char arbiter_uris[URIS_MAX][URI_MAX + 1];
    uint32_t members_len;
    struct member members[MEMBERS_MAX];
};

/* Bytes that view_encode() needs at most. */
#define VIEW_BYTES_MAX                 \
    (64u + URIS_MAX * (4u + URI_MAX) + \
     MEMBERS_MAX * (4u * 8u + 2u + 4u + NODE_NAME_MAX + URIS_MAX * (4u + URI_MAX)))

/* NULL when the node is no member. */
const struct member *view_find(const struct view *view, uint64_t node);
const struct member *view_find_name(const struct view *view, const char *name);

/* How many members count, the primary included. */
uint32_t view_in_sync_len(const struct view *view);

/* Appends the byte form to the writer. */
void view_encode(const struct view *view, struct bytes_writer *writer);

/* KV_OK, or KV_E_MALFORMED: *ret_view is then undefined. Takes exactly the bytes given. */
int32_t view_decode(const void *bytes, size_t len, struct view *ret_view);

/* True for 1 to NODE_NAME_MAX bytes of letters, digits, '-', '_' and '.'. */
bool view_name_valid(const char *name, size_t len);

/* True for 1 to URI_MAX bytes without a NUL; what they mean is the transport's business. */
bool view_uri_valid(const char *uri, size_t len);

#endif
