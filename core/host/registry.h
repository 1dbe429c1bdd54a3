/*
 * Where the arbiter's durable state is kept, as an interface: one value, the view in its byte form,
 * with the view's number, changed by compare-and-set only. A provider is a file of the data folder
 * (registry_file.h), a service that does the same for several arbiters, or a test's own. The bytes
 * are the logic's; a provider does not look into them. arbiter_registry.h is the one caller.
 *
 * Loop thread only. Nothing here decides what is to be stored or what a conflict means.
 */
#ifndef HOST_REGISTRY_H
#define HOST_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGISTRY_BYTES_MAX ((size_t)16 * 1024 * 1024) /* of a state; no provider takes more */
#define REGISTRY_ERROR_MAX 512u

/* What is stored. number 0, len 0: nothing is, yet. */
struct registry_state {
    uint64_t number;
    const uint8_t *bytes;
    size_t len;
};

enum registry_outcome {
    REGISTRY_STORED = 1, /* durable */
    REGISTRY_CONFLICT,   /* not stored: the registry holds something else than was expected */
    REGISTRY_FAILED,     /* not known to be stored; may be tried again, with the same bytes */
};

struct registry_result {
    enum registry_outcome outcome;
    uint64_t number;              /* the new one, as given */
    struct registry_state stored; /* CONFLICT: what is there; borrowed for the call */
    const char *error;            /* FAILED: text for people; NULL otherwise */
};

typedef void (*registry_done_fn)(void *ctx, const struct registry_result *result);

/* state: what somebody else has stored; borrowed for the call. */
typedef void (*registry_changed_fn)(void *ctx, const struct registry_state *state);

typedef void (*registry_stopped_fn)(void *ctx);

struct registry;

struct registry_ops {
    /* Blocks, for a bounded time: at start only, before anything else. *ret_state: its bytes are
     * for alloc_free(). KV_E_CORRUPT: damaged, or of a form that this program does not know;
     * KV_E_IO. ret_error (REGISTRY_ERROR_MAX bytes) says what and what to do. */
    int32_t (*read)(struct registry *registry, struct registry_state *ret_state, char *ret_error);

    /* Makes the bytes, which are copied, durable under the new number if the one that is stored is
     * `expected` (0: nothing is), or if these very bytes are stored already: an attempt that failed
     * may have succeeded. done comes from the loop, later, once. One at a time; not once stopped.
     */
    void (*compare_and_set)(struct registry *registry, uint64_t expected, uint64_t number,
                            const void *bytes, size_t len, registry_done_fn done, void *ctx);

    /* From now on changed is called, from the loop, when something else is stored than was last
     * read, stored or told of: by somebody else, therefore. A conflict tells as well. What comes
     * and goes quickly may be told once, with the last state. Once, after read. */
    void (*watch)(struct registry *registry, registry_changed_fn changed, void *ctx);

    /* Ends the watch; a compare-and-set under way calls done first; stopped comes last, from within
     * stop() where there is nothing to wait for. Once. */
    void (*stop)(struct registry *registry, registry_stopped_fn stopped, void *ctx);

    /* Once stopped has been called, or before watch and compare_and_set ever were. NULL is fine. */
    void (*destroy)(struct registry *registry);
};

/* The head of a provider's own structure. */
struct registry {
    const struct registry_ops *ops;
};

#endif
