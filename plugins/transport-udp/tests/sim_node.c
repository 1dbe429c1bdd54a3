#include "sim_node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "link.h"

#define MEMORY_HEADER      16u /* before each allocation: its size */
#define SPIN_CALLS_PER_MS  200u
#define PAST_CALLS_MAX     3u
#define WINDOW_SLACK_COUNT 4u /* full datagrams: probes may go beyond the window */

void sim_node_fail(struct sim_node *node, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    node->on_fail(node->ctx, node, text);
}

uint64_t sim_node_now_us(const struct sim_node *node)
{
    return node->network->now_us + node->clock_us;
}

void sim_node_on_callback(struct sim_node *node)
{
    node->callbacks++;
    if (node->in_operation > 0) {
        sim_node_fail(node, "a callback from within an operation");
    }
}

/* ---- the host ---- */

static void host_log(void *ctx, uint32_t level, const char *text)
{
    (void)ctx;
    KV_CHECK(level >= KV_LOG_ERROR && level <= KV_LOG_DEBUG && text[0] != '\0');
}

static uint64_t host_now_ms(void *ctx)
{
    return sim_node_now_us(ctx) / 1000u;
}

static void host_release(void *ctx, void *memory)
{
    struct sim_node *node = ctx;
    if (memory != NULL) {
        uint8_t *start = (uint8_t *)memory - MEMORY_HEADER;
        size_t size;
        memcpy(&size, start, sizeof size);
        KV_CHECK(node->memory >= size);
        node->memory -= size;
        free(start);
    }
}

static void *host_resize(void *ctx, void *memory, size_t size)
{
    struct sim_node *node = ctx;
    if (sim_network_permille(node->network, node->nomem_permille)) {
        return NULL;
    }
    /* Always moved, so that a stale pointer shows. */
    uint8_t *start = malloc(MEMORY_HEADER + size);
    KV_CHECK(start != NULL);
    memcpy(start, &size, sizeof size);
    node->memory += size;
    if (node->memory > node->memory_max) {
        node->memory_max = node->memory;
    }
    if (memory != NULL) {
        size_t old;
        memcpy(&old, (uint8_t *)memory - MEMORY_HEADER, sizeof old);
        memcpy(start + MEMORY_HEADER, memory, old < size ? old : size);
        host_release(ctx, memory);
    }
    return start + MEMORY_HEADER;
}

static void *host_allocate(void *ctx, size_t size)
{
    return host_resize(ctx, NULL, size);
}

static uint32_t host_crc32c(void *ctx, uint32_t crc, const void *bytes, size_t len)
{
    (void)ctx;
    return crc32c(crc, bytes, len);
}

/* ---- datagrams out ---- */

static void send_pending(struct sim_node *node, const struct sim_pending *pending)
{
    size_t len = pending->header_len;
    for (uint32_t i = 0; i < pending->slices_len; i++) {
        len += pending->slices[i].len;
    }
    uint8_t *bytes = malloc(len);
    KV_CHECK(bytes != NULL);
    memcpy(bytes, pending->header, pending->header_len);
    size_t at = pending->header_len;
    for (uint32_t i = 0; i < pending->slices_len; i++) {
        memcpy(bytes + at, pending->slices[i].bytes, pending->slices[i].len);
        at += pending->slices[i].len;
    }
    if (node->interface_max > 0 && len > node->interface_max) {
        union address_socket to = sim_network_address(pending->to);
        endpoint_on_too_large(&node->endpoint, &to, (uint32_t)len, sim_node_now_us(node));
    } else {
        struct sim_datagram datagram = {
            .from = node->number, .to = pending->to, .len = len, .bytes = bytes};
        if (node->on_sent != NULL) {
            node->on_sent(node->ctx, node, &datagram);
        }
        sim_network_send(node->network, &datagram);
    }
    free(bytes);
}

static void io_commit(void *ctx)
{
    struct sim_node *node = ctx;
    uint32_t len = node->pending_len;
    node->pending_len = 0;
    for (uint32_t i = 0; i < len; i++) {
        send_pending(node, &node->pending[i]);
    }
}

static void io_send(void *ctx, void *socket, const union address_socket *to, const uint8_t *header,
                    size_t header_len, const struct kv_slice *slices, uint32_t slices_len)
{
    struct sim_node *node = ctx;
    KV_CHECK(socket == node);
    KV_CHECK(header_len > 0 && header_len <= WIRE_BYTES_MAX && slices_len <= QUEUE_SLICES_MAX);
    if (node->pending_len == SIM_OUTBOX_LEN) {
        io_commit(ctx);
    }
    struct sim_pending *pending = &node->pending[node->pending_len++];
    pending->to = sim_network_number(to);
    KV_CHECK(pending->to != SIM_NONE);
    memcpy(pending->header, header, header_len);
    pending->header_len = header_len;
    for (uint32_t i = 0; i < slices_len; i++) {
        pending->slices[i] = slices[i]; /* read at commit: they must be valid until then */
    }
    pending->slices_len = slices_len;
}

static uint64_t io_random(void *ctx)
{
    struct sim_node *node = ctx;
    return rand_next(&node->network->rand);
}

/* ---- the resolver ---- */

static void answer_resolve(struct sim_node *node, struct kv_link *link)
{
    struct address parsed;
    KV_CHECK(address_parse("udp", link->uri, &parsed) == KV_OK);
    node->in_operation++;
    if (sim_network_permille(node->network, node->resolve_fail_permille)) {
        endpoint_on_resolved(&node->endpoint, link, KV_E_IO, "no such host", NULL, NULL,
                             sim_node_now_us(node));
    } else {
        endpoint_on_resolved(&node->endpoint, link, KV_OK, NULL, &parsed.socket, node,
                             sim_node_now_us(node));
    }
    node->in_operation--;
}

static void end_turn(struct sim_node *node);

static void on_resolved(void *ctx, uint64_t serial, void *memory)
{
    (void)memory;
    struct sim_node *node = ctx;
    for (uint32_t i = 0; i < node->resolving_len; i++) {
        if (node->resolving[i].serial == serial) {
            struct kv_link *link = node->resolving[i].link;
            node->resolving[i] = node->resolving[--node->resolving_len];
            answer_resolve(node, link);
            end_turn(node);
            return;
        }
    }
}

static void io_resolve(void *ctx, struct kv_link *link, uint32_t attempt)
{
    (void)attempt;
    struct sim_node *node = ctx;
    if (node->resolve_max_us == 0) {
        answer_resolve(node, link);
        return;
    }
    KV_CHECK(node->resolving_len < SIM_RESOLVING_MAX);
    node->resolving[node->resolving_len++] = (struct sim_resolving){link, ++node->serial};
    uint64_t wait_us = sim_network_draw(node->network, 0, node->resolve_max_us);
    sim_network_at(node->network, node->network->now_us + wait_us, on_resolved, node, node->serial,
                   NULL);
}

static void io_forget(void *ctx, struct kv_link *link)
{
    struct sim_node *node = ctx;
    for (uint32_t i = 0; i < node->resolving_len; i++) {
        if (node->resolving[i].link == link) {
            node->resolving[i] = node->resolving[--node->resolving_len];
            return;
        }
    }
}

/* ---- turns ---- */

static void on_timer(void *ctx, uint64_t serial, void *memory);
static void on_flush(void *ctx, uint64_t serial, void *memory);

/* Before datagrams go out... */
static void note_windows(struct sim_node *node)
{
    struct list *links = &node->endpoint.links;
    node->flights_len = 0;
    for (struct list *at = links->next; at != links; at = at->next) {
        const struct kv_link *link = LIST_ENTRY(at, kv_link, links_node);
        if (link->has_streams && node->flights_len < SIM_FLIGHTS_MAX) {
            node->flights[node->flights_len++] =
                (struct sim_flight){link, link->sender.congestion.in_flight};
        }
    }
}

/* ... and behind it: what a flush adds stays within the window, but for probes. */
static void check_windows(struct sim_node *node)
{
    struct list *links = &node->endpoint.links;
    for (struct list *at = links->next; at != links; at = at->next) {
        const struct kv_link *link = LIST_ENTRY(at, kv_link, links_node);
        uint64_t before = 0;
        for (uint32_t i = 0; i < node->flights_len; i++) {
            before = node->flights[i].link == link ? node->flights[i].in_flight : before;
        }
        if (!link->has_streams) {
            continue;
        }
        const struct congestion *congestion = &link->sender.congestion;
        uint64_t most = before > congestion->window ? before : congestion->window;
        most += (uint64_t)WINDOW_SLACK_COUNT * congestion->datagram + link->sender.mtu.max;
        if (congestion->in_flight > most) {
            sim_node_fail(node, "%" PRIu64 " bytes in flight, window %" PRIu64,
                          congestion->in_flight, congestion->window);
        }
    }
}

static void arm_timer(struct sim_node *node)
{
    uint64_t at_us = endpoint_deadline_us(&node->endpoint);
    if (at_us == DEADLINES_NEVER) {
        node->is_timer_set = false;
        return;
    }
    at_us = at_us > node->clock_us ? at_us - node->clock_us : 0;
    if (at_us < node->network->now_us) {
        at_us = node->network->now_us;
    }
    at_us = (at_us + node->timer_us - 1) / node->timer_us * node->timer_us;
    if (!node->is_timer_set || node->timer_at_us != at_us) {
        node->is_timer_set = true;
        node->timer_at_us = at_us;
        node->timer_serial = ++node->serial;
        sim_network_at(node->network, at_us, on_timer, node, node->timer_serial, NULL);
    }
}

static void end_turn(struct sim_node *node)
{
    if (!node->is_flush_set && endpoint_is_dirty(&node->endpoint)) {
        uint64_t wait_us = sim_network_draw(node->network, 0, node->turn_max_us);
        node->is_flush_set = true;
        node->flush_serial = ++node->serial;
        sim_network_at(node->network, node->network->now_us + wait_us, on_flush, node,
                       node->flush_serial, NULL);
    }
    arm_timer(node);
}

static void on_flush(void *ctx, uint64_t serial, void *memory)
{
    (void)memory;
    struct sim_node *node = ctx;
    if (!node->is_alive || !node->is_flush_set || serial != node->flush_serial) {
        return;
    }
    node->is_flush_set = false;
    note_windows(node);
    node->in_operation++;
    endpoint_flush(&node->endpoint, sim_node_now_us(node));
    node->in_operation--;
    check_windows(node);
    end_turn(node);
}

static void on_timer(void *ctx, uint64_t serial, void *memory)
{
    (void)memory;
    struct sim_node *node = ctx;
    if (!node->is_alive || !node->is_timer_set || serial != node->timer_serial) {
        return;
    }
    node->is_timer_set = false;
    uint64_t now_us = sim_node_now_us(node);
    if (node->spin_ms != now_us / 1000u) {
        node->spin_ms = now_us / 1000u;
        node->spin_calls = 0;
    }
    if (++node->spin_calls > SPIN_CALLS_PER_MS) {
        sim_node_fail(node, "endpoint_on_time() %u times in a millisecond", node->spin_calls);
    }
    note_windows(node);
    endpoint_on_time(&node->endpoint, now_us);
    node->past_calls = endpoint_deadline_us(&node->endpoint) <= now_us ? node->past_calls + 1 : 0;
    if (node->past_calls > PAST_CALLS_MAX) {
        sim_node_fail(node, "a deadline stays in the past");
    }
    check_windows(node);
    end_turn(node);
}

void sim_node_receive(struct sim_node *node, const struct sim_datagram *datagram)
{
    union address_socket from = sim_network_address(datagram->from);
    endpoint_receive(&node->endpoint, node, &from, datagram->bytes, datagram->len,
                     sim_node_now_us(node));
    end_turn(node);
}

void sim_node_unreachable(struct sim_node *node, uint32_t to, const uint8_t *bytes, size_t len)
{
    union address_socket address = sim_network_address(to);
    endpoint_on_unreachable(&node->endpoint, &address, bytes, len, sim_node_now_us(node));
    end_turn(node);
}

/* ---- operations ---- */

int32_t sim_node_connect(struct sim_node *node, uint32_t to, void *user, struct kv_link **ret_link)
{
    char uri[KV_URI_MAX];
    union address_socket address = sim_network_address(to);
    address_format("udp", &address, uri);
    node->in_operation++;
    int32_t status = endpoint_connect(&node->endpoint, uri, user, ret_link);
    node->in_operation--;
    end_turn(node);
    return status;
}

int32_t sim_node_send(struct sim_node *node, struct kv_link *link, const struct kv_slice *slices,
                      uint32_t slices_len)
{
    node->in_operation++;
    int32_t status = endpoint_send(&node->endpoint, link, slices, slices_len);
    node->in_operation--;
    end_turn(node);
    return status;
}

void sim_node_close_link(struct sim_node *node, struct kv_link *link)
{
    node->in_operation++;
    endpoint_close_link(&node->endpoint, link, sim_node_now_us(node));
    node->in_operation--;
    end_turn(node);
}

void sim_node_stop(struct sim_node *node)
{
    node->is_stopping = true;
    node->in_operation++;
    endpoint_stop(&node->endpoint, sim_node_now_us(node));
    node->in_operation--;
    end_turn(node);
}

/* ---- life ---- */

void sim_node_start(struct sim_node *node)
{
    node->host = (struct kv_host){.size = sizeof node->host,
                                  .ctx = node,
                                  .log = host_log,
                                  .now_ms = host_now_ms,
                                  .allocate = host_allocate,
                                  .resize = host_resize,
                                  .release = host_release,
                                  .crc32c = host_crc32c};
    struct endpoint_io io = {io_send, io_commit, io_random, io_resolve, io_forget};
    node->is_alive = true;
    node->is_stopping = false;
    node->is_timer_set = false;
    node->is_flush_set = false;
    node->pending_len = 0;
    node->resolving_len = 0;
    KV_CHECK(node->memory == 0);
    uint32_t nomem_permille = node->nomem_permille;
    node->nomem_permille = 0;
    KV_CHECK(endpoint_init(&node->endpoint, &node->host, &node->options, &node->limits,
                           node->events, node, &io, node) == KV_OK);
    node->nomem_permille = nomem_permille;
    /* From the system's randomness, which would make every run another one. */
    for (uint32_t i = 0; i < COOKIE_SECRET_LEN; i++) {
        node->endpoint.secret.bytes[i] = (uint8_t)rand_next(&node->network->rand);
    }
}

void sim_node_kill(struct sim_node *node)
{
    node->is_alive = false;
    node->is_timer_set = false;
    node->is_flush_set = false;
    node->pending_len = 0;
    endpoint_close(&node->endpoint);
    node->resolving_len = 0;
    if (node->memory != 0) {
        sim_node_fail(node, "%" PRIu64 " bytes are kept behind endpoint_close()", node->memory);
        node->memory = 0;
    }
}
