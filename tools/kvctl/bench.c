/*
 * bench: many clients in one process, each with some requests outstanding; closed loop.
 *
 * First every client asks for the view and reads one key, so that all connections are up; then the
 * clock starts. Each answer makes its slot ask again until the time is over or the count is
 * reached; the clock stops at the last answer. Failed requests are counted and shown, and the slot
 * goes on.
 */
#include "bench.h"

#include "kvctl.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BENCH_REFUSED_PAUSE_MS 10u
#define BENCH_VALUE_SPREAD     4096u /* different values to choose from */
#define BENCH_PREFIX           "bench"
#define BENCH_PREFIX_LEN       5u

struct slot {
    struct bench *bench;
    struct kv_client *client;
    uint64_t start_ns;
    bool is_read;
    bool is_parked; /* not taken by the client library: tried again by the timer */
};

struct bench {
    const struct options *options;
    uv_loop_t loop;
    uv_timer_t end_timer;
    uv_timer_t parked_timer;
    struct kv_client **clients;
    struct slot *slots;
    uint64_t slots_len;
    uint64_t random;
    uint8_t *key;
    uint8_t *values; /* value_bytes + BENCH_VALUE_SPREAD */
    uint64_t started;
    uint64_t outstanding;
    uint64_t start_ns;
    uint64_t last_ns;
    bool is_ending; /* no further request is made */
    bool is_done;
    uint64_t clients_open;
    bool are_clients_closed;
    struct bench_result result;
};

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t bench_random(struct bench *bench)
{
    uint64_t z = (bench->random += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint32_t bench_digits(uint64_t number)
{
    uint32_t digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

/* "bench000...0NUMBER", key_bytes long. */
static void bench_make_key(struct bench *bench, uint64_t number)
{
    for (uint64_t i = bench->options->key_bytes; i > BENCH_PREFIX_LEN; i--) {
        bench->key[i - 1] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}

static void slot_ask(struct slot *slot);

static void bench_count(struct bench *bench, const struct slot *slot, int32_t status,
                        const char *reason)
{
    int outcome = outcome_exit(status);
    if (slot->is_read && outcome == EXIT_NOT_FOUND) {
        bench->result.misses++;
        outcome = EXIT_DONE;
    }
    bench->result.outcomes[outcome]++;
    if (outcome != EXIT_DONE && bench->result.first_error[0] == '\0') {
        snprintf(bench->result.first_error, sizeof(bench->result.first_error), "%s: %.480s",
                 outcome_word(status), reason);
    }
    if (outcome == EXIT_DONE) {
        histogram_add(slot->is_read ? &bench->result.reads : &bench->result.writes,
                      (bench->last_ns - slot->start_ns) / 1000);
    }
}

static void bench_check_done(struct bench *bench)
{
    bench->is_done = bench->is_ending && bench->outstanding == 0;
}

static void bench_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct slot *slot = ctx;
    struct bench *bench = slot->bench;
    bench->outstanding--;
    bench->last_ns = uv_hrtime();
    bench_count(bench, slot, answer->status, answer->reason);
    slot_ask(slot);
    bench_check_done(bench);
}

static void bench_on_parked_time(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    for (uint64_t i = 0; i < bench->slots_len; i++) {
        if (bench->slots[i].is_parked) {
            bench->slots[i].is_parked = false;
            slot_ask(&bench->slots[i]);
        }
    }
    bench_check_done(bench);
}

static void slot_ask(struct slot *slot)
{
    struct bench *bench = slot->bench;
    const struct options *options = bench->options;
    if (options->count > 0 && bench->started == options->count) {
        bench->is_ending = true;
    }
    if (bench->is_ending) {
        return;
    }
    bench->started++;
    bench_make_key(bench, bench_random(bench) % options->keys);
    slot->is_read = bench_random(bench) % 100 < options->read_percent;
    slot->start_ns = uv_hrtime();
    int32_t status;
    if (slot->is_read) {
        status = kv_client_get(slot->client, options->node, bench->key, options->key_bytes, 0, 0,
                               bench_on_answer, slot);
    } else {
        const uint8_t *value = bench->values + bench_random(bench) % BENCH_VALUE_SPREAD;
        status = kv_client_insert(slot->client, bench->key, options->key_bytes, value,
                                  options->value_bytes, 0, bench_on_answer, slot);
    }
    if (status == KV_OK) {
        bench->outstanding++;
        return;
    }
    bench_count(bench, slot, status, "the client library does not take it");
    slot->is_parked = true;
    if (!uv_is_active((uv_handle_t *)&bench->parked_timer)) {
        uv_timer_start(&bench->parked_timer, bench_on_parked_time, BENCH_REFUSED_PAUSE_MS, 0);
    }
}

static void bench_on_end_time(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    bench->is_ending = true;
    bench_check_done(bench);
}

static void bench_wait(struct bench *bench, const bool *is_done)
{
    while (!*is_done) {
        uv_run(&bench->loop, UV_RUN_ONCE);
    }
}

/* Two rounds of one request on each client: the view, then one read from the node. Returns an exit
 * status. */
static int bench_warm_up(struct bench *bench)
{
    uint64_t len = bench->options->connections;
    struct outcome *outcomes = memory_allocate_zero(2 * len, sizeof(*outcomes));
    bench_make_key(bench, 0);
    for (uint64_t i = 0; i < 2 * len; i++) {
        struct kv_client *client = bench->clients[i / 2];
        int32_t status = i % 2 == 0 ? kv_client_view(client, 0, session_on_answer, &outcomes[i])
                                    : kv_client_get(client, bench->options->node, bench->key,
                                                    bench->options->key_bytes, 0, 0,
                                                    session_on_answer, &outcomes[i]);
        if (status != KV_OK) {
            outcome_refuse(&outcomes[i], status);
        }
    }
    const struct outcome *failed = NULL;
    for (uint64_t i = 0; i < 2 * len; i++) {
        bench_wait(bench, &outcomes[i].is_done);
        bool is_good =
            outcomes[i].status == KV_OK || (outcomes[i].status == KV_E_NOT_FOUND && i % 2 == 1);
        if (!is_good && failed == NULL) {
            failed = &outcomes[i];
        }
    }
    int status = failed == NULL ? EXIT_DONE : outcome_report(failed, "bench, connecting");
    free(outcomes);
    return status;
}

static void bench_run(struct bench *bench)
{
    uint64_t depth = bench->options->depth;
    bench->slots_len = bench->options->connections * depth;
    bench->slots = memory_allocate_zero(bench->slots_len, sizeof(*bench->slots));
    bench->start_ns = uv_hrtime();
    bench->last_ns = bench->start_ns;
    if (bench->options->count == 0) {
        uv_update_time(&bench->loop);
        uv_timer_start(&bench->end_timer, bench_on_end_time, bench->options->seconds * 1000, 0);
    }
    for (uint64_t i = 0; i < bench->slots_len; i++) {
        bench->slots[i].bench = bench;
        bench->slots[i].client = bench->clients[i / depth];
        slot_ask(&bench->slots[i]);
    }
    bench_check_done(bench);
    bench_wait(bench, &bench->is_done);
    bench->result.seconds = (double)(bench->last_ns - bench->start_ns) / 1e9;
}

static void bench_on_client_closed(void *ctx)
{
    struct bench *bench = ctx;
    bench->clients_open--;
    bench->are_clients_closed = bench->clients_open == 0;
}

static void bench_close(struct bench *bench)
{
    uv_close((uv_handle_t *)&bench->end_timer, NULL);
    uv_close((uv_handle_t *)&bench->parked_timer, NULL);
    bench->are_clients_closed = bench->clients_open == 0;
    uint64_t clients_len = bench->clients_open;
    for (uint64_t i = 0; i < clients_len; i++) {
        kv_client_close(bench->clients[i], bench_on_client_closed, bench);
    }
    bench_wait(bench, &bench->are_clients_closed);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    uv_loop_close(&bench->loop);
    free(bench->clients);
    free(bench->slots);
    free(bench->key);
    free(bench->values);
    free(bench);
}

/* Returns an exit status. */
static int bench_open(struct bench *bench)
{
    const struct options *options = bench->options;
    bench->clients = memory_allocate_zero(options->connections, sizeof(*bench->clients));
    bench->random = options->seed;
    bench->key = memory_allocate(options->key_bytes);
    memcpy(bench->key, BENCH_PREFIX, BENCH_PREFIX_LEN);
    bench->values = memory_allocate(options->value_bytes + BENCH_VALUE_SPREAD);
    for (uint64_t i = 0; i < options->value_bytes + BENCH_VALUE_SPREAD; i++) {
        bench->values[i] = (uint8_t)('!' + bench_random(bench) % 94);
    }
    int status = EXIT_DONE;
    while (status == EXIT_DONE && bench->clients_open < options->connections) {
        status = session_make_client(&bench->loop, options, &bench->clients[bench->clients_open]);
        bench->clients_open += status == EXIT_DONE ? 1 : 0;
    }
    return status;
}

int verb_bench(struct kvctl *ctl)
{
    const struct options *options = &ctl->options;
    uint32_t needed = BENCH_PREFIX_LEN + bench_digits(options->keys - 1);
    if (options->key_bytes < needed) {
        output_error("%llu keys need --key-bytes of %u at least", (unsigned long long)options->keys,
                     needed);
        return EXIT_USAGE;
    }
    struct bench *bench = memory_allocate_zero(1, sizeof(*bench));
    bench->options = options;
    int error = uv_loop_init(&bench->loop);
    if (error != 0) {
        output_error("cannot start: %s", uv_strerror(error));
        free(bench);
        return EXIT_FAILED;
    }
    uv_timer_init(&bench->loop, &bench->end_timer);
    bench->end_timer.data = bench;
    uv_timer_init(&bench->loop, &bench->parked_timer);
    bench->parked_timer.data = bench;
    int status = bench_open(bench);
    if (status == EXIT_DONE) {
        status = bench_warm_up(bench);
    }
    if (status == EXIT_DONE) {
        bench_run(bench);
        bench_report(options, &bench->result);
        if (bench_failures(&bench->result) > 0) {
            output_error("%llu requests were not done, the first one %s",
                         (unsigned long long)bench_failures(&bench->result),
                         bench->result.first_error);
            status = EXIT_FAILED;
        }
    }
    bench_close(bench);
    return status;
}
