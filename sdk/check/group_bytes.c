/*
 * Keys and values are arbitrary bytes of any length up to what the host takes. A store that cannot
 * keep one refuses its record with a reason; it never keeps another one in its place.
 */
#include "cases.h"

#include "base/alloc.h"
#include "base/rand.h"
#include "host/guard_persist.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BYTES_MANY 16384u

/* Offers what was gathered, then looks that exactly what was stored is there. */
static void bytes_offer(struct kit_store *store)
{
    uint32_t *results = NULL;
    uint32_t refused = 0;
    uint32_t at = 0;
    kit_offer(store, &results);
    for (uint32_t i = 0; i < store->last.count; i++) {
        at = results[i] == KV_RESULT_REFUSED ? i : at;
        refused += results[i] == KV_RESULT_REFUSED;
    }
    if (refused > 0) {
        const char *reason = check_host_reason(&store->host, at);
        kit_note("%" PRIu32 " of %" PRIu32 " records were refused, the last one with: %s", refused,
                 store->last.count, reason == NULL ? store->host.last_error : reason);
    }
    alloc_free(results);
    kit_reopen(store);
    kit_expect(store);
}

static void bytes_none(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "", "the value of the empty key");
    kit_insert(store, "empty value", "");
    bytes_offer(store);
    kit_insert(store, "", "");
    bytes_offer(store);
    kit_remove(store, "");
    bytes_offer(store);
    kit_end(store);
}

static void bytes_each(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (uint32_t i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        kit_add(store, KV_RECORD_INSERT, &byte, 1, &byte, 1);
    }
    bytes_offer(store);
    for (uint32_t i = 0; i < 256; i += 3) {
        uint8_t byte = (uint8_t)i;
        kit_add(store, KV_RECORD_REMOVE, &byte, 1, NULL, 0);
    }
    bytes_offer(store);
    kit_end(store);
}

static void bytes_nul(struct kit *kit)
{
    static const char *const keys[] = {
        "ab\0cd", "ab\0ce", "ab\0\0\0", "\0\0\0\0\0", "\xff\xff\0\xff\xff", "\xff\xfe\xfd\xfc\xfb"};
    struct kit_store *store = kit_new(kit);
    for (uint32_t i = 0; i < 6; i++) {
        for (uint32_t len = 1; len <= 5; len++) { /* also each beginning of it */
            kit_add(store, KV_RECORD_INSERT, keys[i], len, keys[5 - i], 5);
        }
    }
    bytes_offer(store);
    kit_add(store, KV_RECORD_REMOVE, "ab\0cd", 5, NULL, 0); /* not that of "ab" */
    bytes_offer(store);
    kit_end(store);
}

static void bytes_text(struct kit *kit)
{
    static const char *const texts[] = {
        "\"quoted\"",
        "it's; DROP TABLE pairs; --",
        "\\back\\slash",
        "line\nbreak\r\n",
        "tab\tulator",
        "{\"json\": [1, 2]}",
        "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
        "\xc3",
        "a.b$c",
        "../../etc",
        "%s%n",
        " leading and trailing ",
    };
    struct kit_store *store = kit_new(kit);
    for (uint32_t i = 0; i < 12; i++) {
        kit_insert(store, texts[i], texts[11 - i]);
    }
    bytes_offer(store);
    kit_end(store);
}

/* size bytes that look like nothing in particular. */
static uint8_t *bytes_random(struct kit *kit, size_t size)
{
    uint8_t *bytes = alloc_bytes(size + 8);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t number = rand_next(&kit->rand);
        memcpy(bytes + i, &number, 8);
    }
    return bytes;
}

static void bytes_offer_sizes(struct kit_store *store, uint32_t key_len, uint32_t value_len)
{
    uint8_t *bytes = bytes_random(store->kit, (size_t)key_len + value_len);
    kit_add(store, KV_RECORD_INSERT, bytes, key_len, bytes + key_len, value_len);
    alloc_free(bytes);
}

static void bytes_sizes(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (uint32_t size = 2; size <= 65536; size *= 2) {
        for (uint32_t len = size - 1; len <= size + 1; len++) {
            bytes_offer_sizes(store, 16, len);
            if (len <= 4096) {
                bytes_offer_sizes(store, len, 16);
            }
        }
        bytes_offer(store);
    }
    kit_end(store);
}

static void bytes_usual_most(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "before", "x");
    bytes_offer_sizes(store, 65536, 10); /* the usual limits.key_bytes */
    bytes_offer_sizes(store, 10, 1048576);
    bytes_offer_sizes(store, 65536, 1048576);
    kit_insert(store, "after", "x");
    bytes_offer(store);
    kit_end(store);
}

static void bytes_most(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    bytes_offer_sizes(store, GUARD_KEY_BYTES_MAX, 10);
    bytes_offer_sizes(store, 10, 16u * 1048576u + 1);
    kit_insert(store, "after", "x");
    bytes_offer(store);
    bytes_offer_sizes(store, 12, GUARD_VALUE_BYTES_MAX);
    bytes_offer(store);
    kit_end(store);
}

static void bytes_many(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (uint32_t i = 0; i < BYTES_MANY; i++) {
        char key[32];
        char value[32];
        snprintf(key, sizeof(key), "key %" PRIu32, i % (BYTES_MANY - 1000));
        snprintf(value, sizeof(value), "value %" PRIu32, i);
        if (i % 7 == 6) {
            kit_remove(store, key);
        } else {
            kit_insert(store, key, value);
        }
    }
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void bytes_heavy(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (uint32_t i = 0; i < 24; i++) {
        bytes_offer_sizes(store, 20, 1048576);
    }
    bytes_offer(store);
    kit_end(store);
}

static const struct check_case bytes_cases[] = {
    {"keys and values of no bytes are stored or refused", bytes_none, 0, 0},
    {"each single byte as key and value is stored or refused", bytes_each, 0, 0},
    {"keys and values with NUL and 0xff are stored whole or refused", bytes_nul, 0, 0},
    {"text that means something elsewhere is stored as it is or refused", bytes_text, 0, 0},
    {"keys up to 4 KiB and values up to 64 KiB are stored whole or refused", bytes_sizes, 0, 0},
    {"a key of 64 KiB and a value of 1 MiB are stored whole or refused", bytes_usual_most, 0, 0},
    {"a key of 1 MiB and a value of 64 MiB are stored whole or refused", bytes_most, 0, CASE_LONG},
    {"16384 records in one batch are stored", bytes_many, 0, CASE_LONG},
    {"24 values of 1 MiB in one batch are stored whole or refused", bytes_heavy, 0, CASE_LONG},
};

const struct check_group group_bytes = {"bytes", KV_KIND_PERSIST, CASES_OF(bytes_cases)};
