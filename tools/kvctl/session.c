#include "session.h"

#include "kvctl.h"

#include <string.h>

/* Verbs that may take long still say soon that nobody is there. */
#define SESSION_VIEW_MS   2000u

#define SESSION_ERROR_MAX 512u /* as kv_client_create() has it */

static int32_t session_create_client(uv_loop_t *loop, const struct options *options,
                                     const char *uri, struct kv_client **ret_client,
                                     char error[SESSION_ERROR_MAX])
{
    struct kv_client_options client_options = {
        .arbiter_uri = uri,
        .plugin_folder = options->plugins,
        .timeout_ms = (uint32_t)options->timeout_ms,
        .inflight_max = 131072,
        .inflight_bytes_max = 256u * 1024u * 1024u,
        .seen_index = options->at_least,
    };
    error[0] = '\0';
    return kv_client_create(loop, &client_options, ret_client, error);
}

int session_make_client(uv_loop_t *loop, const struct options *options,
                        struct kv_client **ret_client)
{
    char error[SESSION_ERROR_MAX];
    if (session_create_client(loop, options, options->arbiter, ret_client, error) != KV_OK) {
        output_error("cannot talk to %s: %s", options->arbiter, error);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int session_open(struct session *session, const struct options *options)
{
    memset(session, 0, sizeof(*session));
    session->options = options;
    int error = uv_loop_init(&session->loop);
    if (error != 0) {
        output_error("cannot start: %s", uv_strerror(error));
        return EXIT_FAILED;
    }
    int status = session_make_client(&session->loop, options, &session->client);
    if (status != EXIT_DONE) {
        uv_run(&session->loop, UV_RUN_DEFAULT);
        uv_loop_close(&session->loop);
        return status;
    }
    session->view_ms =
        options->timeout_ms < SESSION_VIEW_MS ? (uint32_t)options->timeout_ms : SESSION_VIEW_MS;
    uv_timer_init(&session->loop, &session->pause);
    session->pause.data = session;
    uv_signal_init(&session->loop, &session->interrupt);
    session->interrupt.data = session;
    return EXIT_DONE;
}

static void session_on_closed(void *ctx)
{
    bool *is_closed = ctx;
    *is_closed = true;
}

void session_close(struct session *session)
{
    uv_close((uv_handle_t *)&session->pause, NULL);
    uv_close((uv_handle_t *)&session->interrupt, NULL);
    kv_client_close(session->client, session_on_closed, &session->is_closed);
    session_wait(session, &session->is_closed);
    uv_run(&session->loop, UV_RUN_DEFAULT);
    uv_loop_close(&session->loop);
}

void session_wait(struct session *session, const bool *is_done)
{
    while (!*is_done) {
        uv_run(&session->loop, UV_RUN_ONCE);
    }
}

static void session_on_pause_over(uv_timer_t *timer)
{
    struct session *session = timer->data;
    session->is_paused_enough = true;
}

void session_pause(struct session *session, uint64_t pause_ms)
{
    session->is_paused_enough = false;
    uv_update_time(&session->loop);
    uv_timer_start(&session->pause, session_on_pause_over, pause_ms, 0);
    session_wait(session, &session->is_paused_enough);
}

static void session_on_signal(uv_signal_t *handle, int signal_number)
{
    (void)signal_number;
    struct session *session = handle->data;
    uv_signal_stop(handle);
    session->is_interrupted = true;
    if (session->on_interrupt != NULL) {
        session->on_interrupt(session->interrupt_ctx);
    }
}

void session_catch_interrupt(struct session *session, void (*on_interrupt)(void *ctx), void *ctx)
{
    session->on_interrupt = on_interrupt;
    session->interrupt_ctx = ctx;
    uv_signal_start(&session->interrupt, session_on_signal, SIGINT);
}

void session_on_answer(void *ctx, const struct kv_answer *answer)
{
    outcome_take(ctx, answer);
}

void session_finish(struct session *session, int32_t status, struct outcome *outcome)
{
    if (status != KV_OK) {
        outcome_refuse(outcome, status);
        return;
    }
    session_wait(session, &outcome->is_done);
}

struct node_search {
    struct outcome outcome;
    const char *node;
    bool is_found;
};

static void session_on_view(void *ctx, const struct kv_answer *answer)
{
    struct node_search *search = ctx;
    outcome_take(&search->outcome, answer);
    for (uint32_t i = 0; i < answer->nodes_len; i++) {
        search->is_found |= strcmp(answer->nodes[i].name, search->node) == 0;
    }
}

bool session_lacks_node(struct session *session, const char *node)
{
    struct node_search search = {.node = node};
    session_finish(session,
                   kv_client_view(session->client, session->view_ms, session_on_view, &search),
                   &search.outcome);
    if (search.outcome.status != KV_OK || search.is_found) {
        return false;
    }
    output_error("no node '%s' in the view", node);
    return true;
}

struct arbiter_answer {
    struct outcome outcome;
    bool is_its_own;
};

static void session_on_arbiter(void *ctx, const struct kv_answer *answer)
{
    struct arbiter_answer *arbiter = ctx;
    outcome_take(&arbiter->outcome, answer);
    arbiter->is_its_own =
        answer->status == KV_OK && (answer->told_by == NULL || answer->told_by[0] == '\0');
}

bool session_answers_at(struct session *session, const char *uri, uint32_t within_ms,
                        bool *ret_is_tried)
{
    struct kv_client *client;
    char error[SESSION_ERROR_MAX];
    struct arbiter_answer arbiter = {0};
    bool is_closed = false;
    *ret_is_tried =
        session_create_client(&session->loop, session->options, uri, &client, error) == KV_OK;
    if (!*ret_is_tried) {
        return false;
    }
    session_finish(session, kv_client_view(client, within_ms, session_on_arbiter, &arbiter),
                   &arbiter.outcome);
    kv_client_close(client, session_on_closed, &is_closed);
    session_wait(session, &is_closed);
    return arbiter.is_its_own;
}
