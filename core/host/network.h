/*
 * All transports of a node and the table of its links: the logic's numbers on one side, the guards'
 * links on the other. Used by the runtime only; loop thread. It never looks into a message.
 *
 * What cannot be sent is dropped and counted, since the logic repairs losses between nodes. Only an
 * accepted link that is full is ended: a client must not wait on a link that swallowed its answer.
 */
#ifndef HOST_NETWORK_H
#define HOST_NETWORK_H

#include "host/plugins.h"

#include <uv.h>

struct network;

/* No callback comes from within a network_ function. */
struct network_events {
    /* A link opened with network_open() can be sent on. */
    void (*on_up)(void *ctx, uint64_t link);
    /* bytes are borrowed for the call. */
    void (*on_message)(void *ctx, uint64_t link, const void *bytes, size_t len);
    /* The peer is gone; the number of an accepted link is now nobody's. */
    void (*on_down)(void *ctx, uint64_t link);
    /* All that network_stop() began is done. */
    void (*on_stopped)(void *ctx);
};

/* Where a node listens, with real ports. */
struct network_uris {
    uint32_t len;
    char uris[URIS_MAX][KV_URI_MAX];
};

/* config and plugins are borrowed until network_destroy(). message_max: bytes of one message. */
struct network *network_create(uv_loop_t *loop, const struct config *config,
                               const struct plugins *plugins, uint32_t message_max,
                               const struct network_events *events, void *ctx);

/* Makes the transports' instances. On failure ret_error (PLUGINS_ERROR_MAX bytes) says which one
 * refused and why; then only network_stop() and network_destroy() may follow. */
int32_t network_start(struct network *network, char *ret_error);

/* Binds to every address of the configuration, in its order; errors as network_start(). */
int32_t network_listen(struct network *network, struct network_uris *ret_uris, char *ret_error);

/* Makes a link of that number to the first of the peer's addresses that one of the transports
 * serves. When none is served it stays down, with a log line. */
void network_open(struct network *network, uint64_t number, const char *const *uris,
                  uint32_t uris_len);

/* Ends a link of either kind; an unknown number is fine. */
void network_close_link(struct network *network, uint64_t number);

/* Queues one message; slices are borrowed for the call. */
void network_send(struct network *network, uint64_t number, const struct kv_slice *slices,
                  uint32_t slices_len);

/* Takes the number of an accepted link that network_send() ended. False: none is left. */
bool network_take_ended(struct network *network, uint64_t *ret_number);

/* End of a turn: what was queued goes out; what was dropped is logged, now and then. */
void network_flush(struct network *network);

/* Asynchronous, once: sends what is queued within the transports' bound, closes all, then
 * on_stopped, unless network_is_stopped() says that nothing is left to wait for. */
void network_stop(struct network *network);
bool network_is_stopped(const struct network *network);

/* After it is stopped. NULL is fine. */
void network_destroy(struct network *network);

#endif
