#include "congestion.h"

#include "acks.h"

/* RFC 9002, 7.2: ten datagrams, but no more than 14720 bytes unless two are more. */
#define CONGESTION_INITIAL_BYTES 14720u
#define CONGESTION_INITIAL_LEN   10u
#define CONGESTION_LEAST_LEN     2u
/* What may leave at once after a pause, and what a timer that is late lets through. */
#define CONGESTION_BURST_LEN 10u
#define CONGESTION_BURST_US  2000u
/* A larger share that is lost is no chance: 3/8. */
#define CONGESTION_CHANCE_EIGHTHS 3u

/* However long a peer says it takes for an acknowledgement. */
#define CONGESTION_DELAY_MAX_US (2u * ACKS_DELAY_MAX_US)

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t congestion_least(const struct congestion *congestion)
{
    return CONGESTION_LEAST_LEN * (uint64_t)congestion->datagram;
}

static uint64_t congestion_initial(const struct congestion *congestion)
{
    return smaller(CONGESTION_INITIAL_LEN * (uint64_t)congestion->datagram,
                   larger(CONGESTION_INITIAL_BYTES, congestion_least(congestion)));
}

void congestion_init(struct congestion *congestion, uint32_t datagram, uint64_t now_us)
{
    *congestion = (struct congestion){
        .smoothed_us = CONGESTION_INITIAL_RTT_US,
        .variation_us = CONGESTION_INITIAL_RTT_US / 2,
        .delay_us = ACKS_DELAY_US,
        .datagram = datagram,
        .threshold = UINT64_MAX,
        .bucket_us = now_us,
    };
    congestion->window = congestion_initial(congestion);
    congestion->bucket = congestion->window;
}

void congestion_set_datagram(struct congestion *congestion, uint32_t datagram)
{
    congestion->datagram = datagram;
    congestion->window = larger(congestion->window, congestion_least(congestion));
}

/* RFC 9002, 5.3. The least one is taken without the delay that the peer tells. */
void congestion_on_rtt(struct congestion *congestion, uint64_t rtt_us, uint64_t delay_us)
{
    delay_us = smaller(delay_us, CONGESTION_DELAY_MAX_US);
    congestion->delay_us = larger(delay_us, congestion->delay_us - congestion->delay_us / 16);
    congestion->latest_us = rtt_us;
    if (!congestion->has_sample) {
        congestion->has_sample = true;
        congestion->least_us = rtt_us;
        congestion->smoothed_us = rtt_us;
        congestion->variation_us = rtt_us / 2;
        return;
    }
    congestion->least_us = smaller(congestion->least_us, rtt_us);
    uint64_t adjusted = rtt_us;
    if (rtt_us >= congestion->least_us + delay_us) {
        adjusted -= delay_us;
    }
    uint64_t difference = adjusted > congestion->smoothed_us ? adjusted - congestion->smoothed_us
                                                             : congestion->smoothed_us - adjusted;
    congestion->variation_us = (3 * congestion->variation_us + difference) / 4;
    congestion->smoothed_us = (7 * congestion->smoothed_us + adjusted) / 8;
}

void congestion_on_sent(struct congestion *congestion, uint32_t bytes)
{
    congestion->in_flight += bytes;
    congestion->bucket = congestion->bucket > bytes ? congestion->bucket - bytes : 0;
}

void congestion_on_acked(struct congestion *congestion, uint32_t bytes, uint64_t sent_us,
                         bool is_limited)
{
    congestion->in_flight -= bytes;
    congestion->acked += bytes;
    if (!is_limited || (congestion->recovery_us != 0 && sent_us <= congestion->recovery_us)) {
        return;
    }
    if (congestion->window < congestion->threshold) {
        congestion->window += bytes;
    } else {
        /* One datagram per window, RFC 9002, 7.3.3. */
        congestion->window += (uint64_t)congestion->datagram * bytes / congestion->window;
    }
    congestion->window = smaller(congestion->window, CONGESTION_WINDOW_MAX);
}

/* Whether a loss says nothing of the path being full: by Veno's estimate (what the window holds
 * beyond what the shortest round trip would need) the queues are nearly empty, or the round trips
 * differ by no more than they do anyway. */
static bool congestion_is_chance(const struct congestion *congestion)
{
    if (8 * congestion->lost > CONGESTION_CHANCE_EIGHTHS * (congestion->lost + congestion->acked)) {
        return false;
    }
    uint64_t noise_us = larger(CONGESTION_NOISE_US, 4 * congestion->variation_us);
    if (congestion->smoothed_us <= congestion->least_us + noise_us) {
        return true;
    }
    uint64_t waiting_us = congestion->smoothed_us - congestion->least_us;
    uint64_t queued = congestion->window * waiting_us / congestion->smoothed_us;
    return queued < CONGESTION_QUEUED_MAX * (uint64_t)congestion->datagram;
}

void congestion_on_lost(struct congestion *congestion, uint32_t bytes, uint64_t sent_us,
                        uint64_t now_us)
{
    congestion->in_flight -= bytes;
    congestion->lost += bytes;
    if (congestion->recovery_us != 0 && sent_us <= congestion->recovery_us) {
        return;
    }
    congestion->recovery_us = now_us;
    uint64_t window = congestion->window;
    if (congestion_is_chance(congestion)) {
        uint64_t total = congestion->lost + congestion->acked;
        window -= window / 2 * congestion->lost / total;
        congestion->window = larger(window, congestion_least(congestion));
        if (congestion->window < congestion->threshold && congestion->threshold != UINT64_MAX) {
            congestion->threshold = congestion->window;
        }
    } else {
        congestion->window = larger(window / 2, congestion_least(congestion));
        congestion->threshold = congestion->window;
    }
    congestion->acked = 0;
    congestion->lost = 0;
}

void congestion_on_forgotten(struct congestion *congestion, uint32_t bytes)
{
    congestion->in_flight -= bytes;
}

void congestion_on_persistent(struct congestion *congestion)
{
    congestion->window = congestion_least(congestion);
    congestion->recovery_us = 0;
}

/* Bytes that pacing lets through in a round trip: 5/4 of a window (RFC 9002, 7.7). In slow start
 * twice the window, since it doubles in each. */
static uint64_t congestion_paced(const struct congestion *congestion)
{
    return congestion->window < congestion->threshold ? 2 * congestion->window
                                                      : congestion->window / 4 * 5;
}

/* Fills the bucket with what was earned since the last time; what is less than a byte stays for the
 * next one. */
static void congestion_fill(struct congestion *congestion, uint64_t now_us)
{
    uint64_t round_us = larger(congestion->smoothed_us, 1);
    uint64_t paced = congestion_paced(congestion);
    uint64_t burst = larger(CONGESTION_BURST_LEN * (uint64_t)congestion->datagram,
                            paced * CONGESTION_BURST_US / round_us);
    uint64_t elapsed_us = now_us - congestion->bucket_us;
    uint64_t full_us = burst * round_us / paced + 1; /* after which the bucket is full anyway */
    if (elapsed_us >= full_us) {
        congestion->bucket = burst;
        congestion->bucket_us = now_us;
        return;
    }
    uint64_t earned = paced * elapsed_us / round_us;
    congestion->bucket = smaller(congestion->bucket + earned, burst);
    congestion->bucket_us += (earned * round_us + paced - 1) / paced; /* up: nothing twice */
}

uint64_t congestion_allowance(struct congestion *congestion, uint64_t now_us, uint64_t *ret_next_us)
{
    *ret_next_us = UINT64_MAX;
    uint64_t room =
        congestion->window > congestion->in_flight ? congestion->window - congestion->in_flight : 0;
    congestion_fill(congestion, now_us);
    /* A whole datagram may go when the bucket holds one, so that none is cut for pacing's sake. */
    if (room > 0 && congestion->bucket < congestion->datagram) {
        uint64_t missing = congestion->datagram - congestion->bucket;
        uint64_t wait_us =
            missing * larger(congestion->smoothed_us, 1) / congestion_paced(congestion) + 1;
        *ret_next_us = now_us + larger(wait_us, CONGESTION_GRANULARITY_US);
        return 0;
    }
    return room;
}

uint64_t congestion_probe_us(const struct congestion *congestion)
{
    return congestion->smoothed_us +
           larger(4 * congestion->variation_us, CONGESTION_GRANULARITY_US) +
           larger(congestion->delay_us, ACKS_DELAY_US) + CONGESTION_GRANULARITY_US;
}

uint64_t congestion_loss_us(const struct congestion *congestion)
{
    uint64_t round_us = larger(congestion->smoothed_us, congestion->latest_us);
    return larger(round_us + round_us / 8, CONGESTION_GRANULARITY_US);
}
