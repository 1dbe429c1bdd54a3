/*
 * loop-load ARBITER HISTORY SEED PREFIX KEYS SESSIONS DEADLINE_MS NODE...: clients that insert,
 * remove and read the same few keys until SIGTERM, and write down what they asked and were told.
 *
 * Each session is a client of its own with one request at a time. SESSIONS 0: one client reads
 * each key once at the primary and at every NODE, and ends. HISTORY (history.h) is appended to.
 *
 * stdout: "acked N" lines, for whoever waits for progress.
 * Exit status: 0 done, 2 usage, 9 a request was not answered in time, or twice.
 */
#include "history.h"

#include "base/rand.h"

#include <inttypes.h>
#include <kvnode/client.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#define LOAD_SESSIONS_MAX 32u
#define LOAD_PAUSE_MS_MAX 40u
#define LOAD_TELL_MS      20u
#define LOAD_GRACE_MS     10000u /* after SIGTERM, for the last answers */
#define LOAD_VALUE_MAX    200u

struct load;

struct session {
    struct load *load;
    uint32_t number;
    struct kv_client *client;
    uv_timer_t pause_timer;
    uint64_t index; /* of its last acknowledged update */
    uint32_t step;  /* of the reading of everything */
    bool is_ended;
};

/* A request: alive until the end, so that a second answer is seen as one. */
struct request {
    struct session *session;
    struct request *next;
    struct history_op op;
};

struct load {
    uv_loop_t loop;
    uv_timer_t tell_timer;
    uv_timer_t grace_timer;
    uv_signal_t term_signal;
    struct rand rand;
    const char *prefix;
    uint32_t keys;
    uint32_t deadline_ms;
    char *const *nodes;
    uint32_t nodes_len;
    struct session sessions[LOAD_SESSIONS_MAX];
    uint32_t sessions_len;
    uint32_t busy;
    struct request *first;
    struct request *last;
    uint64_t values; /* given out */
    uint64_t acked;
    uint64_t told;
    bool is_reading_all;
    bool is_ending;
    bool is_wrong;
};

static uint64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the end --- */

static void session_end(struct session *session)
{
    struct load *load = session->load;
    session->is_ended = true;
    uv_close((uv_handle_t *)&session->pause_timer, NULL);
    kv_client_close(session->client, NULL, NULL);
    if (--load->busy == 0) {
        uv_close((uv_handle_t *)&load->tell_timer, NULL);
        uv_close((uv_handle_t *)&load->grace_timer, NULL);
        uv_close((uv_handle_t *)&load->term_signal, NULL);
    }
}

static void load_on_term(uv_signal_t *handle, int number)
{
    (void)number;
    struct load *load = handle->data;
    load->is_ending = true;
}

static bool load_write(const struct load *load, const char *path)
{
    FILE *file = fopen(path, "a");
    if (file == NULL) {
        return false;
    }
    for (const struct request *request = load->first; request != NULL; request = request->next) {
        history_write_op(file, &request->op);
    }
    return fclose(file) == 0;
}

/* --- answers --- */

static void session_on_pause(uv_timer_t *timer);

static enum history_outcome load_outcome(const struct history_op *op,
                                         const struct kv_answer *answer)
{
    switch (answer->status) {
    case KV_OK:
        return HISTORY_OK;
    case KV_E_NOT_FOUND:
        /* A node that is in no view gives no answer about the key. */
        return op->kind == HISTORY_GET && answer->position.view != 0 ? HISTORY_ABSENT
                                                                     : HISTORY_REJECTED;
    case KV_E_TIMEOUT:
    case KV_E_CLOSED:
        return HISTORY_UNKNOWN;
    default:
        return HISTORY_REJECTED;
    }
}

static void load_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct request *request = ctx;
    struct session *session = request->session;
    struct load *load = session->load;
    struct history_op *op = &request->op;
    if (op->answers++ > 0) {
        fprintf(stderr, "session %u: a second answer about %s\n", op->session, op->key);
        load->is_wrong = true;
        return;
    }
    op->returned_ns = load_now_ns();
    op->outcome = load_outcome(op, answer);
    op->index = answer->position.index;
    if (op->kind == HISTORY_GET && op->outcome == HISTORY_OK) {
        char digits[32] = "";
        size_t len = answer->value_len < sizeof(digits) ? answer->value_len : sizeof(digits) - 1;
        memcpy(digits, answer->value, len);
        op->value = strtoull(digits, NULL, 10);
    } else if (op->outcome == HISTORY_OK) {
        session->index = op->index;
        load->acked++;
    }
    /* Now and then at once, so that most of the time some requests are on their way. */
    bool is_pausing = !load->is_reading_all && rand_percent(&load->rand, 50);
    uint64_t pause_ms = is_pausing ? rand_below(&load->rand, LOAD_PAUSE_MS_MAX) : 0;
    uv_timer_start(&session->pause_timer, session_on_pause, pause_ms, 0);
}

/* --- requests --- */

static struct request *session_new_request(struct session *session, enum history_kind kind,
                                           uint32_t key, const char *node)
{
    struct load *load = session->load;
    struct request *request = calloc(1, sizeof(*request));
    if (request == NULL) {
        abort();
    }
    request->session = session;
    request->op = (struct history_op){.session = session->number,
                                      .kind = kind,
                                      .deadline_ms = load->deadline_ms,
                                      .returned_ns = UINT64_MAX,
                                      .outcome = HISTORY_UNKNOWN};
    snprintf(request->op.key, sizeof(request->op.key), "%sk%u", load->prefix, key);
    snprintf(request->op.node, sizeof(request->op.node), "%s", node);
    if (load->last == NULL) {
        load->first = request;
    } else {
        load->last->next = request;
    }
    load->last = request;
    return request;
}

static void request_send(struct request *request)
{
    struct history_op *op = &request->op;
    struct kv_client *client = request->session->client;
    struct rand *rand = &request->session->load->rand;
    char value[32 + LOAD_VALUE_MAX];
    int32_t status = KV_OK;
    op->invoked_ns = load_now_ns();
    if (op->kind == HISTORY_GET) {
        bool is_named = strcmp(op->node, "-") != 0;
        status = kv_client_get(client, is_named ? op->node : NULL, op->key, strlen(op->key),
                               op->min_index, op->deadline_ms, load_on_answer, request);
    } else if (op->kind == HISTORY_REMOVE) {
        status = kv_client_remove(client, op->key, strlen(op->key), op->deadline_ms, load_on_answer,
                                  request);
    } else {
        int len = snprintf(value, sizeof(value), "%" PRIu64 ".", op->value);
        uint64_t more = rand_below(rand, LOAD_VALUE_MAX);
        memset(value + len, 'x', more);
        status = kv_client_insert(client, op->key, strlen(op->key), value, (size_t)len + more,
                                  op->deadline_ms, load_on_answer, request);
    }
    if (status != KV_OK) {
        abort(); /* within the client's limits by far */
    }
}

/* Of the reading of everything: false when all is read. */
static bool session_read_next(struct session *session)
{
    struct load *load = session->load;
    uint32_t places = load->nodes_len + 1;
    if (session->step == load->keys * places) {
        return false;
    }
    uint32_t place = session->step % places;
    request_send(session_new_request(session, HISTORY_GET, session->step / places,
                                     place == 0 ? "-" : load->nodes[place - 1]));
    session->step++;
    return true;
}

static void session_next(struct session *session)
{
    struct load *load = session->load;
    if (load->is_ending || (load->is_reading_all && !session_read_next(session))) {
        session_end(session);
        return;
    }
    if (load->is_reading_all) {
        return;
    }
    uint32_t key = (uint32_t)rand_below(&load->rand, load->keys);
    uint64_t draw = rand_below(&load->rand, 100);
    struct request *request;
    if (draw < 40) {
        request = session_new_request(session, HISTORY_INSERT, key, "-");
        request->op.value = ++load->values;
    } else if (draw < 47) {
        request = session_new_request(session, HISTORY_REMOVE, key, "-");
    } else if (draw < 75 || load->nodes_len == 0) {
        request = session_new_request(session, HISTORY_GET, key, "-");
    } else {
        request = session_new_request(session, HISTORY_GET, key,
                                      load->nodes[rand_below(&load->rand, load->nodes_len)]);

        request->op.min_index = session->index;
    }
    request_send(request);
}

static void session_on_pause(uv_timer_t *timer)
{
    session_next(timer->data);
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

static void load_on_grace(uv_timer_t *timer)
{
    struct load *load = timer->data;
    load->is_wrong = true;
    fprintf(stderr, "%u sessions have no answer\n", load->busy);
    uv_stop(&load->loop);
}

static void load_on_tell(uv_timer_t *timer)
{
    struct load *load = timer->data;
    load_tell(load);
    if (load->is_ending && !uv_is_active((uv_handle_t *)&load->grace_timer)) {
        uv_timer_start(&load->grace_timer, load_on_grace, LOAD_GRACE_MS, 0);
    }
}

static bool load_open(struct load *load, const char *arbiter)
{
    char error[512];
    struct kv_client_options options = {.arbiter_uri = arbiter};
    for (uint32_t i = 0; i < load->sessions_len; i++) {
        struct session *session = &load->sessions[i];
        session->load = load;
        session->number = load->is_reading_all ? LOAD_SESSIONS_MAX : i;
        if (kv_client_create(&load->loop, &options, &session->client, error) != KV_OK) {
            fprintf(stderr, "%s\n", error);
            return false;
        }
        uv_timer_init(&load->loop, &session->pause_timer);
        session->pause_timer.data = session;
        uv_timer_start(&session->pause_timer, session_on_pause, 0, 0);
        load->busy++;
    }
    return true;
}

static int load_run(struct load *load, const char *arbiter, const char *path)
{
    if (uv_loop_init(&load->loop) != 0) {
        abort();
    }
    uv_timer_init(&load->loop, &load->tell_timer);
    uv_timer_init(&load->loop, &load->grace_timer);
    uv_signal_init(&load->loop, &load->term_signal);
    load->tell_timer.data = load;
    load->grace_timer.data = load;
    load->term_signal.data = load;
    uv_timer_start(&load->tell_timer, load_on_tell, LOAD_TELL_MS, LOAD_TELL_MS);
    uv_signal_start(&load->term_signal, load_on_term, SIGTERM);
    if (!load_open(load, arbiter)) {
        return 2;
    }
    uv_run(&load->loop, UV_RUN_DEFAULT);
    load_tell(load);
    if (!load_write(load, path)) {
        abort();
    }
    for (struct request *request = load->first; request != NULL;) {
        struct request *next = request->next;
        free(request);
        request = next;
    }
    return load->is_wrong ? 9 : 0;
}

int main(int argc, char **argv)
{
    static struct load load;
    if (argc < 8) {
        fprintf(stderr,
                "usage: loop-load ARBITER HISTORY SEED PREFIX KEYS SESSIONS DEADLINE_MS NODE...\n");
        return 2;
    }
    load.rand = (struct rand){strtoull(argv[3], NULL, 10)};
    load.prefix = argv[4];
    load.keys = (uint32_t)strtoul(argv[5], NULL, 10);
    load.sessions_len = (uint32_t)strtoul(argv[6], NULL, 10);
    load.deadline_ms = (uint32_t)strtoul(argv[7], NULL, 10);
    load.nodes = argv + 8;
    load.nodes_len = (uint32_t)argc - 8;
    load.is_reading_all = load.sessions_len == 0;
    load.sessions_len = load.is_reading_all ? 1 : load.sessions_len;
    if (load.keys == 0 || load.sessions_len > LOAD_SESSIONS_MAX) {
        return 2;
    }
    return load_run(&load, argv[1], argv[2]);
}
