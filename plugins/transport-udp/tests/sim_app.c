/*
 * The applications: they fill links with messages whose content tells which stream they belong to
 * and at which place, so that the receiver can check that it gets a beginning of what was sent,
 * in order, once, unaltered. The first message of a stream carries the stream's number; the content
 * of the others follows from it.
 */
#include "sim_world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define FIRST_LEN_MIN 16u
#define SENT_PLENTY   6000u /* messages; further ones are rare, for many short runs show more */
#define STREAM_MAGIC  0x6b76756470u /* "kvudp" */

static struct world *world_of(struct sim_node *node)
{
    return node->ctx;
}

/* ---- content ---- */

/* Whether a message carries answers: each fourth, so that answers end somewhere. */
static bool wants_answer(uint32_t index)
{
    return index % 4 == 1;
}

static void fill(uint8_t *bytes, uint32_t len, uint64_t id, uint32_t index)
{
    struct rand rand = {id * 0x10001u + index};
    uint32_t at = 0;
    if (index == 0) {
        uint64_t head[2] = {STREAM_MAGIC, id};
        memcpy(bytes, head, sizeof head);
        at = sizeof head;
    }
    while (at < len) {
        uint64_t word = rand_next(&rand);
        uint32_t part = len - at < sizeof word ? len - at : (uint32_t)sizeof word;
        memcpy(bytes + at, &word, part);
        at += part;
    }
}

static bool is_same(const uint8_t *bytes, uint32_t len, uint64_t id, uint32_t index)
{
    struct rand rand = {id * 0x10001u + index};
    for (uint32_t at = index == 0 ? FIRST_LEN_MIN : 0; at < len;) {
        uint64_t word = rand_next(&rand);
        uint32_t part = len - at < sizeof word ? len - at : (uint32_t)sizeof word;
        if (memcmp(bytes + at, &word, part) != 0) {
            return false;
        }
        at += part;
    }
    return true;
}

/* ---- ends ---- */

static struct world_end *end_create(struct world *world, struct sim_node *node, uint32_t peer,
                                    bool is_accepted)
{
    if (world->ends_len == world->ends_capacity) {
        world->ends_capacity = world->ends_capacity * 2 + 32;
        world->ends = realloc(world->ends, world->ends_capacity * sizeof *world->ends);
        KV_CHECK(world->ends != NULL);
    }
    struct world_end *end = calloc(1, sizeof *end);
    KV_CHECK(end != NULL);
    world->ends[world->ends_len++] = end;
    end->node = node;
    end->node_epoch = world->epochs[node->number];
    end->peer = peer;
    end->is_accepted = is_accepted;
    return end;
}

static void end_up(struct world *world, struct world_end *end)
{
    if (world->streams_len == world->streams_capacity) {
        world->streams_capacity = world->streams_capacity * 2 + 32;
        world->streams = realloc(world->streams, world->streams_capacity * sizeof *world->streams);
        KV_CHECK(world->streams != NULL);
    }
    struct world_stream *stream = calloc(1, sizeof *stream);
    KV_CHECK(stream != NULL);
    stream->id = world->streams_len;
    stream->from = end->node->number;
    stream->to = end->peer;
    stream->sender = end;
    world->streams[world->streams_len++] = stream;
    end->is_up = true;
    end->up_us = world->network.now_us;
    end->out = stream;
    end->in = NULL;
}

static void end_down(struct world_end *end)
{
    end->is_up = false;
    end->wants_writable = false;
    end->out = NULL;
    end->in = NULL;
}

void app_forget(struct world *world, uint32_t node)
{
    for (uint32_t i = 0; i < world->ends_len; i++) {
        if (world->ends[i]->node->number == node) {
            end_down(world->ends[i]);
            world->ends[i]->link = NULL;
        }
    }
}

/* ---- sending ---- */

static uint32_t len_max_of(const struct world_end *end, const struct world *world)
{
    uint32_t own = end->node->limits.message_max;
    uint32_t peers = world->nodes[end->peer].limits.message_max;
    return own < peers ? own : peers;
}

static void note_sent(struct world *world, struct world_stream *stream, uint32_t len)
{
    if (stream->sent == stream->capacity) {
        stream->capacity = stream->capacity * 2 + 16;
        stream->lens = realloc(stream->lens, stream->capacity * sizeof *stream->lens);
        KV_CHECK(stream->lens != NULL);
    }
    stream->lens[stream->sent++] = len;
    world->bytes += len;
    world->sent++;
}

bool app_send(struct world *world, struct world_end *end, uint32_t len)
{
    struct world_stream *stream = end->out;
    bool is_short = stream->sent == 0 && len < FIRST_LEN_MIN;
    len = is_short ? FIRST_LEN_MIN : len;
    fill(world->scratch, len, stream->id, stream->sent);
    uint32_t cut = len > 0 ? (uint32_t)world_draw(world, 0, len) : 0;
    struct kv_slice slices[2] = {{world->scratch, cut}, {world->scratch + cut, len - cut}};
    int32_t status = sim_node_send(end->node, end->link, slices, 2);
    bool is_too_large = len > len_max_of(end, world);
    if (is_too_large != (status == KV_E_TOO_LARGE) && status != KV_E_BUSY) {
        world_fail(world, "send() of %u bytes (limit %u) answers %d", len, len_max_of(end, world),
                   status);
    }
    switch (status) {
    case KV_OK:
        note_sent(world, stream, len);
        break;
    case KV_E_BUSY:
        end->wants_writable = true;
        if (stream->sent == 0) {
            world_fail(world, "KV_E_BUSY although nothing was sent");
        }
        break;
    case KV_E_TOO_LARGE:
        break;
    case KV_E_NOMEM:
        if (!world_has(world, FAULT_NOMEM)) {
            world_fail(world, "KV_E_NOMEM with memory");
        }
        break;
    default:
        world_fail(world, "send() on a link that is up answers %d", status);
    }
    return status == KV_OK;
}

static uint32_t draw_len(struct world *world)
{
    switch (world_draw(world, 0, 9)) {
    case 0:
        return (uint32_t)world_draw(world, 0, 3);
    case 1:
        return world->plan.size_max;
    case 2:
        return (uint32_t)world_draw(world, 0, world->plan.size_max);
    case 3:
        return (uint32_t)world_draw(world, 0, 20000 < world->plan.size_max ? 20000 : 500);
    default:
        return (uint32_t)world_draw(world, 0, 300);
    }
}

static void send_burst(struct world *world, struct world_end *end)
{
    if (world->sent > SENT_PLENTY && !world_percent(world, 5)) {
        return;
    }
    uint64_t count = world_draw(world, 1, world->plan.burst_max);
    for (uint64_t i = 0; i < count && end->is_up && !end->wants_writable; i++) {
        uint32_t len = world->bytes < world->plan.budget ? draw_len(world)
                                                         : (uint32_t)world_draw(world, 0, 100);
        if (world_percent(world, 2)) {
            len = len_max_of(end, world) + (uint32_t)world_draw(world, 0, 2);
        }
        app_send(world, end, len);
    }
}

void app_connect(struct world *world, uint32_t from, uint32_t to)
{
    struct sim_node *node = &world->nodes[from];
    struct world_end *end = end_create(world, node, to, false);
    world->pairs[from][to].is_proved = true; /* it asks unasked */
    int32_t status = sim_node_connect(node, to, end, &end->link);
    if (status != KV_OK) {
        end->link = NULL;
        if (status != KV_E_NOMEM || !world_has(world, FAULT_NOMEM)) {
            world_fail(world, "connect() answers %d", status);
        }
    }
    world_note(world, node, "connect to %u", to);
}

void app_close(struct world *world, struct world_end *end)
{
    struct kv_link *link = end->link;
    world_note(world, end->node, "close the link with %u", end->peer);
    end->link = NULL;
    end_down(end);
    sim_node_close_link(end->node, link);
}

void app_load(struct world *world, uint32_t number)
{
    struct sim_node *node = &world->nodes[number];
    uint32_t seen = 0;
    struct world_end *chosen = NULL;
    uint32_t connected = 0;
    for (uint32_t i = 0; i < world->ends_len; i++) {
        struct world_end *end = world->ends[i];
        if (end->node == node && end->link != NULL) {
            connected += end->is_accepted ? 0u : 1u;
            seen++;
            chosen = world_draw(world, 1, seen) == 1 ? end : chosen;
        }
    }
    if (connected == 0 && world_percent(world, 30)) {
        uint32_t to = (uint32_t)world_draw(world, 0, world->plan.nodes - 1);
        if (to != number) {
            app_connect(world, number, to);
        }
    }
    if (chosen == NULL) {
        return;
    }
    if (world_has(world, FAULT_CLOSE) && world_percent(world, 1)) {
        app_close(world, chosen);
    } else if (chosen->is_up && !chosen->wants_writable) {
        send_burst(world, chosen);
    }
}

/* ---- callbacks ---- */

/* In a callback the host may do anything. */
static void act(struct world *world, struct world_end *end)
{
    if (end->link != NULL && world->is_loading && world_has(world, FAULT_CLOSE) &&
        world_percent(world, 2)) {
        app_close(world, end);
    } else if (end->is_up && world->is_loading && world_percent(world, 20)) {
        send_burst(world, end);
    }
}

static void *on_accept(void *ctx, struct kv_link *link, const char *uri)
{
    struct sim_node *node = ctx;
    struct world *world = world_of(node);
    struct address address;
    sim_node_on_callback(node);
    KV_CHECK(address_parse("udp", uri, &address) == KV_OK);
    uint32_t peer = sim_network_number(&address.socket);
    world_note(world, node, "on_accept of %u", peer);
    if (peer >= world->plan.nodes) {
        world_fail(world, "on_accept of %s, which nobody has", uri);
        return NULL;
    }
    if (++world->pairs[node->number][peer].accepts > world->pairs[peer][node->number].ups) {
        world_fail(world, "node %u: on_accept of %u, which has no such link", node->number, peer);
    }
    if (world->arriving_kind != WIRE_DATA) {
        world_fail(world, "on_accept in answer to kind %#x", world->arriving_kind);
    }
    if (world->is_loading && world_has(world, FAULT_REJECT) && world_percent(world, 20)) {
        return NULL;
    }
    struct world_end *end = end_create(world, node, peer, true);
    end->link = link;
    end_up(world, end);
    act(world, end);
    return end;
}

static struct world_end *enter(struct sim_node *node, void *user, const char *name)
{
    struct world *world = world_of(node);
    struct world_end *end = user;
    sim_node_on_callback(node);
    if (end == NULL || end->node != node || end->node_epoch != world->epochs[node->number]) {
        world_fail(world, "%s with a user pointer of somebody else", name);
        return NULL;
    }
    if (end->link == NULL) {
        world_fail(world, "%s on a link that the host has closed", name);
        return NULL;
    }
    return end;
}

static void on_up(void *ctx, void *user)
{
    struct sim_node *node = ctx;
    struct world *world = world_of(node);
    struct world_end *end = enter(node, user, "on_up");
    if (end == NULL) {
        return;
    }
    world_note(world, node, "on_up to %u", end->peer);
    if (end->is_up || end->is_accepted) {
        world_fail(world, "on_up twice, or on an accepted link");
        return;
    }
    world->pairs[node->number][end->peer].ups++;
    end_up(world, end);
    act(world, end);
}

/* The stream that a message of an end belongs to; the first one says which. */
static struct world_stream *find_stream(struct world *world, struct world_end *end,
                                        const uint8_t *bytes, uint32_t len)
{
    if (end->in != NULL) {
        return end->in;
    }
    uint64_t head[2] = {0, 0};
    if (len >= sizeof head) {
        memcpy(head, bytes, sizeof head);
    }
    if (head[0] != STREAM_MAGIC || head[1] >= world->streams_len) {
        world_fail(world, "node %u: the first message from %u is none of ours (%u bytes)",
                   end->node->number, end->peer, len);
        return NULL;
    }
    struct world_stream *stream = world->streams[head[1]];
    const struct world_stream *back = end->out;
    if (stream->from != end->peer || stream->to != end->node->number || stream->receiver != NULL ||
        (back->receiver != NULL && back->receiver != stream->sender)) {
        world_fail(world, "node %u: the stream %" PRIu64 " comes to the wrong end, or again",
                   end->node->number, stream->id);
        return NULL;
    }
    stream->receiver = end;
    end->in = stream;
    return stream;
}

static void on_message(void *ctx, void *user, const void *bytes, uint32_t len)
{
    struct sim_node *node = ctx;
    struct world *world = world_of(node);
    struct world_end *end = enter(node, user, "on_message");
    if (end == NULL) {
        return;
    }
    if (!end->is_up) {
        world_fail(world, "on_message on a link that is down");
        return;
    }
    struct world_stream *stream = find_stream(world, end, bytes, len);
    if (stream == NULL) {
        return;
    }
    uint32_t index = stream->received++;
    trace_bytes(world->trace, &len, sizeof len);
    if (index >= stream->sent || len != stream->lens[index] ||
        !is_same(bytes, len, stream->id, index)) {
        world_fail(world, "node %u: message %u of stream %" PRIu64 " from %u is another one",
                   node->number, index, stream->id, stream->from);
        return;
    }
    world->messages++;
    if (world->plan.has_answers && world->sent < 2 * SENT_PLENTY && wants_answer(index) &&
        !end->wants_writable) {
        app_send(world, end, (uint32_t)world_draw(world, 0, len));
    }
    if (world_percent(world, 5)) {
        act(world, end);
    }
}

static void on_writable(void *ctx, void *user)
{
    struct sim_node *node = ctx;
    struct world *world = world_of(node);
    struct world_end *end = enter(node, user, "on_writable");
    if (end == NULL) {
        return;
    }
    if (!end->wants_writable) {
        world_fail(world, "on_writable without KV_E_BUSY");
    }
    end->wants_writable = false;
    if (end->is_up && world->is_loading) {
        send_burst(world, end);
    }
    act(world, end);
}

static void on_down(void *ctx, void *user, int32_t reason)
{
    struct sim_node *node = ctx;
    struct world *world = world_of(node);
    struct world_end *end = enter(node, user, "on_down");
    if (end == NULL) {
        return;
    }
    world_note(world, node, "on_down from %u: %d", end->peer, reason);
    if (!end->is_up) {
        world_fail(world, "on_down on a link that is down");
    }
    if (reason == KV_E_MALFORMED || reason == KV_E_TOO_LARGE ||
        (reason == KV_E_NOMEM && !world_has(world, FAULT_NOMEM))) {
        world_fail(world, "node %u: on_down with reason %d", node->number, reason);
    }
    if ((world->plan.faults & ~(1u << FAULT_ATTACK)) == 0 && !world->is_ending) {
        world_fail(world, "node %u: on_down with reason %d on a good network", node->number,
                   reason);
    }
    end_down(end);
    if (end->is_accepted) {
        end->link = NULL;
    } else {
        act(world, end);
    }
}

static void on_stopped(void *ctx)
{
    (void)ctx; /* the plugin's, not the endpoint's */
}

const struct kv_transport_events world_events = {on_accept,   on_up,   on_message,
                                                 on_writable, on_down, on_stopped};
