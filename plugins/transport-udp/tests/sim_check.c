/*
 * Checks at the border of the endpoints: what they send to whom, what a datagram that means nothing
 * does to them, how much memory they take, how long they are silent.
 */
#include "sim_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assembly.h"

#define SILENT_US            1500000u /* a window may take long to be sent on a slow path */
#define SILENT_MAX           1000u    /* datagrams a second to an address that does not answer */
#define PROBES_LATE          8u       /* time-outs in a row; then they are far apart */
#define MEMORY_PER_LINK      (3u * 1024u * 1024u) /* packets, ranges, tables, blocks half used */
#define MEMORY_PER_ENDPOINT  (64u * 1024u)
#define UNREACHABLE_PERMILLE 300u
#define SLACK_US             600000u

void check_on_fail(void *ctx, struct sim_node *node, const char *text)
{
    world_fail(ctx, "node %u: %s", node->number, text);
}

static struct world_pair *pair_of(struct world *world, uint32_t node, uint32_t address)
{
    return &world->pairs[node][address];
}

/* ---- out ---- */

static void note_cookie(struct world_pair *pair, struct sim_node *node,
                        const struct sim_datagram *datagram)
{
    struct wire_datagram decoded;
    if (datagram->bytes[0] == WIRE_COOKIE &&
        wire_decode(&node->host, datagram->bytes, datagram->len, &decoded) == KV_OK) {
        pair->proofs[pair->proofs_len++ % WORLD_PROOFS_MAX] = decoded.cookie.proof;
    }
}

static void check_silence(struct world *world, struct world_pair *pair, struct sim_node *node,
                          uint32_t to)
{
    uint64_t now_us = world->network.now_us;
    if (to >= world->plan.nodes || now_us < pair->heard_us + SILENT_US) {
        return; /* what may be sent to a victim is bounded by what comes in its name */
    }
    if (pair->silent_s != now_us / 1000000u) {
        pair->silent_s = now_us / 1000000u;
        pair->silent = 0;
    }
    if (++pair->silent > SILENT_MAX) {
        world_fail(world, "node %u floods %u, which does not answer", node->number, to);
    }
}

void check_on_sent(void *ctx, struct sim_node *node, const struct sim_datagram *datagram)
{
    struct world *world = ctx;
    uint32_t to = datagram->to;
    struct world_pair *pair = pair_of(world, node->number, to);
    note_cookie(pair, node, datagram);
    check_silence(world, pair, node, to);
    pair->bytes_out += datagram->len;
    if (!pair->is_proved && pair->bytes_out > pair->bytes_in) {
        world_fail(world,
                   "node %u: %" PRIu64 " bytes to %u, which sent %" PRIu64 " and proved nothing",
                   node->number, pair->bytes_out, to, pair->bytes_in);
    }
    attack_record(world, datagram);
    if (world->trace->print) {
        world_note(world, node, "-> %u: %#x, %zu bytes", to, datagram->bytes[0], datagram->len);
    }
    trace_bytes(world->trace, &datagram->len, sizeof datagram->len);
}

/* ---- in ---- */

static void check_proof(struct world_pair *pair, struct sim_node *node,
                        const struct sim_datagram *datagram)
{
    struct wire_datagram decoded;
    if (pair->is_proved || datagram->len == 0 || datagram->bytes[0] != WIRE_OPEN ||
        wire_decode(&node->host, datagram->bytes, datagram->len, &decoded) != KV_OK) {
        return;
    }
    for (uint32_t i = 0; i < pair->proofs_len && i < WORLD_PROOFS_MAX; i++) {
        pair->is_proved = pair->is_proved || pair->proofs[i] == decoded.cookie.proof;
    }
}

static void on_unreachable(void *ctx, uint64_t number, void *memory)
{
    struct world *world = ctx;
    struct sim_node *node = &world->nodes[number / SIM_ADDRESSES_MAX];
    if (node->is_alive) {
        sim_node_unreachable(node, (uint32_t)number % SIM_ADDRESSES_MAX, memory, WIRE_HEADER_LEN);
    }
}

/* Nobody is there: the sender may hear of it. */
static void answer_absent(struct world *world, const struct sim_datagram *datagram)
{
    if (datagram->is_forged || datagram->is_inert || datagram->from >= world->plan.nodes ||
        datagram->len < WIRE_HEADER_LEN ||
        !sim_network_permille(&world->network, UNREACHABLE_PERMILLE)) {
        return;
    }
    uint8_t *bytes = calloc(1, WIRE_HEADER_LEN);
    memcpy(bytes, datagram->bytes, WIRE_HEADER_LEN);
    uint32_t back_us = world->network.paths[datagram->to][datagram->from].latency_us;
    sim_network_at(&world->network, world->network.now_us + back_us, on_unreachable, world,
                   datagram->from * SIM_ADDRESSES_MAX + datagram->to, bytes);
}

void check_arrive(void *ctx, const struct sim_datagram *datagram)
{
    struct world *world = ctx;
    if (datagram->to >= world->plan.nodes) {
        return; /* a victim: it only watches */
    }
    struct sim_node *node = &world->nodes[datagram->to];
    if (!node->is_alive) {
        answer_absent(world, datagram);
        return;
    }
    struct world_pair *pair = pair_of(world, node->number, datagram->from);
    pair->bytes_in += datagram->len;
    if (!datagram->is_inert) {
        pair->heard_us = world->network.now_us;
    }
    check_proof(pair, node, datagram);
    uint64_t memory = node->memory;
    uint64_t callbacks = node->callbacks;
    uint32_t links = node->endpoint.links_len;
    world->arriving_kind = datagram->len > 0 ? datagram->bytes[0] : 0;
    sim_node_receive(node, datagram);
    if (datagram->is_inert && (node->memory > memory || node->callbacks != callbacks ||
                               node->endpoint.links_len > links)) {
        world_fail(world,
                   "node %u: a datagram that means nothing (%#x, %zu bytes, from %u) has an "
                   "effect",
                   node->number, world->arriving_kind, datagram->len, datagram->from);
    }
    world->arriving_kind = 0;
}

/* ---- at any time ---- */

static void check_memory(struct world *world, struct sim_node *node)
{
    const struct kv_transport_limits *limits = &node->limits;
    uint64_t per_link = limits->queue_bytes_max + 2ull * limits->message_max +
                        assembly_window(limits->message_max) + MEMORY_PER_LINK;
    uint64_t most = MEMORY_PER_ENDPOINT + node->endpoint.links_len * per_link;
    if (node->memory > most) {
        world_fail(world, "node %u: %" PRIu64 " bytes of memory for %u links", node->number,
                   node->memory, node->endpoint.links_len);
    }
    uint64_t links_max = world->plan.links_max + LINK_HALF_MAX + 64u;
    if (node->endpoint.links_len > links_max) {
        world_fail(world, "node %u: %u links", node->number, node->endpoint.links_len);
    }
}

static void check_end_silence(struct world *world, const struct world_end *end)
{
    uint64_t heard_us = pair_of(world, end->node->number, end->peer)->heard_us;
    uint64_t since_us = heard_us > end->up_us ? heard_us : end->up_us;
    if (end->is_up && world->network.now_us > since_us + world->plan.timeout_us + SLACK_US) {
        world_fail(world, "node %u: the link with %u is up, which is silent for %" PRIu64 " ms",
                   end->node->number, end->peer, (world->network.now_us - since_us) / 1000);
    }
}

/* Time-outs in a row back off: soon not two of them fall into one tick. */
static void check_probes(struct world *world, struct world_end *end)
{
    uint32_t probes = end->is_up && end->link->has_streams ? end->link->sender.probes : 0;
    if (end->probes >= PROBES_LATE && probes >= end->probes + 2) {
        world_fail(world, "node %u floods %u with probes: %u in a row", end->node->number,
                   end->peer, probes);
    }
    end->probes = probes;
}

void check_tick(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        if (world->nodes[i].is_alive) {
            check_memory(world, &world->nodes[i]);
        }
    }
    for (uint32_t i = 0; i < world->ends_len; i++) {
        check_end_silence(world, world->ends[i]);
        check_probes(world, world->ends[i]);
    }
}

/* ---- at the end ---- */

static bool is_end_settled(const struct world *world, const struct world_end *end, char *why,
                           size_t why_size)
{
    uint32_t node = end->node->number;
    if (end->link == NULL) {
        return true;
    }
    if (!end->is_up && world->plan.links_max >= WORLD_LINKS_PLENTY) {
        snprintf(why, why_size, "node %u: the link with %u is not up", node, end->peer);
        return false;
    }
    if (end->wants_writable) {
        snprintf(why, why_size, "node %u: on_writable of the link with %u is missing", node,
                 end->peer);
        return false;
    }
    const struct world_end *receiver = end->is_up ? end->out->receiver : NULL;
    if (receiver != NULL && (!receiver->is_up || receiver->in != end->out)) {
        snprintf(why, why_size, "node %u: the link with %u is up, but not there", node, end->peer);
        return false;
    }
    if (end->is_up && end->out->received < end->out->sent) {
        snprintf(why, why_size, "node %u: of %u messages to %u only %u came", node, end->out->sent,
                 end->peer, end->out->received);
        return false;
    }
    return true;
}

bool check_settled(struct world *world, char *why, size_t why_size)
{
    for (uint32_t i = 0; i < world->ends_len; i++) {
        if (!is_end_settled(world, world->ends[i], why, why_size)) {
            return false;
        }
    }
    return true;
}
