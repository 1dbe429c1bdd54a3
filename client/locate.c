/*
 * Happy path: the link to the primary is lost or it refuses, locate_step() asks the arbiter every
 * 20 to 100 ms until it names another one, locate_adopt() moves there whatever may be moved.
 * Failure modes: the arbiter is away, frozen or has moved (members are asked, which also tell where
 * it is now), an old arbiter answers with an old view (likewise), nobody answers (the requests'
 * deadlines end it).
 */
#include "client_state.h"

#include "base/alloc.h"

#include <string.h>

/* Between two questions; drawn at random in between, so that many clients spread. */
#define LOCATE_PAUSE_MS_MIN 20u
#define LOCATE_PAUSE_MS_MAX 100u
/* An arbiter that has not answered after this is asked again, at its next address. */
#define LOCATE_TIMEOUT_MS 500u
/* The same for a member, of which there are more. */
#define LOCATE_MEMBER_TIMEOUT_MS 150u
/* With an arbiter that has not answered after this, members are asked as well. */
#define LOCATE_LATE_MS 100u
/* And when the primary is still missing after this, whatever the arbiter says. */
#define LOCATE_LONG_MS 500u
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

/* The primary is wanted and there is none to be reached, or it is silent; or the arbiter is wanted
 * and not reached. */
static bool locate_is_needed(struct kv_client *client)
{
    const struct peer *primary = client->primary;
    if (client->view->number == 0) {
        return client->inflight > 0;
    }
    if (queue_first(&client->arbiter.queue) != NULL && !client->arbiter.is_up) {
        return true;
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

static uint64_t locate_draw_next_ms(struct kv_client *client)
{
    return client->now_ms + LOCATE_PAUSE_MS_MIN +
           rand_below(&client->locate.rand, LOCATE_PAUSE_MS_MAX - LOCATE_PAUSE_MS_MIN + 1u);
}

/* False: the link does not take it now. */
static bool locate_ask(struct kv_client *client, struct locate_question *question,
                       struct peer *peer)
{
    uint64_t id = ++client->last_id;
    client->outgoing.type = MESSAGE_LOCATE;
    client->outgoing.body.request.request = id;
    if (peer_send(peer, &client->outgoing) != KV_OK) {
        return false;
    }
    question->peer = peer;
    question->request = id;
    question->sent_ms = client->now_ms;
    question->next_ms = locate_draw_next_ms(client);
    client->counters.locates++;
    return true;
}

static void locate_ask_arbiter(struct kv_client *client)
{
    struct locate *locate = &client->locate;
    struct peer *arbiter = &client->arbiter;
    if (locate->arbiter.request != 0 || client->now_ms < locate->arbiter.next_ms) {
        return;
    }
    peer_connect(arbiter);
    if (arbiter->is_up && !arbiter->is_blocked && locate_ask(client, &locate->arbiter, arbiter)) {
        locate->is_wanted = false;
        locate->sent_len++;
    }
}

/* Whether what the arbiter says, or that it says nothing, makes members worth asking. */
static bool locate_needs_members(const struct kv_client *client)
{
    const struct locate *locate = &client->locate;
    return !client->arbiter.is_up ||
           (locate->arbiter.request != 0 &&
            client->now_ms > locate->arbiter.sent_ms + LOCATE_LATE_MS) ||
           (locate->needed_since_ms != 0 &&
            client->now_ms > locate->needed_since_ms + LOCATE_LONG_MS);
}

/* The next member to whom there is a link; NULL: none, then one more link is opened. */
static struct peer *locate_next_member(struct kv_client *client)
{
    struct locate *locate = &client->locate;
    const struct view *view = client->view;
    const struct member *opened = NULL;
    for (uint32_t i = 0; i < view->members_len; i++) {
        uint32_t at = (locate->member_at + i) % view->members_len;
        const struct member *member = &view->members[at];
        struct peer *peer = peer_find(client, member->name);
        if (peer != NULL && peer->is_up && !peer->is_blocked) {
            locate->member_at = at + 1u;
            return peer;
        }
        if (opened == NULL && (peer == NULL || peer->guard_link == NULL)) {
            opened = member;
        }
    }
    if (opened != NULL) {
        peer_connect(peer_get(client, opened));
    }
    return NULL;
}

static void locate_ask_member(struct kv_client *client)
{
    struct locate_question *question = &client->locate.member;
    if (question->request != 0 || client->now_ms < question->next_ms ||
        !locate_needs_members(client)) {
        return;
    }
    struct peer *peer = locate_next_member(client);
    if (peer == NULL || !locate_ask(client, question, peer)) {
        question->next_ms = client->now_ms + LOCATE_PAUSE_MS_MIN;
    }
}

void locate_step(struct kv_client *client)
{
    struct locate *locate = &client->locate;
    if (locate->arbiter.request != 0 &&
        client->now_ms > locate->arbiter.sent_ms + LOCATE_TIMEOUT_MS) {
        locate->arbiter.request = 0;
        locate->is_wanted = true;
        peer_try_next(&client->arbiter, "it does not answer");
    }
    if (locate->member.request != 0 &&
        client->now_ms > locate->member.sent_ms + LOCATE_MEMBER_TIMEOUT_MS) {
        locate->member.request = 0;
    }
    if (!locate_is_needed(client)) {
        locate->needed_since_ms = 0;
    } else if (locate->needed_since_ms == 0) {
        locate->needed_since_ms = client->now_ms;
    }
    /* Before the arbiter is asked: that ends the wish. */
    bool is_wanted =
        locate->is_wanted || locate->needed_since_ms != 0 || locate->arbiter.request != 0;
    if (locate->is_wanted || locate->needed_since_ms != 0) {
        locate_ask_arbiter(client);
    }
    if (is_wanted) {
        locate_ask_member(client);
    }
}

bool locate_is_asked(const struct kv_client *client, const struct peer *peer, uint64_t id)
{
    const struct locate *locate = &client->locate;
    return id != 0 && ((peer == &client->arbiter && id == locate->arbiter.request) ||
                       (peer == locate->member.peer && id == locate->member.request));
}

void locate_on_down(struct kv_client *client, const struct peer *peer)
{
    struct locate *locate = &client->locate;
    if (peer == &client->arbiter && locate->arbiter.request != 0) {
        locate->arbiter.request = 0;
        locate->is_wanted = true;
    } else if (peer == locate->member.peer) {
        locate->member.peer = NULL;
        locate->member.request = 0;
    }
}

void locate_on_answered(struct kv_client *client, const struct peer *peer)
{
    struct locate *locate = &client->locate;
    if (peer == &client->arbiter) {
        locate->arbiter.request = 0;
        locate->answered = locate->sent_len;
    } else {
        locate->member.request = 0;
        locate->is_wanted = false; /* what the arbiter would have been asked for */
    }
    queue_end_hold_for_view(&client->primary_queue);
    client_wake(client);
}

/* Reads that wait at the old primary are put to the new one; updates there keep waiting, since they
 * may have been executed. */
static void locate_move_primary(struct kv_client *client)
{
    struct peer *old = client->primary;
    client->primary = NULL;
    queue_end_hold(&client->primary_queue);
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

/* The arbiter's addresses: the configured one, and those that the view names. */
static void locate_set_arbiter(struct kv_client *client)
{
    const struct view *view = client->view;
    char uris[PEER_URIS_MAX][URI_MAX + 1u];
    uint32_t len = 0;
    memcpy(uris[len++], client->arbiter_uri, strlen(client->arbiter_uri) + 1u);
    for (uint32_t i = 0; i < view->arbiter_uris_len; i++) {
        if (strcmp(view->arbiter_uris[i], client->arbiter_uri) != 0) {
            memcpy(uris[len++], view->arbiter_uris[i], sizeof(uris[0]));
        }
    }
    peer_set_uris(&client->arbiter, (const char(*)[URI_MAX + 1u]) uris, len);
}

/* Another cluster's view is believed of the configured address only. */
static bool locate_is_news(const struct kv_client *client, const struct view *view,
                           const struct peer *from)
{
    if (view->cluster == client->view->cluster || client->view->number == 0) {
        return view->number > client->view->number;
    }
    return from == &client->arbiter && strcmp(peer_uri(from), client->arbiter_uri) == 0;
}

void locate_adopt(struct kv_client *client, const struct view *view, const struct peer *from)
{
    if (!locate_is_news(client, view, from)) {
        goto out; /* known, or an old answer */
    }
    const struct member *primary = view->primary == 0 ? NULL : view_find(view, view->primary);
    if (client->primary != NULL &&
        (primary == NULL || strcmp(primary->name, client->primary->name) != 0)) {
        locate_move_primary(client);
    }
    if (view->forced > client->position.view || view->cluster != client->view->cluster) {
        /* What was acknowledged before may be lost: nobody is to wait for it. */
        memset(&client->position, 0, sizeof(client->position));
    }
    *client->view = *view;
    for (struct list *at = client->peers.next; at != &client->peers; at = at->next) {
        struct peer *peer = LIST_ENTRY(at, struct peer, link);
        const struct member *member = view_find_name(client->view, peer->name);
        peer->is_orphan = member == NULL;
        if (member != NULL) {
            peer_set_uris(peer, member->uris, member->uris_len);
        }
    }
    locate_set_arbiter(client);
out:
    while (!list_is_empty(&client->unknown)) {
        struct request *request = LIST_ENTRY(client->unknown.next, struct request, in_queue);
        list_remove(&request->in_queue);
        queue_push(&client->lookups, request);
    }
    client_wake(client);
}
