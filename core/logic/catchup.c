/*
 * How closely is asked depends on the joiner's own number of pairs in a range, which counting the
 * digests tells anyway:
 *
 *     many            digests of parts of some CATCHUP_WALK_PAIRS pairs, about a segment each,
 * whose digests a store has at hand less            digests of parts of two to four pairs next to
 * none    content; what does not fit in one answer is asked for from there on
 *
 * So an empty joiner fetches content from the start, and of a large one that lacks little a few
 * bytes per thousand pairs are told, and the parts around each difference twice or three times.
 * The stack is worked off from its top, which keeps it small; where it might overflow nevertheless,
 * content is asked for instead, which adds nothing to it.
 *
 * Time: as long as answers come, what is under way is only waiting its turn; a question that is
 * overtaken by many later ones is lost. With nothing heard, questions are repeated at growing
 * distances, and after patience_ms another source is chosen; patience grows too, so that a slow
 * link is not given up again and again before its first answer.
 */
#include "logic/catchup.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"
#include "logic/transfer.h"

#include <string.h>

#define CATCHUP_FIRST_BITS    4u     /* of the hash: so many ranges at first; with ... */
#define CATCHUP_MANY_PAIRS    65536u /* ... at least so many pairs they are smaller, so that none */
#define CATCHUP_MANY_BITS     7u     /* keeps the source from its other work for long */
#define CATCHUP_WALK_PAIRS    512u   /* to twice as many in a part, while there are many */
#define CATCHUP_LAST_PAIRS    2u     /* to twice as many, at last */
#define CATCHUP_CONTENT_PAIRS 8u     /* up to here content is asked for at once */
#define CATCHUP_MERGED_PAIRS  64u    /* neighbours are asked for together up to here */
#define CATCHUP_PATIENCE_MAX  16u    /* times replica_timeout_ms */

_Static_assert(1u << CATCHUP_FIRST_BITS >= FETCHES_MAX, "all places are used from the start");

/* --- ranges --- */

static void catchup_push(struct catchup *catchup, struct catchup_range range)
{
    KV_CHECK(range.low <= range.high && catchup->ranges_len < CATCHUP_RANGES_MAX);
    if (catchup->ranges_len == catchup->ranges_capacity) {
        catchup->ranges_capacity =
            catchup->ranges_capacity == 0 ? 64 : catchup->ranges_capacity * 2;
        catchup->ranges =
            alloc_resize(catchup->ranges, catchup->ranges_capacity * sizeof(*catchup->ranges));
    }
    catchup->ranges[catchup->ranges_len++] = range;
}

/* How many ranges the answer to a question may leave behind: parts, and what is not covered. */
static uint32_t catchup_answer_ranges(uint32_t parts)
{
    return parts + 1;
}

/* Room on the stack that nothing under way may need. */
static uint32_t catchup_room(const struct catchup *catchup)
{
    uint32_t taken = catchup->ranges_len;
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        const struct catchup_fetch *fetch = &catchup->fetches[i];
        taken += fetch->request == 0 ? 0 : catchup_answer_ranges(fetch->parts);
    }
    KV_CHECK(taken <= CATCHUP_RANGES_MAX);
    return CATCHUP_RANGES_MAX - taken;
}

/* Into how many parts a range is best cut; 0: its content is asked for. */
static uint32_t catchup_parts(const struct catchup_range *range)
{
    uint64_t last = range->high - range->low;
    if (range->content || range->pairs <= CATCHUP_CONTENT_PAIRS || last == 0) {
        return 0;
    }
    bool many = range->pairs >= 4u * CATCHUP_WALK_PAIRS;
    uint64_t wanted = range->pairs / (many ? CATCHUP_WALK_PAIRS : CATCHUP_LAST_PAIRS);
    uint32_t parts = 2;
    while (parts < FETCH_PARTS_MAX && 2u * parts <= wanted && last >= 2u * parts - 1) {
        parts *= 2;
    }
    return parts;
}

/* --- life --- */

void catchup_init(struct catchup *catchup)
{
    memset(catchup, 0, sizeof(*catchup));
    catchup->next_request = 1;
}

void catchup_close(struct catchup *catchup)
{
    alloc_free(catchup->ranges);
    catchup_init(catchup);
}

static void catchup_forget(struct catchup *catchup)
{
    alloc_free(catchup->ranges);
    catchup->ranges = NULL;
    catchup->ranges_len = 0;
    catchup->ranges_capacity = 0;
    memset(catchup->fetches, 0, sizeof(catchup->fetches));
    catchup->fetches_len = 0;
}

void catchup_begin(struct catchup *catchup, const struct store *store, uint64_t min_index,
                   uint64_t base)
{
    catchup_forget(catchup);
    catchup->going = true;
    catchup->min_index = min_index;
    catchup->base = base;
    catchup->as_of = min_index;
    const uint32_t first_bits =
        store_len(store) < CATCHUP_MANY_PAIRS ? CATCHUP_FIRST_BITS : CATCHUP_MANY_BITS;
    const uint32_t bits = 64 - first_bits;
    for (uint64_t i = 1ull << first_bits; i > 0; i--) {
        struct catchup_range range = {.low = (i - 1) << bits, .delta = base != UINT64_MAX};
        range.high = transfer_parts_high(range.low, bits, 1);
        store_range_digest(store, range.low, range.high, &range.pairs);
        catchup_push(catchup, range);
    }
}

void catchup_end(struct catchup *catchup, struct context *context)
{
    if (context != NULL) {
        context_close_link(context, catchup->link);
    }
    catchup_forget(catchup);
    catchup->going = false;
    catchup->source = 0;
    catchup->link = 0;
    catchup->link_is_up = false;
}

bool catchup_is_done(const struct catchup *catchup)
{
    return catchup->going && catchup->ranges_len == 0 && catchup->fetches_len == 0;
}

uint64_t catchup_floor(const struct catchup *catchup)
{
    uint64_t floor = UINT64_MAX;
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        const struct catchup_fetch *fetch = &catchup->fetches[i];
        if (fetch->request != 0 && fetch->min_index < floor) {
            floor = fetch->min_index;
        }
    }
    return floor;
}

/* --- asking --- */

static void catchup_send(struct catchup *catchup, struct context *context,
                         struct catchup_fetch *fetch)
{
    struct message message = context_message(context, MESSAGE_FETCH);
    fetch->min_index = catchup->min_index;
    fetch->sent_ms = context->now_ms;
    fetch->overtaken = 0;
    message.body.fetch.request = fetch->request;
    message.body.fetch.min_index = fetch->min_index;
    message.body.fetch.base = fetch->parts > 0 && fetch->range.delta ? catchup->base : UINT64_MAX;
    message.body.fetch.low = fetch->range.low;
    message.body.fetch.high = fetch->range.high;
    message.body.fetch.parts = fetch->parts;
    if (catchup->link_is_up) {
        context_send(context, catchup->link, &message);
    }
}

/* An answer takes its time: the source has other work, too. */
static uint64_t catchup_first_wait_ms(const struct context *context)
{
    uint64_t wait_ms = context->config->replica_timeout_ms / 2;
    return wait_ms > context->config->retransmit_ms ? wait_ms : context->config->retransmit_ms;
}

static void catchup_send_all(struct catchup *catchup, struct context *context)
{
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        if (catchup->fetches[i].request != 0) {
            catchup->fetches[i].wait_ms = catchup_first_wait_ms(context);
            catchup_send(catchup, context, &catchup->fetches[i]);
        }
    }
}

static bool catchup_may_be_source(const struct context *context, const struct member *member)
{
    return member->state == MEMBER_IN_SYNC && member->node != context->config->node;
}

/* The one after the present source: secondaries in sync go round in the view's order, and before
 * the round begins anew it is the primary's turn. NULL: there is none at all. */
static const struct member *catchup_next_source(const struct catchup *catchup,
                                                const struct context *context,
                                                const struct view *view)
{
    const struct member *primary = NULL;
    const struct member *first = NULL;
    bool passed = false; /* the present one; the primary comes last, so it is never followed */
    for (uint32_t i = 0; i < view->members_len; i++) {
        const struct member *member = &view->members[i];
        if (!catchup_may_be_source(context, member)) {
            continue;
        }
        if (member->node == view->primary) {
            primary = member;
            continue;
        }
        first = first == NULL ? member : first;
        if (passed) {
            return member;
        }
        passed = member->node == catchup->source;
    }
    bool is_begin = catchup->source == 0 && catchup->primary_first && primary != NULL;
    bool primary_turn = first == NULL || is_begin || (passed && primary != NULL);
    return primary_turn ? primary : first;
}

static void catchup_change_source(struct catchup *catchup, struct context *context,
                                  const struct view *view)
{
    const struct member *member = catchup_next_source(catchup, context, view);
    context_close_link(context, catchup->link);
    catchup->link = 0;
    catchup->link_is_up = false;
    catchup->source = 0;
    catchup->heard_ms = context->now_ms;
    if (member == NULL) {
        return;
    }
    const char *uris[URIS_MAX];
    for (uint32_t i = 0; i < member->uris_len; i++) {
        uris[i] = member->uris[i];
    }
    catchup->source = member->node;
    catchup->link = context_open_link(context, uris, member->uris_len);
}

/* False: there is nobody to ask. */
static bool catchup_has_source(struct catchup *catchup, struct context *context,
                               const struct view *view)
{
    const struct member *member = catchup->source == 0 ? NULL : view_find(view, catchup->source);
    if (member == NULL || !catchup_may_be_source(context, member)) {
        catchup->patience_ms = context->config->replica_timeout_ms;
        catchup_change_source(catchup, context, view);
    }
    return catchup->source != 0;
}

static struct catchup_fetch *catchup_free_fetch(struct catchup *catchup)
{
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        if (catchup->fetches[i].request == 0) {
            return &catchup->fetches[i];
        }
    }
    return NULL;
}

void catchup_pump(struct catchup *catchup, struct context *context, const struct view *view,
                  bool has_room)
{
    if (!catchup->going || catchup_is_done(catchup) ||
        !catchup_has_source(catchup, context, view)) {
        return;
    }
    struct catchup_fetch *fetch;
    while (has_room && catchup->ranges_len > 0 && (fetch = catchup_free_fetch(catchup)) != NULL) {
        struct catchup_range range = catchup->ranges[--catchup->ranges_len];
        uint32_t parts = catchup_parts(&range);
        range.content = parts == 0 || catchup_room(catchup) < catchup_answer_ranges(parts);
        if (catchup->fetches_len++ == 0) {
            catchup->heard_ms = context->now_ms;
        }
        *fetch = (struct catchup_fetch){.request = catchup->next_request++,
                                        .range = range,
                                        .parts = range.content ? 0 : parts,
                                        .wait_ms = catchup_first_wait_ms(context)};
        catchup_send(catchup, context, fetch);
    }
}

/* --- answers --- */

static struct catchup_fetch *catchup_find(struct catchup *catchup, uint64_t request)
{
    for (uint32_t i = 0; request != 0 && i < FETCHES_MAX; i++) {
        if (catchup->fetches[i].request == request) {
            return &catchup->fetches[i];
        }
    }
    return NULL;
}

/* The answer is one to this question, and the log holds what comes after it. */
static bool catchup_fits(const struct catchup_fetch *fetch, const struct log *log,
                         const struct message *message)
{
    const struct catchup_range *range = &fetch->range;
    uint64_t as_of = message->body.fetched.as_of.index;
    uint64_t high = message->body.fetched.high;
    uint32_t digests_len = message->body.fetched.digests_len;
    if (as_of > INDEX_MAX || as_of + 1 < log_first_index(log) ||
        message->body.fetched.low != range->low || high < range->low || high > range->high) {
        return false;
    }
    if (fetch->parts == 0) {
        return digests_len == 0;
    }
    uint32_t bits = transfer_part_bits(range->low, range->high, fetch->parts);
    return digests_len >= 1 && digests_len <= fetch->parts &&
           high == transfer_parts_high(range->low, bits, digests_len);
}

/* What an answer with digests does not cover: ranges that can be cut in two again and again. */
static void catchup_push_rest(struct catchup *catchup, const struct catchup_fetch *fetch,
                              uint64_t covered_high)
{
    const struct catchup_range *range = &fetch->range;
    uint32_t bits = transfer_part_bits(range->low, range->high, fetch->parts);
    while (covered_high < range->high) {
        struct catchup_range rest = {.low = covered_high + 1, .delta = range->delta};
        uint64_t size = rest.low & (0 - rest.low);
        rest.high = rest.low + size - 1;
        rest.pairs = range->pairs / fetch->parts * (size >> bits);
        catchup_push(catchup, rest);
        covered_high = rest.high;
    }
}

/* Asks more closely for the parts that differ. */
static void catchup_compare(struct catchup *catchup, const struct catchup_fetch *fetch,
                            const struct store *store, const struct message *message)
{
    uint32_t parts = message->body.fetched.digests_len;
    uint32_t bits = transfer_part_bits(fetch->range.low, fetch->range.high, fetch->parts);
    uint32_t from = catchup->ranges_len;
    bool skipped = !BUG(skip_range);
    struct store_part *own = alloc_zeroed(parts, sizeof(*own));
    store_part_digests(store, fetch->range.low, bits, parts, own);
    for (uint32_t i = 0; i < parts; i++) {
        if (bytes_get_u64(message->body.fetched.digests.at + 8ull * i) == own[i].digest) {
            continue;
        }
        if (!skipped) {
            skipped = true;
            continue;
        }
        struct catchup_range part = {.low = fetch->range.low + ((uint64_t)i << bits),
                                     .high = transfer_parts_high(fetch->range.low, bits, i + 1),
                                     .pairs = own[i].len,
                                     .content = own[i].len <= CATCHUP_CONTENT_PAIRS};
        struct catchup_range *top =
            catchup->ranges_len > from ? &catchup->ranges[catchup->ranges_len - 1] : NULL;
        if (top != NULL && top->content && part.content && top->high + 1 == part.low &&
            top->pairs + part.pairs <= CATCHUP_MERGED_PAIRS) {
            top->high = part.high;
            top->pairs += part.pairs;
        } else {
            catchup_push(catchup, part);
        }
    }
    alloc_free(own);
}

/* The question is answered: its place is free, and the ranges that the answer leaves are known. */
static void catchup_free(struct catchup *catchup, struct context *context,
                         struct catchup_fetch *fetch, uint64_t as_of)
{
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        struct catchup_fetch *other = &catchup->fetches[i];
        other->overtaken += other->request < fetch->request ? 1u : 0u;
    }
    KV_CHECK(catchup->fetches_len > 0);
    fetch->request = 0;
    catchup->fetches_len--;
    catchup->as_of = as_of > catchup->as_of ? as_of : catchup->as_of;
    catchup->heard_ms = context->now_ms;
    catchup->patience_ms = context->config->replica_timeout_ms;
    context_count(context, COUNTER_ranges_fetched);
}

bool catchup_on_fetched(struct catchup *catchup, struct context *context,
                        const struct catchup_target *target, const struct message *message,
                        struct buffer *ret_records, uint32_t *ret_count)
{
    KV_CHECK(message->type == MESSAGE_FETCHED);
    struct catchup_fetch *fetch = catchup_find(catchup, message->body.fetched.request);
    if (fetch == NULL || !catchup_fits(fetch, target->log, message)) {
        return false;
    }
    struct transfer_piece piece = {.low = message->body.fetched.low,
                                   .high = message->body.fetched.high,
                                   .as_of = message->body.fetched.as_of.index,
                                   .records = message->body.fetched.records.at,
                                   .len = message->body.fetched.records.len,
                                   .count = message->body.fetched.count};
    struct catchup_fetch answered = *fetch;
    bool is_content = fetch->parts == 0;
    if (is_content && BUG(skip_range) && piece.low == 0) {
        *ret_count = 0;
    } else if (is_content ? !transfer_apply(target->store, target->log, target->applied, &piece,
                                            ret_records, ret_count)
                          : !transfer_apply_newer(target->store, target->log, target->applied,
                                                  &piece, ret_records, ret_count)) {
        return false;
    }
    catchup_free(catchup, context, fetch, piece.as_of);
    if (!is_content) {
        catchup_push_rest(catchup, &answered, piece.high);
        catchup_compare(catchup, &answered, target->store, message);
    } else if (piece.high < answered.range.high) {
        catchup_push(catchup, (struct catchup_range){.low = piece.high + 1,
                                                     .high = answered.range.high,
                                                     .content = true});
    }
    return true;
}

/* --- time --- */

/* When a question is sent again. */
static uint64_t catchup_due_ms(const struct catchup *catchup, const struct catchup_fetch *fetch)
{
    uint64_t since_ms = fetch->sent_ms > catchup->heard_ms ? fetch->sent_ms : catchup->heard_ms;
    return fetch->overtaken > FETCHES_MAX ? fetch->sent_ms : since_ms + fetch->wait_ms;
}

void catchup_tick(struct catchup *catchup, struct context *context, const struct view *view)
{
    if (!catchup->going || catchup->fetches_len == 0 ||
        !catchup_has_source(catchup, context, view)) {
        return;
    }
    const uint64_t timeout_ms = context->config->replica_timeout_ms;
    if (context->now_ms - catchup->heard_ms >= catchup->patience_ms) {
        if (catchup->patience_ms < CATCHUP_PATIENCE_MAX * timeout_ms) {
            catchup->patience_ms *= 2;
        }
        catchup_change_source(catchup, context, view);
        return;
    }
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        struct catchup_fetch *fetch = &catchup->fetches[i];
        if (fetch->request == 0 || catchup_due_ms(catchup, fetch) > context->now_ms) {
            continue;
        }
        if (fetch->overtaken == 0 && fetch->wait_ms < timeout_ms) {
            fetch->wait_ms *= 2;
        }
        catchup_send(catchup, context, fetch);
    }
}

uint64_t catchup_wake_ms(const struct catchup *catchup, const struct context *context)
{
    (void)context;
    if (!catchup->going || catchup->fetches_len == 0 || catchup->source == 0) {
        return UINT64_MAX;
    }
    uint64_t wake_ms = catchup->heard_ms + catchup->patience_ms;
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        if (catchup->fetches[i].request != 0) {
            wake_ms = context_earlier(wake_ms, catchup_due_ms(catchup, &catchup->fetches[i]));
        }
    }
    return wake_ms;
}

void catchup_on_link_up(struct catchup *catchup, struct context *context, uint64_t link)
{
    if (catchup->going && link != 0 && link == catchup->link) {
        catchup->link_is_up = true;
        catchup_send_all(catchup, context);
    }
}
