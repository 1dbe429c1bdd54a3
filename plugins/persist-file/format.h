/*
 * The bytes of the store: file header, batch header, record. README.md has the same as tables.
 *
 * All numbers are little-endian, as are the platforms of the plugin ABI. Pure functions over
 * memory; never touches a file. Decoders check every length before they use it. Any thread.
 */
#ifndef PERSIST_FILE_FORMAT_H
#define PERSIST_FILE_FORMAT_H

#include <kvnode/persist.h>

#include <stdbool.h>

#define FORMAT_VERSION          1u
#define FORMAT_FILE_HEADER_LEN  64u
#define FORMAT_BATCH_HEADER_LEN 56u
#define FORMAT_RECORD_LEN       48u

/* kind of a file */
#define FORMAT_FILE_SEGMENT 1u
#define FORMAT_FILE_BASE    2u

/* kind of a batch */
#define FORMAT_BATCH_RECORDS 1u
#define FORMAT_BATCH_SEAL    2u /* the last batch of a finished file; no records */

struct format_file {
    uint32_t kind;           /* FORMAT_FILE_ */
    uint64_t number;         /* of the segment; of a base: of the first segment that follows it */
    uint64_t store_id;       /* random, the same in all files of one store */
    uint64_t first_sequence; /* of the first batch of segment `number` */
};

struct format_batch {
    uint32_t kind; /* FORMAT_BATCH_ */
    uint32_t count;
    uint32_t payload_crc;
    uint64_t sequence;
    uint64_t payload_len;
    struct kv_position position;
};

/* Walks the records of a payload. */
struct format_cursor {
    const uint8_t *at;
    uint64_t left;
};

/* Writes FORMAT_FILE_HEADER_LEN bytes; returns their checksum, from which those of the file's batch
 * headers continue: so a header copied from another file is never taken for one of this file. */
uint32_t format_file_encode(const struct kv_host *host, const struct format_file *file,
                            uint8_t *at);

/* NULL, or what is wrong with the FORMAT_FILE_HEADER_LEN bytes as static text. */
const char *format_file_decode(const struct kv_host *host, const uint8_t *at,
                               struct format_file *ret_file, uint32_t *ret_salt);

/* Writes FORMAT_BATCH_HEADER_LEN bytes. salt: what format_file_encode() gave. */
void format_batch_encode(const struct kv_host *host, const struct format_batch *batch,
                         uint32_t salt, uint8_t *at);

/* NULL, or what is wrong with the FORMAT_BATCH_HEADER_LEN bytes as static text. */
const char *format_batch_decode(const struct kv_host *host, const uint8_t *at, uint32_t salt,
                                struct format_batch *ret_batch);

/* The first place in len bytes where a batch header may start; len when there is none. */
size_t format_batch_find(const uint8_t *at, size_t len);

/* Bytes that a record takes. */
uint64_t format_record_size(const struct kv_record *record);

/* Writes one record of format_record_size() bytes; returns the place behind it. */
uint8_t *format_record_encode(const struct kv_record *record, uint8_t *at);

/* The next record, which borrows the payload's memory. False: the bytes are no record. */
bool format_record_decode(struct format_cursor *cursor, struct kv_record *ret_record);

/* True when the payload is exactly count well-formed records. */
bool format_payload_check(const uint8_t *payload, uint64_t len, uint32_t count);

#endif
