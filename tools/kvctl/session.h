/*
 * A loop with one client on it, and the way a verb waits for an answer.
 */
#ifndef KVCTL_SESSION_H
#define KVCTL_SESSION_H

#include "options.h"
#include "output.h"

#include <kvnode/client.h>
#include <uv.h>

struct session {
    const struct options *options;
    uv_loop_t loop;
    struct kv_client *client;
    uint32_t view_ms; /* deadline of asking for the view */
    uv_timer_t pause;
    bool is_paused_enough;
    uv_signal_t interrupt;
    bool is_interrupted;
    void (*on_interrupt)(void *ctx);
    void *interrupt_ctx;
    bool is_closed;
};

/* Makes the client; connects to nobody yet. Returns an exit status; reports the error itself. The
 * options stay the caller's and outlive the session. */
int session_open(struct session *session, const struct options *options);

/* Ends what is outstanding and frees everything. All other handles of the loop must be closing. */
void session_close(struct session *session);

/* Makes a client as the options say. Returns an exit status; reports the error itself. */
int session_make_client(uv_loop_t *loop, const struct options *options,
                        struct kv_client **ret_client);

/* Whether somebody at that address, not a member on its behalf, tells a view within so long. False
 * in ret_is_tried: there is no transport for it. */
bool session_answers_at(struct session *session, const char *uri, uint32_t within_ms,
                        bool *ret_is_tried);

/* Runs the loop until *is_done. */
void session_wait(struct session *session, const bool *is_done);

/* Runs the loop for so long. */
void session_pause(struct session *session, uint64_t pause_ms);

/* From now on the first Ctrl-C (SIGINT) does not end the process but sets is_interrupted
 * and calls on_interrupt, which may be NULL. A second Ctrl-C ends it. */
void session_catch_interrupt(struct session *session, void (*on_interrupt)(void *ctx), void *ctx);

/* Waits for the answer to a request whose callback calls outcome_take(). status: what the
 * kv_client_ call returned. */
void session_finish(struct session *session, int32_t status, struct outcome *outcome);

/* A kv_answer_fn whose ctx is the outcome. */
void session_on_answer(void *ctx, const struct kv_answer *answer);

/* Whether the view, asked now, has no node of that name; then says so on stderr. To be asked when a
 * request that names a node is answered with KV_E_NOT_FOUND, which may mean the key or the node. */
bool session_lacks_node(struct session *session, const char *node);

#endif
