/*
 * The messages of the protocol and their byte form (docs/protocol.md).
 *
 * Every message starts with the same 28 bytes: 'K' 'V', protocol version, type, then as u64 the
 * cluster (0: not known yet, or a client), the sender's view number (0: a client) and the sender (a
 * node's or a client's id). Decoding borrows: bytes_view members point into the message.
 * Pure functions; no allocation.
 */
#ifndef LOGIC_MESSAGE_H
#define LOGIC_MESSAGE_H

#include "logic/view.h"

#include <kvnode/persist.h>

#define MESSAGE_VERSION      2u
#define MESSAGE_HEADER_BYTES 28u

enum message_type {
    /* membership: replica and arbiter */
    MESSAGE_JOIN = 1,
    MESSAGE_JOINED_PRIMARY = 2,
    MESSAGE_JOINED_SECONDARY = 3,
    MESSAGE_JOIN_REJECTED = 4,
    MESSAGE_REPLICAS = 5,  /* a view; arbiter to replicas, primary to secondaries */
    MESSAGE_LEAVE = 6,     /* a replica or kvctl to the arbiter; the arbiter to a replica */
    MESSAGE_HEARTBEAT = 7, /* replica to arbiter */
    MESSAGE_CAUGHT_UP = 8, /* primary to arbiter: this candidate may count */
    MESSAGE_SUSPECT = 9,   /* primary to arbiter: take this member out; arbiter to primary: let go
                              of it, and say so */
    MESSAGE_HANDOVER = 10, /* arbiter to primary: make ready to give way to this member; primary to
                              arbiter: all is committed, make it primary */
    /* replication: primary and secondary */
    MESSAGE_SNAPSHOT = 16,
    MESSAGE_SNAPSHOT_ACK = 17,
    MESSAGE_RESUME = 18, /* member to primary, before its session begins: how far it is */
    MESSAGE_FETCH = 19, /* joiner to any replica that serves reads: digests or content of a range */
    MESSAGE_FETCHED = 20, /* the answer */
    /* clients: requests */
    MESSAGE_INSERT = 32,
    MESSAGE_REMOVE = 33,
    MESSAGE_GET = 34,
    MESSAGE_SCAN = 35,
    MESSAGE_STATUS = 36,  /* to a replica */
    MESSAGE_LOCATE = 37,  /* to an arbiter or a replica: which view? */
    MESSAGE_PROMOTE = 38, /* to an arbiter: make this node the primary */
    /* clients: answers */
    MESSAGE_OPERATION_ACK = 48,
    MESSAGE_OPERATION_FAILED = 49,
    MESSAGE_OPERATION_REJECTED = 50,
    MESSAGE_GET_RESULT = 51,
    MESSAGE_SCAN_RESULT = 52,
    MESSAGE_STATUS_RESULT = 53,
    MESSAGE_LOCATED = 54,
    /* the one message whose form never changes: "I speak protocol version N" */
    MESSAGE_UNSUPPORTED = 255,
};

/* kind of a Snapshot */
enum snapshot_kind {
    SNAPSHOT_BEGIN = 1,   /* the session starts: the log goes on after as_of */
    SNAPSHOT_RECORDS = 2, /* the next records of the log */
    SNAPSHOT_COMMIT = 3,  /* outside the numbering: only `committed`, no answer wanted */
    SNAPSHOT_PROBE = 4,   /* outside the numbering: answer at once with what you have */
};

/* how a session begins: tail of a BEGIN */
enum snapshot_tail {
    TAIL_NONE = 0, /* the receiver has to fetch the content */
    TAIL_FOLLOWS =
        1, /* what it has is right up to as_of, and what it has beyond is not of this log */
    TAIL_COMPARE = 2, /* the same, and it has to compare its content: the primary's is from its
                         store, which may have refused what others have */
};

/* reason of an OperationRejected or a JoinRejected */
enum reject_reason {
    REJECT_NOT_PRIMARY = 1,    /* updates go to the primary: ask the arbiter who that is */
    REJECT_NOT_READY = 2,      /* the node has no role or no complete content yet */
    REJECT_OVERLOADED = 3,     /* a limit is reached: again after retry_after_ms */
    REJECT_TOO_LARGE = 4,      /* key or value above the limit */
    REJECT_LEAVING = 5,        /* the node is about to stop */
    REJECT_MIN_IN_SYNC = 6,    /* fewer in-sync nodes than min_in_sync */
    REJECT_DEADLINE = 7,       /* the deadline passed before it was begun */
    REJECT_NOT_FOUND = 8,      /* no such node */
    REJECT_UNSUPPORTED = 9,    /* this node does not do that */
    REJECT_NAME_IN_USE = 10,   /* another node of this name is in the view */
    REJECT_WRONG_CLUSTER = 11, /* the data folder belongs to another cluster */
    REJECT_IS_PRIMARY = 12,    /* the primary is the only node in sync: it cannot leave */
    REJECT_DATA_LOST = 13,     /* an empty or incomplete store: a primary's, or one to be forced */
    REJECT_NEWER_DATA = 14,    /* the node's data is of a later view than the arbiter's */
    REJECT_STORE = 15,         /* the primary's store has taken nothing for operation_timeout */
    REJECT_COPY = 16,          /* the data folder is a copy of one that is, or was later, in use */
    REJECT_PRIMARY_THERE = 17, /* nothing is forced while the primary is there */
};
#define REJECT_LAST REJECT_PRIMARY_THERE /* decoding refuses what is above */

/* reason of an OperationFailed */
enum fail_reason {
    FAIL_TIMEOUT = 1, /* not durable everywhere in time; it may still become so */
    FAIL_STOPPED = 2, /* the node stopped being primary or is stopping */
    FAIL_REFUSED = 3, /* a store refuses it for good: it is undone everywhere */
};

/* persist_state of a StatusResult */
enum persist_state {
    PERSIST_LOADING = 1,
    PERSIST_OK = 2,
    PERSIST_RETRYING = 3, /* the last batch failed and is being repeated */
    PERSIST_HANGING = 4,  /* it has not answered for operation_timeout_ms */
    PERSIST_REFUSING = 5, /* it refuses what the cluster holds: the node cannot be in sync */
};

/* role of a StatusResult */
enum node_role {
    ROLE_JOINING = 1,
    ROLE_PRIMARY = 2,
    ROLE_SECONDARY = 3,
    ROLE_CANDIDATE = 4,
    ROLE_ARBITER = 5, /* arbiter only */
};

#define COUNTERS_MAX 32

struct message_counter {
    struct bytes_view name;
    uint64_t value;
};

struct message {
    uint8_t version; /* set by decode; encode always writes MESSAGE_VERSION */
    uint8_t type;    /* enum message_type */
    uint64_t cluster;
    uint64_t view;
    uint64_t sender;
    union {
        struct {
            uint64_t incarnation;
            uint64_t starts;            /* of processes with this data folder, this one included */
            uint8_t ack;                /* enum ack_mode of its configuration */
            struct kv_position durable; /* of the joiner's store; (0, 0): empty or incomplete */
            struct bytes_view name;
            uint32_t uris_len; /* 1 to URIS_MAX */
            struct bytes_view uris[URIS_MAX];
        } join;
        struct { /* JOINED_PRIMARY, JOINED_SECONDARY */
            uint64_t incarnation;
            struct bytes_view view; /* view_decode() */
        } joined;
        struct {
            uint64_t incarnation;
            uint8_t reason; /* enum reject_reason */
            uint8_t retry;  /* 1: may succeed later without a change of configuration */
            struct bytes_view text;
        } join_rejected;
        struct {
            struct bytes_view view; /* view_decode() */
        } replicas;
        struct {
            uint64_t request; /* answered by an OperationAck or OperationRejected; 0: no answer */
            uint64_t incarnation; /* of the replica that says it of itself; else 0 */
            struct bytes_view name;
        } leave;
        struct {
            uint64_t incarnation;
            struct kv_position last; /* of its log */
            uint64_t durable_index;
            uint64_t committed_index;
            uint8_t asks; /* 1: it has heard nothing from the primary for replica_timeout, and takes
                             nothing from it any more in this view */
        } heartbeat;
        struct { /* CAUGHT_UP, SUSPECT, HANDOVER */
            uint64_t node;
            uint64_t joined;
        } member;
        struct {
            uint64_t session;   /* member.joined */
            uint64_t seq;       /* from 0 in each session; 0 for COMMIT and PROBE */
            uint64_t committed; /* readers may see the state at this index; here */
            uint64_t refusals;  /* how many of the session's refusals the primary has dealt with */
            uint64_t sent_ms;   /* the primary's clock: comes back in the acknowledgement */
            uint8_t kind;       /* enum snapshot_kind */
            uint8_t tail;       /* BEGIN: enum snapshot_tail; else 0 */
            struct kv_position as_of; /* BEGIN */
            uint64_t base;  /* BEGIN with tail 0: what the receiver has of pairs up to this index is
                               right; UINT64_MAX: not known; else 0 */
            uint64_t last;  /* BEGIN: of the primary's log; else 0 */
            uint32_t count; /* records */
            struct bytes_view records; /* to the message's end; record.h */
        } snapshot;
        struct {
            uint64_t session;
            uint64_t received; /* every seq below is received */
            uint64_t durable;  /* every seq below is in this node's store; <= received */
            uint64_t heard_ms; /* the highest sent_ms of this session */
            uint8_t complete;  /* 1: its content is all there, in its store too */
            /* What the store refused for good: numbered from 0 in each session, told until the
             * primary has dealt with it. Whatever was refused of a seq below durable is in here or
             * dealt with. */
            uint64_t refusals_first;    /* number of the first one */
            uint32_t refusals_len;      /* at most ACK_REFUSALS_MAX */
            struct bytes_view refusals; /* to the message's end; message_read_refusal() */
        } snapshot_ack;
        struct {
            uint64_t session;
            struct kv_position committed; /* up to here its content is fixed: it cannot go back
                                             behind it; what follows is in its log */
            struct kv_position last;      /* of its log; not before committed */
            uint8_t complete;             /* 0: the content is a mixture, whatever the positions */
        } resume;
        struct {
            uint64_t request;   /* the joiner's own number of it */
            uint64_t min_index; /* answer from a state at or after this index */
            uint64_t base; /* digests: give the pairs of a higher index too; UINT64_MAX: none */
            uint64_t low;  /* hash range; low <= high */
            uint64_t high;
            uint32_t
                parts; /* 0: content; else a power of two up to FETCH_PARTS_MAX: so many digests
                          of equal parts of the range, whose size is a power of two (2^64
                          included) not below parts, and which begins at a multiple of it */
        } fetch;
        struct {
            uint64_t request;
            struct kv_position as_of; /* the committed state that it shows */
            uint64_t low;
            uint64_t high;        /* what is covered; whole parts; may end before what was asked */
            uint32_t digests_len; /* 0: content */
            struct bytes_view digests; /* 8 bytes each, as numbers are: store_range_digest() */
            uint32_t count;
            struct bytes_view
                records; /* content: all pairs of the range, ascending by hash; digests:
                            its pairs of an index above base, in any order, or none
                            where those of the first part alone are too many */
        } fetched;
        struct { /* INSERT, REMOVE (value unused), GET (value unused) */
            uint64_t request;
            uint32_t deadline_ms; /* from receipt; 0: the node's operation_timeout */
            uint8_t at_primary;   /* GET: 1: only the primary may answer; else 0 */
            uint64_t min_index;   /* GET: answer from a state at or after this index; else 0 */
            struct bytes_view key;
            struct bytes_view value;
        } operation;
        struct {
            uint64_t request;
            uint32_t deadline_ms;
            uint8_t at_primary; /* as for GET */
            uint64_t min_index; /* likewise */
            uint64_t cursor;    /* 0 to begin; then `next` of the answer before */
            uint32_t limit;     /* items at most; 0: as many as fit */
            struct bytes_view prefix;
        } scan;
        struct { /* STATUS, LOCATE */
            uint64_t request;
        } request;
        struct {
            uint64_t request; /* answered by an OperationAck when it is, an OperationFailed when it
                                 is not within some seconds, an OperationRejected */
            uint8_t force;    /* 0: hand over, nothing is lost; 1: the primary is gone, and what the
                                 node lacks may be lost */
            struct bytes_view name;
        } promote;
        struct {
            uint64_t request;
            struct kv_position position; /* of the update; (0, 0) for other acknowledgements */
        } operation_ack;
        struct {
            uint64_t request;
            uint8_t reason;         /* enum fail_reason */
            struct bytes_view text; /* more of it for people, or "" */
        } operation_failed;
        struct {
            uint64_t request;
            uint8_t reason;          /* enum reject_reason */
            uint32_t retry_after_ms; /* 0: not by waiting alone */
            struct bytes_view text;  /* more of it for people, or "" */
        } operation_rejected;
        struct {
            uint64_t request;
            uint8_t found;
            struct kv_position position; /* of the record found; else of the state read */
            struct bytes_view value;
        } get_result;
        struct {
            uint64_t request;
            uint8_t end;   /* 1: nothing is left */
            uint64_t next; /* cursor of the next Scan */
            uint32_t count;
            struct bytes_view records; /* record.h, insertions, in no useful order */
        } scan_result;
        struct {
            uint64_t request;
            uint8_t role; /* enum node_role */
            uint8_t persist_state;
            struct kv_position position; /* of the last record in its log */
            uint64_t durable_index;
            uint64_t committed_index;
            uint64_t keys;
            uint64_t digest; /* at committed_index */
            struct bytes_view name;
            struct bytes_view persist_plugin; /* "" when it has no store */
            struct bytes_view persist_error;  /* last reason given; "" when none */
            uint32_t counters_len;
            struct message_counter counters[COUNTERS_MAX];
        } status_result;
        struct {
            uint64_t request;
            struct bytes_view view; /* view_decode() */
        } located;
        struct {
            uint8_t version; /* the one that the sender speaks */
        } unsupported;
    } body;
};

/* Bytes that message_encode() writes for this message. */
size_t message_size(const struct message *message);

/* Writes the message and returns message_size(); capacity too small is our mistake. Texts for
 * people are cut to TEXT_MAX bytes, names of plugins and counters to NODE_NAME_MAX. A Snapshot's
 * records stand at the message's end without a length of their own, so that they may be sent as
 * further slices: with snapshot.records.at NULL, neither message_size() nor message_encode() counts
 * snapshot.records.len; only what comes before the records is written. */
size_t message_encode(const struct message *message, uint8_t *at, size_t capacity);

/* KV_OK; KV_E_MALFORMED: too short, no 'KV', unknown type, a length that does not fit, bytes left
 * over, a number out of its range; KV_E_VERSION: another protocol version, then version, type,
 * cluster, view and sender are set. On another failure *ret_message is undefined. */
int32_t message_decode(const void *bytes, size_t len, struct message *ret_message);

/* One refusal of a SnapshotAck: index of the record in the log, reason for people ("": none). */
struct message_refusal {
    uint64_t index;
    struct bytes_view text; /* at most TEXT_MAX bytes */
};

/* Bytes of its form, and writing it there. */
size_t message_refusal_size(const struct message_refusal *refusal);
void message_write_refusal(struct bytes_writer *writer, const struct message_refusal *refusal);

/* Takes one off the reader of snapshot_ack.refusals; the reader fails at its end. */
bool message_read_refusal(struct bytes_reader *reader, struct message_refusal *ret_refusal);

/* "Snapshot", "OperationAck"; "?" for no type. Static text. */
const char *message_type_name(uint8_t type);

/* "not the primary": for people. Static text. */
const char *message_reject_text(uint8_t reason);
const char *message_fail_text(uint8_t reason);

/* "primary", "secondary", "candidate", "joining", "arbiter". */
const char *message_role_name(uint8_t role);

/* "ok", "loading", "retrying", "hanging", "refusing". */
const char *message_persist_state_name(uint8_t state);

#endif
