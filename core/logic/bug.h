/*
 * Real mistakes that the simulator can switch on, one at a time, to show that its checkers catch
 * them. Only the logic and tests/sim include it. In an ordinary build BUG() is a constant false and
 * nothing of this is left; the switch exists only where KV_WITH_BUGS is defined.
 *
 *     if (BUG(ack_before_persist)) { ... the wrong thing ... }
 */
#ifndef LOGIC_BUG_H
#define LOGIC_BUG_H

#include <stdbool.h>

/* X(name, what the wrong node does) */
#define BUG_TABLE(X)                                                                       \
    X(ack_before_persist, "the primary acknowledges without waiting for its own store")    \
    X(waive_stayers, "when one member leaves, what the others owe is waived too")          \
    X(reuse_sequence, "a replicator gives a number of its session to two messages")        \
    X(forget_tombstone, "a transfer leaves keys in place that the primary lacks")          \
    X(count_not_set, "acknowledgements are counted, whoever they came from")               \
    X(apply_old_retry, "a snapshot below the expected number is applied again")            \
    X(accept_future, "a snapshot above the expected number is taken")                      \
    X(ack_on_receipt, "a secondary reports as durable what it only received")              \
    X(skip_tail_replay, "a piece overwrites what the log has after its as_of")             \
    X(commit_without_candidate, "a candidate is reported caught up without being counted") \
    X(stale_view, "messages of an older view are accepted")                                \
    X(double_answer, "an update is answered twice")                                        \
    X(lose_waiting, "a request that waits is dropped")                                     \
    X(registry_late, "a view is told before it is durable")                                \
    X(persist_skip_failed, "a batch whose persisting failed counts as stored")             \
    X(forget_undo, "an update that a store refuses fails and is not undone")               \
    X(show_failed, "readers may see a failed update before its undo")                      \
    X(forget_refusal, "a secondary tells that a batch is durable, not what it refused")    \
    X(undo_over_newer, "an undo overwrites a newer update of its key")                     \
    X(undo_to_void, "an undo brings back a value that failed itself")                      \
    X(keep_refused, "content that the store refused stays in memory")                      \
    X(read_without_lease, "the primary answers reads without a lease")                     \
    X(read_unsettled, "a new primary answers reads before what it took over is committed") \
    X(ack_after_ask, "a secondary that asked for another primary goes on acknowledging")   \
    X(vouch_early, "a new primary counts members that have not resumed yet")               \
    X(tail_by_index, "a member is resumed by index, whatever its view was")                \
    X(keep_tail, "what a new primary does not have stays in a member's store")             \
    X(elect_candidate, "the arbiter makes a candidate primary")                            \
    X(elect_empty, "the arbiter makes a node primary that lost its store")                 \
    X(drop_unasked, "the arbiter drops an in-sync member without the primary's word")      \
    X(skip_range, "a joiner leaves a range that differs as it is")                         \
    X(complete_early, "a joiner counts as complete before it has reached what it fetched")

#ifdef KV_WITH_BUGS

#define BUG_CONSTANT_(name, text) BUG_##name,
enum bug { BUG_NONE = 0, BUG_TABLE(BUG_CONSTANT_) BUG_END };
#undef BUG_CONSTANT_

/* One of enum bug. Set before the first node is created. */
extern int bug_active;

#define BUG(name) (bug_active == BUG_##name)

/* "ack_before_persist"; NULL for no bug of the table. */
const char *bug_name(int bug);
const char *bug_text(int bug);

/* BUG_NONE when there is none of that name. */
int bug_find(const char *name);

#else

#define BUG(name) (false)

#endif

#endif
