#include "queue.h"

#include "request.h"

void queue_init(struct queue *queue)
{
    list_init(&queue->again);
    list_init(&queue->fresh);
    queue->hold_until_ms = 0;
    queue->is_held_for_view = false;
    queue->is_probing = false;
    queue->probe = NULL;
}

static uint64_t queue_order_at(const struct list *link)
{
    return LIST_ENTRY(link, struct request, in_queue)->order;
}

void queue_push(struct queue *queue, struct request *request)
{
    if (!request->was_sent) {
        list_append(&queue->fresh, &request->in_queue);
        return;
    }
    /* Refusals and lost links come in ascending order, or exceptionally in descending order: both
     * cost one comparison. */
    struct list *again = &queue->again;
    if (list_is_empty(again) || queue_order_at(again->next) > request->order) {
        list_insert(again->next, &request->in_queue);
        return;
    }
    struct list *at = again->previous;
    while (queue_order_at(at) > request->order) {
        at = at->previous;
    }
    list_insert(at->next, &request->in_queue);
}

struct request *queue_first(const struct queue *queue)
{
    const struct list *list = list_is_empty(&queue->again) ? &queue->fresh : &queue->again;
    return list_is_empty(list) ? NULL : LIST_ENTRY(list->next, struct request, in_queue);
}

bool queue_is_open(const struct queue *queue, uint64_t now_ms)
{
    return now_ms >= queue->hold_until_ms && !(queue->is_probing && queue->probe != NULL);
}

void queue_hold(struct queue *queue, uint64_t until_ms, bool is_for_view)
{
    if (until_ms > queue->hold_until_ms) {
        queue->hold_until_ms = until_ms;
    }
    queue->is_held_for_view = queue->is_held_for_view || is_for_view;
    queue->is_probing = true;
}

void queue_end_hold_for_view(struct queue *queue)
{
    if (queue->is_held_for_view) {
        queue->hold_until_ms = 0;
        queue->is_held_for_view = false;
    }
}

void queue_end_hold(struct queue *queue)
{
    queue->hold_until_ms = 0;
    queue->is_held_for_view = false;
    queue->probe = NULL;
}
