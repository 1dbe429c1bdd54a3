/* What a store does about files that are not as it left them: cut a torn tail off, refuse the rest.
 */
#include "../folder.h"
#include "../format.h"
#include "file_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define SEED 21u

static const struct kit_options one_file = {"always", "1048576", "1048576", "0"};
static const struct kit_options many_files = {"always", "1048576", "4096", "0"};

/* A store of batches 1 to count in the undamaged folder. */
static void make(struct fixture *fixture, const struct kit_options *options, uint64_t count)
{
    assert_int_equal(kit_open(&fixture->store, &fixture->host, fixture->path, options), KV_OK);
    for (uint64_t i = fixture->store.position.index + 1; i <= count; i++) {
        assert_int_equal(kit_apply(&fixture->store, SEED, i), KV_OK);
    }
    (void)file_kit_wait_compacted(&fixture->store);
    kit_close(&fixture->store);
}

/* Opens the damaged copy and demands exactly batches 1 to count, appendable. */
static void expect_content(struct fixture *fixture, const struct kit_options *options,
                           uint64_t count)
{
    struct kit_store *store = &fixture->store;
    assert_int_equal(kit_open(store, &fixture->host, fixture->trial, options), KV_OK);
    assert_int_equal(store->position.index, count);
    assert_true(kit_holds(store, SEED, count));
    assert_int_equal(kit_apply(store, SEED, count + 1), KV_OK);
    kit_close(store);
    kit_host_clear(&fixture->host);
    assert_int_equal(kit_open(store, &fixture->host, fixture->trial, options), KV_OK);
    assert_int_equal(store->position.index, count + 1);
    assert_true(kit_holds(store, SEED, count + 1));
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
    kit_close(store);
}

/* Opens the damaged copy and demands a refusal that names the file and the text and leaves the file
 * `name` as it is. */
static void expect_refusal(struct fixture *fixture, const char *name, const char *text)
{
    size_t before_len = 0;
    size_t after_len = 0;
    uint32_t files = kit_folder_files(fixture->trial);
    uint8_t *before = kit_file_read(fixture->trial, name, &before_len);
    kit_host_clear(&fixture->host);
    assert_int_equal(kit_open(&fixture->store, &fixture->host, fixture->trial, NULL), KV_E_CORRUPT);
    assert_null(fixture->store.self);
    assert_true(kit_host_has(&fixture->host, name));
    assert_true(kit_host_has(&fixture->host, "damaged at offset"));
    assert_true(kit_host_has(&fixture->host, text));
    uint8_t *after = kit_file_read(fixture->trial, name, &after_len);
    assert_int_equal(before_len, after_len);
    if (before != NULL) {
        assert_memory_equal(before, after, before_len);
    }
    /* The lock may be new, nothing else. */
    assert_in_range(kit_folder_files(fixture->trial), files, files + 1);
    free(before);
    free(after);
}

/* Where batch number `batch` of the first segment begins: by walking the format. */
static size_t batch_offset(const uint8_t *bytes, uint64_t batch)
{
    size_t offset = FORMAT_FILE_HEADER_LEN;
    for (uint64_t i = 1; i < batch; i++) {
        uint64_t payload_len;
        memcpy(&payload_len, bytes + offset + 32, sizeof(payload_len));
        offset += FORMAT_BATCH_HEADER_LEN + payload_len;
    }
    return offset;
}

static const char first[] = "segment-000000000001";

/* The file ends at every length within the last batch, alone and followed by zeros. */
static void test_torn_at_every_byte(void **state)
{
    struct fixture *fixture = *state;
    size_t len;
    make(fixture, &one_file, 6);
    uint8_t *bytes = kit_file_read(fixture->path, first, &len);
    size_t last = batch_offset(bytes, 6);
    assert_true(last + FORMAT_BATCH_HEADER_LEN < len);
    uint8_t *padded = calloc(1, len + 4096);
    for (size_t cut = last; cut < len; cut++) {
        kit_host_clear(&fixture->host);
        kit_file_write(fixture->trial, first, bytes, cut);
        expect_content(fixture, &one_file, 5);
        memcpy(padded, bytes, cut);
        memset(padded + cut, 0, len + 4096 - cut);
        /* Zeros that happen to be right complete the batch. */
        if (cut % 3 == 0 && memcmp(padded, bytes, len) != 0) {
            kit_file_write(fixture->trial, first, padded, len + 4096);
            expect_content(fixture, &one_file, 5);
        }
    }
    kit_host_clear(&fixture->host);
    kit_file_write(fixture->trial, first, bytes, len - 1);
    assert_int_equal(kit_open(&fixture->store, &fixture->host, fixture->trial, &one_file), KV_OK);
    assert_int_equal(fixture->host.warnings, 1);
    assert_true(kit_host_has(&fixture->host, "torn tail of segment-000000000001 cut off"));
    char text[64];
    (void)snprintf(text, sizeof(text), "%zu bytes at offset %zu", len - 1 - last, last);
    assert_true(kit_host_has(&fixture->host, text));
    free(padded);
    free(bytes);
}

/* Each bit of a small store of one segment: in the last batch it is a torn tail, elsewhere refused.
 */
static void test_every_bit_of_one_segment(void **state)
{
    struct fixture *fixture = *state;
    size_t len;
    make(fixture, &one_file, 4);
    uint8_t *bytes = kit_file_read(fixture->path, first, &len);
    size_t last = batch_offset(bytes, 4);
    for (size_t bit = 0; bit < len * 8; bit += bit % 64 < 8 ? 1 : 3) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        kit_file_write(fixture->trial, first, bytes, len);
        if (bit / 8 < last) {
            expect_refusal(fixture, first, "");
        } else {
            struct kit_store *store = &fixture->store;
            assert_int_equal(kit_open(store, &fixture->host, fixture->trial, &one_file), KV_OK);
            assert_int_equal(store->position.index, 3);
            assert_true(kit_holds(store, SEED, 3));
            assert_int_equal(fixture->host.warnings, 1);
            kit_close(store);
        }
        kit_host_clear(&fixture->host);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(bytes);
}

/* Sampled bits of a store with a base and several segments, in every file. */
static void test_bits_of_all_files(void **state)
{
    struct fixture *fixture = *state;
    make(fixture, NULL, 40);
    make(fixture, &many_files, 58);
    uint32_t refused = 0;
    uint32_t torn = 0;
    uint32_t bases = 0;
    for (uint64_t number = 1; number < 40; number++) {
        for (uint32_t kind = FORMAT_FILE_SEGMENT; kind <= FORMAT_FILE_BASE; kind++) {
            char name[FOLDER_NAME_LEN_MAX];
            size_t len;
            folder_name(kind, number, name);
            uint8_t *bytes = kit_file_read(fixture->path, name, &len);
            if (bytes == NULL) {
                continue;
            }
            bases += kind == FORMAT_FILE_BASE;
            for (size_t at = 0; at < len; at += 1 + at % 11) {
                bytes[at] ^= (uint8_t)(1u << (at % 8));
                kit_folder_copy(fixture->path, fixture->trial);
                kit_file_write(fixture->trial, name, bytes, len);
                int32_t status =
                    kit_open(&fixture->store, &fixture->host, fixture->trial, &many_files);
                if (status == KV_OK) {
                    uint64_t index = fixture->store.position.index;
                    assert_true(index == 57 || index == 58);
                    assert_true(kit_holds(&fixture->store, SEED, index));
                    kit_close(&fixture->store);
                    torn++;
                } else {
                    assert_int_equal(status, KV_E_CORRUPT);
                    assert_true(kit_host_has(&fixture->host, name));
                    refused++;
                }
                kit_host_clear(&fixture->host);
                bytes[at] ^= (uint8_t)(1u << (at % 8));
            }
            free(bytes);
        }
    }
    assert_int_equal(bases, 1);
    assert_true(refused > 10 * torn);
    assert_true(torn > 0);
}

/* A store whose segments 1, 2, 3 and more are all there. */
static void make_segments(struct fixture *fixture)
{
    make(fixture, &many_files, 60);
    assert_true(kit_file_exists(fixture->path, "segment-000000000003"));
    kit_folder_copy(fixture->path, fixture->trial);
}

static void test_missing_files(void **state)
{
    struct fixture *fixture = *state;
    char path[KIT_PATH_LEN_MAX + 64];
    make_segments(fixture);
    uint64_t segments = kit_folder_files(fixture->path) - 1;
    for (uint64_t i = 1; i <= segments; i++) {
        char name[FOLDER_NAME_LEN_MAX];
        folder_name(FORMAT_FILE_SEGMENT, i, name);
        kit_folder_copy(fixture->path, fixture->trial);
        (void)snprintf(path, sizeof(path), "%s/%s", fixture->trial, name);
        assert_int_equal(unlink(path), 0);
        /* The last one is missed by the seal of the one before. */
        folder_name(FORMAT_FILE_SEGMENT, i == segments ? i - 1 : i, name);
        expect_refusal(fixture, name, "missing");
    }
    /* A base without the segment that follows it, and segments without their base. */
    kit_folder_remove(fixture->path);
    make(fixture, NULL, 40);
    uint64_t base = 2;
    char name[FOLDER_NAME_LEN_MAX];
    for (folder_name(FORMAT_FILE_BASE, base, name); !kit_file_exists(fixture->path, name);) {
        base++;
        assert_true(base < 40);
        folder_name(FORMAT_FILE_BASE, base, name);
    }
    kit_folder_copy(fixture->path, fixture->trial);
    (void)snprintf(path, sizeof(path), "%s/%s", fixture->trial, name);
    assert_int_equal(unlink(path), 0);
    expect_refusal(fixture, first, "missing");
    folder_name(FORMAT_FILE_SEGMENT, base, name);
    kit_folder_copy(fixture->path, fixture->trial);
    (void)snprintf(path, sizeof(path), "%s/%s", fixture->trial, name);
    assert_int_equal(unlink(path), 0);
    expect_refusal(fixture, name, "missing");
}

static void test_short_and_foreign_files(void **state)
{
    struct fixture *fixture = *state;
    static const char second[] = "segment-000000000002";
    size_t len;
    size_t other_len;
    make_segments(fixture);
    uint8_t *bytes = kit_file_read(fixture->path, second, &len);
    uint8_t *other = kit_file_read(fixture->path, first, &other_len);
    /* Shorter, longer, without its seal, empty, another segment under this name. */
    for (size_t cut = 0; cut < len; cut += cut < 130 ? 1 : 61) {
        kit_file_write(fixture->trial, second, bytes, cut);
        expect_refusal(fixture, second, "");
    }
    kit_file_write(fixture->trial, second, bytes, len - FORMAT_BATCH_HEADER_LEN);
    expect_refusal(fixture, second, "end of the file");
    uint8_t *longer = calloc(1, len + 100);
    memcpy(longer, bytes, len);
    kit_file_write(fixture->trial, second, longer, len + 100);
    expect_refusal(fixture, second, "bytes after its seal");
    kit_file_write(fixture->trial, second, other, other_len);
    expect_refusal(fixture, second, "another file name");
    kit_file_write(fixture->trial, second, "SQLite format 3", 15);
    expect_refusal(fixture, second, "too short");
    memset(longer, 'x', len);
    kit_file_write(fixture->trial, second, longer, len);
    expect_refusal(fixture, second, "wrong magic");
    memcpy(longer, bytes, len);
    longer[8] = 2;
    kit_file_write(fixture->trial, second, longer, len);
    expect_refusal(fixture, second, "version not supported");
    free(longer);
    free(other);
    free(bytes);
}

/* A file of another store with the right name and number. */
static void test_file_of_another_store(void **state)
{
    struct fixture *fixture = *state;
    static const char second[] = "segment-000000000002";
    size_t len;
    make_segments(fixture);
    uint8_t *bytes = kit_file_read(fixture->path, second, &len);
    kit_folder_remove(fixture->path);
    make_segments(fixture);
    kit_file_write(fixture->trial, second, bytes, len);
    expect_refusal(fixture, second, "another store");
    free(bytes);
}

/* A value that contains a copy of the store's own segment: torn in the middle of that value, the
 * tail is full of valid headers, all of them of earlier batches. */
static void test_torn_with_own_image_as_value(void **state)
{
    struct fixture *fixture = *state;
    size_t image_len;
    size_t len;
    uint32_t result = KV_RESULT_STORED;
    make(fixture, &one_file, 5);
    uint8_t *image = kit_file_read(fixture->path, first, &image_len);
    struct kv_record record = {.key = "image",
                               .key_len = 5,
                               .value = image,
                               .value_len = (uint32_t)image_len,
                               .kind = KV_RECORD_INSERT};
    assert_int_equal(kit_open(&fixture->store, &fixture->host, fixture->path, &one_file), KV_OK);
    assert_int_equal(fixture->store.ops->apply(fixture->store.self, &record, 1,
                                               (struct kv_position){1, 6}, &result),
                     KV_OK);
    kit_close(&fixture->store);
    uint8_t *bytes = kit_file_read(fixture->path, first, &len);
    for (size_t cut = image_len + 1; cut < len; cut += 13) {
        kit_file_write(fixture->trial, first, bytes, cut);
        expect_content(fixture, &one_file, 5);
    }
    free(bytes);
    free(image);
}

/* What a crash leaves beside the store is removed; what is not ours is left alone. */
static void test_leftovers(void **state)
{
    struct fixture *fixture = *state;
    make(fixture, NULL, 40);
    kit_file_write(fixture->path, "segment.tmp", "torn", 4);
    kit_file_write(fixture->path, "base.tmp", "torn", 4);
    kit_file_write(fixture->path, first, "left over", 9);
    kit_file_write(fixture->path, "base-000000000001", "left over", 9);
    kit_file_write(fixture->path, "notes.txt", "mine", 4);
    kit_file_write(fixture->path, "segment-7", "mine", 4);
    kit_folder_copy(fixture->path, fixture->trial);
    expect_content(fixture, &one_file, 40);
    assert_false(kit_file_exists(fixture->trial, "segment.tmp"));
    assert_false(kit_file_exists(fixture->trial, "base.tmp"));
    assert_false(kit_file_exists(fixture->trial, first));
    assert_false(kit_file_exists(fixture->trial, "base-000000000001"));
    assert_true(kit_file_exists(fixture->trial, "notes.txt"));
    assert_true(kit_file_exists(fixture->trial, "segment-7"));
}

/* A crash in the middle of a roll-over: segment 2 is there and empty, segment 1 has no seal yet, a
 * torn one, or one that is followed by preallocated zeros. */
static void test_unfinished_roll_over(void **state)
{
    struct fixture *fixture = *state;
    static const char second[] = "segment-000000000002";
    struct kv_host *host = &fixture->host.table;
    struct format_file file;
    uint8_t header[FORMAT_FILE_HEADER_LEN + 1] = {0};
    uint32_t salt;
    size_t len;
    make(fixture, &one_file, 5);
    uint8_t *bytes = kit_file_read(fixture->path, first, &len);
    assert_null(format_file_decode(host, bytes, &file, &salt));
    uint8_t *sealed = calloc(1, len + FORMAT_BATCH_HEADER_LEN + 1000);
    struct format_batch seal = {
        .kind = FORMAT_BATCH_SEAL, .sequence = file.first_sequence + 5, .position = {1, 5}};
    memcpy(sealed, bytes, len);
    format_batch_encode(host, &seal, salt, sealed + len);
    file.number = 2;
    file.first_sequence += 5;
    (void)format_file_encode(host, &file, header);
    size_t lens[] = {len, len + 1, len + FORMAT_BATCH_HEADER_LEN - 1, len + FORMAT_BATCH_HEADER_LEN,
                     len + FORMAT_BATCH_HEADER_LEN + 1000};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        kit_host_clear(&fixture->host);
        kit_file_write(fixture->trial, first, sealed, lens[i]);
        kit_file_write(fixture->trial, second, header, FORMAT_FILE_HEADER_LEN);
        expect_content(fixture, &one_file, 5);
    }
    /* Not empty, or not the next: no roll-over leaves that. */
    kit_file_write(fixture->trial, first, bytes, len);
    kit_file_write(fixture->trial, second, header, FORMAT_FILE_HEADER_LEN + 1);
    expect_refusal(fixture, first, "end of the file");
    file.first_sequence++;
    (void)format_file_encode(host, &file, header);
    kit_file_write(fixture->trial, second, header, FORMAT_FILE_HEADER_LEN);
    expect_refusal(fixture, first, "end of the file");
    free(sealed);
    free(bytes);
}

/* A checksum that is right over records that are not: never read beyond the batch. */
static void test_well_summed_nonsense(void **state)
{
    struct fixture *fixture = *state;
    size_t len;
    make(fixture, &one_file, 2);
    uint8_t *bytes = kit_file_read(fixture->path, first, &len);
    struct format_file file;
    struct format_batch batch;
    uint32_t salt;
    size_t last = batch_offset(bytes, 2);
    assert_null(format_file_decode(&fixture->host.table, bytes, &file, &salt));
    assert_null(format_batch_decode(&fixture->host.table, bytes + last, salt, &batch));
    uint32_t key_len = 0xfffffff0u;
    uint8_t *payload = bytes + last + FORMAT_BATCH_HEADER_LEN;
    memcpy(payload, &key_len, sizeof(key_len));
    batch.payload_crc = fixture->host.table.crc32c(&fixture->host, 0, payload, batch.payload_len);
    format_batch_encode(&fixture->host.table, &batch, salt, bytes + last);
    kit_file_write(fixture->trial, first, bytes, len);
    expect_refusal(fixture, first, "do not add up");
    /* A length that reaches beyond the file is no reason to allocate: it is a torn tail. */
    batch.payload_len = 1ull << 62;
    format_batch_encode(&fixture->host.table, &batch, salt, bytes + last);
    kit_file_write(fixture->trial, first, bytes, len);
    expect_content(fixture, &one_file, 1);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_torn_at_every_byte),
        FIXTURE_TEST(test_every_bit_of_one_segment),
        FIXTURE_TEST(test_bits_of_all_files),
        FIXTURE_TEST(test_missing_files),
        FIXTURE_TEST(test_short_and_foreign_files),
        FIXTURE_TEST(test_file_of_another_store),
        FIXTURE_TEST(test_torn_with_own_image_as_value),
        FIXTURE_TEST(test_leftovers),
        FIXTURE_TEST(test_unfinished_roll_over),
        FIXTURE_TEST(test_well_summed_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
