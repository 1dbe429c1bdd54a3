/*
 * bench_client [REQUESTS [DEPTH [VALUE_BYTES]]]: requests a second through the client library. A
 * trivial server in a process of its own (it acknowledges every Insert at once and is arbiter and
 * primary in one); this process keeps DEPTH insertions outstanding. Prints the CPU time of this
 * process too, which is what the library and its transport cost.
 */
#include "logic/message.h"
#include "logic/view.h"

#include "host/guard_transport.h"

#include <kvnode/client.h>
#include <uv.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct server {
    uv_loop_t loop;
    struct guard_transport *guard;
    uv_idle_t flush;
    char uri[KV_URI_MAX];
    uint64_t index;
};

static void server_on_flush(uv_idle_t *idle)
{
    struct server *server = idle->data;
    uv_idle_stop(idle);
    guard_transport_flush(server->guard);
}

static void server_fill_located(struct server *server, struct message *answer)
{
    static uint8_t bytes[VIEW_BYTES_MAX];
    static struct view view;
    view.number = 1;
    view.cluster = 1;
    view.primary = 1;
    view.ack = 1;
    view.members_len = 1;
    view.members[0].node = 1;
    view.members[0].joined = 1;
    view.members[0].starts = 1;
    view.members[0].incarnation = 1;
    view.members[0].state = MEMBER_IN_SYNC;
    view.members[0].uris_len = 1;
    memcpy(view.members[0].name, "n1", 3);
    memcpy(view.members[0].uris[0], server->uri, strlen(server->uri) + 1u);
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    view_encode(&view, &writer);
    answer->body.located.view.at = bytes;
    answer->body.located.view.len = writer.len;
}

static bool server_on_accept(void *ctx, struct guard_link *link, const char *remote_uri)
{
    (void)ctx;
    (void)link;
    (void)remote_uri;
    return true;
}

static void server_on_message(void *ctx, struct guard_link *link, const void *bytes, uint32_t len)
{
    static struct message message, answer;
    static uint8_t out[VIEW_BYTES_MAX + 1024];
    struct server *server = ctx;
    if (message_decode(bytes, len, &message) != KV_OK) {
        return;
    }
    if (message.type == MESSAGE_LOCATE) {
        answer.type = MESSAGE_LOCATED;
        answer.body.located.request = message.body.request.request;
        server_fill_located(server, &answer);
    } else {
        answer.type = MESSAGE_OPERATION_ACK;
        answer.body.operation_ack.request = message.body.operation.request;
        answer.body.operation_ack.position.view = 1;
        answer.body.operation_ack.position.index = ++server->index;
    }
    const struct kv_slice slice = {out, message_encode(&answer, out, sizeof(out))};
    guard_transport_send(server->guard, link, &slice, 1);
    uv_idle_start(&server->flush, server_on_flush);
}

static void server_on_link(void *ctx, struct guard_link *link)
{
    (void)ctx;
    (void)link;
}

static void server_on_down(void *ctx, struct guard_link *link, int32_t reason)
{
    (void)ctx;
    (void)link;
    (void)reason;
}

static void server_on_stopped(void *ctx)
{
    (void)ctx;
}

/* Serves until it is ended; tells its address on the pipe. */
static _Noreturn void server_run(int pipe_end)
{
    static const struct guard_transport_events events = {
        .on_accept = server_on_accept,
        .on_up = server_on_link,
        .on_message = server_on_message,
        .on_writable = server_on_link,
        .on_down = server_on_down,
        .on_stopped = server_on_stopped,
    };
    static struct server server;
    const struct kv_transport_limits limits = {1u << 22, 16, 1u << 26};
    char error[LOADER_ERROR_MAX];
    struct loaded_plugin *plugin = NULL;
    struct kv_setting *settings = NULL;
    uint32_t given = 0;
    uv_loop_init(&server.loop);
    uv_idle_init(&server.loop, &server.flush);
    server.flush.data = &server;
    if (loader_load("transport-tcp", TEST_PLUGIN_FOLDER, KV_KIND_TRANSPORT, &plugin, error) != 0 ||
        loader_settings(plugin, NULL, 0, &settings, &given, error) != 0 ||
        guard_transport_create(plugin, services_create("transport-tcp", &server.loop, NULL, NULL),
                               settings, &limits, &events, &server, &server.guard) != 0 ||
        guard_transport_listen(server.guard, "tcp://127.0.0.1:0", server.uri) != 0 ||
        write(pipe_end, server.uri, sizeof(server.uri)) != (ssize_t)sizeof(server.uri)) {
        _exit(1);
    }
    uv_run(&server.loop, UV_RUN_DEFAULT);
    _exit(0);
}

struct load {
    struct kv_client *client;
    uint64_t left;
    uint64_t done;
    uint64_t failed;
    uint64_t wanted;
    uint32_t value_len;
    char *value;
    uint64_t key;
};

static void load_on_answer(void *ctx, const struct kv_answer *answer);

static void load_issue(struct load *load)
{
    if (load->left == 0) {
        return;
    }
    load->left--;
    load->key++;
    if (kv_client_insert(load->client, &load->key, sizeof(load->key), load->value, load->value_len,
                         10000, load_on_answer, load) != KV_OK) {
        load->failed++;
    }
}

static void load_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct load *load = ctx;
    load->done++;
    load->failed += answer->status != KV_OK;
    load_issue(load);
    if (load->done == load->wanted) {
        kv_client_close(load->client, NULL, NULL);
    }
}

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static uint64_t argument(int argc, char **argv, int index, uint64_t otherwise)
{
    return argc > index ? strtoull(argv[index], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct load load = {.left = argument(argc, argv, 1, 2000000)};
    uint64_t depth = argument(argc, argv, 2, 1000);
    load.value_len = (uint32_t)argument(argc, argv, 3, 100);
    load.value = calloc(1, load.value_len + 1u);
    load.wanted = load.left;
    char uri[KV_URI_MAX];
    int ends[2];
    if (load.value == NULL || pipe(ends) != 0) {
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        server_run(ends[1]);
    }
    if (child < 0 || read(ends[0], uri, sizeof(uri)) != (ssize_t)sizeof(uri)) {
        return 1;
    }
    uv_loop_t loop;
    uv_loop_init(&loop);
    const struct kv_client_options options = {.arbiter_uri = uri,
                                              .plugin_folder = TEST_PLUGIN_FOLDER};
    char error[512];
    if (kv_client_create(&loop, &options, &load.client, error) != KV_OK) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    uint64_t start = uv_hrtime();
    for (uint64_t i = 0; i < depth; i++) {
        load_issue(&load);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    double seconds = (double)(uv_hrtime() - start) / 1e9;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
    printf("requests=%" PRIu64 " failed=%" PRIu64 " depth=%" PRIu64
           " value_bytes=%u seconds=%.3f requests_per_s=%.0f client_cpu_s=%.3f"
           " requests_per_cpu_s=%.0f\n",
           load.done, load.failed, depth, load.value_len, seconds, (double)load.done / seconds, cpu,
           (double)load.done / cpu);
    uv_loop_close(&loop);
    free(load.value);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    return load.failed == 0 ? 0 : 1;
}
