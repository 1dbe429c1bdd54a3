/*
 * Whatever bytes the file has, reading it ends with a configuration or with a message: the
 * reference file, changed at random by a fixed seed. Includes are left out: they would name files
 * of the machine.
 */
#include "base/alloc.h"
#include "base/rand.h"
#include "host/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS    3000
#define BYTES_MAX 16384

/* libconfig 1.5 loses the text that it was reading when it finds a mistake. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so";
}

static char original[BYTES_MAX];
static size_t original_len;

/* Changes, drops, doubles or inserts pieces. */
static size_t mutate(struct rand *rand, char *text, size_t len)
{
    static const char *const pieces[] = {
        "{",    "}",    "(",          ")",        "[",      "]",
        ";",    "=",    "\"",         "\\",       "/*",     "#",
        "\n",   "-",    "0x",         "1e9",      "L",      "99999999999999999999",
        "true", "node", "listen = [", "\x80\xff", "limits", "@",
        ","};
    uint64_t changes = 1 + rand_below(rand, 8);
    for (uint64_t i = 0; i < changes && len > 64; i++) {
        size_t at = (size_t)rand_below(rand, len - 32);
        size_t piece_len = 1 + (size_t)rand_below(rand, 30);
        const char *piece = pieces[rand_below(rand, sizeof(pieces) / sizeof(pieces[0]))];
        switch (rand_below(rand, 4)) {
        case 0:
            text[at] = (char)rand_next(rand);
            break;
        case 1:
            memmove(text + at, text + at + piece_len, len - at - piece_len);
            len -= piece_len;
            break;
        case 2:
            if (len + piece_len < BYTES_MAX) {
                memmove(text + at + piece_len, text + at, len - at);
                len += piece_len;
            }
            break;
        default:
            piece_len = strlen(piece);
            memcpy(text + at, piece, piece_len);
            break;
        }
    }
    return len;
}

static void mutated_files(void **state)
{
    (void)state;
    static char text[BYTES_MAX];
    static char error[CONFIG_ERROR_MAX];
    char path[] = "/tmp/kvnode-mutate-XXXXXX";
    struct rand rand = {20240};
    int read_len = 0;
    int refused_len = 0;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct config *config = NULL;
        memcpy(text, original, original_len);
        size_t len = mutate(&rand, text, original_len);
        if (i % 10 == 9) {
            for (size_t k = 0; k < 200; k++) {
                text[k] = (char)rand_next(&rand); /* bytes of no sense at all */
            }
            len = 200;
        }
        assert_int_equal(pwrite(fd, text, len, 0), (ssize_t)len);
        assert_int_equal(ftruncate(fd, (off_t)len), 0);
        error[0] = '\0';
        int32_t status = config_load(path, NULL, 0, &config, error);
        if (status == KV_OK) {
            read_len++;
            assert_non_null(config);
            config_release(config);
        } else {
            refused_len++;
            assert_int_equal(status, KV_E_INVALID);
            assert_null(config);
            assert_true(strlen(error) > 0 && strlen(error) < sizeof(error));
        }
        assert_int_equal(alloc_live(), 0);
    }
    close(fd);
    unlink(path);
    assert_true(read_len > ROUNDS / 100); /* changes within comments do no harm */
    assert_true(refused_len > ROUNDS / 4);
}

static void mutated_sets(void **state)
{
    (void)state;
    static char error[CONFIG_ERROR_MAX];
    static const char letters[] = "abnode.name[0]=\"{}();,\\ \t\n\x80limts@#/*-+1x";
    struct rand rand = {7};
    for (int i = 0; i < ROUNDS; i++) {
        char set[48];
        const char *const sets[] = {set};
        struct config *config = NULL;
        size_t len = (size_t)rand_below(&rand, sizeof(set));
        for (size_t k = 0; k < len; k++) {
            set[k] = letters[rand_below(&rand, sizeof(letters) - 1)];
        }
        set[len] = '\0';
        if (config_load(KV_ETC "/kv.cfg", sets, 1, &config, error) == KV_OK) {
            config_release(config);
        } else {
            assert_true(strlen(error) > 0);
        }
        assert_int_equal(alloc_live(), 0);
    }
}

static int read_original(void **state)
{
    (void)state;
    FILE *file = fopen(KV_ETC "/kv.cfg", "r");
    if (file == NULL) {
        return -1;
    }
    original_len = fread(original, 1, sizeof(original), file);
    fclose(file);
    return original_len > 1000 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutated_files),
        cmocka_unit_test(mutated_sets),
    };
    return cmocka_run_group_tests(tests, read_original, NULL);
}
