/*
 * The plugin ABI, common part: the descriptor that every kvnode plugin exports.
 *
 * A plugin is a shared object with exactly one exported symbol, `kv_plugin`, a constant
 * `struct kv_plugin` (use KV_PLUGIN_EXPORT). The host reads it after dlopen(RTLD_NOW | RTLD_LOCAL),
 * copies min(its size, the plugin's size) into a zeroed struct of its own and checks it field by
 * field before it calls anything. A plugin links against nothing of kvnode: what the host offers
 * comes as a table (host.h).
 *
 * Rules of the ABI: 64-bit little-endian platforms; fixed-width integers, pointers and functions
 * only (no bool, enum, long, off_t, bit-field, FILE *); a struct grows only at its marked tail; its
 * size tells which members exist. Major: incompatible; minor: members were appended.
 * Valid C99 and C++11 on its own.
 */
#ifndef KVNODE_ABI_H
#define KVNODE_ABI_H

#include <stddef.h>
#include <stdint.h>

#include <kvnode/status.h>

#define KV_ABI_MAGIC     0x4b564e44u /* "KVND" */
#define KV_ABI_MAJOR     1
#define KV_ABI_MINOR     1

#define KV_PLUGIN_SYMBOL "kv_plugin"

/* kind */
#define KV_KIND_PERSIST   1u
#define KV_KIND_TRANSPORT 2u

/* host_features: what a plugin cannot do without; the host refuses one that asks for a bit it
 * lacks. */
#define KV_HOST_LOOP 0x1ull /* kv_host.loop is a running uv_loop_t (always so for transports) */

/* type of an option */
#define KV_OPTION_STRING 1u
#define KV_OPTION_INT    2u /* decimal, 64 bits, signed */
#define KV_OPTION_BOOL   3u /* "true" or "false" */

/* One setting that the plugin understands. All text is static, UTF-8. */
struct kv_option {
    const char *name;          /* as written in the configuration */
    const char *default_value; /* as text of its type; NULL: the user must give it */
    const char *help;          /* one sentence with the unit */
    uint32_t type;             /* KV_OPTION_ */
    uint32_t reserved;         /* 0 */
};

/* One setting's value as given to create(): every declared option once, defaults filled in, already
 * checked against its type. Borrowed for the call. */
struct kv_setting {
    const char *name;
    const char *value;
};

struct kv_plugin {
    uint32_t magic;           /* KV_ABI_MAGIC */
    uint16_t abi_major;       /* KV_ABI_MAJOR as the plugin saw it */
    uint16_t abi_minor;       /* KV_ABI_MINOR as the plugin saw it */
    uint32_t plugin_size;     /* sizeof(struct kv_plugin) as the plugin saw it */
    uint32_t ops_size;        /* sizeof of its ops struct as the plugin saw it */
    uint32_t kind;            /* KV_KIND_ */
    uint32_t options_len;     /* how many options */
    uint64_t capabilities;    /* bits of its kind: KV_PERSIST_, KV_TRANSPORT_ */
    uint64_t host_features;   /* KV_HOST_ bits that it needs */
    uint32_t libuv_version;   /* UV_VERSION_HEX it was built with; 0: it does not touch libuv */
    uint32_t libuv_loop_size; /* sizeof(uv_loop_t) it was built with; 0 likewise */
    const char *name;         /* letters, digits, '-'; at most 63 bytes */
    const char *version;      /* free text, at most 63 bytes */
    const char *summary;      /* one line */
    const struct kv_option *options;
    const void *ops; /* struct kv_persist_ops or struct kv_transport_ops */
    /* tail: later minors append here */
};

#if defined(__cplusplus)
#define KV_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define KV_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/* Offsets are frozen: a change of these numbers is a new major. */
#define KV_ABI_OFFSET_(type, member, offset) \
    KV_ABI_ASSERT_(offsetof(struct type, member) == (offset), type##_##member)
#if defined(__cplusplus)
#define KV_ABI_ASSERT_(condition, name) static_assert(condition, #name)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define KV_ABI_ASSERT_(condition, name) _Static_assert(condition, #name)
#else
#define KV_ABI_ASSERT_(condition, name) typedef char kv_abi_assert_##name[(condition) ? 1 : -1]
#endif

KV_ABI_OFFSET_(kv_option, type, 24);
KV_ABI_OFFSET_(kv_plugin, abi_major, 4);
KV_ABI_OFFSET_(kv_plugin, plugin_size, 8);
KV_ABI_OFFSET_(kv_plugin, ops_size, 12);
KV_ABI_OFFSET_(kv_plugin, kind, 16);
KV_ABI_OFFSET_(kv_plugin, options_len, 20);
KV_ABI_OFFSET_(kv_plugin, capabilities, 24);
KV_ABI_OFFSET_(kv_plugin, host_features, 32);
KV_ABI_OFFSET_(kv_plugin, libuv_version, 40);
KV_ABI_OFFSET_(kv_plugin, libuv_loop_size, 44);
KV_ABI_OFFSET_(kv_plugin, name, 48);
KV_ABI_OFFSET_(kv_plugin, version, 56);
KV_ABI_OFFSET_(kv_plugin, summary, 64);
KV_ABI_OFFSET_(kv_plugin, options, 72);
KV_ABI_OFFSET_(kv_plugin, ops, 80);

#endif
