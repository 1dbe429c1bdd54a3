/*
 * Reads one file of the store from front to back in large pieces, every byte checksummed.
 *
 * Tells what is there and judges nothing: whether an end is a torn tail or damage is decided by
 * recover.c. Never writes. One thread per reader.
 */
#ifndef PERSIST_FILE_READER_H
#define PERSIST_FILE_READER_H

#include "folder.h"
#include "format.h"

struct reader {
    const struct store *store;
    char name[FOLDER_NAME_LEN_MAX];
    int fd;
    uint64_t size; /* of the file when it was opened */
    struct format_file file;
    uint32_t salt;
    uint64_t offset;        /* of the next batch */
    uint64_t next_sequence; /* which it must have */
    uint8_t *buffer;
    size_t buffer_len_max;
    size_t buffer_len;
    uint64_t buffer_offset; /* of buffer[0] in the file */
};

/* What reader_next() found. */
struct reader_batch {
    struct format_batch head;
    uint64_t offset;
    struct format_cursor records; /* borrowed until the next call; nothing for a seal */
    /* NULL: there is a batch or seal. Else why there is none at reader.offset. */
    const char *end;
};

/* Opens the file and checks its header. KV_E_CORRUPT (logged): it is not that file.
 * KV_E_NOT_FOUND (not logged), KV_E_IO, KV_E_NOMEM (logged). */
int32_t reader_open(struct reader *reader, const struct store *store, uint32_t kind,
                    uint64_t number);

/* Frees what reader_open() took; fine after a failed one and twice. */
void reader_close(struct reader *reader);

/* The batch or seal at reader.offset, and moves behind it. KV_E_IO, KV_E_NOMEM: could not read.
 * KV_E_CORRUPT: all checksums are right, but the records do not add up. All are logged. */
int32_t reader_next(struct reader *reader, struct reader_batch *ret_batch);

/* Searches from `offset` to the end of the file for the header of a batch later than the one
 * expected: the proof that what is unreadable before it was complete once. *ret_offset is 0 when
 * there is none. */
int32_t reader_find_later(struct reader *reader, uint64_t offset, uint64_t *ret_offset);

/* Logs "FILE is damaged at offset N: text" as an error and returns KV_E_CORRUPT. */
int32_t reader_corrupt(const struct reader *reader, uint64_t offset, const char *text);

#endif
