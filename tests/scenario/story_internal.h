/* What the files of the story harness share; stories include story.h only. */
#ifndef SCENARIO_STORY_INTERNAL_H
#define SCENARIO_STORY_INTERNAL_H

#define STORY_HARNESS
#include "story.h"

#include "base/buffer.h"

#define STORY_NODE           100u  /* the node under test */
#define STORY_START_MS       1000u /* on the node's clock */
#define STORY_INCARNATION    5000u
#define STORY_PAIRS_MAX      64u
#define STORY_TEXT_MAX       512u
#define STORY_SNAPSHOTS_MAX  64u
#define STORY_REFUSALS_MAX   8u    /* of one secondary */
#define STORY_REACTIONS_MAX  1000u /* of prompt peers to one event: more is a loop */
#define STORY_TICKS_IN_A_ROW 4u    /* at one time: more is a busy loop */

/* One thing that the node has emitted for a peer. */
struct story_seen {
    uint64_t at_ms;
    enum story_peer peer;
    bool taken;
    uint8_t type;   /* of the message; 0: a batch for the store, or the process's end */
    uint8_t *bytes; /* of the message, or of the batch's records */
    size_t len;
    struct message message; /* borrows bytes */
    uint64_t batch;
    int exit_status;
};

/* A peer's own copy of the data. */
struct story_content {
    struct {
        char key[64];
        char value[64];
    } pairs[STORY_PAIRS_MAX];
    uint32_t len;
};

struct story_secondary {
    uint64_t link;      /* the node's to it; 0: none */
    uint64_t last_link; /* also when it is closed */
    bool up;            /* that link */
    char address[32];   /* that comes first in it */
    bool has_second;    /* address: "second://NAME" */
    uint64_t session;   /* joined; 0: not in the view */
    uint64_t expected;  /* seq of the next Snapshot that it takes */
    bool prompt;
    bool cut;
    bool owes;                    /* something arrived that wants an answer */
    bool asked_resume;            /* the primary wants to know how far it is */
    bool lacks;                   /* its content is to be fetched */
    bool complete;                /* it is all there */
    uint64_t as_of;               /* of Begin */
    uint64_t heard_ms;            /* the latest time of sending that it has heard */
    struct kv_position committed; /* what it tells of itself in a Resume ... */
    struct kv_position last;
    bool has_content;      /* ... that its content is whole */
    struct buffer records; /* all that came in Records in this session */
    const char *refuses;   /* the record "k=v" that its store refuses; NULL: none */
    const char *reason;
    uint64_t refused[STORY_REFUSALS_MAX]; /* indexes of those that it has refused */
    uint32_t refused_len;
    uint32_t refused_dealt; /* so many of them are dealt with */
};

struct story_store {
    bool prompt;
    bool in_flight;
    uint64_t batch;
    struct kv_position position;
    const struct kv_slice *slices; /* the node's: must live until the answer */
    uint32_t slices_len;
    uint8_t *bytes; /* a copy made when it was given */
    size_t len;
};

/* The scripted primary's Snapshots, by number. */
struct story_primary {
    struct message snapshots[STORY_SNAPSHOTS_MAX];
    uint8_t *records[STORY_SNAPSHOTS_MAX]; /* owned */
    uint64_t next;
    uint64_t session;
    uint64_t index;
    uint64_t committed;
    uint64_t dealt; /* refusals */
};

struct story {
    struct node_config config;
    struct node *node;
    struct effects effects;
    uint64_t now_ms;
    uint64_t begun_ms; /* when the story proper began: the trace counts from here */
    uint32_t ticks_in_a_row;
    bool in_turn;
    bool muted; /* the trace: while the standard start is played */
    bool ended;
    char name[128];
    unsigned line; /* where the story is */
    struct buffer trace;
    struct story_seen *seen;
    uint32_t seen_len;
    uint32_t seen_capacity;
    uint32_t batch_taken; /* place in seen, plus 1, of the batch taken last; 0: none yet */
    uint64_t arbiter_link;
    bool arbiter_asked;   /* by one that wants an answer, whatever view it knows */
    uint64_t probe_link;  /* to where the arbiter might be, as the node thinks; 0: none */
    uint64_t source_link; /* to the primary, for what is fetched; 0: none */
    uint64_t source_up;   /* ... that the node was told to be up */
    uint64_t identity;    /* cluster that the data folder was told; 0: none */
    uint64_t incarnation; /* of the node's last Join */
    struct view view;     /* the arbiter's */
    uint64_t requests[STORY_PEERS_LEN];
    bool gone[STORY_PEERS_LEN];
    struct story_content content[STORY_PEERS_LEN];
    struct story_secondary secondaries[STORY_PEERS_LEN]; /* S1 to S3 */
    struct story_store store;
    struct story_primary primary;
    int64_t alloc_before;
};

/* --- story.c --- */

/* The event, the flush unless a turn goes on, and what prompt peers do about it. */
void story_step(struct story *story, const struct event *event);

/* The event alone; then the rest of story_step(). */
void story_step_alone(struct story *story, const struct event *event);
void story_turn_over(struct story *story);
void story_flush(struct story *story);
const char *story_peer_name(enum story_peer peer);
uint64_t story_peer_node(enum story_peer peer);
void story_link_up(struct story *story, uint64_t link);
struct bytes_view story_text(const char *text);

/* --- story_store.c and story_peers.c: without the end of the turn --- */

void story_store_answers(struct story *story, uint64_t batch, bool stored, const char *reason);
void story_arbiter_answers(struct story *story);
void story_secondary_resumes(struct story *story, enum story_peer secondary);
void story_secondary_fetches(struct story *story, enum story_peer secondary);
void story_secondary_acks(struct story *story, enum story_peer secondary, uint64_t session,
                          uint64_t received, uint64_t durable);

/* Encodes "k1=v1 k2=-"; the records take the positions after `last`, which moves on. */
uint8_t *story_encode_records(const char *text, struct kv_position *last, size_t *ret_len,
                              uint32_t *ret_count);

/* --- story_effects.c --- */

/* Takes in what the last step has emitted. */
void story_take_effects(struct story *story);

/* What prompt peers do about it. */
void story_react(struct story *story);

/* True when the record is "k=v" of the text. */
bool story_record_is(const struct kv_record *record, const char *text);

/* Applies those of the encoded records whose index is above `after`. */
void story_content_apply(struct story_content *content, const void *bytes, size_t len,
                         uint64_t after);
const char *story_content_get(const struct story_content *content, const char *key);

/* --- story_trace.c --- */

void story_trace(struct story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "k1=v1 k2=-" */
void story_records_text(const void *bytes, size_t len, char *text, size_t size);
void story_message_text(const struct message *message, char *text, size_t size);
void story_seen_text(const struct story_seen *seen, char *text, size_t size);

/* Prints the end of the trace, then fails the test. */
void story_fail(struct story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

void story_compare_golden(struct story *story);

#endif
