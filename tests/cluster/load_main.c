/*
 * cluster-load ARBITER OUT SEED DEPTH [NODE...]: a client that inserts and removes until SIGTERM,
 * and knows at the end what each of its keys must hold.
 *
 * DEPTH slots work side by side, each at one key with one request at a time. A key whose update was
 * not confirmed is never used again: it may hold the last confirmed value or the unconfirmed one.
 * After an acknowledgement a slot sometimes reads its key at one of the NODEs, from a state at or
 * after the update (min_index): anything but what was just written is an error.
 *
 * stdout: "acked N" lines, for whoever waits for progress. OUT: a line for each key,
 * "KEY TAB CONFIRMED TAB UNCONFIRMED", "-" for absent, "?" for no unconfirmed update.
 * Exit status: 0 done, 2 usage, 9 a read was wrong.
 */
#include "base/rand.h"

#include <inttypes.h>
#include <kvnode/client.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define LOAD_VALUE_MAX    400u
#define LOAD_OPS_MAX      6u /* updates of one key */
#define LOAD_TELL_MS      20u
#define LOAD_DEADLINE_MS  4000u
#define LOAD_NODES_MAX    8
#define LOAD_READ_PERCENT 10u

#define LOAD_ABSENT       "-"
#define LOAD_NONE         "?"

struct load;

struct slot {
    struct load *load;
    uint32_t number;
    uint32_t generation; /* of the key */
    uint32_t ops_left;
    uint64_t index; /* of the last acknowledged update */
    char key[32];
    char *confirmed;
    char *asked; /* the update in flight; NULL: none */
};

struct load {
    uv_loop_t loop;
    uv_timer_t tell_timer;
    uv_signal_t term_signal;
    struct kv_client *client;
    struct rand rand;
    FILE *out;
    char *const *nodes;
    uint32_t nodes_len;
    struct slot *slots;
    uint32_t slots_len;
    uint32_t busy;
    uint64_t acked;
    uint64_t told;
    uint64_t unconfirmed;
    bool is_ending;
    bool is_wrong;
};

static void load_next(struct slot *slot);

static char *load_copy(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        abort();
    }
    return copy;
}

/* Writes down what the key must hold, and takes another key. */
static void load_end_key(struct slot *slot, const char *unconfirmed)
{
    if (slot->ops_left < LOAD_OPS_MAX) {
        fprintf(slot->load->out, "%s\t%s\t%s\n", slot->key, slot->confirmed,
                unconfirmed == NULL ? LOAD_NONE : unconfirmed);
    }
    free(slot->confirmed);
    slot->confirmed = load_copy(LOAD_ABSENT);
    slot->generation++;
    slot->ops_left = LOAD_OPS_MAX;
    snprintf(slot->key, sizeof(slot->key), "load-%u-%u", slot->number, slot->generation);
}

static void load_on_closed(void *ctx)
{
    struct load *load = ctx;
    uv_close((uv_handle_t *)&load->tell_timer, NULL);
    uv_close((uv_handle_t *)&load->term_signal, NULL);
}

static void load_end_slot(struct slot *slot)
{
    struct load *load = slot->load;
    load_end_key(slot, NULL);
    if (--load->busy == 0) {
        kv_client_close(load->client, load_on_closed, load);
    }
}

/* --- reads --- */

static void load_on_value(void *ctx, const struct kv_answer *answer)
{
    struct slot *slot = ctx;
    bool is_absent = strcmp(slot->confirmed, LOAD_ABSENT) == 0;
    bool is_right = true;
    if (answer->status == KV_OK) {
        is_right = !is_absent && answer->value_len == strlen(slot->confirmed) &&
                   memcmp(answer->value, slot->confirmed, answer->value_len) == 0;
    } else if (answer->status == KV_E_NOT_FOUND) {
        /* The node may be unknown as well: then there is a reason that says so. */
        is_right = is_absent || answer->position.index == 0;
    }
    if (!is_right) {
        fprintf(stderr,
                "wrong read of %s: status %d, \"%.*s\" instead of \"%s\" (index %" PRIu64
                ", read at %" PRIu64 ")\n",
                slot->key, answer->status, (int)answer->value_len, (const char *)answer->value,
                slot->confirmed, slot->index, answer->position.index);
        slot->load->is_wrong = true;
    }
    load_next(slot);
}

static bool load_read(struct slot *slot)
{
    struct load *load = slot->load;
    const char *node = load->nodes[rand_below(&load->rand, load->nodes_len)];
    return kv_client_get(load->client, node, slot->key, strlen(slot->key), slot->index,
                         LOAD_DEADLINE_MS, load_on_value, slot) == KV_OK;
}

/* --- updates --- */

static void load_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct slot *slot = ctx;
    struct load *load = slot->load;
    char *asked = slot->asked;
    slot->asked = NULL;
    if (answer->status == KV_OK) {
        free(slot->confirmed);
        slot->confirmed = asked;
        slot->index = answer->position.index;
        load->acked++;
        if (load->nodes_len > 0 && rand_percent(&load->rand, LOAD_READ_PERCENT) &&
            load_read(slot)) {
            return;
        }
    } else {
        if (answer->status == KV_E_TIMEOUT || answer->status == KV_E_CLOSED) {
            load->unconfirmed++;
            load_end_key(slot, asked);
        }
        free(asked);
    }
    load_next(slot);
}

static void load_update(struct slot *slot)
{
    struct load *load = slot->load;
    char value[LOAD_VALUE_MAX + 64];
    int32_t status;
    if (rand_percent(&load->rand, 20)) {
        slot->asked = load_copy(LOAD_ABSENT);
        status = kv_client_remove(load->client, slot->key, strlen(slot->key), LOAD_DEADLINE_MS,
                                  load_on_answer, slot);
    } else {
        int len = snprintf(value, sizeof(value), "%s-%u-", slot->key, slot->ops_left);
        uint64_t more = rand_below(&load->rand, LOAD_VALUE_MAX);
        memset(value + len, 'a' + (int)rand_below(&load->rand, 26), more);
        value[(uint64_t)len + more] = '\0';
        slot->asked = load_copy(value);
        status = kv_client_insert(load->client, slot->key, strlen(slot->key), value, strlen(value),
                                  LOAD_DEADLINE_MS, load_on_answer, slot);
    }
    if (status != KV_OK) {
        abort(); /* within the client's limits by far */
    }
}

static void load_next(struct slot *slot)
{
    if (slot->load->is_ending) {
        load_end_slot(slot);
        return;
    }
    if (slot->ops_left == 0) {
        load_end_key(slot, NULL);
    }
    slot->ops_left--;
    load_update(slot);
}

/* --- life --- */

static void load_tell(struct load *load)
{
    if (load->acked != load->told) {
        load->told = load->acked;
        printf("acked %" PRIu64 "\n", load->acked);
        fflush(stdout);
    }
}

static void load_on_tell(uv_timer_t *timer)
{
    load_tell(timer->data);
}

static void load_on_term(uv_signal_t *handle, int number)
{
    (void)number;
    struct load *load = handle->data;
    load->is_ending = true;
}

static int load_run(struct load *load)
{
    uv_timer_start(&load->tell_timer, load_on_tell, LOAD_TELL_MS, LOAD_TELL_MS);
    uv_signal_start(&load->term_signal, load_on_term, SIGTERM);
    for (uint32_t i = 0; i < load->slots_len; i++) {
        struct slot *slot = &load->slots[i];
        slot->load = load;
        slot->number = i;
        slot->ops_left = LOAD_OPS_MAX;
        slot->confirmed = load_copy(LOAD_ABSENT);
        snprintf(slot->key, sizeof(slot->key), "load-%u-0", i);
        load->busy++;
        load_next(slot);
    }
    uv_run(&load->loop, UV_RUN_DEFAULT);
    load_tell(load);
    fprintf(stderr, "acknowledged=%" PRIu64 " unconfirmed=%" PRIu64 "\n", load->acked,
            load->unconfirmed);
    for (uint32_t i = 0; i < load->slots_len; i++) {
        free(load->slots[i].confirmed);
    }
    return load->is_wrong ? 9 : 0;
}

int main(int argc, char **argv)
{
    struct load load = {0};
    char error[512];
    if (argc < 5 || argc > 5 + LOAD_NODES_MAX) {
        fprintf(stderr, "usage: cluster-load ARBITER OUT SEED DEPTH [NODE...]\n");
        return 2;
    }
    load.rand = (struct rand){strtoull(argv[3], NULL, 10)};
    load.slots_len = (uint32_t)strtoul(argv[4], NULL, 10);
    load.nodes = argv + 5;
    load.nodes_len = (uint32_t)argc - 5;
    load.slots = calloc(load.slots_len, sizeof(*load.slots));
    load.out = fopen(argv[2], "w");
    if (load.slots == NULL || load.out == NULL || uv_loop_init(&load.loop) != 0) {
        abort();
    }
    uv_timer_init(&load.loop, &load.tell_timer);
    uv_signal_init(&load.loop, &load.term_signal);
    load.tell_timer.data = &load;
    load.term_signal.data = &load;
    struct kv_client_options options = {.arbiter_uri = argv[1]};
    if (kv_client_create(&load.loop, &options, &load.client, error) != KV_OK) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    int status = load_run(&load);
    if (uv_loop_close(&load.loop) != 0 || fclose(load.out) != 0) {
        abort();
    }
    free(load.slots);
    return status;
}
