/* What the host offers to a plugin: lines, the last error, counted memory, clock, checksum. */
#include "host/services.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

struct seen {
    int lines;
    uint32_t level;
    char plugin[32];
    char text[2048];
};

static void note(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    struct seen *seen = ctx;
    seen->lines++;
    seen->level = level;
    strncpy(seen->plugin, plugin, sizeof(seen->plugin) - 1);
    strncpy(seen->text, text, sizeof(seen->text) - 1);
}

static void lines_and_last_error(void **state)
{
    (void)state;
    struct seen seen = {0};
    char text[64];
    struct services *services = services_create("my-store", NULL, note, &seen);
    const struct kv_host *host = services_table(services);
    assert_int_equal(host->size, sizeof(*host));
    assert_int_equal(host->reserved, 0);
    assert_null(host->loop);
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "");
    host->log(host->ctx, KV_LOG_INFO, "hello");
    assert_string_equal(seen.plugin, "my-store");
    assert_string_equal(seen.text, "hello");
    assert_int_equal(seen.level, KV_LOG_INFO);
    assert_int_equal(services_errors(services), 0);
    host->log(host->ctx, KV_LOG_ERROR, "disk\nis\x01 full");
    assert_string_equal(seen.text, "disk is  full"); /* one line stays one line */
    assert_int_equal(services_errors(services), 1);
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "disk is  full");
    services_last_error(services, text, 5);
    assert_string_equal(text, "disk");
    host->log(host->ctx, KV_LOG_WARN, "only a warning");
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "disk is  full");
    services_clear_error(services);
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "");
    host->log(host->ctx, 77, "no level");
    assert_int_equal(seen.level, KV_LOG_WARN);
    host->log(host->ctx, KV_LOG_DEBUG, NULL);
    assert_int_equal(seen.lines, 5);
    char endless[5000];
    memset(endless, 'e', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    host->log(host->ctx, KV_LOG_ERROR, endless);
    assert_true(strlen(seen.text) > 100);
    assert_true(strlen(seen.text) < 2000);
    services_destroy(services);
    services_destroy(NULL);
}

static void memory_is_counted(void **state)
{
    (void)state;
    struct services *services = services_create("my-store", NULL, NULL, NULL);
    const struct kv_host *host = services_table(services);
    host->log(host->ctx, KV_LOG_ERROR, "nobody listens");
    char *a = host->allocate(host->ctx, 10);
    char *b = host->resize(host->ctx, NULL, 10);
    char *none = host->allocate(host->ctx, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(none);
    assert_int_equal(services_live(services), 3);
    memcpy(a, "123456789", 10);
    a = host->resize(host->ctx, a, 100000);
    assert_string_equal(a, "123456789");
    assert_int_equal(services_live(services), 3);
    host->release(host->ctx, a);
    host->release(host->ctx, b);
    host->release(host->ctx, none);
    host->release(host->ctx, NULL);
    assert_int_equal(services_live(services), 0);
    services_destroy(services);
}

static void clock_and_checksum(void **state)
{
    (void)state;
    int loop = 0;
    struct services *services = services_create("my-store", &loop, NULL, NULL);
    const struct kv_host *host = services_table(services);
    uint64_t before = host->now_ms(host->ctx);
    assert_true(host->now_ms(host->ctx) >= before);
    assert_int_equal(host->crc32c(host->ctx, 0, "123456789", 9), 0xe3069283u);
    uint32_t crc = host->crc32c(host->ctx, 0, "1234", 4);
    assert_int_equal(host->crc32c(host->ctx, crc, "56789", 5), 0xe3069283u);
    assert_ptr_equal(host->loop, &loop);
    services_destroy(services);
}

static void text_is_made_utf8(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"gr\xc3\xbc\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"a\xff"
         "b\xc3",
         "a?b?"},
        {"\xc0\xaf|\xe0\x80\xaf|\xed\xa0\x80|\xf4\x90\x80\x80", "??|???|???|????"},
        {"a\xc2\x9b"
         "31m\t\x1b[0m\x7f",
         "a 31m  [0m "},
        {"", ""},
    };
    struct seen seen = {0};
    struct services *services = services_create("my-store", NULL, note, &seen);
    const struct kv_host *host = services_table(services);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(seen.text, 0, sizeof(seen.text));
        host->log(host->ctx, KV_LOG_INFO, rows[i][0]);
        assert_string_equal(seen.text, rows[i][1]);
    }
    /* A last error is cut between characters. */
    char text[4];
    host->log(host->ctx, KV_LOG_ERROR, "ab\xe2\x82\xac");
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "ab");
    services_destroy(services);
}

static void quiet_errors(void **state)
{
    (void)state;
    struct seen seen = {0};
    char text[64];
    struct services *services = services_create("my-store", NULL, note, &seen);
    const struct kv_host *host = services_table(services);
    services_set_quiet(services, true);
    host->log(host->ctx, KV_LOG_ERROR, "again");
    assert_int_equal(seen.level, KV_LOG_DEBUG);
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "again");
    assert_int_equal(services_errors(services), 1);
    host->log(host->ctx, KV_LOG_INFO, "as ever");
    assert_int_equal(seen.level, KV_LOG_INFO);
    services_set_quiet(services, false);
    host->log(host->ctx, KV_LOG_ERROR, "anew");
    assert_int_equal(seen.level, KV_LOG_ERROR);
    services_destroy(services);
}

static void reasons(void **state)
{
    (void)state;
    struct seen seen = {0};
    char endless[1000];
    struct services *services = services_create("my-store", NULL, note, &seen);
    const struct kv_host *host = services_table(services);
    assert_null(services_reason(services, 0));
    services_begin_reasons(services, 100);
    host->reason(host->ctx, 7, "seven\n\x01is bad");
    host->reason(host->ctx, 3, "three");
    host->reason(host->ctx, 99, "last");
    host->reason(host->ctx, 3, "three again");
    host->reason(host->ctx, 5, "");
    memset(endless, 'e', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    memcpy(endless + SERVICES_REASON_BYTES_MAX - 1, "\xe2\x82\xac", 3); /* does not fit */
    host->reason(host->ctx, 0, endless);
    services_end_reasons(services);
    assert_string_equal(services_reason(services, 7), "seven  is bad");
    assert_string_equal(services_reason(services, 3), "three again");
    assert_string_equal(services_reason(services, 99), "last");
    assert_null(services_reason(services, 5)); /* an empty one is none */
    assert_null(services_reason(services, 4));
    assert_int_equal(strlen(services_reason(services, 0)), SERVICES_REASON_BYTES_MAX - 1);
    assert_int_equal(seen.lines, 0);
    services_begin_reasons(services, 10);
    services_end_reasons(services);
    assert_null(services_reason(services, 7)); /* forgotten */
    services_destroy(services);
}

static void reasons_are_bounded(void **state)
{
    (void)state;
    struct services *services = services_create("my-store", NULL, NULL, NULL);
    const struct kv_host *host = services_table(services);
    services_begin_reasons(services, 1000000);
    for (uint32_t i = 0; i < 10 * SERVICES_REASONS_MAX; i++) {
        host->reason(host->ctx, 999999 - i, "no");
    }
    services_end_reasons(services);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < 1000000; i++) {
        kept += services_reason(services, i) != NULL ? 1 : 0;
    }
    assert_int_equal(kept, SERVICES_REASONS_MAX);
    services_destroy(services);
}

static void *give_reason(void *argument)
{
    const struct kv_host *host = services_table(argument);
    host->reason(host->ctx, 0, "from elsewhere");
    return NULL;
}

/* A reason where none has its place is ignored, and that is said once. */
static void stray_reasons(void **state)
{
    (void)state;
    static const char *const texts[] = {"outside apply()", "from another thread",
                                        "not of the batch", "without a text"};
    for (int i = 0; i < 4; i++) {
        struct seen seen = {0};
        pthread_t thread;
        struct services *services = services_create("my-store", NULL, note, &seen);
        const struct kv_host *host = services_table(services);
        for (int k = 0; k < 3; k++) {
            services_begin_reasons(services, 2);
            if (i == 0) {
                services_end_reasons(services);
                host->reason(host->ctx, 0, "too late");
            } else if (i == 1) {
                assert_int_equal(pthread_create(&thread, NULL, give_reason, services), 0);
                assert_int_equal(pthread_join(thread, NULL), 0);
            } else {
                host->reason(host->ctx, i == 2 ? 2 : 1, i == 2 ? "beyond" : NULL);
            }
            services_end_reasons(services);
            assert_null(services_reason(services, 0));
            assert_null(services_reason(services, 1));
            assert_null(services_reason(services, 2));
        }
        assert_int_equal(seen.lines, 1);
        assert_non_null(strstr(seen.text, "broke its contract"));
        assert_non_null(strstr(seen.text, texts[i]));
        assert_int_equal(services_errors(services), 0); /* it is no reason of a failure */
        services_destroy(services);
    }
}

#define ROUNDS 2000

static void *use(void *argument)
{
    struct services *services = argument;
    const struct kv_host *host = services_table(services);
    char text[64];
    for (int i = 0; i < ROUNDS; i++) {
        void *memory = host->allocate(host->ctx, 16);
        host->log(host->ctx, KV_LOG_ERROR, "from a thread");
        services_last_error(services, text, sizeof(text));
        host->release(host->ctx, memory);
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct services *services = services_create("my-store", NULL, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use, services), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(services_live(services), 0);
    assert_int_equal(services_errors(services), 4 * ROUNDS);
    services_destroy(services);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_last_error), cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(clock_and_checksum),   cmocka_unit_test(text_is_made_utf8),
        cmocka_unit_test(quiet_errors),         cmocka_unit_test(reasons),
        cmocka_unit_test(reasons_are_bounded),  cmocka_unit_test(stray_reasons),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
