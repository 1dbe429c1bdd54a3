#include "sim_tcp.h"

#include <math.h>
#include <string.h>

#define ACK_LEN        40u
#define TICK_US        10000u
#define RTO_MIN_US     200000u /* as Linux */
#define INITIAL_WINDOW 10.0    /* RFC 6928 */
#define DUPLICATES     3u
#define CUBIC_C        0.4 /* RFC 9438 */
#define CUBIC_BETA     0.7
#define CUBIC_FRIENDLY (3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA))
#define US_PER_S       1e6
#define INITIAL_RTT_US 100000u
#define CUBIC_NOT_YET  0.0

static struct sim_tcp_segment *segment(struct sim_tcp *tcp, uint64_t number)
{
    return &tcp->ring[number % SIM_TCP_RING];
}

static void send_more(struct sim_tcp *tcp)
{
    uint8_t bytes[SIM_TCP_SEGMENT] = {0};
    while (tcp->flying < (uint32_t)tcp->window && tcp->next - tcp->first < SIM_TCP_RING) {
        memcpy(bytes, &tcp->next, sizeof tcp->next);
        *segment(tcp, tcp->next) = (struct sim_tcp_segment){tcp->network->now_us, true};
        tcp->next++;
        tcp->flying++;
        struct sim_datagram datagram = {
            .from = tcp->from, .to = tcp->to, .len = SIM_TCP_SEGMENT, .bytes = bytes};
        sim_network_send(tcp->network, &datagram);
    }
}

static void cut(struct sim_tcp *tcp)
{
    double beta = tcp->is_cubic ? CUBIC_BETA : 0.5;
    tcp->cubic_max = tcp->window;
    tcp->cubic_us = tcp->network->now_us;
    tcp->window = tcp->window * beta > 2.0 ? tcp->window * beta : 2.0;
    tcp->threshold = tcp->window;
    tcp->recover = tcp->next;
}

/* Lost is what three later ones have overtaken. */
static void find_lost(struct sim_tcp *tcp)
{
    bool has_lost = false;
    for (uint64_t number = tcp->first; number + DUPLICATES < tcp->highest; number++) {
        if (segment(tcp, number)->is_out) {
            segment(tcp, number)->is_out = false;
            tcp->flying--;
            has_lost = has_lost || number >= tcp->recover;
        }
    }
    while (tcp->first < tcp->next && !segment(tcp, tcp->first)->is_out) {
        tcp->first++;
    }
    if (has_lost) {
        cut(tcp);
    }
}

static double cubic_target(const struct sim_tcp *tcp)
{
    double passed_s = (double)(tcp->network->now_us - tcp->cubic_us) / US_PER_S;
    double round_s = (double)tcp->smoothed_us / US_PER_S;
    double k = cbrt(tcp->cubic_max * (1.0 - CUBIC_BETA) / CUBIC_C);
    double t = passed_s + round_s - k;
    double cubic = CUBIC_C * t * t * t + tcp->cubic_max;
    double friendly = tcp->cubic_max * CUBIC_BETA + CUBIC_FRIENDLY * passed_s / round_s;
    return cubic > friendly ? cubic : friendly;
}

static void grow(struct sim_tcp *tcp)
{
    if (tcp->window < tcp->threshold) {
        tcp->window += 1.0;
    } else if (!tcp->is_cubic || tcp->cubic_max <= CUBIC_NOT_YET) {
        tcp->window += 1.0 / tcp->window;
    } else {
        double target = cubic_target(tcp);
        target = target > 1.5 * tcp->window ? 1.5 * tcp->window : target;
        tcp->window += target > tcp->window ? (target - tcp->window) / tcp->window : 0.0;
    }
}

static void on_acknowledged(struct sim_tcp *tcp, uint64_t number)
{
    struct sim_tcp_segment *acked = segment(tcp, number);
    if (number < tcp->first || number >= tcp->next || !acked->is_out) {
        return;
    }
    uint64_t round_us = tcp->network->now_us - acked->sent_us;
    uint64_t off_us =
        round_us > tcp->smoothed_us ? round_us - tcp->smoothed_us : tcp->smoothed_us - round_us;
    tcp->variation_us = (3 * tcp->variation_us + off_us) / 4;
    tcp->smoothed_us = (7 * tcp->smoothed_us + round_us) / 8;
    tcp->heard_us = tcp->network->now_us;
    acked->is_out = false;
    tcp->flying--;
    tcp->delivered++;
    if (number >= tcp->recover) {
        grow(tcp);
    }
    tcp->highest = number + 1 > tcp->highest ? number + 1 : tcp->highest;
    find_lost(tcp);
    send_more(tcp);
}

void sim_tcp_receive(struct sim_tcp *tcp, const struct sim_datagram *datagram)
{
    uint64_t number;
    memcpy(&number, datagram->bytes, sizeof number);
    if (datagram->to == tcp->from) {
        on_acknowledged(tcp, number);
        return;
    }
    uint8_t bytes[ACK_LEN] = {0};
    memcpy(bytes, &number, sizeof number);
    struct sim_datagram ack = {.from = tcp->to, .to = tcp->from, .len = ACK_LEN, .bytes = bytes};
    sim_network_send(tcp->network, &ack);
}

/* The retransmission time-out. */
static void on_tick(void *ctx, uint64_t number, void *memory)
{
    (void)number;
    (void)memory;
    struct sim_tcp *tcp = ctx;
    uint64_t now_us = tcp->network->now_us;
    uint64_t wait_us = tcp->smoothed_us + 4 * tcp->variation_us;
    wait_us = wait_us > RTO_MIN_US ? wait_us : RTO_MIN_US;
    if (tcp->flying > 0 && now_us > tcp->heard_us + wait_us) {
        for (uint64_t out = tcp->first; out < tcp->next; out++) {
            segment(tcp, out)->is_out = false;
        }
        tcp->flying = 0;
        tcp->first = tcp->next;
        cut(tcp);
        tcp->window = 1.0;
        tcp->heard_us = now_us;
        send_more(tcp);
    }
    sim_network_at(tcp->network, now_us + TICK_US, on_tick, tcp, 0, NULL);
}

void sim_tcp_start(struct sim_tcp *tcp)
{
    tcp->window = INITIAL_WINDOW;
    tcp->threshold = 1e9;
    tcp->smoothed_us = INITIAL_RTT_US;
    tcp->heard_us = tcp->network->now_us;
    on_tick(tcp, 0, NULL);
    send_more(tcp);
}
