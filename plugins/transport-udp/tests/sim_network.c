#include "sim_network.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_FIRST 0x0a000001u /* 10.0.0.1 */
#define ADDRESS_PORT  7000u       /* and its number: all ports differ too */

void sim_network_init(struct sim_network *network, uint64_t seed, sim_arrive_fn arrive, void *ctx)
{
    memset(network, 0, sizeof *network);
    network->rand.state = seed;
    network->arrive = arrive;
    network->arrive_ctx = ctx;
    for (uint32_t from = 0; from < SIM_ADDRESSES_MAX; from++) {
        for (uint32_t to = 0; to < SIM_ADDRESSES_MAX; to++) {
            struct sim_path *path = &network->paths[from][to];
            path->latency_us = 100;
            path->datagram_max = UINT32_MAX;
            path->bottleneck = SIM_NONE;
        }
    }
}

static void on_arrival(void *ctx, uint64_t number, void *memory);

void sim_network_close(struct sim_network *network)
{
    for (uint32_t i = 0; i < network->len; i++) {
        if (network->heap[i].fn == on_arrival) {
            free(((struct sim_datagram *)network->heap[i].memory)->bytes);
        }
        free(network->heap[i].memory);
    }
    free(network->heap);
    network->heap = NULL;
    network->len = 0;
}

/* ---- events ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_network_at(struct sim_network *network, uint64_t at_us, sim_event_fn fn, void *ctx,
                    uint64_t number, void *memory)
{
    if (network->len == network->capacity) {
        network->capacity = network->capacity == 0 ? 256 : network->capacity * 2;
        network->heap = realloc(network->heap, network->capacity * sizeof *network->heap);
        KV_CHECK(network->heap != NULL);
    }
    struct sim_event event = {at_us, network->next_order++, fn, ctx, number, memory};
    uint32_t at = network->len++;
    while (at > 0 && is_before(&event, &network->heap[(at - 1) / 2])) {
        network->heap[at] = network->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    network->heap[at] = event;
}

static struct sim_event pop(struct sim_network *network)
{
    struct sim_event first = network->heap[0];
    struct sim_event last = network->heap[--network->len];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= network->len) {
            break;
        }
        if (child + 1 < network->len &&
            is_before(&network->heap[child + 1], &network->heap[child])) {
            child++;
        }
        if (!is_before(&network->heap[child], &last)) {
            break;
        }
        network->heap[at] = network->heap[child];
        at = child;
    }
    network->heap[at] = last;
    return first;
}

bool sim_network_step(struct sim_network *network, uint64_t until_us)
{
    if (network->len == 0 || network->heap[0].at_us > until_us) {
        network->now_us = until_us;
        return false;
    }
    struct sim_event event = pop(network);
    if (event.at_us > network->now_us) {
        network->now_us = event.at_us;
    }
    event.fn(event.ctx, event.number, event.memory);
    free(event.memory);
    return true;
}

/* ---- datagrams ---- */

uint64_t sim_network_draw(struct sim_network *network, uint64_t low, uint64_t high)
{
    return low + rand_below(&network->rand, high - low + 1);
}

bool sim_network_permille(struct sim_network *network, uint32_t permille)
{
    return permille > 0 && rand_below(&network->rand, 1000) < permille;
}

static void on_arrival(void *ctx, uint64_t number, void *memory)
{
    (void)number;
    struct sim_network *network = ctx;
    struct sim_datagram *datagram = memory;
    network->arrived++;
    network->arrive(network->arrive_ctx, datagram);
    free(datagram->bytes);
    datagram->bytes = NULL;
}

static void flip_bits(struct sim_network *network, struct sim_datagram *datagram)
{
    uint64_t bits = (uint64_t)datagram->len * 8;
    uint64_t first = rand_below(&network->rand, bits);
    datagram->bytes[first / 8] ^= (uint8_t)(1u << (first % 8));
    uint64_t second = rand_below(&network->rand, bits);
    if (second != first) {
        datagram->bytes[second / 8] ^= (uint8_t)(1u << (second % 8));
    }
    datagram->is_inert = true;
}

/* When the bottleneck has let it through; UINT64_MAX: its queue is full. */
static uint64_t pass_bottleneck(struct sim_network *network, uint32_t number, size_t len)
{
    struct sim_bottleneck *bottleneck = &network->bottlenecks[number];
    uint64_t now_us = network->now_us;
    uint64_t wait_us = bottleneck->free_us > now_us ? bottleneck->free_us - now_us : 0;
    uint64_t backlog = wait_us * bottleneck->bytes_per_s / 1000000u;
    uint64_t size = len + 28; /* IPv4 and UDP headers */
    if (backlog + size > bottleneck->queue_bytes_max) {
        bottleneck->dropped++;
        return UINT64_MAX;
    }
    bottleneck->passed++;
    bottleneck->free_us = now_us + wait_us + size * 1000000u / bottleneck->bytes_per_s;
    return bottleneck->free_us;
}

static void post(struct sim_network *network, struct sim_path *path,
                 const struct sim_datagram *datagram, uint64_t leave_us)
{
    struct sim_datagram *copy = malloc(sizeof *copy);
    KV_CHECK(copy != NULL);
    *copy = *datagram;
    copy->bytes = malloc(datagram->len > 0 ? datagram->len : 1);
    KV_CHECK(copy->bytes != NULL);
    if (datagram->len > 0) {
        memcpy(copy->bytes, datagram->bytes, datagram->len);
    }
    uint64_t at_us = leave_us + path->latency_us;
    at_us += path->jitter_us > 0 ? rand_below(&network->rand, path->jitter_us) : 0;
    if (sim_network_permille(network, path->reorder_permille)) {
        at_us += rand_below(&network->rand, path->reorder_us + 1u);
    } else {
        at_us = at_us > path->last_us ? at_us : path->last_us;
        path->last_us = at_us;
    }
    if (datagram->len > 0 && sim_network_permille(network, path->corrupt_permille)) {
        flip_bits(network, copy);
    }
    sim_network_at(network, at_us, on_arrival, network, 0, copy);
}

void sim_network_send(struct sim_network *network, const struct sim_datagram *datagram)
{
    KV_CHECK(datagram->from < SIM_ADDRESSES_MAX && datagram->to < SIM_ADDRESSES_MAX);
    struct sim_path *path = &network->paths[datagram->from][datagram->to];
    uint64_t leave_us = network->now_us;
    network->sent++;
    if (network->now_us < path->blocked_us || datagram->len > path->datagram_max ||
        sim_network_permille(network, path->loss_permille)) {
        network->lost++;
        return;
    }
    if (path->bottleneck != SIM_NONE) {
        leave_us = pass_bottleneck(network, path->bottleneck, datagram->len);
        if (leave_us == UINT64_MAX) {
            network->lost++;
            return;
        }
    }
    post(network, path, datagram, leave_us);
    if (sim_network_permille(network, path->double_permille)) {
        post(network, path, datagram, leave_us);
    }
}

/* ---- addresses ---- */

union address_socket sim_network_address(uint32_t i)
{
    union address_socket address;
    memset(&address, 0, sizeof address);
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons((uint16_t)(ADDRESS_PORT + i));
    address.v4.sin_addr.s_addr = htonl(ADDRESS_FIRST + i);
    return address;
}

uint32_t sim_network_number(const union address_socket *address)
{
    uint32_t i = ntohl(address->v4.sin_addr.s_addr) - ADDRESS_FIRST;
    bool is_ours = address->any.sa_family == AF_INET && i < SIM_ADDRESSES_MAX &&
                   ntohs(address->v4.sin_port) == ADDRESS_PORT + i;
    return is_ours ? i : SIM_NONE;
}
