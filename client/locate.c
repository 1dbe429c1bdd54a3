#include "client_state.h"

#include "base/alloc.h"

#include <string.h>

/* Between two questions; half of it again is added at random, so that many clients spread. */
#define LOCATE_PAUSE_MS 50u
/* An arbiter that has not answered after this is asked again. */
#define LOCATE_TIMEOUT_MS 500u
/* A primary that has left a request unanswered for so long may be none any more. */
#define LOCATE_QUIET_MS 500u

void locate_init(struct kv_client *client)
{
    memset(&client->locate, 0, sizeof(client->locate));
    client->locate.is_wanted = true;
    client->locate.rand.state = client->id;
}

void locate_want(struct kv_client *client)
{
    client->locate.is_wanted = true;
}

const struct member *locate_primary(const struct kv_client *client)
{
    return client->view->primary == 0 ? NULL : view_find(client->view, client->view->primary);
}

/* The primary is wanted and there is none to be reached, or it is silent. */
static bool locate_is_needed(struct kv_client *client)
{
    const struct peer *primary = client->primary;
    if (client->view->number == 0) {
        return client->inflight > 0;
    }
    if (queue_first(&client->primary_queue) != NULL &&
        (locate_primary(client) == NULL || (primary != NULL && !primary->is_up))) {
        return true;
    }
    if (primary == NULL || list_is_empty(&primary->sent)) {
        return false;
    }
    const struct request *oldest = LIST_ENTRY(primary->sent.next, struct request, in_queue);
    return client->now_ms > oldest->sent_ms + LOCATE_QUIET_MS;
}

void locate_step(struct kv_client *client)
{
    struct locate *locate = &client->locate;
    struct peer *arbiter = &client->arbiter;
    if (locate->request != 0 && client->now_ms > locate->sent_ms + LOCATE_TIMEOUT_MS) {
        locate->request = 0;
        locate->is_wanted = true;
    }
    if (locate->request != 0 || client->now_ms < locate->next_ms ||
        !(locate->is_wanted || locate_is_needed(client))) {
        return;
    }
    peer_connect(arbiter);
    if (!arbiter->is_up || arbiter->is_blocked) {
        return;
    }
    uint64_t id = ++client->last_id;
    client->outgoing.type = MESSAGE_LOCATE;
    client->outgoing.body.request.request = id;
    if (peer_send(arbiter, &client->outgoing) != KV_OK) {
        return;
    }
    locate->request = id;
    locate->is_wanted = false;
    locate->sent_ms = client->now_ms;
    locate->next_ms =
        client->now_ms + LOCATE_PAUSE_MS + rand_below(&locate->rand, LOCATE_PAUSE_MS / 2u + 1u);
    locate->sent_len++;
    client->counters.locates++;
}

void locate_on_arbiter_down(struct kv_client *client)
{
    if (client->locate.request != 0) {
        client->locate.request = 0;
        client->locate.is_wanted = true;
    }
}

void locate_on_answered(struct kv_client *client)
{
    client->locate.request = 0;
    client->locate.answered = client->locate.sent_len;
    queue_end_hold_for_view(&client->primary_queue);
    client_wake(client);
}

/* Reads that wait at the old primary are put to the new one; updates there keep waiting, since they
 * may have been executed. */
static void locate_move_primary(struct kv_client *client)
{
    struct peer *old = client->primary;
    client->primary = NULL;
    client->primary_queue.probe = NULL;
    if (old == NULL) {
        return;
    }
    struct list kept;
    list_init(&kept);
    while (!list_is_empty(&old->sent)) {
        struct request *request = LIST_ENTRY(old->sent.next, struct request, in_queue);
        if (request->node == NULL && !request_changes(request)) {
            request_requeue(client, request);
        } else {
            list_remove(&request->in_queue);
            list_append(&kept, &request->in_queue);
        }
    }
    list_move_all(&old->sent, &kept);
}

void locate_adopt(struct kv_client *client, const struct view *view)
{
    if (view->cluster == client->view->cluster && view->number <= client->view->number) {
        goto out; /* known, or an old answer */
    }
    const struct member *primary = view->primary == 0 ? NULL : view_find(view, view->primary);
    if (client->primary != NULL &&
        (primary == NULL || strcmp(primary->name, client->primary->name) != 0)) {
        locate_move_primary(client);
    }
    *client->view = *view;
    for (struct list *at = client->peers.next; at != &client->peers; at = at->next) {
        struct peer *peer = LIST_ENTRY(at, struct peer, link);
        const struct member *member = view_find_name(client->view, peer->name);
        peer->is_orphan = member == NULL;
        if (member != NULL) {
            peer_set_uri(peer, peer_choose_uri(client, member));
        }
    }
out:
    while (!list_is_empty(&client->unknown)) {
        struct request *request = LIST_ENTRY(client->unknown.next, struct request, in_queue);
        list_remove(&request->in_queue);
        queue_push(&client->lookups, request);
    }
    client_wake(client);
}
