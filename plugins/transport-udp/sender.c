/*
 * Happy path: sender_take() cuts the next piece of the stream, sender_on_sent() remembers the
 * packet in a ring, an acknowledgement marks it, and what is acknowledged without a gap leaves the
 * queue.
 *
 * Failure: the bytes of a lost packet join the set `lost`, from which sender_take() serves first;
 * an acknowledgement that comes late takes them out again. When nothing is acknowledged at all, the
 * oldest bytes are sent once more beyond the window, with back-off; from the third time on the path
 * is taken for changed: smallest window, smallest datagrams.
 */
#include "sender.h"

#include "assembly.h"
#include "bug.h"

#include <string.h>

#define SENDER_PACKETS_MIN     16u
#define SENDER_PACKETS_KEEP    256u /* an empty ring above it is made small again */
#define SENDER_PACKETS_PROBES  256u
#define SENDER_LATER_LEN       3u /* later packets; RFC 9002, kPacketThreshold */
#define SENDER_PROBE_MAX_US    300000u
#define SENDER_PROBES_AT_ONCE  2u  /* RFC 9002, 6.2.4 */
#define SENDER_PERSISTENT_LEN  3u  /* probe time-outs in a row; RFC 9002, 7.6.1 */
#define SENDER_LARGE_LOST_MAX  4u  /* in a row, while smaller ones pass: a black hole */
#define SENDER_PROBES_BACK_OFF 16u /* further ones do not lengthen the pause */

int32_t sender_init(struct sender *sender, const struct kv_host *host, uint32_t datagram_max,
                    uint64_t peer_limit, uint64_t now_us)
{
    *sender = (struct sender){
        .host = host,
        .peer_limit = peer_limit,
        .packets_capacity = SENDER_PACKETS_MIN,
        .loss_us = UINT64_MAX,
        .pacing_us = UINT64_MAX,
    };
    sender->packets = host->allocate(host->ctx, SENDER_PACKETS_MIN * sizeof(struct sender_packet));
    if (sender->packets == NULL) {
        return KV_E_NOMEM;
    }
    queue_init(&sender->queue, host);
    ranges_init(&sender->acked, host);
    ranges_init(&sender->lost, host);
    mtu_init(&sender->mtu, datagram_max);
    congestion_init(&sender->congestion, sender->mtu.size, now_us);
    return KV_OK;
}

void sender_close(struct sender *sender)
{
    queue_close(&sender->queue);
    ranges_close(&sender->acked);
    ranges_close(&sender->lost);
    sender->host->release(sender->host->ctx, sender->packets);
    sender->packets = NULL;
}

int32_t sender_append(struct sender *sender, const struct kv_slice *slices, uint32_t slices_len,
                      uint32_t len)
{
    uint8_t header[ASSEMBLY_HEADER_LEN];
    for (uint32_t i = 0; i < ASSEMBLY_HEADER_LEN; i++) {
        header[i] = (uint8_t)(len >> (8 * i));
    }
    const struct kv_slice first = {header, sizeof header};
    int32_t status = queue_append(&sender->queue, &first, 1);
    if (status != KV_OK) {
        return status;
    }
    status = queue_append(&sender->queue, slices, slices_len);
    if (status != KV_OK) {
        queue_cut(&sender->queue, sender->queue.end - sizeof header);
    }
    return status;
}

uint64_t sender_queued(const struct sender *sender)
{
    return sender->queue.end - sender->queue.base;
}

/* --- packets --- */

static struct sender_packet *sender_packet(const struct sender *sender, uint64_t number)
{
    return &sender->packets[number & (sender->packets_capacity - 1)];
}

/* All that are remembered go into a ring of another size. */
static bool sender_resize(struct sender *sender, uint32_t capacity)
{
    struct sender_packet *packets =
        sender->host->allocate(sender->host->ctx, capacity * sizeof(*packets));
    if (packets == NULL) {
        return false;
    }
    for (uint64_t number = sender->first_number; number < sender->next_number; number++) {
        packets[number & (capacity - 1)] = *sender_packet(sender, number);
    }
    sender->host->release(sender->host->ctx, sender->packets);
    sender->packets = packets;
    sender->packets_capacity = capacity;
    return true;
}

/* The last places are for probes: when all that is on its way got lost, they find that out. */
static bool sender_has_room(struct sender *sender)
{
    uint64_t len = sender->next_number - sender->first_number;
    if (sender->probes_due == 0 && len + SENDER_PACKETS_PROBES > SENDER_PACKETS_MAX) {
        return false;
    }
    return len < sender->packets_capacity ||
           (len < SENDER_PACKETS_MAX && sender_resize(sender, 2 * sender->packets_capacity));
}

/* Forgets the oldest packets as far as nothing is to come for them. */
static void sender_forget(struct sender *sender)
{
    while (sender->first_number < sender->next_number &&
           sender_packet(sender, sender->first_number)->state != SENDER_FLYING) {
        sender->first_number++;
    }
    if (sender->first_number == sender->next_number &&
        sender->packets_capacity > SENDER_PACKETS_KEEP) {
        sender_resize(sender, SENDER_PACKETS_MIN); /* the large one stays when there is no memory */
    }
}

/* --- sending --- */

static uint32_t sender_cut(uint64_t from, uint64_t to, uint32_t len_max)
{
    return to - from < len_max ? (uint32_t)(to - from) : len_max;
}

/* The next bytes of the stream: those of lost packets first. False: none. */
static bool sender_next(const struct sender *sender, uint32_t len_max, uint64_t *ret_offset,
                        uint32_t *ret_len)
{
    if (sender->lost.len > 0) {
        *ret_offset = sender->lost.at[0].from;
        *ret_len = sender_cut(sender->lost.at[0].from, sender->lost.at[0].to, len_max);
        return true;
    }
    uint64_t end = sender->queue.end < sender->peer_limit || BUG(ignore_limit) ? sender->queue.end
                                                                               : sender->peer_limit;
    if (sender->next < end) {
        *ret_offset = sender->next;
        *ret_len = sender_cut(sender->next, end, len_max);
        return true;
    }
    return false;
}

bool sender_take(struct sender *sender, uint32_t room, uint64_t now_us,
                 struct sender_piece *ret_piece)
{
    struct sender_piece piece = {0};
    bool has_bytes = sender_next(sender, sender->mtu.size - room, &piece.offset, &piece.len);
    sender->pacing_us = UINT64_MAX;
    sender->is_limited = false;
    if (!has_bytes && sender->probes_due == 0) {
        return false;
    }
    if (!sender_has_room(sender)) {
        sender->is_limited = true;
        return false;
    }
    if (sender->probes_due == 0 && !BUG(ignore_window) &&
        congestion_allowance(&sender->congestion, now_us, &sender->pacing_us) == 0) {
        sender->is_limited = true;
        return false;
    }
    /* A larger datagram is of use only when more waits than one of today's takes. */
    uint32_t probe = mtu_get_probe(&sender->mtu, now_us);
    if (probe != 0 && sender->probes_due == 0 && piece.len == sender->mtu.size - room) {
        piece = (struct sender_piece){.mtu_probe = probe};
    } else if (piece.len > 0) {
        piece.slices_len = queue_get(&sender->queue, piece.offset, piece.len, piece.slices);
    }
    *ret_piece = piece;
    return true;
}

void sender_on_sent(struct sender *sender, const struct sender_piece *piece, uint32_t size,
                    uint64_t now_us)
{
    *sender_packet(sender, sender->next_number) = (struct sender_packet){
        .offset = piece->offset,
        .len = piece->len,
        .size = size,
        .sent_us = now_us,
        .state = SENDER_FLYING,
        .is_mtu_probe = piece->mtu_probe != 0,
    };
    sender->next_number++;
    sender->eliciting_us = now_us;
    sender->probes_due -= sender->probes_due > 0;
    congestion_on_sent(&sender->congestion, size);
    if (piece->mtu_probe != 0) {
        mtu_on_probe_sent(&sender->mtu);
    } else if (piece->len > 0 && piece->offset == sender->next) {
        sender->next += piece->len;
    } else if (piece->len > 0) {
        sender->bytes_repeated += piece->len;
        /* Taken from the front of the first range: that needs no memory. */
        ranges_remove(&sender->lost, piece->offset, piece->offset + piece->len);
    }
}

/* While something is on its way, the probe time-outs ask already; one more packet would only put
 * them off. */
void sender_ask(struct sender *sender)
{
    if (sender->probes_due == 0 && sender->congestion.in_flight == 0) {
        sender->probes_due = 1;
    }
}

/* --- losses --- */

/* The bytes of [offset, offset + len) that no acknowledgement covers are to be sent again. */
static int32_t sender_repeat(struct sender *sender, uint64_t offset, uint32_t len)
{
    uint64_t from = offset > sender->queue.base ? offset : sender->queue.base;
    uint64_t to = BUG(forget_lost) ? from : offset + len;
    while (from < to) {
        const struct range *acked = ranges_find(&sender->acked, from);
        uint64_t gap_end = acked != NULL && acked->from < to ? acked->from : to;
        if (from < gap_end && ranges_add(&sender->lost, from, gap_end) != KV_OK) {
            return KV_E_NOMEM;
        }
        from = acked != NULL ? acked->to : to;
    }
    return KV_OK;
}

/* The path may have come to take smaller datagrams only (RFC 8899, 4.3): then the full ones are
 * lost and what is smaller, or acknowledges only, passes. */
static void sender_watch_size(struct sender *sender, const struct sender_packet *packet,
                              uint64_t number, uint64_t now_us)
{
    if (packet->size <= MTU_BASE || number < sender->large_acked || BUG(ignore_black_hole)) {
        return;
    }
    sender->large_lost++;
    if (sender->large_lost == SENDER_LARGE_LOST_MAX && sender->mtu.size > MTU_BASE) {
        sender->large_lost = 0;
        mtu_on_black_hole(&sender->mtu, now_us);
        congestion_set_datagram(&sender->congestion, sender->mtu.size);
    }
}

static int32_t sender_lose(struct sender *sender, struct sender_packet *packet, uint64_t number,
                           uint64_t now_us)
{
    packet->state = SENDER_LOST;
    if (packet->is_mtu_probe) {
        congestion_on_forgotten(&sender->congestion, packet->size);
        mtu_on_probe_lost(&sender->mtu, now_us);
        return KV_OK;
    }
    congestion_on_lost(&sender->congestion, packet->size, packet->sent_us, now_us);
    sender->packets_lost++;
    sender_watch_size(sender, packet, number, now_us);
    return sender_repeat(sender, packet->offset, packet->len);
}

/* Finds what is lost by number or by time, and when the next one is by time. */
static int32_t sender_find_lost(struct sender *sender, uint64_t now_us)
{
    uint64_t patience_us = congestion_loss_us(&sender->congestion);
    int32_t status = KV_OK;
    sender->loss_us = UINT64_MAX;
    if (!sender->has_largest) {
        return KV_OK;
    }
    for (uint64_t number = sender->first_number; number < sender->largest_acked && status == KV_OK;
         number++) {
        struct sender_packet *packet = sender_packet(sender, number);
        if (packet->state != SENDER_FLYING) {
            continue;
        }
        if (number + SENDER_LATER_LEN <= sender->largest_acked ||
            packet->sent_us + patience_us <= now_us) {
            status = sender_lose(sender, packet, number, now_us);
        } else if (packet->sent_us + patience_us < sender->loss_us) {
            sender->loss_us = packet->sent_us + patience_us;
        }
    }
    sender_forget(sender);
    return status;
}

/* --- acknowledgements --- */

static int32_t sender_ack_packet(struct sender *sender, struct sender_packet *packet,
                                 uint64_t number, uint64_t now_us)
{
    if (packet->size > MTU_BASE && number >= sender->large_acked) {
        sender->large_acked = number + 1;
        sender->large_lost = 0;
    }
    if (packet->state == SENDER_FLYING) {
        congestion_on_acked(&sender->congestion, packet->size, packet->sent_us, sender->is_limited);
        sender->probes = 0;
    }
    packet->state = SENDER_ACKED;
    if (packet->is_mtu_probe) {
        mtu_on_probe_acked(&sender->mtu, packet->size, now_us);
        congestion_set_datagram(&sender->congestion, sender->mtu.size);
        return KV_OK;
    }
    uint64_t from = packet->offset > sender->queue.base ? packet->offset : sender->queue.base;
    uint64_t to = packet->offset + packet->len;
    if (from >= to) {
        return KV_OK;
    }
    if (ranges_add(&sender->acked, from, to) != KV_OK ||
        ranges_remove(&sender->lost, from, to) != KV_OK) {
        return KV_E_NOMEM;
    }
    return KV_OK;
}

/* What is acknowledged without a gap from the beginning on is not needed any more. */
static void sender_release(struct sender *sender)
{
    const struct range *first = ranges_find(&sender->acked, sender->queue.base);
    if (first != NULL && first->from == sender->queue.base) {
        uint64_t upto = first->to;
        ranges_remove(&sender->acked, first->from, first->to); /* a whole range: no memory */
        queue_release(&sender->queue, upto);
    }
}

/* One range of an acknowledgement; the packets that were not acknowledged before. */
static int32_t sender_ack_range(struct sender *sender, const struct range *range, uint64_t now_us)
{
    uint64_t number = range->from > sender->first_number ? range->from : sender->first_number;
    int32_t status = KV_OK;
    for (; number < range->to && status == KV_OK; number++) {
        struct sender_packet *packet = sender_packet(sender, number);
        if (packet->state != SENDER_ACKED) {
            status = sender_ack_packet(sender, packet, number, now_us);
        }
    }
    return status;
}

int32_t sender_on_ack(struct sender *sender, const struct wire_ack *ack, uint64_t now_us)
{
    uint64_t largest = ack->ranges[0].to - 1;
    if (largest >= sender->next_number) {
        return KV_E_MALFORMED;
    }
    if (ack->limit > sender->peer_limit) {
        sender->peer_limit = ack->limit;
    }
    if (largest >= sender->first_number && sender_packet(sender, largest)->state == SENDER_FLYING) {
        congestion_on_rtt(&sender->congestion, now_us - sender_packet(sender, largest)->sent_us,
                          ack->delay_us);
    }
    if (!sender->has_largest || largest > sender->largest_acked) {
        sender->has_largest = true;
        sender->largest_acked = largest;
    }
    int32_t status = KV_OK;
    for (uint32_t i = 0; i < ack->ranges_len && status == KV_OK; i++) {
        status = sender_ack_range(sender, &ack->ranges[i], now_us);
    }
    if (status == KV_OK) {
        sender_release(sender);
        status = sender_find_lost(sender, now_us);
    }
    return status;
}

/* --- time --- */

static uint64_t sender_probe_at_us(const struct sender *sender)
{
    if (sender->congestion.in_flight == 0 || BUG(probe_never)) {
        return UINT64_MAX;
    }
    uint32_t doublings =
        sender->probes < SENDER_PROBES_BACK_OFF ? sender->probes : SENDER_PROBES_BACK_OFF;
    doublings = BUG(probe_flood) ? 0 : doublings;
    uint64_t once_us = congestion_probe_us(&sender->congestion);
    uint64_t longest_us = once_us > SENDER_PROBE_MAX_US ? once_us : SENDER_PROBE_MAX_US;
    uint64_t pause_us = once_us << doublings;
    return sender->eliciting_us + (pause_us < longest_us ? pause_us : longest_us);
}

/* The oldest packets on their way are sent again, without being taken for lost. */
static int32_t sender_probe(struct sender *sender, uint64_t now_us)
{
    sender->probes++;
    sender->eliciting_us = now_us; /* the next one waits even if this one finds no room */
    if (sender->probes == SENDER_PERSISTENT_LEN && !BUG(ignore_black_hole)) {
        mtu_on_black_hole(&sender->mtu, now_us);
        congestion_set_datagram(&sender->congestion, sender->mtu.size);
        congestion_on_persistent(&sender->congestion);
    }
    int32_t status = KV_OK;
    uint32_t found = 0;
    for (uint64_t number = sender->first_number;
         number < sender->next_number && found < SENDER_PROBES_AT_ONCE && status == KV_OK;
         number++) {
        const struct sender_packet *packet = sender_packet(sender, number);
        if (packet->state == SENDER_FLYING && packet->len > 0) {
            found++;
            status = sender_repeat(sender, packet->offset, packet->len);
        }
    }
    sender->probes_due = found > 0 ? found : 1;
    return status;
}

int32_t sender_on_time(struct sender *sender, uint64_t now_us)
{
    if (sender->loss_us != UINT64_MAX) {
        return sender->loss_us <= now_us ? sender_find_lost(sender, now_us) : KV_OK;
    }
    return sender_probe_at_us(sender) <= now_us ? sender_probe(sender, now_us) : KV_OK;
}

uint64_t sender_deadline_us(const struct sender *sender)
{
    uint64_t at_us = sender->loss_us != UINT64_MAX ? sender->loss_us : sender_probe_at_us(sender);
    return at_us < sender->pacing_us ? at_us : sender->pacing_us;
}
