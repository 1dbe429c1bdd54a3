#include "counting_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* In front of each block. */
union header {
    size_t size;
    max_align_t align;
};

static void release(void *ctx, void *memory)
{
    struct counting_host *host = ctx;
    if (memory != NULL) {
        union header *header = (union header *)memory - 1;
        host->blocks--;
        host->bytes -= header->size;
        free(header);
    }
}

static void *allocate(void *ctx, size_t size)
{
    struct counting_host *host = ctx;
    host->calls++;
    if (host->fail_in > 0) {
        host->fail_in--;
        if (host->fail_in == 0) {
            return NULL;
        }
    }
    union header *header = malloc(sizeof *header + size);
    assert_non_null(header);
    header->size = size;
    host->blocks++;
    host->bytes += size;
    if (host->bytes > host->bytes_most) {
        host->bytes_most = host->bytes;
    }
    return header + 1;
}

/* Always moves, so that an old pointer that is used again is found by the sanitizer. */
static void *resize(void *ctx, void *memory, size_t size)
{
    void *moved = allocate(ctx, size);
    if (moved != NULL && memory != NULL) {
        size_t old_size = ((union header *)memory - 1)->size;
        memcpy(moved, memory, old_size < size ? old_size : size);
        release(ctx, memory);
    }
    return moved;
}

void counting_host_init(struct counting_host *host)
{
    *host = (struct counting_host){
        .table = {.size = sizeof host->table,
                  .ctx = host,
                  .allocate = allocate,
                  .resize = resize,
                  .release = release},
    };
}

void counting_host_close(struct counting_host *host)
{
    assert_int_equal(host->blocks, 0);
    assert_int_equal(host->bytes, 0);
}
