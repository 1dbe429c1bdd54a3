/*
 * A plugin that does nothing and is odd in one way: each -D macro replaces one member of its
 * descriptor. CMakeLists.txt builds one shared object for each refusal of the loader.
 */
#include <kvnode/persist.h>
#include <kvnode/transport.h>

#ifdef ODD_UV
#include <uv.h>
#ifndef ODD_UV_VERSION
#define ODD_UV_VERSION UV_VERSION_HEX
#endif
#ifndef ODD_LOOP_SIZE
#define ODD_LOOP_SIZE sizeof(uv_loop_t)
#endif
#endif

#ifndef ODD_MAGIC
#define ODD_MAGIC KV_ABI_MAGIC
#endif
#ifndef ODD_MAJOR
#define ODD_MAJOR KV_ABI_MAJOR
#endif
#ifndef ODD_MINOR
#define ODD_MINOR KV_ABI_MINOR
#endif
#ifndef ODD_PLUGIN_SIZE
#define ODD_PLUGIN_SIZE sizeof(struct kv_plugin)
#endif
#ifndef ODD_CAPABILITIES
#define ODD_CAPABILITIES 0
#endif
#ifndef ODD_FEATURES
#define ODD_FEATURES 0
#endif
#ifndef ODD_UV_VERSION
#define ODD_UV_VERSION 0
#endif
#ifndef ODD_LOOP_SIZE
#define ODD_LOOP_SIZE 0
#endif
#ifndef ODD_NAME
#define ODD_NAME "odd"
#endif
#ifndef ODD_VERSION
#define ODD_VERSION "1"
#endif
#ifndef ODD_SUMMARY
#define ODD_SUMMARY "Does nothing."
#endif
#ifndef ODD_OPTION
#define ODD_OPTION                                  \
    {                                               \
        "path", NULL, "Where.", KV_OPTION_STRING, 0 \
    }
#endif
#ifndef ODD_OPTIONS
#define ODD_OPTIONS odd_options
#endif
#ifndef ODD_OPTIONS_LEN
#define ODD_OPTIONS_LEN (sizeof(odd_options) / sizeof(odd_options[0]))
#endif
#ifndef ODD_OPS
#define ODD_OPS &odd_ops
#endif
#ifndef ODD_OPS_SIZE
#define ODD_OPS_SIZE sizeof(odd_ops)
#endif
/* The operations, for example -DODD_SEND=NULL. */
#ifndef ODD_CREATE
#define ODD_CREATE odd_create
#endif
#ifndef ODD_START
#define ODD_START odd_start
#endif
#ifndef ODD_LISTEN
#define ODD_LISTEN odd_listen
#endif
#ifndef ODD_CONNECT
#define ODD_CONNECT odd_connect
#endif
#ifndef ODD_SEND
#define ODD_SEND odd_send
#endif
#ifndef ODD_FLUSH
#define ODD_FLUSH odd_destroy
#endif
#ifndef ODD_CLOSE_LINK
#define ODD_CLOSE_LINK odd_close_link
#endif
#ifndef ODD_STOP
#define ODD_STOP odd_destroy
#endif
#ifndef ODD_DESTROY
#define ODD_DESTROY odd_destroy
#endif
#ifndef ODD_OPEN
#define ODD_OPEN odd_open
#endif
#ifndef ODD_LOAD
#define ODD_LOAD NULL
#endif
#ifndef ODD_RESET
#define ODD_RESET NULL
#endif
#ifndef ODD_GET
#define ODD_GET NULL
#endif
#ifndef ODD_APPLY
#define ODD_APPLY odd_apply
#endif
#ifndef ODD_CLOSE
#define ODD_CLOSE odd_destroy
#endif

#ifdef ODD_UNRESOLVED
int odd_is_nowhere(void);
#endif

static int32_t odd_create(const struct kv_host *host, const struct kv_setting *settings,
                          uint32_t settings_len, void **ret_self)
{
    (void)settings;
    (void)settings_len;
    *ret_self = (void *)(uintptr_t)host;
#ifdef ODD_UNRESOLVED
    return odd_is_nowhere();
#else
    return KV_OK;
#endif
}

static void odd_destroy(void *self)
{
    (void)self;
}

#if defined(ODD_SHORT)

KV_PLUGIN_EXPORT const uint32_t kv_plugin[2] = {KV_ABI_MAGIC, KV_ABI_MAJOR};

#elif defined(ODD_FUNCTION)

KV_PLUGIN_EXPORT int kv_plugin(void);
int kv_plugin(void)
{
    return 0;
}

#elif defined(ODD_NO_SYMBOL)

KV_PLUGIN_EXPORT const uint32_t other_plugin = KV_ABI_MAGIC;

#else

#ifdef ODD_TRANSPORT

#ifndef ODD_KIND
#define ODD_KIND KV_KIND_TRANSPORT
#endif

static int32_t odd_start(void *self, const struct kv_transport_limits *limits,
                         const struct kv_transport_events *events, void *ctx)
{
    (void)self;
    (void)limits;
    (void)events;
    (void)ctx;
    return KV_OK;
}

static int32_t odd_listen(void *self, const char *uri, char *ret_uri)
{
    (void)self;
    (void)uri;
    (void)ret_uri;
    return KV_E_INVALID;
}

static int32_t odd_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    (void)self;
    (void)uri;
    (void)user;
    (void)ret_link;
    return KV_E_INVALID;
}

static int32_t odd_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                        uint32_t slices_len)
{
    (void)self;
    (void)link;
    (void)slices;
    (void)slices_len;
    return KV_E_CLOSED;
}

static void odd_close_link(void *self, struct kv_link *link)
{
    (void)self;
    (void)link;
}

static const struct kv_transport_ops odd_ops = {
    .create = ODD_CREATE,
    .start = ODD_START,
    .listen = ODD_LISTEN,
    .connect = ODD_CONNECT,
    .send = ODD_SEND,
    .flush = ODD_FLUSH,
    .close_link = ODD_CLOSE_LINK,
    .stop = ODD_STOP,
    .destroy = ODD_DESTROY,
};

#else

#ifndef ODD_KIND
#define ODD_KIND KV_KIND_PERSIST
#endif

static int32_t odd_open(void *self, struct kv_position *ret_position)
{
    (void)self;
    ret_position->view = 0;
    ret_position->index = 0;
    return KV_OK;
}

static int32_t odd_load(void *self, kv_emit_fn emit, void *ctx)
{
    (void)self;
    (void)emit;
    (void)ctx;
    return KV_OK;
}

static int32_t odd_apply(void *self, const struct kv_record *records, uint32_t count,
                         struct kv_position position, uint32_t *results)
{
    (void)self;
    (void)records;
    (void)count;
    (void)position;
    (void)results;
    return KV_OK;
}

static int32_t odd_reset(void *self)
{
    (void)self;
    return KV_OK;
}

static int32_t odd_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx)
{
    (void)self;
    (void)key;
    (void)key_len;
    (void)emit;
    (void)ctx;
    return KV_E_NOT_FOUND;
}

static const struct kv_persist_ops odd_ops = {
    .create = ODD_CREATE,
    .open = ODD_OPEN,
    .load = ODD_LOAD,
    .apply = ODD_APPLY,
    .close = ODD_CLOSE,
    .destroy = ODD_DESTROY,
    .reset = ODD_RESET,
    .get = ODD_GET,
};

#endif

static const struct kv_option odd_options[] = {ODD_OPTION};

#define ODD_MEMBERS(size)                                                                   \
    {                                                                                       \
        ODD_MAGIC, ODD_MAJOR, ODD_MINOR, (uint32_t)(size), ODD_OPS_SIZE, ODD_KIND,          \
            ODD_OPTIONS_LEN, ODD_CAPABILITIES, ODD_FEATURES, ODD_UV_VERSION, ODD_LOOP_SIZE, \
            ODD_NAME, ODD_VERSION, ODD_SUMMARY, ODD_OPTIONS, ODD_OPS                        \
    }

#ifdef ODD_TAIL
/* As a later minor would have it: the same members, then some that this host does not know. */
struct odd_plugin {
    struct kv_plugin head;
    uint64_t tail[8];
};
KV_PLUGIN_EXPORT const struct odd_plugin kv_plugin = {ODD_MEMBERS(sizeof(struct odd_plugin)),
                                                      {1, 2, 3, 4, 5, 6, 7, 8}};
#else
KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = ODD_MEMBERS(ODD_PLUGIN_SIZE);
#endif

#endif
