/*
 * The byte form of one record: the same in the log, on the wire and in a transfer, so that a batch
 * is one piece of memory everywhere. 40 bytes, then the key, then the value; all little-endian:
 *
 *     0 u32 key length      4 u32 value length, RECORD_VALUE_NONE: a removal
 *     8 u64 view           16 u64 index          24 u64 client          32 u64 request
 */
#ifndef LOGIC_RECORD_H
#define LOGIC_RECORD_H

#include "base/bytes.h"

#include <kvnode/persist.h>

#define RECORD_HEADER_BYTES 40u
#define RECORD_VALUE_NONE   0xffffffffu

/* Bytes of the record's byte form. */
size_t record_size(const struct kv_record *record);

/* Writes record_size() bytes. */
void record_encode(const struct kv_record *record, uint8_t *at);

/* Takes one record off the reader, which fails when the bytes are not a whole one. Key and value
 * are borrowed from the reader's memory. */
bool record_decode(struct bytes_reader *reader, struct kv_record *ret_record);

/* True when these bytes are the record's key; NULL with length 0 is fine on either side. */
bool record_has_key(const struct kv_record *record, const void *key, uint32_t key_len);

/* < 0, 0, > 0: as the positions compare in the one total order. */
int position_compare(struct kv_position a, struct kv_position b);

#endif
