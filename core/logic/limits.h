/*
 * The fixed limits of the core. What a user may set is in struct node_limits (node.h).
 * Each number says what it bounds; beyond it a request is rejected or a message refused, never
 * guessed.
 */
#ifndef LOGIC_LIMITS_H
#define LOGIC_LIMITS_H

#define MEMBERS_MAX   64  /* replicas in a view, candidates included */
#define NODE_NAME_MAX 63  /* bytes of a node's name; letters, digits, '-', '_', '.' */
#define URIS_MAX      4   /* addresses that one node listens on */
#define URI_MAX       255 /* bytes of one of them */
#define TEXT_MAX      255 /* bytes of a reason given to a person */

/* A Snapshot or a ScanResult is filled up to this many bytes of records, at least one record. */
#define SNAPSHOT_BYTES_MAX (256u * 1024u)

/* Room for everything in a message that is not keys and values. */
#define MESSAGE_OVERHEAD_MAX (128u * 1024u)

/* What a replicator may have unacknowledged at one secondary. */
#define WINDOW_MESSAGES_MAX 256u
#define WINDOW_BYTES_MAX    (16u * 1024u * 1024u)

/* Candidates that fetch content at the same time; the others wait for their turn. */
#define JOINERS_MAX 2u

/* A joiner asks for so many ranges at a time, and for at most so many digests in one. */
#define FETCHES_MAX     16u
#define FETCH_PARTS_MAX 1024u

/* A secondary's promise not to ask for another primary holds for replica_timeout_ms from each word
 * of the primary; the primary counts on this part of it, from when that word was sent. The rest
 * is for a clock that jumps by less. */
#define LEASES_PER_REPLICA_TIMEOUT 2u

/* Refusals told in one SnapshotAck. */
#define ACK_REFUSALS_MAX 256u

/* One batch for the persistence plugin. */
#define PERSIST_RECORDS_MAX 16384u
#define PERSIST_BYTES_MAX   (8u * 1024u * 1024u)

/* A batch is made smaller, down to so many records, when the store takes longer for it than this
 * part of replica_timeout_ms. */
#define PERSIST_RECORDS_MIN         64u
#define PERSIST_RECORDS_FIRST       512u
#define BATCHES_PER_REPLICA_TIMEOUT 8u

/* The longest pause before a failed batch is handed over again. */
#define PERSIST_RETRY_MS_MAX 500u

/* A primary takes no new update while the commit index stands before a void one for longer than
 * this part of operation_timeout_ms. */
#define BARRIERS_PER_OPERATION_TIMEOUT 4u

/* Requests that arrive before the node knows its role, or whose position is not reached yet. */
#define WAITING_REQUESTS_MAX 1024u
#define WAITING_BYTES_MAX    (8u * 1024u * 1024u)

/* `Leave` requests that an arbiter keeps until the node has gone. */
#define LEAVE_REQUESTS_MAX 16u

/* No log gets so far; a larger index in a message or from a store is a mistake there. */
#define INDEX_MAX (UINT64_MAX / 2)

/* Items looked at by one Scan; what is left is fetched with the cursor. */
#define SCAN_VISITS_MAX 16384u

#endif
