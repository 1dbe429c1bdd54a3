/*
 * Stories: one real node in virtual time among scripted peers. A story says what the peers do and
 * what the node must answer; it reads like a script.
 *
 * The node is stepped as the host steps it: each event is followed by EVENT_FLUSH, EVENT_TICK comes
 * at node_wake_ms(). Nothing sleeps, no clock is read. The rules of the effects (effect.h) are
 * checked at every step. Peers do nothing by themselves unless they were made prompt, but for the
 * arbiter: it tells its view to a member that asks whether it is there.
 *
 * What the node emits waits, unread, at the peer that it is for; expect_x() takes the next one of
 * that peer and fails when it is anything else, and story_end() fails when something unread is
 * left: so an answer too many is always noticed. Only what repeats at rest is skipped by
 * expect_x(): Heartbeat at the arbiter; Commit, Probe and Replicas at a secondary; Fetch and
 * Replicas at the primary. Everything, also that, goes into the trace, which story_end() compares
 * with golden/NAME.txt (the environment KV_BLESS=1 writes it anew).
 *
 * Records are written "k1=v1 k2=-": an insertion and a removal.
 */
#ifndef SCENARIO_STORY_H
#define SCENARIO_STORY_H

#include "logic/node.h"
#include "logic/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum story_peer {
    HOST, /* notes, links, the end of the process: never waits to be read */
    ARBITER,
    STORE, /* the persistence */
    CLIENT1,
    CLIENT2,
    S1, /* secondaries of a primary under test */
    S2,
    S3,
    PRIMARY, /* of a secondary under test */
    STORY_PEERS_LEN,
};

#define STORY_CLUSTER            77u
#define STORY_RETRANSMIT_MS      100u
#define STORY_OPERATION_MS       1000u
#define STORY_REPLICA_TIMEOUT_MS 5000u
#define STORY_INFLIGHT_OPS_MAX   64u

/* An update fails at its deadline: not earlier, hardly later. */
#define STORY_FAILED_MS_MIN 1000u
#define STORY_FAILED_MS_MAX 1100u

/* Number of the Snapshot with the first (0) update, the second (1), ... after story_start_x(),
 * while each update travels alone: before it comes Begin. */
#define SEQ(n) (1u + (n))

/* --- life of a story --- */

struct story;

/* One cmocka test whose function is the story. */
#define STORY(name) cmocka_unit_test_setup_teardown(name, story_setup, story_teardown)
int story_setup(void **state);
int story_teardown(void **state);

/* To be changed before story_create_node(), as far as the story needs it. */
struct node_config *story_config(struct story *story);

/* Begins the story of that name (the function's): state is the test's. */
struct story *story_begin(void **state, const char *name);

/* Everything was read; the trace is the golden one. */
void story_end(struct story *story);

/* The node is there, its link to the arbiter is up, its store is not open yet. */
void story_create_node(struct story *story);
void story_loaded(struct story *story);

/* The store had this content, complete as of that position. */
void story_loaded_with(struct story *story, const char *records, struct kv_position position);

/* From nothing to a primary with that many secondaries (S1, S2, ...), all in sync. The store and
 * the secondaries have answered so far and do nothing by themselves from here on. */
void story_start_primary(struct story *story, uint32_t secondaries);

/* From nothing to a secondary in sync, of PRIMARY, with an empty content. */
void story_start_secondary(struct story *story);

uint64_t story_now_ms(const struct story *story);
void story_run_ms(struct story *story, uint64_t ms);

/* The process stands still for so long: no tick comes meanwhile, and what the story tells next
 * comes before the tick that is overdue. */
void story_stand_still_ms(struct story *story, uint64_t ms);

/* The process is asked to stop. */
void story_asked_to_stop(struct story *story);

/* What happens in between is one turn of the loop: the flush comes at its end. */
void story_turn_begin(struct story *story);
void story_turn_end(struct story *story);

/* A remark in the trace. */
void story_say(struct story *story, const char *text);

/* The line that the story has come to, for the report of a failure; see the end of this file. */
void story_at(struct story *story, unsigned line);

const struct node *story_node(const struct story *story);

/* --- clients: each returns the request's id, counted per client from 0 --- */

uint64_t story_insert(struct story *story, enum story_peer client, const char *key,
                      const char *value);
uint64_t story_remove(struct story *story, enum story_peer client, const char *key);
uint64_t story_get(struct story *story, enum story_peer client, const char *key);

/* Only the primary may answer. */
uint64_t story_get_at_primary(struct story *story, enum story_peer client, const char *key);

/* With an id of one's own choice. */
void story_insert_id(struct story *story, enum story_peer client, uint64_t id, const char *key,
                     const char *value);

/* Answered from a state at or after that index. */
uint64_t story_get_after(struct story *story, enum story_peer client, const char *key,
                         uint64_t index);

/* The connection is gone; what is sent to it is lost. */
void story_client_goes(struct story *story, enum story_peer client);

/* --- the store --- */

void story_store_prompt(struct story *story, bool prompt); /* stores at once from now on */
void story_persisted(struct story *story);                 /* the batch in flight */
void story_persist_fails(struct story *story, const char *reason);
uint64_t story_batch(const struct story *story); /* number of the batch given last */
bool story_batch_in_flight(const struct story *story);

/* Position that the store has with the batch given last. */
struct kv_position story_batch_position(const struct story *story);

/* The batch in flight is stored, all but its records "k=v" like that one, at least one: the store
 * refuses them for good. */
void story_persisted_but(struct story *story, const char *record, const char *reason);

/* Any answer, also to a batch that is not in flight. */
void story_persist_answer(struct story *story, uint64_t batch, bool stored);

/* --- secondaries of a primary under test --- */

/* Acknowledges at once what arrives from now on (and what has arrived). */
void story_secondary_prompt(struct story *story, enum story_peer secondary, bool prompt);
void story_ack(struct story *story, enum story_peer secondary); /* all of it, as durable */

/* It tells how far it is, as the node's Probe asks: empty, unless the story says what it has. */
void story_resumes(struct story *story, enum story_peer secondary);
void story_secondary_has(struct story *story, enum story_peer secondary,
                         struct kv_position committed, struct kv_position last);

/* It asks for all of the content, as a Begin without a tail wants. */
void story_fetches(struct story *story, enum story_peer secondary);

void story_ack_received(struct story *story, enum story_peer secondary);
void story_ack_exactly(struct story *story, enum story_peer secondary, uint64_t received,
                       uint64_t durable);

/* Its store refuses that record ("k=v") of the log whenever it comes from now on: it takes it as
 * any other, and each acknowledgement tells the refusal until the node has dealt with it. */
void story_secondary_refuses(struct story *story, enum story_peer secondary, const char *record,
                             const char *reason);

/* Acknowledges on its own link, as of that session of the member. */
uint64_t story_session(const struct story *story, enum story_peer secondary);
void story_ack_of_session(struct story *story, enum story_peer secondary, uint64_t session,
                          uint64_t received, uint64_t durable);

/* Nothing reaches it while cut; what it has received says story_received(). */
void story_cut(struct story *story, enum story_peer secondary, bool cut);
uint64_t story_received(const struct story *story, enum story_peer secondary);

/* --- the arbiter: edits the next view, then tells it --- */

/* From now on it joins with "second://NAME" behind "test://NAME". */
void story_has_second_address(struct story *story, enum story_peer secondary);

/* The address that comes first in the node's last link to it. */
const char *story_first_address(const struct story *story, enum story_peer secondary);

void story_view_add(struct story *story, enum story_peer secondary); /* as a candidate */
void story_view_remove(struct story *story, enum story_peer secondary);
void story_view_in_sync(struct story *story, enum story_peer secondary);
void story_tell_view(struct story *story);       /* a new number, as Replicas */
void story_tell_view_again(struct story *story); /* the same once more */

/* The number of the view that the next one follows. */
void story_view_follows(struct story *story, uint64_t number);

/* The links to those that the view has brought are up. */
void story_links_up(struct story *story);

/* The node's link to it, and word that a link has ended. */
uint64_t story_link_to(const struct story *story, enum story_peer secondary);
void story_link_goes(struct story *story, uint64_t link);

/* The link that the node has opened to that peer breaks and is there again. */
void story_link_returns(struct story *story, enum story_peer peer);

/* One change each, told; the new member's link is up. */
void story_joins(struct story *story, enum story_peer secondary);
void story_leaves(struct story *story, enum story_peer secondary);
void story_is_in_sync(struct story *story, enum story_peer secondary);

/* joins, takes the transfer, is reported and becomes in sync; it answers at once meanwhile. */
void story_brings_in(struct story *story, enum story_peer secondary);

/* Answers the node's Join: as the primary, or as a candidate of PRIMARY (anew, when a former
 * incarnation of it is in the view). */
void story_joined_primary(struct story *story);
void story_joined_secondary(struct story *story);

/* The next view: that peer is primary, the node under test itself with HOST; everybody begins a new
 * session. What it is like besides is changed before. */
void story_promotes(struct story *story, enum story_peer peer);

/* The arbiter wants the node to give way to that secondary. */
void story_orders_handover(struct story *story, enum story_peer secondary);

/* The first batch of a primary comes, which makes its store a primary's; it is stored. */
void story_primary_marked(struct story *story);

/* Of the node's last Join. */
uint64_t story_incarnation(const struct story *story);

/* The node under test is in sync in a new view. */
void story_node_in_sync(struct story *story);

/* A view in which the node under test is not. */
void story_node_taken_out(struct story *story);

/* The answer to the node's Join once more, or one that is meant for another incarnation of it; with
 * the view as it is. */
void story_joined_again(struct story *story, bool as_primary, bool for_other_incarnation);
void story_join_rejected(struct story *story, enum reject_reason reason, bool retry);

/* The members stand in the next view in another order. */
void story_view_turn_round(struct story *story);

/* The primary tells the view as it is, as it does before anything else of a new one. */
void story_primary_tells_view(struct story *story);

/* Changes the view without telling: the node has not heard of it. */
void story_view_unheard(struct story *story);

/* An acknowledgement of everything, as of that view, on the link that was the secondary's last. */
void story_ack_in_view(struct story *story, enum story_peer secondary, uint64_t view);
uint64_t story_view_number(const struct story *story);

/* A message as that peer begins one: cluster, view and sender are filled in. */
struct message story_message(const struct story *story, uint8_t type, enum story_peer from);

void story_deliver_bytes(struct story *story, enum story_peer peer, const void *bytes, size_t len);

/* Any message, from that peer, as it stands. */
void story_deliver(struct story *story, enum story_peer peer, const struct message *message);

/* --- the primary of a secondary under test --- */

/* So many updates were committed there before the session begins; its content then has at most as
 * many pairs. */
void story_primary_has(struct story *story, uint64_t index);

/* Makes the next Snapshot, sends it, and returns its number. */
uint64_t story_begin_session(struct story *story); /* the content is to be fetched */
uint64_t story_begin_tail(struct story *story, struct kv_position as_of);

/* Answers all that the node has asked for: these pairs are everything, as of now. */
void story_content(struct story *story, const char *records);
void story_content_as_of(struct story *story, const char *records, uint64_t index);
uint64_t story_write(struct story *story, const char *records);

/* Makes it, but does not send it yet. */
uint64_t story_make(struct story *story, const char *records);

/* Sends that one, for the first time or again. */
void story_send(struct story *story, uint64_t seq);

/* Index of the record made last. */
uint64_t story_index(const struct story *story);

/* The commit index that it tells from now on; told at once by a Commit. */
void story_commits(struct story *story, uint64_t index);
void story_probe(struct story *story);

/* So many of the refusals that the node has told are dealt with; told from now on. */
void story_primary_deals(struct story *story, uint64_t refusals);

/* --- what the node must have done; each takes one thing and returns when it was emitted --- */

uint64_t expect_ack(struct story *story, enum story_peer client, uint64_t id);
uint64_t expect_failed(struct story *story, enum story_peer client, uint64_t id);
/* A store refuses it for good, and it is undone; the reason is that store's. */
uint64_t expect_refused(struct story *story, enum story_peer client, uint64_t id,
                        const char *reason);
uint64_t expect_rejected(struct story *story, enum story_peer client, uint64_t id,
                         enum reject_reason reason);
/* value NULL: the key is absent. */
uint64_t expect_result(struct story *story, enum story_peer client, uint64_t id, const char *value);

/* Asks and takes the answer. */
void expect_get(struct story *story, enum story_peer client, const char *key, const char *value);

uint64_t expect_persist(struct story *story, const char *records);
/* The very bytes of the batch taken last, positions too. */
uint64_t expect_persist_again(struct story *story);

uint64_t expect_snapshot(struct story *story, enum story_peer secondary, uint64_t seq,
                         const char *records);
uint64_t expect_begin(struct story *story, enum story_peer secondary);
/* ... with the tail of the log after that position. */
uint64_t expect_begin_tail(struct story *story, enum story_peer secondary,
                           struct kv_position as_of);
/* The answer to what it has fetched: all there is. */
uint64_t expect_fetched(struct story *story, enum story_peer secondary, const char *records);
/* How far the node says that it is. */
uint64_t expect_resume(struct story *story, struct kv_position committed, struct kv_position last);
uint64_t expect_caught_up(struct story *story, enum story_peer secondary);
uint64_t expect_suspect(struct story *story, enum story_peer secondary);
uint64_t expect_handover(struct story *story, enum story_peer secondary);
uint64_t expect_join(struct story *story);
uint64_t expect_leave(struct story *story);
uint64_t expect_snapshot_ack(struct story *story, uint64_t received, uint64_t durable);

/* ... that tells one refusal, of the record with this index. expect_snapshot_ack() wants none. */
uint64_t expect_snapshot_ack_refusing(struct story *story, uint64_t received, uint64_t durable,
                                      uint64_t index, const char *reason);

/* Asks the node for its status and takes the answer. */
void expect_persist_state(struct story *story, enum story_peer client, enum persist_state state,
                          const char *error);

/* The process is asked to end with that status. */
void expect_stop(struct story *story, int exit_status);

/* Nothing unread waits at that peer. */
void expect_quiet(struct story *story, enum story_peer peer);

/* Whether the data folder was told of the cluster. */
void expect_identity(struct story *story, bool told);

/* What a peer's own content has for a key: of STORE or a secondary; NULL: nothing. */
void expect_content(struct story *story, enum story_peer peer, const char *key, const char *value);

/* The node's own committed content. */
void expect_node_has(struct story *story, const char *key, const char *value);

/* A round of insert, get, remove, get with a prompt store and prompt members: the node is well. */
void expect_well(struct story *story);

/* How many messages of a type went to that peer at or after since_ms, without those that repeat at
 * rest; type 0: anything at all. Marks them as read. */
uint32_t story_take_count(struct story *story, enum story_peer peer, uint8_t type,
                          uint64_t since_ms);

/* Reads everything that waits there. */
void story_take_all(struct story *story, enum story_peer peer);

/* A story that fails names its line. The harness itself is built without this. */
#ifndef STORY_HARNESS
#define STORY_AT_(s, call)           (story_at((s), __LINE__), call)
#define expect_ack(s, ...)           STORY_AT_(s, expect_ack((s), __VA_ARGS__))
#define expect_failed(s, ...)        STORY_AT_(s, expect_failed((s), __VA_ARGS__))
#define expect_rejected(s, ...)      STORY_AT_(s, expect_rejected((s), __VA_ARGS__))
#define expect_refused(s, ...)       STORY_AT_(s, expect_refused((s), __VA_ARGS__))
#define expect_persist_state(s, ...) STORY_AT_(s, expect_persist_state((s), __VA_ARGS__))
#define expect_result(s, ...)        STORY_AT_(s, expect_result((s), __VA_ARGS__))
#define expect_get(s, ...)           STORY_AT_(s, expect_get((s), __VA_ARGS__))
#define expect_persist(s, ...)       STORY_AT_(s, expect_persist((s), __VA_ARGS__))
#define expect_snapshot(s, ...)      STORY_AT_(s, expect_snapshot((s), __VA_ARGS__))
#define expect_begin(s, ...)         STORY_AT_(s, expect_begin((s), __VA_ARGS__))
#define expect_begin_tail(s, ...)    STORY_AT_(s, expect_begin_tail((s), __VA_ARGS__))
#define expect_fetched(s, ...)       STORY_AT_(s, expect_fetched((s), __VA_ARGS__))
#define expect_resume(s, ...)        STORY_AT_(s, expect_resume((s), __VA_ARGS__))
#define expect_caught_up(s, ...)     STORY_AT_(s, expect_caught_up((s), __VA_ARGS__))
#define expect_suspect(s, ...)       STORY_AT_(s, expect_suspect((s), __VA_ARGS__))
#define expect_snapshot_ack(s, ...)  STORY_AT_(s, expect_snapshot_ack((s), __VA_ARGS__))
#define expect_snapshot_ack_refusing(s, ...) \
    STORY_AT_(s, expect_snapshot_ack_refusing((s), __VA_ARGS__))
#define expect_handover(s, ...) STORY_AT_(s, expect_handover((s), __VA_ARGS__))
#define expect_stop(s, ...)     STORY_AT_(s, expect_stop((s), __VA_ARGS__))
#define expect_quiet(s, ...)    STORY_AT_(s, expect_quiet((s), __VA_ARGS__))
#define expect_identity(s, ...) STORY_AT_(s, expect_identity((s), __VA_ARGS__))
#define expect_content(s, ...)  STORY_AT_(s, expect_content((s), __VA_ARGS__))
#define expect_node_has(s, ...) STORY_AT_(s, expect_node_has((s), __VA_ARGS__))
#define expect_join(s)          STORY_AT_(s, expect_join(s))
#define expect_leave(s)         STORY_AT_(s, expect_leave(s))
#define story_end(s)            STORY_AT_(s, story_end(s))
#define expect_persist_again(s) STORY_AT_(s, expect_persist_again(s))
#define expect_well(s)          STORY_AT_(s, expect_well(s))
#endif

#endif
