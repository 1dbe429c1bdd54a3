#include "registry_view.h"

#include "base/alloc.h"
#include "logic/message.h"
#include "logic/view.h"

#include <inttypes.h>
#include <string.h>

/* A primary of this view that is another one than before may lack what was committed, when it was
 * forced; or when acknowledgements vouch for the store of the primary alone, and that one is lost:
 * after a handover it still is a member, and the same. */
static void note_loss(struct world *world, const struct view *view)
{
    const struct view_note *before = world_view(world, view->number - 1);
    if (view->forced == view->number) {
        world->loss_excused = true;
    }
    if (world->plan.ack == ACK_DURABLE || before == NULL || before->primary == view->primary) {
        return;
    }
    const struct member *member = view_find(view, before->primary);
    bool is_same = false;
    for (uint32_t i = 0; member != NULL && i < before->members_len; i++) {
        is_same = is_same || (before->nodes[i] == member->node &&
                              before->incarnations[i] == member->incarnation);
    }
    world->loss_excused = world->loss_excused || !is_same;
}

void registry_view_on_let_go(struct world *world, const struct machine *machine,
                             const struct message *message)
{
    struct view_note *view = world_view(world, message->view);
    uint64_t node = message->body.member.node;
    if (view == NULL || view->primary != machine->node_id) {
        return;
    }
    for (uint32_t i = 0; i < view->let_go_len; i++) {
        if (view->let_go[i] == node) {
            return;
        }
    }
    if (view->let_go_len < MACHINES_MAX) {
        view->let_go[view->let_go_len++] = node;
    }
}

/* The place of a member in sync is only taken with the primary's word, while that is the same
 * process. */
static void note_dropped(struct world *world, const struct view *view)
{
    const struct view_note *before = world_view(world, view->number - 1);
    if (before == NULL || before->primary != view->primary || view->forced == view->number) {
        return;
    }
    for (uint32_t i = 0; i < before->members_len; i++) {
        const struct member *member = view_find(view, before->nodes[i]);
        bool is_same = member != NULL && member->incarnation == before->incarnations[i];
        if (before->nodes[i] == view->primary && !is_same) {
            return;
        }
    }
    for (uint32_t i = 0; i < before->members_len; i++) {
        const struct member *member = view_find(view, before->nodes[i]);
        bool is_let_go = member != NULL && member->incarnation == before->incarnations[i];
        for (uint32_t j = 0; j < before->let_go_len; j++) {
            is_let_go = is_let_go || before->let_go[j] == before->nodes[i];
        }
        if (before->states[i] == MEMBER_IN_SYNC && !is_let_go) {
            world_fail(world, "view",
                       "view %" PRIu64 " drops node %" PRIu64
                       ", in sync, without the primary's word",
                       view->number, before->nodes[i]);
        }
    }
}

void registry_view_note(struct world *world, const void *bytes, size_t len)
{
    struct view *view = alloc_zeroed(1, sizeof(*view));
    struct view_note *note = NULL;
    if (view_decode(bytes, len, view) != KV_OK || view->members_len > MACHINES_MAX) {
        world_fail(world, "view", "the registry of %zu bytes is no view", len);
        goto out;
    }
    note = world_view(world, view->number);
    if (note != NULL) {
        goto out; /* written once more */
    }
    if (world->views_len == world->views_capacity) {
        world->views_capacity = world->views_capacity * 2 + 64;
        world->views = alloc_resize(world->views, world->views_capacity * sizeof(*world->views));
    }
    note = &world->views[world->views_len++];
    memset(note, 0, sizeof(*note));
    note->number = view->number;
    note->primary = view->primary;
    note->forced = view->forced;
    note_loss(world, view);
    note_dropped(world, view);
    note->members_len = view->members_len;
    for (uint32_t i = 0; i < view->members_len; i++) {
        note->nodes[i] = view->members[i].node;
        note->incarnations[i] = view->members[i].incarnation;
        note->states[i] = view->members[i].state;
        struct machine *machine = world_machine_of(world, view->members[i].node);
        trace_line(world->trace, world->now_us, "A", "view %" PRIu64 ": %s %s%s", view->number,
                   view->members[i].name,
                   view->members[i].state == MEMBER_IN_SYNC ? "in sync" : "candidate",
                   machine != NULL && view->members[i].node == view->primary ? ", primary" : "");
    }
out:
    alloc_free(view);
}
