/*
 * The table of links of a node with several transports: which of a peer's addresses a link goes to,
 * what is said when none can be served, and one ready line's worth of listening addresses.
 * The transports are fakes that note what they are asked for.
 */
#include "kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "host/log.h"
#include "host/network.h"
#include "logic/effect.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FAKES_MAX   4u
#define LINKS_MAX   16u
#define MESSAGE_MAX 1000u
#define LOG_MAX     8192u

/* --- a transport; one instance for each entry of the configuration --- */

struct kv_link {
    uint32_t fake; /* of which instance */
    bool is_open;
    char uri[KV_URI_MAX];
    void *user;
    uint32_t sends;
};

struct fake {
    const struct kv_host *host;
    const struct kv_transport_events *events;
    void *ctx;
};

static struct fake fakes[FAKES_MAX];
static int32_t refusal_status; /* of listen() */
static const char *refusal;    /* what it logs then */
static uint32_t fakes_len;
static struct kv_link links[LINKS_MAX];
static uint32_t links_len;

static int32_t fake_create(const struct kv_host *host, const struct kv_setting *settings,
                           uint32_t settings_len, void **ret_self)
{
    (void)settings;
    (void)settings_len;
    assert_true(fakes_len < FAKES_MAX);
    fakes[fakes_len].host = host;
    *ret_self = &fakes[fakes_len++];
    return KV_OK;
}

static int32_t fake_start(void *self, const struct kv_transport_limits *limits,
                          const struct kv_transport_events *events, void *ctx)
{
    struct fake *fake = self;
    assert_int_equal(limits->message_max, MESSAGE_MAX);
    fake->events = events;
    fake->ctx = ctx;
    return KV_OK;
}

/* The port it gets is 1 and the number of the instance. */
static int32_t fake_listen(void *self, const char *uri, char *ret_uri)
{
    const char *colon = strrchr(uri, ':');
    int head = (int)(colon - uri);
    struct fake *fake = self;
    if (refusal_status != KV_OK) {
        if (refusal != NULL) {
            fake->host->log(fake->host->ctx, KV_LOG_ERROR, refusal);
        }
        return refusal_status;
    }
    if (strcmp(colon, ":0") == 0) {
        snprintf(ret_uri, KV_URI_MAX, "%.*s:1%d", head, uri, (int)((struct fake *)self - fakes));
    } else {
        snprintf(ret_uri, KV_URI_MAX, "%s", uri);
    }
    return KV_OK;
}

static int32_t fake_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    if (strstr(uri, "nonsense") != NULL) {
        return KV_E_INVALID;
    }
    assert_true(links_len < LINKS_MAX);
    struct kv_link *link = &links[links_len++];
    *link = (struct kv_link){.fake = (uint32_t)((struct fake *)self - fakes), .is_open = true};
    snprintf(link->uri, sizeof(link->uri), "%s", uri);
    link->user = user;
    *ret_link = link;
    return KV_OK;
}

static int32_t fake_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                         uint32_t slices_len)
{
    (void)slices;
    (void)slices_len;
    assert_ptr_equal(self, &fakes[link->fake]);
    link->sends++;
    return KV_OK;
}

static void fake_flush(void *self)
{
    (void)self;
}

static void fake_close_link(void *self, struct kv_link *link)
{
    assert_ptr_equal(self, &fakes[link->fake]);
    assert_true(link->is_open);
    link->is_open = false;
}

static void fake_destroy(void *self)
{
    (void)self;
}

static struct loaded_plugin fake_plugin(const char *name)
{
    struct loaded_plugin plugin = {
        .path = (char *)"/nowhere/fake.so",
        .descriptor = {.kind = KV_KIND_TRANSPORT, .name = name, .version = "1"},
        .ops.transport = {.create = fake_create,
                          .start = fake_start,
                          .listen = fake_listen,
                          .connect = fake_connect,
                          .send = fake_send,
                          .flush = fake_flush,
                          .close_link = fake_close_link,
                          .stop = fake_destroy,
                          .destroy = fake_destroy},
    };
    return plugin;
}

/* --- a network of some of them --- */

static struct loaded_plugin loaded[FAKES_MAX];
static struct config config;
static struct plugins plugins;
static struct network *network;
static uv_loop_t loop;
static int log_ends[2];
static uint64_t last_up;

static void on_up(void *ctx, uint64_t link)
{
    (void)ctx;
    last_up = link;
}

static void on_message(void *ctx, uint64_t link, const void *bytes, size_t len)
{
    (void)ctx;
    (void)link;
    (void)bytes;
    (void)len;
}

static void on_link_down(void *ctx, uint64_t link)
{
    (void)ctx;
    (void)link;
}

static void on_stopped(void *ctx)
{
    (void)ctx;
}

static int setup(void **state)
{
    (void)state;
    fakes_len = 0;
    refusal_status = KV_OK;
    links_len = 0;
    last_up = 0;
    memset(&config, 0, sizeof(config));
    memset(&plugins, 0, sizeof(plugins));
    config.limits_links = 10;
    config.limits_queue_bytes = 10 * MESSAGE_MAX;
    if (uv_loop_init(&loop) != 0 || pipe(log_ends) != 0) {
        return -1;
    }
    log_init(KV_LOG_INFO, "n1", log_ends[1]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    network_stop(network);
    for (uint32_t i = 0; i < fakes_len; i++) {
        fakes[i].events->on_stopped(fakes[i].ctx);
    }
    bool is_stopped = network_is_stopped(network);
    network_destroy(network);
    network = NULL;
    log_init(KV_LOG_INFO, "n1", STDERR_FILENO);
    close(log_ends[0]);
    close(log_ends[1]);
    return is_stopped && uv_loop_close(&loop) == 0 && alloc_live() == 0 ? 0 : -1;
}

static void add_transport(const char *name, const char *listen)
{
    uint32_t place = plugins.transports_len++;
    loaded[place] = fake_plugin(name);
    plugins.transports[place].loaded = &loaded[place];
    config.transports[place].uris[0] = (char *)listen;
    config.transports[place].uris_len = 1;
    config.transports_len++;
}

static void start_network(struct network_uris *ret_uris)
{
    static const struct network_events events = {on_up, on_message, on_link_down, on_stopped};
    char error[PLUGINS_ERROR_MAX] = "";
    network = network_create(&loop, &config, &plugins, MESSAGE_MAX, &events, NULL);
    assert_int_equal(network_start(network, error), KV_OK);
    assert_int_equal(network_listen(network, ret_uris, error), KV_OK);
}

/* What was logged since the last time; there must be so many lines. */
static const char *logged(uint32_t lines)
{
    static char text[LOG_MAX];
    size_t len = 0;
    char mark = '\0';
    assert_int_equal(write(log_ends[1], &mark, 1), 1); /* so that read() never waits */
    do {
        ssize_t more = read(log_ends[0], text + len, sizeof(text) - len);
        assert_true(more > 0);
        len += (size_t)more;
    } while (text[len - 1] != '\0');
    uint32_t found = 0;
    for (size_t i = 0; i < len; i++) {
        found += text[i] == '\n';
    }
    if (found != lines) {
        fail_msg("%u lines: %s", found, text);
    }
    return text;
}

static uint64_t number(uint32_t n)
{
    return LINK_OPENED_BIT | n;
}

static void open_link(uint32_t n, const char *first, const char *second)
{
    const char *const uris[] = {first, second};
    network_open(network, number(n), uris, second == NULL ? 1 : 2);
}

/* The address and the reason, each once, whether the plugin says the address or not. */
static void it_says_once_where_it_cannot_listen(void **state)
{
    (void)state;
    static const struct network_events events = {on_up, on_message, on_link_down, on_stopped};
    static const struct {
        int32_t status;
        const char *logged;
        const char *error;
    } rows[] = {
        {KV_E_INVALID, "udp: cannot listen on udp://h:7: give a literal address",
         "udp: cannot listen on udp://h:7: give a literal address"},
        {KV_E_IO, "no socket is left", "cannot listen on udp://h:7: no socket is left"},
        {KV_E_IO, NULL, "cannot listen on udp://h:7: input or output failed"},
        {KV_E_EXISTS, "udp: cannot listen on udp://h:7: taken",
         "cannot listen on udp://h:7: the address is in use by another process"},
    };
    char error[PLUGINS_ERROR_MAX];
    struct network_uris uris;
    add_transport("transport-udp", "udp://h:7");
    network = network_create(&loop, &config, &plugins, MESSAGE_MAX, &events, NULL);
    assert_int_equal(network_start(network, error), KV_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        refusal_status = rows[i].status;
        refusal = rows[i].logged;
        assert_int_equal(network_listen(network, &uris, error), rows[i].status);
        assert_string_equal(error, rows[i].error);
    }
}

static void it_listens_on_all_in_their_order(void **state)
{
    (void)state;
    struct network_uris uris;
    add_transport("transport-aa", "aa://h:0");
    add_transport("transport-bb", "bb://h:0");
    add_transport("transport-aa", "aa://h:7");
    start_network(&uris);
    assert_int_equal(uris.len, 3);
    assert_string_equal(uris.uris[0], "aa://h:10");
    assert_string_equal(uris.uris[1], "bb://h:11");
    assert_string_equal(uris.uris[2], "aa://h:7");
}

static void a_link_goes_to_the_first_address_that_is_served(void **state)
{
    (void)state;
    struct network_uris uris;
    add_transport("transport-aa", "aa://h:0");
    add_transport("transport-bb", "bb://h:0");
    start_network(&uris);
    open_link(1, "aa://peer:1", "bb://peer:2");
    open_link(2, "bb://peer:2", "aa://peer:1");
    open_link(3, "cc://peer:3", "bb://peer:2");
    open_link(4, "a://peer:3", "aa://peer:1"); /* the whole scheme, not its beginning */
    assert_int_equal(links_len, 4);
    assert_string_equal(links[0].uri, "aa://peer:1");
    assert_string_equal(links[1].uri, "bb://peer:2");
    assert_string_equal(links[2].uri, "bb://peer:2");
    assert_string_equal(links[3].uri, "aa://peer:1");
    assert_int_equal(links[0].fake, 0);
    assert_int_equal(links[1].fake, 1);
    logged(0);
    /* From here on the link is that transport's. */
    fakes[1].events->on_up(fakes[1].ctx, links[1].user);
    assert_true(last_up == number(2));
    struct kv_slice slice = {"m", 1};
    network_send(network, number(2), &slice, 1);
    assert_int_equal(links[1].sends, 1);
    network_close_link(network, number(2));
    assert_false(links[1].is_open);
}

/* Two entries of one plugin: either may carry the link, so the first does. */
static void two_transports_of_one_plugin(void **state)
{
    (void)state;
    struct network_uris uris;
    add_transport("transport-aa", "aa://h:1");
    add_transport("transport-aa", "aa://h:2");
    start_network(&uris);
    assert_int_equal(uris.len, 2);
    open_link(1, "aa://peer:1", NULL);
    assert_int_equal(links_len, 1);
    assert_int_equal(links[0].fake, 0);
}

static void an_address_that_is_nonsense_gives_way_to_the_next(void **state)
{
    (void)state;
    struct network_uris uris;
    add_transport("transport-aa", "aa://h:0");
    add_transport("transport-bb", "bb://h:0");
    start_network(&uris);
    open_link(1, "aa://non\"sense:1", NULL);
    assert_int_equal(links_len, 1); /* quotes are the transport's business */
    open_link(2, "aa://\"nonsense", "bb://peer:2");
    assert_int_equal(links_len, 2);
    assert_string_equal(links[1].uri, "bb://peer:2");
    const char *text = logged(1);
    assert_non_null(strstr(text, "event=address-refused uri=\"aa://\\\"nonsense\" reason="));
}

static void no_address_is_served(void **state)
{
    (void)state;
    struct network_uris uris;
    add_transport("transport-aa", "aa://h:0");
    add_transport("odd", "odd://h:0");
    start_network(&uris);
    open_link(1, "cc://peer:1", "dd://peer:2");
    assert_int_equal(links_len, 0);
    assert_non_null(strstr(logged(1), "event=link-impossible uris=\"cc://peer:1,dd://peer:2\" "
                                      "schemes=aa,odd reason=\"no transport of this node serves "
                                      "any of these addresses\"\n"));
    open_link(2, "cc://\"peer", NULL);
    assert_non_null(
        strstr(logged(1), "event=link-impossible uris=\"cc://\\\"peer\" schemes=aa,odd "));
    /* It stays down: what is sent is lost, closing it is fine. */
    struct kv_slice slice = {"m", 1};
    network_send(network, number(1), &slice, 1);
    network_close_link(network, number(1));
    network_close_link(network, number(2));
}

/* The logic goes round all addresses of an arbiter that is away, for as long as that takes. */
static void what_leads_nowhere_is_told_once(void **state)
{
    (void)state;
    struct network_uris uris;
    add_transport("transport-aa", "aa://h:0");
    start_network(&uris);
    for (uint32_t i = 0; i < 200; i++) {
        char other[32];
        snprintf(other, sizeof(other), "dd://peer:%u", i % 20);
        open_link(3 * i + 1, "cc://peer:1", NULL);
        open_link(3 * i + 2, other, NULL);
        open_link(3 * i + 3, "aa://\"nonsense", NULL);
        network_close_link(network, number(3 * i + 1));
    }
    assert_int_equal(links_len, 0);
    logged(22);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_listens_on_all_in_their_order),
        TEST(it_says_once_where_it_cannot_listen),
        TEST(a_link_goes_to_the_first_address_that_is_served),
        TEST(two_transports_of_one_plugin),
        TEST(an_address_that_is_nonsense_gives_way_to_the_next),
        TEST(no_address_is_served),
        TEST(what_leads_nowhere_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
