/* What goes wrong on the way to the server: it is away, stops, stands still, its connections are
 * cut, it is killed. Nothing that apply() has acknowledged is missing, and it goes on by itself
 * after reopening, as the node does it. Nothing that is logged holds a password. */
#include "kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TROUBLE_KEYS        40u
#define TROUBLE_BATCH       25u
#define TROUBLE_DEADLINE_MS 60000u

/* Server, store, and what was applied: the value of a key is the index of its last record. */
struct trouble {
    struct kit_host host;
    struct kit_store store;
    struct kit_server server;
    uint64_t acked;                   /* index */
    uint64_t last;                    /* index of the newest record handed over */
    uint64_t values[TROUBLE_KEYS];    /* after `last` */
    uint64_t confirmed[TROUBLE_KEYS]; /* after `acked` */
    uint32_t failures;
};

static void trouble_pause(uint32_t ms)
{
    const struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

/* False: the server cannot be stopped here. */
static bool trouble_begin(struct trouble *trouble)
{
    char setting[128];
    char collection[128];
    if (!kit_server_start(&trouble->server)) {
        print_message("SKIPPED: the server was given with KV_MONGO_URI, it cannot be stopped\n");
        return false;
    }
    snprintf(setting, sizeof(setting), "uri=%s", trouble->server.uri);
    snprintf(collection, sizeof(collection), "collection=%s", kit_collection());
    const char *const settings[] = {setting, collection, "timeout_ms=700", NULL};
    kit_host_init(&trouble->host);
    kit_create(&trouble->store, &trouble->host, KV_OK, settings);
    assert_int_equal(kit_open(&trouble->store), KV_OK);
    return true;
}

static void trouble_end(struct trouble *trouble)
{
    kit_destroy(&trouble->store);
    kit_server_remove(&trouble->server);
}

/* Hands one batch over until it is acknowledged, as the node does: closed and opened again after
 * KV_E_IO, repeated after anything. */
static void trouble_apply(struct trouble *trouble)
{
    struct kv_record records[TROUBLE_BATCH];
    char keys[TROUBLE_BATCH][16];
    char values[TROUBLE_BATCH][24];
    for (uint32_t i = 0; i < TROUBLE_BATCH; i++) {
        uint64_t index = ++trouble->last;
        uint32_t key = (uint32_t)(index * 7 % TROUBLE_KEYS);
        snprintf(keys[i], sizeof(keys[i]), "key-%u", key);
        snprintf(values[i], sizeof(values[i]), "%u", (unsigned)index);
        records[i] = kit_record(index, keys[i], values[i]);
        trouble->values[key] = index;
    }
    const struct kv_position position = {1, trouble->last};
    uint64_t end_ms = kit_now_ms() + TROUBLE_DEADLINE_MS;
    for (;;) {
        int32_t status = KV_E_IO;
        if (trouble->store.is_open || kit_open(&trouble->store) == KV_OK) {
            status = kit_apply(&trouble->store, records, TROUBLE_BATCH, position, NULL);
        }
        if (status == KV_OK) {
            break;
        }
        trouble->failures++;
        kit_host_clear(&trouble->host);
        if (status == KV_E_IO) {
            kit_close(&trouble->store);
        }
        if (kit_now_ms() > end_ms) {
            fail_msg("a batch is not acknowledged in %u ms", TROUBLE_DEADLINE_MS);
        }
        trouble_pause(50);
    }
    trouble->acked = trouble->last;
    memcpy(trouble->confirmed, trouble->values, sizeof(trouble->confirmed));
}

/* Exactly what was acknowledged is there, after opening anew. */
static void trouble_check(struct trouble *trouble)
{
    kit_close(&trouble->store);
    assert_int_equal(kit_open(&trouble->store), KV_OK);
    assert_int_equal(trouble->store.position.index, trouble->acked);
    char *content = kit_content(&trouble->store);
    for (uint32_t key = 0; key < TROUBLE_KEYS; key++) {
        char expected[64];
        if (trouble->confirmed[key] == 0) {
            continue;
        }
        snprintf(expected, sizeof(expected), "key-%u=%u@%u;", key,
                 (unsigned)trouble->confirmed[key], (unsigned)trouble->confirmed[key]);
        if (strstr(content, expected) == NULL) {
            fail_msg("%s is missing in %s", expected, content);
        }
    }
    free(content);
}

/* --- troubles, each on a thread beside the load --- */

static void *trouble_stop_and_start(void *argument)
{
    struct trouble *trouble = argument;
    for (int i = 0; i < 3; i++) {
        trouble_pause(300);
        kit_server_stop(&trouble->server);
        trouble_pause(200);
        kit_server_restart(&trouble->server);
    }
    return NULL;
}

static void *trouble_freeze(void *argument)
{
    struct trouble *trouble = argument;
    for (int i = 0; i < 3; i++) {
        trouble_pause(200);
        kit_server_signal(&trouble->server, SIGSTOP);
        trouble_pause(1200); /* longer than timeout_ms */
        kit_server_signal(&trouble->server, SIGCONT);
    }
    return NULL;
}

static void *trouble_kill(void *argument)
{
    struct trouble *trouble = argument;
    for (int i = 0; i < 5; i++) {
        trouble_pause(300);
        kit_server_signal(&trouble->server, SIGKILL);
        kit_server_restart(&trouble->server);
    }
    return NULL;
}

/* Applies while the thread does its worst, and some more. */
static void trouble_run(struct trouble *trouble, void *(*worst)(void *))
{
    pthread_t thread;
    for (int i = 0; i < 10; i++) {
        trouble_apply(trouble);
    }
    assert_int_equal(pthread_create(&thread, NULL, worst, trouble), 0);
    uint64_t end_ms = kit_now_ms() + TROUBLE_DEADLINE_MS;
    while (pthread_tryjoin_np(thread, NULL) == EBUSY) {
        trouble_apply(trouble);
        assert_true(kit_now_ms() < end_ms);
    }
    for (int i = 0; i < 10; i++) {
        trouble_apply(trouble);
    }
    assert_true(trouble->failures > 0);
    trouble_check(trouble);
}

static void test_the_server_is_stopped_in_the_middle_of_a_load(void **state)
{
    static struct trouble trouble;
    (void)state;
    if (!trouble_begin(&trouble)) {
        skip();
    }
    trouble_run(&trouble, trouble_stop_and_start);
    trouble_end(&trouble);
}

static void test_the_server_stands_still_in_the_middle_of_a_load(void **state)
{
    static struct trouble trouble;
    (void)state;
    if (!trouble_begin(&trouble)) {
        skip();
    }
    trouble_run(&trouble, trouble_freeze);
    trouble_end(&trouble);
}

/* Only a server that commits before it answers can pass this. */
static void test_the_server_is_killed_in_the_middle_of_a_load(void **state)
{
    static struct trouble trouble;
    const char *kind = getenv("KV_MONGO_KIND");
    (void)state;
    if (kind == NULL || strcmp(kind, "mongod") != 0) {
        print_message("SKIPPED: kill -9 of the server was NOT tested: that needs a mongod on the "
                      "PATH; this server commits to disk about once a second\n");
        skip();
    }
    if (!trouble_begin(&trouble)) {
        skip();
    }
    trouble_run(&trouble, trouble_kill);
    trouble_end(&trouble);
}

/* --- a proxy that cuts connections --- */

#define PROXY_LINKS_MAX 16

struct proxy {
    int listener;
    int port;
    int target_port;
    atomic_bool stop_wanted;
    atomic_uint cuts;
    int ends[PROXY_LINKS_MAX][2];
    int links;
    pthread_t thread;
};

static int proxy_socket(int port, bool is_listener, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (is_listener) {
        assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
        assert_int_equal(listen(fd, 16), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        *ret_port = ntohs(address.sin_port);
    } else if (connect(fd, (struct sockaddr *)&address, len) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void proxy_cut(struct proxy *proxy, int link)
{
    close(proxy->ends[link][0]);
    close(proxy->ends[link][1]);
    proxy->links--;
    memcpy(proxy->ends[link], proxy->ends[proxy->links], sizeof(proxy->ends[link]));
}

static void proxy_accept(struct proxy *proxy)
{
    int fd = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    int target = fd < 0 ? -1 : proxy_socket(proxy->target_port, false, NULL);
    if (target < 0 || proxy->links == PROXY_LINKS_MAX) {
        close(fd);
        close(target);
        return;
    }
    proxy->ends[proxy->links][0] = fd;
    proxy->ends[proxy->links][1] = target;
    proxy->links++;
}

/* Passes on what one end has; false: it is over. Now and then only a part of it, and then it is. */
static bool proxy_pass(struct proxy *proxy, int from, int to, unsigned *seed)
{
    char bytes[16384];
    ssize_t len = read(from, bytes, sizeof(bytes));
    bool is_cut = (unsigned)rand_r(seed) % 40 == 0;
    if (len <= 0) {
        return false;
    }
    if (is_cut) {
        atomic_fetch_add(&proxy->cuts, 1);
        len /= 2;
    }
    return send(to, bytes, (size_t)len, MSG_NOSIGNAL) == len && !is_cut;
}

static void *proxy_run(void *argument)
{
    struct proxy *proxy = argument;
    unsigned seed = 7;
    while (!atomic_load(&proxy->stop_wanted)) {
        struct pollfd polled[1 + 2 * PROXY_LINKS_MAX] = {{proxy->listener, POLLIN, 0}};
        int links = proxy->links;
        for (int i = 0; i < links; i++) {
            polled[1 + 2 * i] = (struct pollfd){proxy->ends[i][0], POLLIN, 0};
            polled[2 + 2 * i] = (struct pollfd){proxy->ends[i][1], POLLIN, 0};
        }
        poll(polled, (nfds_t)(1 + 2 * links), 50);
        for (int i = links; i-- > 0;) {
            bool is_fine = true;
            if (polled[1 + 2 * i].revents != 0) {
                is_fine = proxy_pass(proxy, proxy->ends[i][0], proxy->ends[i][1], &seed);
            }
            if (is_fine && polled[2 + 2 * i].revents != 0) {
                is_fine = proxy_pass(proxy, proxy->ends[i][1], proxy->ends[i][0], &seed);
            }
            if (!is_fine) {
                proxy_cut(proxy, i);
            }
        }
        if (polled[0].revents != 0) {
            proxy_accept(proxy);
        }
    }
    while (proxy->links > 0) {
        proxy_cut(proxy, 0);
    }
    close(proxy->listener);
    return NULL;
}

static void test_connections_are_cut_in_the_middle_of_a_load(void **state)
{
    static struct trouble trouble;
    static struct proxy proxy;
    char uri[64];
    (void)state;
    if (!kit_server_start(&trouble.server)) {
        print_message("SKIPPED: the server was given with KV_MONGO_URI\n");
        skip();
    }
    proxy.target_port = trouble.server.port;
    proxy.listener = proxy_socket(0, true, &proxy.port);
    snprintf(uri, sizeof(uri), "mongodb://127.0.0.1:%d", proxy.port);
    kit_host_init(&trouble.host);
    assert_int_equal(pthread_create(&proxy.thread, NULL, proxy_run, &proxy), 0);
    char setting[96];
    char collection[96];
    snprintf(setting, sizeof(setting), "uri=%s", uri);
    snprintf(collection, sizeof(collection), "collection=%s", kit_collection());
    const char *const settings[] = {setting, collection, "timeout_ms=2000", NULL};
    kit_create(&trouble.store, &trouble.host, KV_OK, settings);
    for (int i = 0; i < 300; i++) {
        trouble_apply(&trouble);
    }
    assert_true(atomic_load(&proxy.cuts) > 5);
    atomic_store(&proxy.stop_wanted, true);
    pthread_join(proxy.thread, NULL);
    kit_destroy(&trouble.store);
    /* Looked at without the proxy. */
    snprintf(setting, sizeof(setting), "uri=%s", trouble.server.uri);
    kit_create(&trouble.store, &trouble.host, KV_OK, settings);
    trouble_check(&trouble);
    trouble_end(&trouble);
}

/* --- nobody there --- */

static void test_a_server_that_is_away(void **state)
{
    struct kit_host host;
    struct kit_store store;
    const char *const settings[] = {"uri=mongodb://127.0.0.1:9", "timeout_ms=300", NULL};
    (void)state;
    kit_host_init(&host);
    kit_create(&store, &host, KV_OK, settings);
    uint64_t begin_ms = kit_now_ms();
    int32_t status = kit_open(&store);
    assert_int_equal(status, KV_E_RETRY);
    assert_true(kit_now_ms() - begin_ms < 20000);
    assert_non_null(strstr(host.log, "127.0.0.1"));
    kit_destroy(&store);
}

static void test_credentials_are_never_logged(void **state)
{
    static const char *const uris[] = {
        "uri=mongodb://somebody:s3cret-pw@127.0.0.1:9/?authSource=admin",
        "uri=mongodb://somebody:s3cret-pw@127.0.0.1:9/?tls=true",
        "uri=mongodb://somebody:s3cret-pw@",
        "uri=mongodb://somebody:s3cret-pw@@host",
        "uri=mongodb://somebody:s3cret%zz@127.0.0.1:9",
        "uri=mongodb://somebody:s3cret-pw@127.0.0.1:9/?authMechanism=NOTHING",
        "uri=mongodb+srv://somebody:s3cret-pw@nowhere.invalid/",
    };
    struct kit_host host;
    struct kit_store store;
    (void)state;
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        const char *const settings[] = {uris[i], "timeout_ms=200", NULL};
        kit_host_init(&host);
        int32_t status = kit_try(&store, &host, settings);
        assert_true(status != KV_OK);
        assert_true(host.errors > 0);
        if (strstr(host.log, "s3cret") != NULL || strstr(host.log, "somebody") != NULL) {
            fail_msg("%s: logs \"%s\"", uris[i], host.log);
        }
        kit_destroy(&store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_that_is_away),
        cmocka_unit_test(test_credentials_are_never_logged),
        cmocka_unit_test(test_the_server_is_stopped_in_the_middle_of_a_load),
        cmocka_unit_test(test_the_server_stands_still_in_the_middle_of_a_load),
        cmocka_unit_test(test_connections_are_cut_in_the_middle_of_a_load),
        cmocka_unit_test(test_the_server_is_killed_in_the_middle_of_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
