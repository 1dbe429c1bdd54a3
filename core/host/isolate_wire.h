/*
 * What the two processes of isolate.h say to each other: frames on a socket pair. Both ends are the
 * same program, so there is one version of it; but a plugin that runs wild may write anything into
 * the child's end: nothing that comes from there is trusted. One thread per reader and writer.
 *
 *     0 u32 magic   4 u32 type   8 u32 call   12 u32 0   16 u64 length of what follows
 *
 * All numbers are little-endian. A call is one frame to the child and ends with ISOLATE_DONE of the
 * same call number; what belongs to it comes before that. "view": u32 length and as many bytes.
 */
#ifndef HOST_ISOLATE_WIRE_H
#define HOST_ISOLATE_WIRE_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <kvnode/persist.h>
#include <sys/types.h>

#define ISOLATE_MAGIC        0x6b766973u
#define ISOLATE_HEADER_BYTES 24u
#define ISOLATE_RECORD_BYTES 56u
#define ISOLATE_DONE_BYTES   32u
#define ISOLATE_LINE_MAX     1024u /* bytes of a log line or a reason, without NUL */
#define ISOLATE_CHILD_FD     3     /* the child's end of the socket pair */

enum isolate_type {
    /* to the child */
    ISOLATE_CREATE = 1, /* u32 pid of the parent, u64 memory limit or 0, u64 capabilities, views
                           path, name and version of the plugin, u32 count, views of settings */
    ISOLATE_OPEN,
    ISOLATE_LOAD,
    ISOLATE_APPLY, /* u64 view, u64 index, u32 count, records */
    ISOLATE_RESET,
    ISOLATE_GET, /* the key */
    ISOLATE_CLOSE,
    ISOLATE_DESTROY,
    ISOLATE_STOP, /* i32 code: what emit() is to return from now on; no call, no answer */
    /* from the child */
    ISOLATE_LOG,    /* u32 level, text; at any time */
    ISOLATE_RECORD, /* one record, during load and get */
    ISOLATE_RESULT, /* u32 record, u32 result, reason (may be empty), during apply; only of those
                       that are not stored */
    ISOLATE_DONE,   /* i32 status, u32 flags, u64 view, u64 index, i64 live allocations */
};

/* flags of ISOLATE_DONE */
#define ISOLATE_WROTE_BEYOND 0x1u /* apply() wrote beyond its results */
#define ISOLATE_NO_INSTANCE  0x2u /* create() succeeded without an instance */

struct isolate_frame {
    uint32_t type;
    uint32_t call;
    const uint8_t *bytes; /* of the reader; until the next fill */
    size_t len;
};

/* What was received and not taken yet. */
struct isolate_reader {
    int fd;
    uint8_t *bytes;
    size_t capacity;
    size_t from;
    size_t to;
};

enum isolate_taken {
    ISOLATE_TAKEN,
    ISOLATE_PART,      /* fill, then try again */
    ISOLATE_MALFORMED, /* the stream is of no further use */
};

void isolate_reader_init(struct isolate_reader *reader, int fd);
void isolate_reader_close(struct isolate_reader *reader); /* leaves fd alone */

/* One recv() with flags; what recv() returns. Memory grows with what has really arrived. */
ssize_t isolate_reader_fill(struct isolate_reader *reader, int flags);

/* The next frame, whose length is at most len_max. */
enum isolate_taken isolate_reader_take(struct isolate_reader *reader, uint64_t len_max,
                                       struct isolate_frame *ret_frame);

/* Writes ISOLATE_HEADER_BYTES. */
void isolate_put_header(uint8_t *at, uint32_t type, uint32_t call, uint64_t len);

/* A record is ISOLATE_RECORD_BYTES, then the key, then the value. What a plugin emits may be no
 * proper record: NULL and oversized members travel as such, without bytes, so that the guard judges
 * it as it would without isolation. */
struct isolate_record_form {
    uint32_t flags;
    size_t key_bytes; /* that follow */
    size_t value_bytes;
};
struct isolate_record_form isolate_record_form(const struct kv_record *record); /* NULL is fine */
void isolate_put_record(uint8_t *at, const struct kv_record *record,
                        const struct isolate_record_form *form);

/* False: malformed. *ret_is_null: it was no record at all. Members that are too long have a pointer
 * that must not be read. */
bool isolate_read_record(struct bytes_reader *reader, struct kv_record *ret_record,
                         bool *ret_is_null);

/* Appends one frame of up to two parts. */
void isolate_append(struct buffer *out, uint32_t type, uint32_t call, const void *head,
                    size_t head_len, const void *tail, size_t tail_len);

#endif
