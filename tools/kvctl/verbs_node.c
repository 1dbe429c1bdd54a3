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

/* Whether the arbiter answers at all: a quick and clear answer to begin with. */
static int node_check_arbiter(struct kvctl *ctl)
{
    struct outcome outcome = {0};
    session_finish(
        &ctl->session,
        kv_client_view(ctl->session.client, ctl->session.view_ms, session_on_answer, &outcome),
        &outcome);
    if (outcome.status == KV_OK) {
        return EXIT_DONE;
    }
    char what[320];
    snprintf(what, sizeof(what), "%s, asking the arbiter %.250s",
             options_verb_name(ctl->options.verb), ctl->options.arbiter);
    return outcome_report(&outcome, what);
}

typedef int32_t (*node_command_fn)(struct kv_client *client, const char *node, uint32_t deadline_ms,
                                   kv_answer_fn on_answer, void *ctx);

/* done: what is said when it is, behind the name. */
static int node_command(struct kvctl *ctl, node_command_fn command, const char *done)
{
    const char *node = ctl->options.args[0];
    int status = node_check_arbiter(ctl);
    if (status != EXIT_DONE) {
        return status;
    }
    struct outcome outcome = {0};
    session_finish(&ctl->session,
                   command(ctl->session.client, node, 0, session_on_answer, &outcome), &outcome);
    if (outcome.status == KV_E_NOT_FOUND) {
        /* Status 1 is about keys; nothing was executed here. */
        outcome.status = KV_E_REJECTED;
        snprintf(outcome.reason, sizeof(outcome.reason), "no node of that name in the view");
    }
    if (ctl->options.json) {
        node_print_json(node, outcome.status, outcome.reason);
    } else if (outcome.status == KV_OK) {
        printf("%s %s\n", node, done);
    }
    if (outcome.status == KV_OK) {
        return EXIT_DONE;
    }
    char what[160];
    snprintf(what, sizeof(what), "%s of node '%.80s'", options_verb_name(ctl->options.verb), node);
    return outcome_report(&outcome, what);
}

int verb_leave(struct kvctl *ctl)
{
    return node_command(ctl, kv_client_leave, "has left");
}

int verb_handover(struct kvctl *ctl)
{
    return node_command(ctl, kv_client_handover, "is the primary");
}
