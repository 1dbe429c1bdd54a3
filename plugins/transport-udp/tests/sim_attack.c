/*
 * An attacker who sees every datagram and can send any in anybody's name, but knows no secret of an
 * endpoint beyond what it saw. What it makes up, or shows to whom it was not meant for, must change
 * nothing ("inert"); what it repeats unaltered is a late duplicate, which the network makes too.
 */
#include "sim_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"

#define FORGED_MAX 1500u
#define CRC_AT     1u
#define TO_AT      5u
#define FROM_AT    13u

static void put_u64(uint8_t *bytes, uint64_t number)
{
    for (uint32_t i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(number >> (8 * i));
    }
}

static void put_crc(uint8_t *bytes, size_t len)
{
    memset(bytes + CRC_AT, 0, 4);
    uint32_t crc = crc32c(0, bytes, len);
    for (uint32_t i = 0; i < 4; i++) {
        bytes[CRC_AT + i] = (uint8_t)(crc >> (8 * i));
    }
}

void attack_record(struct world *world, const struct sim_datagram *datagram)
{
    if (!world_has(world, FAULT_ATTACK) || !world->is_faulty || !world_percent(world, 30)) {
        return;
    }
    struct sim_datagram *place = &world->records[world->records_seen++ % WORLD_RECORDS_MAX];
    free(place->bytes);
    *place = *datagram;
    place->bytes = malloc(datagram->len);
    KV_CHECK(place->bytes != NULL);
    memcpy(place->bytes, datagram->bytes, datagram->len);
}

void attack_close(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_RECORDS_MAX; i++) {
        free(world->records[i].bytes);
        world->records[i].bytes = NULL;
    }
}

static const struct sim_datagram *choose_record(struct world *world)
{
    uint64_t len =
        world->records_seen < WORLD_RECORDS_MAX ? world->records_seen : WORLD_RECORDS_MAX;
    return len == 0 ? NULL : &world->records[world_draw(world, 0, len - 1)];
}

static uint32_t choose_victim(struct world *world)
{
    return world->plan.nodes + (uint32_t)world_draw(world, 0, WORLD_VICTIMS - 1);
}

static uint32_t choose_node(struct world *world)
{
    return (uint32_t)world_draw(world, 0, world->plan.nodes - 1);
}

static void send_as(struct world *world, uint32_t from, uint32_t to, uint8_t *bytes, size_t len,
                    bool is_inert)
{
    struct sim_datagram datagram = {.from = from,
                                    .to = to,
                                    .is_forged = true,
                                    .is_inert = is_inert,
                                    .len = len,
                                    .bytes = bytes};
    sim_network_send(&world->network, &datagram);
}

/* Anything at all, some of it with a right header and CRC. */
static void send_garbage(struct world *world)
{
    uint8_t bytes[FORGED_MAX];
    size_t len = world_draw(world, 0, FORGED_MAX);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)world_draw(world, 0, 255);
    }
    if (len >= WIRE_HEADER_LEN && world_percent(world, 70)) {
        bytes[0] = (uint8_t)world_draw(world, WIRE_HELLO, WIRE_UNKNOWN + 1);
        put_crc(bytes, len);
    }
    uint32_t from = world_percent(world, 50) ? choose_victim(world) : choose_node(world);
    send_as(world, from, choose_node(world), bytes, len, true);
}

/* HELLO and OPEN as they should be, with a proof made up; some too short, some altered. */
static void send_opening(struct world *world, enum wire_kind kind)
{
    uint32_t to = choose_node(world);
    struct wire_datagram datagram = {
        .kind = kind, .from = world_draw(world, 1, UINT64_MAX - 1), .version = WIRE_VERSION};
    if (kind == WIRE_OPEN) {
        uint64_t now_us = sim_node_now_us(&world->nodes[to]);
        datagram.cookie.time_s = (uint32_t)(now_us / 1000000u);
        datagram.cookie.proof = world_draw(world, 1, UINT64_MAX - 1);
        datagram.hello = (struct wire_hello){100, 1500, 100};
    }
    uint8_t bytes[WIRE_BYTES_MAX];
    struct sim_node *node = &world->nodes[to];
    size_t len = wire_encode(&node->host, &datagram, bytes);
    if (world_percent(world, 20)) {
        len = world_draw(world, WIRE_HEADER_LEN, len);
        put_crc(bytes, len);
    } else if (world_percent(world, 20)) {
        bytes[world_draw(world, TO_AT, len - 1)] ^= (uint8_t)world_draw(world, 1, 255);
        put_crc(bytes, len);
    }
    send_as(world, choose_victim(world), to, bytes, len, true);
}

static void flood(struct world *world)
{
    uint64_t count = world_draw(world, 1, 40);
    for (uint64_t i = 0; i < count; i++) {
        send_opening(world, world_percent(world, 60) ? WIRE_HELLO : WIRE_OPEN);
    }
}

/* Something that was sent, again: where it belongs, or in another name. */
static void replay(struct world *world, const struct sim_datagram *record)
{
    uint8_t *bytes = malloc(record->len);
    KV_CHECK(bytes != NULL);
    memcpy(bytes, record->bytes, record->len);
    bool is_opening = bytes[0] == WIRE_HELLO || bytes[0] == WIRE_OPEN;
    if (world_percent(world, 50)) {
        send_as(world, record->from, record->to, bytes, record->len, false);
    } else {
        send_as(world, choose_victim(world), record->to, bytes, record->len, is_opening);
    }
    free(bytes);
}

/* Cut or continued. */
static void mangle(struct world *world, const struct sim_datagram *record)
{
    size_t len = world_percent(world, 70) ? world_draw(world, 0, record->len - 1)
                                          : record->len + world_draw(world, 1, 100);
    uint8_t *bytes = calloc(1, len + 1);
    KV_CHECK(bytes != NULL);
    memcpy(bytes, record->bytes, len < record->len ? len : record->len);
    send_as(world, record->from, record->to, bytes, len, true);
    free(bytes);
}

/* The token of one end is right, that of the other is not. */
static void send_half_known(struct world *world, const struct sim_datagram *record)
{
    uint8_t *bytes = malloc(record->len);
    KV_CHECK(bytes != NULL);
    memcpy(bytes, record->bytes, record->len);
    size_t len = record->len;
    if (bytes[0] == WIRE_DATA) {
        switch (world_draw(world, 0, 2)) {
        case 0:
            put_u64(bytes + FROM_AT, world_draw(world, 1, UINT64_MAX - 1));
            break;
        case 1:
            put_u64(bytes + TO_AT, world_draw(world, 1, UINT64_MAX - 1));
            break;
        default:
            put_u64(bytes + FROM_AT, world_draw(world, 1, UINT64_MAX - 1));
            uint8_t close[WIRE_BYTES_MAX];
            struct wire_datagram datagram = {.kind = world_percent(world, 50) ? WIRE_CLOSE
                                                                              : WIRE_UNKNOWN,
                                             .reason = WIRE_REASON_CLOSED};
            len = wire_encode(&world->nodes[0].host, &datagram, close);
            if (len <= record->len) {
                memcpy(close + TO_AT, bytes + TO_AT, 16);
                memcpy(bytes, close, len);
            } else {
                len = record->len;
            }
        }
        put_crc(bytes, len);
        send_as(world, record->from, record->to, bytes, len, true);
    }
    free(bytes);
}

static void forge_unreachable(struct world *world)
{
    struct sim_node *node = &world->nodes[choose_node(world)];
    uint8_t bytes[WIRE_HEADER_LEN] = {WIRE_DATA};
    put_u64(bytes + TO_AT, world_draw(world, 1, UINT64_MAX - 1));
    put_u64(bytes + FROM_AT, world_draw(world, 1, UINT64_MAX - 1));
    uint64_t callbacks = node->callbacks;
    if (node->is_alive) {
        sim_node_unreachable(node, choose_node(world), bytes,
                             (size_t)world_draw(world, 0, WIRE_HEADER_LEN));
    }
    if (node->callbacks != callbacks) {
        world_fail(world, "node %u: a notice of nobody's datagram has an effect", node->number);
    }
}

void attack_once(struct world *world)
{
    const struct sim_datagram *record = choose_record(world);
    uint64_t choice = world_draw(world, 0, record == NULL ? 3 : 9);
    switch (choice) {
    case 0:
    case 1:
        send_garbage(world);
        break;
    case 2:
        flood(world);
        break;
    case 3:
        forge_unreachable(world);
        break;
    case 4:
    case 5:
    case 6:
        replay(world, record);
        break;
    case 7:
        mangle(world, record);
        break;
    default:
        send_half_known(world, record);
    }
}
