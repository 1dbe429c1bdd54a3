/*
 * A pair as a document that a person can read in a Mongo shell, and back, byte for byte:
 *
 *     { _id: BinData(0, the key's bytes), key: "greeting", value: "hello",
 *       position: { view: 3, index: 17 } }
 *
 * _id is the key. `key` repeats it as text for whoever reads; it is there when the key is UTF-8
 * without NUL, and nothing depends on it. `value` is a string when it is UTF-8 without NUL, else
 * BinData(0): both give the same bytes back.
 */
#ifndef PERSIST_MONGO_DOCUMENT_H
#define PERSIST_MONGO_DOCUMENT_H

#include "store.h"

/* A server takes no longer document. */
#define DOCUMENT_BYTES_MAX (16u * 1024u * 1024u)

/* Bytes of the document of this insertion at most: for telling what is too long. */
size_t document_size(const struct kv_record *record);

/* Appends `_id`. */
void document_append_id(bson_t *document, const struct kv_record *record);

/* Makes the document without its `_id`. Call bson_destroy(). */
void document_make(const struct kv_record *record, bson_t *ret_document);

/* Borrows from the document. NULL: it is one; else what is wrong with it. */
const char *document_read(const bson_t *document, struct kv_record *ret_record);

#endif
