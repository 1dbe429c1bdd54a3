#include "harness_datagram.h"

#include <arpa/inet.h>
#include <string.h>

#include "assembly.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "link.h"

#define PEERS           4u /* up, half open, looked for, stranger */
#define PEER_UP         0u
#define PEER_SOUGHT     2u
#define PEER_STRANGER   3u
#define START_US        5000000u
#define STEPS_MAX       256u
#define ON_TIME_MAX     64u
#define DATAGRAM_MAX    65535u
#define MESSAGE_MAX     4096u
#define QUEUE_BYTES_MAX 32768u
#define LINKS_MAX       8u
#define MEMORY_PER_LINK (3u * 1024u * 1024u)
#define MEMORY_HEADER   16u
#define CRC_AT          1u
#define TO_AT           5u
#define FROM_AT         13u
#define OPEN_COOKIE_AT  (WIRE_HEADER_LEN + 8u) /* behind magic and version */
#define MESSAGE_CLOSE   0xc1u /* first byte of a message on which the host closes the link */
#define TEXT            "this has to come unaltered"

struct peer {
    uint64_t token; /* its own */
    uint64_t ours;  /* the endpoint's token of its link; 0: not known */
    struct cookie cookie;
    uint64_t bytes_in, bytes_out;
    struct kv_link *link; /* while the host may use it */
};

struct rig {
    struct kv_host host;
    struct endpoint endpoint;
    struct peer peers[PEERS];
    uint64_t now_us;
    uint64_t next_random;
    size_t memory;
    uint64_t callbacks;
    uint32_t texts; /* times that TEXT came as a message */
};

/* ---- host ---- */

static void host_log(void *ctx, uint32_t level, const char *text)
{
    (void)ctx;
    KV_CHECK(level >= KV_LOG_ERROR && level <= KV_LOG_DEBUG && text[0] != '\0');
}

static uint64_t host_now_ms(void *ctx)
{
    return ((struct rig *)ctx)->now_us / 1000u;
}

static void host_release(void *ctx, void *memory)
{
    struct rig *rig = ctx;
    if (memory != NULL) {
        uint8_t *start = (uint8_t *)memory - MEMORY_HEADER;
        size_t size;
        memcpy(&size, start, sizeof(size));
        rig->memory -= size;
        alloc_free(start);
    }
}

static void *host_resize(void *ctx, void *memory, size_t size)
{
    struct rig *rig = ctx;
    uint8_t *start = alloc_bytes(MEMORY_HEADER + size);
    memcpy(start, &size, sizeof(size));
    rig->memory += size;
    if (memory != NULL) {
        size_t old;
        memcpy(&old, (uint8_t *)memory - MEMORY_HEADER, sizeof(old));
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

/* ---- io ---- */

static union address_socket address_of(uint32_t peer)
{
    union address_socket address;
    memset(&address, 0, sizeof(address));
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(7000);
    address.v4.sin_addr.s_addr = htonl(0x0a000001u + peer);
    return address;
}

/* A peer learns from the answers to it what it needs for the next step. */
static void learn(struct rig *rig, struct peer *peer, const uint8_t *header, size_t header_len)
{
    struct wire_datagram datagram;
    if (header[0] != WIRE_COOKIE && header[0] != WIRE_ACCEPT && header[0] != WIRE_HELLO) {
        return;
    }
    KV_CHECK(wire_decode(&rig->host, header, header_len, &datagram) == KV_OK);
    if (datagram.kind == WIRE_COOKIE && datagram.to == peer->token) {
        peer->cookie = datagram.cookie;
    } else if (datagram.kind == WIRE_ACCEPT && peer->ours == 0) {
        peer->ours = datagram.from;
    } else if (datagram.kind == WIRE_HELLO) {
        peer->ours = datagram.from;
    }
}

static void io_send(void *ctx, void *socket, const union address_socket *to, const uint8_t *header,
                    size_t header_len, const struct kv_slice *slices, uint32_t slices_len)
{
    struct rig *rig = ctx;
    uint32_t number = ntohl(to->v4.sin_addr.s_addr) - 0x0a000001u;
    KV_CHECK(socket == rig && number < PEERS && header_len <= WIRE_BYTES_MAX);
    struct peer *peer = &rig->peers[number];
    uint32_t crc = crc32c(0, header, header_len);
    peer->bytes_out += header_len;
    for (uint32_t i = 0; i < slices_len; i++) {
        crc = crc32c(crc, slices[i].bytes, slices[i].len); /* all of it can be read */
        peer->bytes_out += slices[i].len;
    }
    (void)crc;
    KV_CHECK(number != PEER_STRANGER || peer->bytes_out <= peer->bytes_in);
    learn(rig, peer, header, header_len);
}

static void io_commit(void *ctx)
{
    (void)ctx;
}

static uint64_t io_random(void *ctx)
{
    struct rig *rig = ctx;
    return rig->next_random += 0x0101010101010101u;
}

static void io_resolve(void *ctx, struct kv_link *link, uint32_t attempt)
{
    (void)attempt;
    struct rig *rig = ctx;
    union address_socket address = address_of(PEER_SOUGHT);
    endpoint_on_resolved(&rig->endpoint, link, KV_OK, NULL, &address, rig, rig->now_us);
}

static void io_forget(void *ctx, struct kv_link *link)
{
    (void)ctx;
    (void)link;
}

/* ---- the host's callbacks: user is the peer ---- */

static void *on_accept(void *ctx, struct kv_link *link, const char *uri)
{
    struct rig *rig = ctx;
    struct address address;
    rig->callbacks++;
    KV_CHECK(address_parse("udp", uri, &address) == KV_OK);
    uint32_t number = ntohl(address.socket.v4.sin_addr.s_addr) - 0x0a000001u;
    KV_CHECK(number < PEER_STRANGER);
    rig->peers[number].link = link;
    return &rig->peers[number];
}

static void on_up(void *ctx, void *user)
{
    struct rig *rig = ctx;
    struct peer *peer = user;
    rig->callbacks++;
    struct kv_slice slice = {TEXT, sizeof(TEXT)};
    KV_CHECK(endpoint_send(&rig->endpoint, peer->link, &slice, 1) != KV_E_CLOSED);
}

static void on_message(void *ctx, void *user, const void *bytes, uint32_t len)
{
    struct rig *rig = ctx;
    struct peer *peer = user;
    rig->callbacks++;
    KV_CHECK(len <= MESSAGE_MAX);
    rig->texts += len == sizeof(TEXT) && memcmp(bytes, TEXT, len) == 0 ? 1u : 0u;
    if (len > 0 && *(const uint8_t *)bytes == MESSAGE_CLOSE && peer->link != NULL) {
        struct kv_link *link = peer->link;
        peer->link = NULL;
        endpoint_close_link(&rig->endpoint, link, rig->now_us);
    } else if (peer->link != NULL) {
        struct kv_slice slice = {bytes, len};
        endpoint_send(&rig->endpoint, peer->link, &slice, 1);
    }
}

static void on_writable(void *ctx, void *user)
{
    (void)user;
    ((struct rig *)ctx)->callbacks++;
}

static void on_down(void *ctx, void *user, int32_t reason)
{
    struct rig *rig = ctx;
    struct peer *peer = user;
    rig->callbacks++;
    KV_CHECK(reason < 0);
    if (peer != &rig->peers[PEER_SOUGHT]) {
        peer->link = NULL;
    }
}

static void on_stopped(void *ctx)
{
    (void)ctx;
}

static const struct kv_transport_events rig_events = {on_accept,   on_up,   on_message,
                                                      on_writable, on_down, on_stopped};

/* ---- datagrams ---- */

static void put(uint8_t *bytes, uint64_t number, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(number >> (8 * i));
    }
}

static uint64_t get(const uint8_t *bytes, uint32_t len)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < len; i++) {
        number |= (uint64_t)bytes[i] << (8 * i);
    }
    return number;
}

static void put_crc(uint8_t *bytes, size_t len)
{
    put(bytes + CRC_AT, 0, 4);
    put(bytes + CRC_AT, crc32c(0, bytes, len), 4);
}

static void check_bounds(const struct rig *rig)
{
    const struct endpoint *endpoint = &rig->endpoint;
    KV_CHECK(endpoint->links_len <= LINKS_MAX + 2 + STEPS_MAX);
    KV_CHECK(endpoint->accepted_len <= LINKS_MAX);
    KV_CHECK(rig->memory <= 65536u + (size_t)endpoint->links_len * MEMORY_PER_LINK);
}

/* The bytes are the datagram's alone, so that a sanitizer sees a read beyond the end. */
static void give(struct rig *rig, uint32_t number, const uint8_t *bytes, size_t len)
{
    union address_socket from = address_of(number);
    rig->peers[number].bytes_in += len;
    endpoint_receive(&rig->endpoint, rig, &from, bytes, len, rig->now_us);
    endpoint_flush(&rig->endpoint, rig->now_us);
    check_bounds(rig);
}

/* Time goes on to then, with all that is due on the way. */
static void pass_time(struct rig *rig, uint64_t until_us)
{
    for (uint32_t i = 0; i < ON_TIME_MAX; i++) {
        uint64_t at_us = endpoint_deadline_us(&rig->endpoint);
        if (at_us > until_us) {
            break;
        }
        rig->now_us = at_us > rig->now_us ? at_us : rig->now_us;
        endpoint_on_time(&rig->endpoint, rig->now_us);
    }
    rig->now_us = until_us > rig->now_us ? until_us : rig->now_us;
    endpoint_on_time(&rig->endpoint, rig->now_us);
    check_bounds(rig);
}

/* ---- the rig ---- */

static void give_wire(struct rig *rig, uint32_t number, const struct wire_datagram *datagram)
{
    uint8_t bytes[WIRE_BYTES_MAX];
    size_t len = wire_encode(&rig->host, datagram, bytes);
    give(rig, number, bytes, len);
}

static void open_peer(struct rig *rig, uint32_t number)
{
    struct peer *peer = &rig->peers[number];
    struct wire_datagram datagram = {
        .kind = WIRE_HELLO, .from = peer->token, .version = WIRE_VERSION};
    give_wire(rig, number, &datagram);
    datagram.kind = WIRE_OPEN;
    datagram.cookie = peer->cookie;
    datagram.hello = (struct wire_hello){MESSAGE_MAX, 1472, 1u << 20};
    give_wire(rig, number, &datagram);
    KV_CHECK(peer->ours != 0);
}

/* Packet number `packet` of the peer that is up: each of its packets is one message, TEXT. */
static void give_text(struct rig *rig, uint64_t packet)
{
    const struct peer *peer = &rig->peers[PEER_UP];
    uint8_t text[ASSEMBLY_HEADER_LEN + sizeof(TEXT)];
    struct wire_datagram datagram = {
        .kind = WIRE_DATA,
        .to = peer->ours,
        .from = peer->token,
        .packet = {.number = packet, .has_stream = true, .offset = packet * sizeof(text)}};
    put(text, sizeof(TEXT), ASSEMBLY_HEADER_LEN);
    memcpy(text + ASSEMBLY_HEADER_LEN, TEXT, sizeof(TEXT));
    struct kv_slice slice = {text, sizeof(text)};
    uint8_t bytes[WIRE_BYTES_MAX + sizeof(text)];
    size_t len = wire_encode_packet(&rig->host, &datagram, &slice, 1, 0, bytes);
    memcpy(bytes + len, text, sizeof(text));
    uint32_t texts = rig->texts;
    give(rig, PEER_UP, bytes, len + sizeof(text));
    KV_CHECK(rig->texts == texts + 1);
}

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->now_us = START_US;
    rig->host = (struct kv_host){.size = sizeof(rig->host),
                                 .ctx = rig,
                                 .log = host_log,
                                 .now_ms = host_now_ms,
                                 .allocate = host_allocate,
                                 .resize = host_resize,
                                 .release = host_release,
                                 .crc32c = host_crc32c};
    const struct endpoint_options options = {100000, 1000000, 5000000, 10000000, 1472};
    const struct kv_transport_limits limits = {MESSAGE_MAX, LINKS_MAX, QUEUE_BYTES_MAX};
    const struct endpoint_io io = {io_send, io_commit, io_random, io_resolve, io_forget};
    KV_CHECK(endpoint_init(&rig->endpoint, &rig->host, &options, &limits, &rig_events, rig, &io,
                           rig) == KV_OK);
    memset(rig->endpoint.secret.bytes, 7, sizeof(rig->endpoint.secret.bytes)); /* repeatable */
    for (uint32_t i = 0; i < PEERS; i++) {
        rig->peers[i].token = 0x5000 + i;
    }
    open_peer(rig, PEER_UP);
    give_text(rig, 0);
    open_peer(rig, PEER_UP + 1);
    struct peer *sought = &rig->peers[PEER_SOUGHT];
    KV_CHECK(endpoint_connect(&rig->endpoint, "udp://10.0.0.3:7000", sought, &sought->link) ==
             KV_OK);
    endpoint_flush(&rig->endpoint, rig->now_us);
}

/* Whether it tells what only the peer that is up knows. */
static bool is_proved(const struct rig *rig, uint32_t number, const uint8_t *bytes, size_t len)
{
    const struct peer *peer = &rig->peers[PEER_UP];
    return number == PEER_UP && len >= WIRE_HEADER_LEN && get(bytes + TO_AT, 8) == peer->ours;
}

static void patch(const struct rig *rig, uint32_t number, uint8_t control, uint8_t *bytes,
                  size_t len)
{
    const struct peer *peer = &rig->peers[number];
    if (len < WIRE_HEADER_LEN) {
        return;
    }
    if ((control & DATAGRAM_CONTROL_TOKENS) != 0 && number != PEER_STRANGER) {
        put(bytes + TO_AT, peer->ours, 8);
        put(bytes + FROM_AT, peer->token, 8);
        if (bytes[0] == WIRE_OPEN && len >= OPEN_COOKIE_AT + 12) {
            put(bytes + OPEN_COOKIE_AT, peer->cookie.time_s, 4);
            put(bytes + OPEN_COOKIE_AT + 4, peer->cookie.proof, 8);
        }
    }
    if ((control & DATAGRAM_CONTROL_CRC) != 0) {
        put_crc(bytes, len);
    }
}

/* One step; returns how many bytes of the input it took. */
static size_t run_step(struct rig *rig, const uint8_t *bytes, size_t len, bool *touched)
{
    uint8_t control = bytes[0];
    uint32_t number = control & DATAGRAM_CONTROL_PEER;
    size_t step_len = (size_t)get(bytes + 1, 2);
    if ((control & DATAGRAM_CONTROL_TIME) != 0) {
        pass_time(rig, rig->now_us + step_len * 256u);
        *touched = true; /* a silent link may be lost */
        return DATAGRAM_STEP_HEADER;
    }
    size_t left = len - DATAGRAM_STEP_HEADER;
    step_len = step_len < left ? step_len : left;
    uint8_t *copy = alloc_bytes(step_len);
    memcpy(copy, bytes + DATAGRAM_STEP_HEADER, step_len);
    patch(rig, number, control, copy, step_len);
    bool proved = is_proved(rig, number, copy, step_len);
    uint32_t texts = rig->texts;
    give(rig, number, copy, step_len);
    *touched = *touched || proved;
    KV_CHECK(number < PEER_STRANGER || rig->texts == texts);
    alloc_free(copy);
    return DATAGRAM_STEP_HEADER + step_len;
}

bool harness_datagram(const uint8_t *bytes, size_t len)
{
    struct rig *rig = alloc_bytes(sizeof(*rig));
    rig_init(rig);
    struct endpoint_counters before = rig->endpoint.counters;
    bool touched = false;
    uint32_t steps = 0;
    for (size_t at = 0; at + DATAGRAM_STEP_HEADER <= len && steps < STEPS_MAX; steps++) {
        at += run_step(rig, bytes + at, len - at, &touched);
    }
    const struct endpoint_counters *after = &rig->endpoint.counters;
    uint64_t senseless = after->corrupt - before.corrupt + after->malformed - before.malformed;
    bool accepted = after->datagrams_received - before.datagrams_received > senseless;
    if (!touched) {
        give_text(rig, 1); /* nobody without its token could spoil it */
    }
    endpoint_stop(&rig->endpoint, rig->now_us);
    pass_time(rig, rig->now_us + 2 * LINK_DRAIN_US);
    KV_CHECK(endpoint_is_stopped(&rig->endpoint));
    endpoint_close(&rig->endpoint);
    KV_CHECK(rig->memory == 0);
    alloc_free(rig);
    return accepted;
}
