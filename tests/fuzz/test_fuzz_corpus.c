/*
 * The fuzzers' corpus without a fuzzer: every stored file goes through the harness, the samples
 * among them have the very bytes stored (so a change of the wire format shows), and a loop of
 * repeatable mutations stands in for a fuzzer in every build.
 */
#include "base/alloc.h"
#include "base/rand.h"
#include "harness.h"
#include "harness_datagram.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <dirent.h>
#include <string.h>

#define FILE_BYTES_MAX   65536u
#define MUTANT_BYTES_MAX 8192u
#define MUTANTS          150000u

static harness_fn harness_of(const char *folder)
{
    if (strcmp(folder, "message") == 0) {
        return harness_message;
    }
    if (strcmp(folder, "datagram") == 0) {
        return harness_datagram;
    }
    return strcmp(folder, "view") == 0 ? harness_view : harness_record;
}

static size_t read_file(const char *folder, const char *name, uint8_t *bytes)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s/%s", KV_CORPUS, folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("%s cannot be read", path);
        return 0;
    }
    size_t len = fread(bytes, 1, FILE_BYTES_MAX, file);
    fclose(file);
    assert_true(len < FILE_BYTES_MAX);
    return len;
}

static void test_samples_are_stored(void **state)
{
    (void)state;
    uint8_t *stored = alloc_bytes(FILE_BYTES_MAX);
    for (size_t i = 0; i < samples_len(); i++) {
        struct sample sample = sample_make(i);
        assert_true(harness_of(sample.folder)(sample.bytes, sample.len));
        assert_int_equal(read_file(sample.folder, sample.name, stored), sample.len);
        assert_memory_equal(stored, sample.bytes, sample.len);
        alloc_free(sample.bytes);
    }
    alloc_free(stored);
}

static size_t run_folder(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", KV_CORPUS, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    uint8_t *bytes = alloc_bytes(FILE_BYTES_MAX);
    size_t files = 0;
    for (struct dirent *item; (item = readdir(dir)) != NULL;) {
        if (item->d_name[0] != '.') {
            size_t len = read_file(folder, item->d_name, bytes);
            harness_of(folder)(bytes, len);
            files++;
        }
    }
    closedir(dir);
    alloc_free(bytes);
    return files;
}

static void test_every_stored_file(void **state)
{
    (void)state;
    size_t files =
        run_folder("message") + run_folder("view") + run_folder("record") + run_folder("datagram");
    assert_true(files >= samples_len());
}

/* --- mutations --- */

static const uint32_t mutation_numbers[] = {
    0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};

/* Changes the bytes in place in one way; returns the new length. */
static size_t mutate(struct rand *rand, uint8_t *bytes, size_t len, const struct sample *other)
{
    size_t at = len == 0 ? 0 : rand_below(rand, len);
    switch (rand_below(rand, 7)) {
    case 0: /* another byte */
        bytes[at] = (uint8_t)rand_next(rand);
        return len;
    case 1: /* one bit */
        bytes[at] ^= (uint8_t)(1u << rand_below(rand, 8));
        return len;
    case 2: /* an interesting number */
        if (len >= 4) {
            size_t numbers = sizeof(mutation_numbers) / sizeof(mutation_numbers[0]);
            bytes_put_u32(bytes + rand_below(rand, len - 3),
                          mutation_numbers[rand_below(rand, numbers)]);
        }
        return len;
    case 3: /* cut off */
        return at;
    case 4: /* a piece taken out */
        if (len > 0) {
            size_t piece = rand_below(rand, len - at) + 1;
            memmove(bytes + at, bytes + at + piece, len - at - piece);
            return len - piece;
        }
        return len;
    case 5: /* a piece of itself inserted */
        if (len > 0) {
            size_t piece = rand_below(rand, len - at) + 1;
            if (len + piece <= MUTANT_BYTES_MAX) {
                memmove(bytes + at + piece, bytes + at, len - at);
                return len + piece;
            }
        }
        return len;
    default: /* the end of another one */
        if (other->len > at) {
            memcpy(bytes + at, other->bytes + at, other->len - at);
            return other->len;
        }
        return len;
    }
}

static void test_repeatable_mutations(void **state)
{
    (void)state;
    int64_t live = alloc_live();
    struct sample samples[128];
    size_t len = samples_len();
    assert_true(len <= 128);
    for (size_t i = 0; i < len; i++) {
        samples[i] = sample_make(i);
        assert_true(samples[i].len <= MUTANT_BYTES_MAX);
    }
    uint8_t *mutant = alloc_zeroed(1, MUTANT_BYTES_MAX);
    struct rand rand = {20};
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < MUTANTS; i++) {
        const struct sample *sample = &samples[i % len];
        memcpy(mutant, sample->bytes, sample->len);
        size_t mutant_len = sample->len;
        for (uint64_t changes = 1 + rand_below(&rand, 3); changes > 0; changes--) {
            mutant_len = mutate(&rand, mutant, mutant_len, &samples[rand_below(&rand, len)]);
        }
        accepted += harness_of(sample->folder)(mutant, mutant_len) ? 1u : 0u;
    }
    print_message("%u of %u mutants accepted\n", accepted, MUTANTS);
    /* Both outcomes must occur, or the loop tests nothing. */
    assert_true(accepted > MUTANTS / 100 && accepted < MUTANTS);
    alloc_free(mutant);
    for (size_t i = 0; i < len; i++) {
        alloc_free(samples[i].bytes);
    }
    assert_int_equal(alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_are_stored),
        cmocka_unit_test(test_every_stored_file),
        cmocka_unit_test(test_repeatable_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
