/*
 * The way of a message: a verdict, then its copies, each at once or by way of the queue of what is
 * late, from which a timer takes it. Both ways of a link are treated alike.
 *
 * Back-pressure: the host is told KV_E_BUSY when the wrapped plugin says so, and when more than
 * queue_bytes_max are held for one link. is_inner_busy and is_busy are two things: a late message
 * or a second copy may fill the wrapped queue without the host's knowledge, whose on_writable must
 * not reach the host then.
 *
 * What comes in cannot be held back: beyond the same limit late messages are lost.
 *
 * What is lost at a link's end is no fault of its own: a transport loses what was queued.
 */
#include "faulty.h"

#include <string.h>
#include <unistd.h>

/* --- links --- */

struct kv_link *flow_link_create(struct faulty *faulty, bool is_accepted)
{
    struct kv_link *link = faulty_allocate(faulty, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }
    memset(link, 0, sizeof(*link));
    link->owner = faulty;
    link->is_accepted = is_accepted;
    link->uses = 1;
    link->next = &faulty->links;
    link->prev = faulty->links.prev;
    link->prev->next = link;
    faulty->links.prev = link;
    return link;
}

static void flow_link_unuse(struct kv_link *link)
{
    if (--link->uses == 0) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        faulty_release(link->owner, link);
    }
}

static void flow_drop_held(struct kv_link *link)
{
    struct faulty *faulty = link->owner;
    struct faults_held *at = faults_queue_first(&faulty->held);
    while (at != NULL) {
        struct faulty_message *message = (struct faulty_message *)at;
        at = faults_queue_next(&faulty->held, at);
        if (message->link == link) {
            faults_queue_remove(&faulty->held, &message->held);
            faulty_release(faulty, message);
            faulty->counters.lost_at_end++;
        }
    }
    link->held_bytes[FAULTY_IN] = 0;
    link->held_bytes[FAULTY_OUT] = 0;
}

void flow_link_silence(struct kv_link *link)
{
    flow_drop_held(link);
    link->is_gone = true;
    link->is_up = false;
}

void flow_link_end(struct kv_link *link)
{
    if (!link->is_gone) {
        flow_link_silence(link);
        flow_link_unuse(link);
    }
}

void flow_close(struct faulty *faulty)
{
    while (faulty->links.next != &faulty->links) {
        struct kv_link *link = faulty->links.next;
        flow_drop_held(link);
        link->uses = 1; /* those that the host closed after stop() have it still */
        flow_link_unuse(link);
    }
}

/* --- what happens to a message --- */

static bool flow_is_partitioned(const struct faulty *faulty, enum faulty_way way)
{
    return faulty->partition[0] != '\0' &&
           (access(faulty->partition, F_OK) == 0 || access(faulty->partition_ways[way], F_OK) == 0);
}

static void flow_decide(struct kv_link *link, enum faulty_way way,
                        struct faults_verdict *ret_verdict)
{
    struct faulty *faulty = link->owner;
    if (!faulty->suffers[link->is_accepted]) {
        *ret_verdict = (struct faults_verdict){.copies_len = 1};
    } else if (flow_is_partitioned(faulty, way)) {
        *ret_verdict = (struct faults_verdict){0};
        faulty->counters.partitioned++;
    } else {
        faults_decide(&faulty->faults, ret_verdict);
    }
}

static void flow_arm_timer(struct faulty *faulty)
{
    const struct faults_held *first = faults_queue_first(&faulty->held);
    if (first != NULL && !faulty->is_stopping) {
        uint64_t now_ms = faulty->host->now_ms(faulty->host->ctx);
        uv_timer_start(&faulty->timer, flow_on_timer,
                       first->due_ms > now_ms ? first->due_ms - now_ms : 0, 0);
    }
}

/* A copy of its own, altered if its verdict says so. NULL: no memory. */
static struct faulty_message *flow_copy(struct kv_link *link, const struct kv_slice *slices,
                                        uint32_t slices_len, uint32_t len,
                                        const struct faults_copy *copy)
{
    struct faulty_message *message = faulty_allocate(link->owner, sizeof(*message) + len);
    if (message == NULL) {
        link->owner->counters.no_memory++;
        return NULL;
    }
    memset(message, 0, sizeof(*message));
    message->link = link;
    for (uint32_t i = 0; i < slices_len; i++) {
        if (slices[i].len > 0) {
            memcpy(message->bytes + message->len, slices[i].bytes, slices[i].len);
            message->len += (uint32_t)slices[i].len;
        }
    }
    faults_flip(copy, message->bytes, len);
    return message;
}

/* As a queue: one message always has room. */
static bool flow_is_full(const struct kv_link *link, enum faulty_way way, size_t len)
{
    return link->held_bytes[way] > 0 &&
           link->held_bytes[way] + len > link->owner->limits.queue_bytes_max;
}

static void flow_hold(struct faulty_message *message, enum faulty_way way, uint32_t delay_ms)
{
    struct faulty *faulty = message->link->owner;
    message->way = way;
    message->link->held_bytes[way] += message->len;
    faults_queue_put(&faulty->held, &message->held,
                     faulty->host->now_ms(faulty->host->ctx) + delay_ms);
}

/* --- towards the peer --- */

static int32_t flow_send_now(struct kv_link *link, const struct kv_slice *slices,
                             uint32_t slices_len)
{
    struct faulty *faulty = link->owner;
    int32_t status = faulty->inner.ops.send(faulty->inner_self, link->inner, slices, slices_len);
    link->is_inner_busy = link->is_inner_busy || status == KV_E_BUSY;
    return status;
}

static int32_t flow_send_copy(struct kv_link *link, const struct kv_slice *slices,
                              uint32_t slices_len, uint32_t len, const struct faults_copy *copy)
{
    if (copy->delay_ms == 0 && copy->flips_len == 0) {
        return flow_send_now(link, slices, slices_len);
    }
    struct faulty_message *message = flow_copy(link, slices, slices_len, len, copy);
    if (message == NULL) {
        return KV_E_NOMEM;
    }
    if (copy->delay_ms > 0) {
        flow_hold(message, FAULTY_OUT, copy->delay_ms);
        return KV_OK;
    }
    const struct kv_slice slice = {message->bytes, message->len};
    int32_t status = flow_send_now(link, &slice, 1);
    faulty_release(link->owner, message);
    return status;
}

int32_t flow_send(struct kv_link *link, const struct kv_slice *slices, uint32_t slices_len)
{
    struct faulty *faulty = link->owner;
    struct faults_verdict verdict;
    size_t len = 0;
    int32_t status = KV_OK;
    for (uint32_t i = 0; i < slices_len; i++) {
        if (slices[i].len > faulty->limits.message_max - len) {
            return KV_E_TOO_LARGE;
        }
        len += slices[i].len;
    }
    if (!link->is_up) {
        return KV_E_CLOSED;
    }
    if (link->is_inner_busy || flow_is_full(link, FAULTY_OUT, len)) {
        link->is_busy = true;
        return KV_E_BUSY;
    }
    flow_decide(link, FAULTY_OUT, &verdict);
    for (uint32_t i = 0; i < verdict.copies_len; i++) {
        int32_t of_copy =
            flow_send_copy(link, slices, slices_len, (uint32_t)len, &verdict.copies[i]);
        /* The second copy may get lost: the message was taken. */
        status = i == 0 ? of_copy : status;
        if (status != KV_OK) {
            break;
        }
    }
    link->is_busy = link->is_busy || status == KV_E_BUSY;
    flow_arm_timer(faulty);
    return status;
}

/* Tells the host that there is room, when it waits for that. */
static void flow_tell_writable(struct kv_link *link)
{
    struct faulty *faulty = link->owner;
    bool has_room = link->held_bytes[FAULTY_OUT] <= faulty->limits.queue_bytes_max / 2u;
    if (link->is_up && link->is_busy && !link->is_inner_busy && has_room) {
        link->is_busy = false;
        faulty->events->on_writable(faulty->events_ctx, link->user);
    }
}

/* Of the queue. Frees it, or holds it again while the wrapped queue is full. */
static void flow_send_late(struct faulty_message *message)
{
    struct kv_link *link = message->link;
    const struct kv_slice slice = {message->bytes, message->len};
    link->held_bytes[FAULTY_OUT] -= message->len;
    if (link->is_inner_busy || flow_send_now(link, &slice, 1) == KV_E_BUSY) {
        flow_hold(message, FAULTY_OUT, FAULTY_RETRY_MS);
        return;
    }
    faulty_release(link->owner, message);
    flow_tell_writable(link);
}

/* --- towards the host --- */

static void flow_deliver(struct kv_link *link, const void *bytes, uint32_t len)
{
    struct faulty *faulty = link->owner;
    if (link->is_up) {
        faulty->events->on_message(faulty->events_ctx, link->user, bytes, len);
    }
}

void flow_on_message(void *ctx, void *user, const void *bytes, uint32_t len)
{
    struct faulty *faulty = ctx;
    struct kv_link *link = user;
    const struct kv_slice slice = {bytes, len};
    struct faults_verdict verdict;
    link->uses++;
    flow_decide(link, FAULTY_IN, &verdict);
    for (uint32_t i = 0; i < verdict.copies_len && !link->is_gone; i++) {
        const struct faults_copy *copy = &verdict.copies[i];
        if (copy->delay_ms == 0 && copy->flips_len == 0) {
            flow_deliver(link, bytes, len);
            continue;
        }
        if (copy->delay_ms > 0 && flow_is_full(link, FAULTY_IN, len)) {
            faulty->counters.lost_at_limit++;
            continue;
        }
        struct faulty_message *message = flow_copy(link, &slice, 1, len, copy);
        if (message != NULL && copy->delay_ms > 0) {
            flow_hold(message, FAULTY_IN, copy->delay_ms);
        } else if (message != NULL) {
            flow_deliver(link, message->bytes, len);
            faulty_release(faulty, message);
        }
    }
    flow_arm_timer(faulty);
    flow_link_unuse(link);
}

void flow_on_timer(uv_timer_t *timer)
{
    struct faulty *faulty = timer->data;
    uint64_t now_ms = faulty->host->now_ms(faulty->host->ctx);
    for (;;) {
        struct faults_held *held = faults_queue_take(&faulty->held, now_ms);
        if (held == NULL) {
            break;
        }
        struct faulty_message *message = (struct faulty_message *)held;
        struct kv_link *link = message->link;
        link->uses++;
        if (message->way == FAULTY_OUT) {
            flow_send_late(message);
        } else {
            link->held_bytes[FAULTY_IN] -= message->len;
            flow_deliver(link, message->bytes, message->len);
            faulty_release(faulty, message);
        }
        flow_link_unuse(link);
        if (faulty->is_stopping) {
            return; /* within a callback: nothing is left to do */
        }
    }
    faulty->inner.ops.flush(faulty->inner_self);
    flow_arm_timer(faulty);
}

/* --- the other callbacks --- */

void *flow_on_accept(void *ctx, struct kv_link *inner, const char *remote_uri)
{
    struct faulty *faulty = ctx;
    struct kv_link *link = flow_link_create(faulty, true);
    if (link == NULL) {
        faulty->counters.no_memory++;
        return NULL;
    }
    link->inner = inner;
    link->is_up = true;
    link->is_pending = true;
    link->uses++;
    link->user = faulty->events->on_accept(faulty->events_ctx, link, remote_uri);
    link->is_pending = false;
    if (link->user == NULL) {
        flow_link_end(link);
    }
    struct kv_link *taken = link->is_gone ? NULL : link;
    flow_link_unuse(link);
    return taken;
}

void flow_on_up(void *ctx, void *user)
{
    struct faulty *faulty = ctx;
    struct kv_link *link = user;
    if (!link->is_gone) {
        link->is_up = true;
        faulty->events->on_up(faulty->events_ctx, link->user);
    }
}

void flow_on_writable(void *ctx, void *user)
{
    struct kv_link *link = user;
    (void)ctx;
    link->is_inner_busy = false;
    flow_tell_writable(link);
}

void flow_on_down(void *ctx, void *user, int32_t reason)
{
    struct faulty *faulty = ctx;
    struct kv_link *link = user;
    if (link->is_gone) {
        return;
    }
    flow_drop_held(link);
    link->is_up = false;
    link->is_inner_busy = false;
    link->is_busy = false;
    link->uses++;
    faulty->events->on_down(faulty->events_ctx, link->user, reason);
    if (link->is_accepted) {
        flow_link_end(link);
    }
    flow_link_unuse(link);
}
