/*
 * The one document of COLLECTION.kvnode, beside the pairs, which have their collection for
 * themselves:
 *
 *     { _id: "state", format: 1, view: 3, writer: "656...", position: { view: 3, index: 17 } }
 *
 * `position` is what the pairs have reached, written last. `view` and `writer` are the fence: who
 * may write. In scope "own" that is the instance that has opened last; in scope "shared" the one
 * that has written with the highest view. The server itself compares: an update whose condition
 * does not hold changes nothing and is told.
 */
#ifndef PERSIST_MONGO_STATE_H
#define PERSIST_MONGO_STATE_H

#include "store.h"

/* Reads the state, makes it where there is none, and in scope "own" becomes the writer.
 * mongo->position is the one read. KV_E_VERSION: another format. KV_E_CORRUPT: it is no state. */
int32_t state_open(struct mongo *mongo);

/* Before a batch: makes sure that this instance may write with this view. KV_E_REJECTED: another
 * one does. */
int32_t state_fence(const struct mongo *mongo, uint64_t view);

/* After a batch. KV_E_REJECTED: another one has become the writer meanwhile. */
int32_t state_write_position(struct mongo *mongo, uint64_t view, struct kv_position position);

#endif
