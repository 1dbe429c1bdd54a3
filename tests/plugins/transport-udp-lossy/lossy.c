/*
 * transport-udp on a bad network: the plugin itself, all its sources, with faults put between it
 * and its sockets. What a link of connect() sends and gets suffers; what comes to a listener does
 * not, so that a datagram between two processes with this plugin meets the faults once each way.
 *
 * The environment says which: KV_TEST_DATAGRAM_FAULTS="seed=1,drop=50,duplicate=20,reorder=50,
 * corrupt=5,delay_ms=3" (permille; see faults_parse()), none when it is not set. A text that cannot
 * be read ends the process: a test must not run without the faults that it asked for.
 *
 * The linker puts the __wrap_ functions in place of the plugin's own (--wrap).
 */
#include "faults.h"
#include "udp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINER(pointer, type, member) \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

/* A datagram of a batch that is due only later. */
struct lossy_datagram {
    struct faults_held held;
    struct udp_socket *socket;
    union address_socket address;
    bool is_incoming;
    size_t len;
    uint8_t bytes[];
};

/* One for each instance of the plugin. */
struct lossy {
    struct udp *udp;
    struct lossy *next;
    struct faults out;
    struct faults in;
    struct faults_queue late;
    uv_timer_t timer;
};

static struct lossy *lossy_all;

void __real_outbox_add(struct outbox *outbox, struct udp_socket *socket,
                       const union address_socket *to, const uint8_t *header, size_t header_len,
                       const struct kv_slice *slices, uint32_t slices_len);
void __wrap_outbox_add(struct outbox *outbox, struct udp_socket *socket,
                       const union address_socket *to, const uint8_t *header, size_t header_len,
                       const struct kv_slice *slices, uint32_t slices_len);
void __real_endpoint_receive(struct endpoint *endpoint, void *socket,
                             const union address_socket *from, const uint8_t *bytes, size_t len,
                             uint64_t now_us);
void __wrap_endpoint_receive(struct endpoint *endpoint, void *socket,
                             const union address_socket *from, const uint8_t *bytes, size_t len,
                             uint64_t now_us);
void __real_listener_close_all(struct udp *udp);
void __wrap_listener_close_all(struct udp *udp);

static void lossy_read_settings(struct faults *faults, uint64_t seed_offset)
{
    const char *text = getenv("KV_TEST_DATAGRAM_FAULTS");
    struct faults_settings settings;
    char error[FAULTS_ERROR_MAX];
    int32_t status = faults_parse(text == NULL ? "" : text, &settings, error);
    if (status == KV_OK) {
        settings.seed += seed_offset;
        status = faults_init(faults, &settings, error);
    }
    if (status != KV_OK) {
        fprintf(stderr, "KV_TEST_DATAGRAM_FAULTS: %s\n", error);
        abort();
    }
}

static uint64_t lossy_now_ms(const struct lossy *lossy)
{
    return uv_now(lossy->udp->loop);
}

static struct lossy *lossy_of(struct udp *udp)
{
    struct lossy *lossy = lossy_all;
    while (lossy != NULL && lossy->udp != udp) {
        lossy = lossy->next;
    }
    if (lossy == NULL) {
        lossy = calloc(1, sizeof(*lossy));
        if (lossy == NULL) {
            abort();
        }
        lossy->udp = udp;
        lossy->next = lossy_all;
        lossy_all = lossy;
        lossy_read_settings(&lossy->out, 0);
        lossy_read_settings(&lossy->in, 1u << 20);
        faults_queue_init(&lossy->late);
        uv_timer_init(udp->loop, &lossy->timer);
        uv_unref((uv_handle_t *)&lossy->timer);
        lossy->timer.data = lossy;
    }
    return lossy;
}

/* --- datagrams that are late, or altered --- */

static void lossy_arm(struct lossy *lossy);

static void lossy_hand_on(struct lossy *lossy, const struct lossy_datagram *datagram)
{
    struct udp *udp = lossy->udp;
    if (datagram->socket->is_closing) {
        return;
    }
    if (datagram->is_incoming) {
        __real_endpoint_receive(&udp->endpoint, datagram->socket, &datagram->address,
                                datagram->bytes, datagram->len, uv_hrtime() / 1000);
        return;
    }
    const struct kv_slice all = {datagram->bytes, datagram->len};
    __real_outbox_add(&udp->outbox, datagram->socket, &datagram->address, datagram->bytes, 0, &all,
                      1);
    outbox_send(&udp->outbox); /* before the bytes go */
}

static void lossy_on_timer(uv_timer_t *timer)
{
    struct lossy *lossy = timer->data;
    struct faults_held *held = NULL;
    while ((held = faults_queue_take(&lossy->late, lossy_now_ms(lossy))) != NULL) {
        struct lossy_datagram *datagram = CONTAINER(held, lossy_datagram, held);
        lossy_hand_on(lossy, datagram);
        free(datagram);
    }
    udp_update(lossy->udp);
    lossy_arm(lossy);
}

static void lossy_arm(struct lossy *lossy)
{
    const struct faults_held *first = faults_queue_first(&lossy->late);
    if (first != NULL) {
        uint64_t now_ms = lossy_now_ms(lossy);
        uv_timer_start(&lossy->timer, lossy_on_timer,
                       first->due_ms > now_ms ? first->due_ms - now_ms : 0, 0);
    }
}

/* One copy of a datagram that does not go at once, or not as it is. */
static void lossy_hold(struct lossy *lossy, const struct faults_copy *copy,
                       struct lossy_datagram *datagram)
{
    faults_flip(copy, datagram->bytes, datagram->len);
    faults_queue_put(&lossy->late, &datagram->held, lossy_now_ms(lossy) + copy->delay_ms);
    lossy_arm(lossy);
}

static struct lossy_datagram *lossy_create(struct udp_socket *socket,
                                           const union address_socket *address, bool is_incoming,
                                           const struct kv_slice *slices, uint32_t slices_len)
{
    size_t len = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        len += slices[i].len;
    }
    struct lossy_datagram *datagram = calloc(1, sizeof(*datagram) + len);
    if (datagram == NULL) {
        abort();
    }
    datagram->socket = socket;
    datagram->address = *address;
    datagram->is_incoming = is_incoming;
    for (uint32_t i = 0; i < slices_len; i++) {
        memcpy(datagram->bytes + datagram->len, slices[i].bytes, slices[i].len);
        datagram->len += slices[i].len;
    }
    return datagram;
}

/* --- between the plugin and its sockets --- */

void __wrap_outbox_add(struct outbox *outbox, struct udp_socket *socket,
                       const union address_socket *to, const uint8_t *header, size_t header_len,
                       const struct kv_slice *slices, uint32_t slices_len)
{
    struct faults_verdict verdict = {.copies_len = 1};
    struct lossy *lossy = NULL;
    if (!socket->is_listening && !socket->is_closing) {
        lossy = lossy_of(CONTAINER(outbox, udp, outbox));
        faults_decide(&lossy->out, &verdict);
    }
    for (uint32_t i = 0; i < verdict.copies_len; i++) {
        const struct faults_copy *copy = &verdict.copies[i];
        if (copy->delay_ms == 0 && copy->flips_len == 0) {
            __real_outbox_add(outbox, socket, to, header, header_len, slices, slices_len);
            continue;
        }
        struct kv_slice all[1 + QUEUE_SLICES_MAX] = {{header, header_len}};
        if (slices_len > 0) {
            memcpy(all + 1, slices, slices_len * sizeof(slices[0]));
        }
        lossy_hold(lossy, copy, lossy_create(socket, to, false, all, 1 + slices_len));
    }
}

void __wrap_endpoint_receive(struct endpoint *endpoint, void *socket,
                             const union address_socket *from, const uint8_t *bytes, size_t len,
                             uint64_t now_us)
{
    struct udp_socket *own = socket;
    struct faults_verdict verdict = {.copies_len = 1};
    struct lossy *lossy = NULL;
    if (!own->is_listening) {
        lossy = lossy_of(CONTAINER(endpoint, udp, endpoint));
        faults_decide(&lossy->in, &verdict);
    }
    for (uint32_t i = 0; i < verdict.copies_len; i++) {
        const struct faults_copy *copy = &verdict.copies[i];
        const struct kv_slice all = {bytes, len};
        if (copy->delay_ms == 0 && copy->flips_len == 0) {
            __real_endpoint_receive(endpoint, socket, from, bytes, len, now_us);
        } else {
            lossy_hold(lossy, copy, lossy_create(own, from, true, &all, 1));
        }
    }
}

/* --- the end --- */

static void lossy_on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void lossy_close(struct udp *udp)
{
    struct lossy **at = &lossy_all;
    while (*at != NULL && (*at)->udp != udp) {
        at = &(*at)->next;
    }
    struct lossy *lossy = *at;
    if (lossy == NULL) {
        return;
    }
    *at = lossy->next;
    struct faults_held *held = NULL;
    while ((held = faults_queue_take(&lossy->late, UINT64_MAX)) != NULL) {
        free(CONTAINER(held, lossy_datagram, held));
    }
    log_line(udp->host, KV_LOG_INFO,
             "udp: faults: %llu of %llu sent and %llu of %llu received were lost",
             (unsigned long long)lossy->out.counters.dropped,
             (unsigned long long)lossy->out.counters.messages,
             (unsigned long long)lossy->in.counters.dropped,
             (unsigned long long)lossy->in.counters.messages);
    uv_close((uv_handle_t *)&lossy->timer, lossy_on_closed);
}

void __wrap_listener_close_all(struct udp *udp)
{
    lossy_close(udp);
    __real_listener_close_all(udp);
}
