/*
 * leave and handover: what is asked of a node by name.
 */
#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"

#include <string.h>

static void node_print_json(const char *node, int32_t status, const char *reason)
{
    json_t *object = json_object();
    json_bytes_set(object, "node", node, strlen(node));
    json_object_set_new(object, "result", json_string(outcome_word(status)));
    json_bytes_set(object, "reason", reason, strlen(reason));
    output_json(object);
}

int verb_leave(struct kvctl *ctl)
{
    const char *node = ctl->options.args[0];
    struct outcome outcome = {0};
    session_finish(&ctl->session,
                   kv_client_leave(ctl->session.client, node, 0, session_on_answer, &outcome),
                   &outcome);
    if (outcome.status == KV_E_NOT_FOUND) {
        /* Status 1 is about keys; nothing was executed here. */
        outcome.status = KV_E_REJECTED;
        snprintf(outcome.reason, sizeof(outcome.reason), "no node of that name in the view");
    }
    if (ctl->options.json) {
        node_print_json(node, outcome.status, outcome.reason);
    } else if (outcome.status == KV_OK) {
        printf("%s has left\n", node);
    }
    if (outcome.status == KV_OK) {
        return EXIT_DONE;
    }
    struct text_buffer text = {0};
    text_buffer_append_text(&text, "leave of node '");
    text_buffer_append_text(&text, node);
    text_buffer_append(&text, "'", 2);
    int status = outcome_report(&outcome, (const char *)text.bytes);
    text_buffer_close(&text);
    return status;
}

int verb_handover(struct kvctl *ctl)
{
    static const char reason[] = "this version has no failover and cannot change the primary; "
                                 "nothing was done";
    if (ctl->options.json) {
        node_print_json(ctl->options.args[0], KV_E_REJECTED, reason);
    }
    output_error("handover to '%s': rejected: %s", ctl->options.args[0], reason);
    return EXIT_REJECTED;
}
