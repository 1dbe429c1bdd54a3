/*
 * import and export against a scripted cluster that answers in any order and fails at will.
 */
#include "fake_client.h"
#include "run.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
    (void)state;
    unsetenv("KV_ARBITER"); /* of whoever runs the tests */
    fake_reset();
    run_open_folder();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(fake.clients, 0);
    fake_reset();
    run_close_folder();
    return 0;
}

static void assert_has(const struct text_buffer *text, const char *part)
{
    if (strstr((const char *)text->bytes, part) == NULL) {
        fail_msg("'%s' lacks '%s'", (const char *)text->bytes, part);
    }
}

static void assert_value(const char *key, const char *value)
{
    const struct fake_pair *pair = fake_find(key, strlen(key));
    assert_non_null(pair);
    assert_int_equal(pair->value_len, strlen(value));
    assert_memory_equal(pair->value, value, pair->value_len);
}

/* lines pairs over keys keys: the last line of each key has the highest number as its value. */
static void make_file(const char *name, uint32_t lines, uint32_t keys)
{
    struct text_buffer text = {0};
    for (uint32_t i = 0; i < lines; i++) {
        char line[64];
        snprintf(line, sizeof(line), "key%u\tvalue%u\n", i % keys, i);
        text_buffer_append_text(&text, line);
    }
    run_write_file(name, text.bytes, text.len);
    text_buffer_close(&text);
}

static void check_last_values(uint32_t lines, uint32_t keys)
{
    assert_int_equal(fake.pairs_len, keys);
    for (uint32_t key = 0; key < keys; key++) {
        char name[32];
        char value[32];
        uint32_t last = (lines - 1 - key) / keys * keys + key;
        snprintf(name, sizeof(name), "key%u", key);
        snprintf(value, sizeof(value), "value%u", last);
        assert_value(name, value);
    }
}

static void import_is_complete_and_bounded(void **state)
{
    (void)state;
    struct run run;
    make_file("a.tsv", 5000, 5000);
    run_kvctl(&run, "import", run_path("a.tsv"), "--window", "100", "--json", NULL);
    assert_int_equal(run.status, 0);
    check_last_values(5000, 5000);
    assert_int_equal(fake.inserts, 5000);
    assert_int_equal(fake.inflight_max, 100);
    assert_has(&run.err, "imported 5000 pairs, 0 retried, ");
    assert_has(&run.out, "\"imported\":5000,\"retried\":0,\"bad_lines\":0,");
    run_close(&run);
}

static void last_line_of_a_key_wins(void **state)
{
    (void)state;
    struct run run;
    make_file("a.tsv", 5000, 7);
    run_kvctl(&run, "import", run_path("a.tsv"), NULL);
    assert_int_equal(run.status, 0);
    check_last_values(5000, 7);
    run_close(&run);
}

static int32_t some_fail(uint64_t number, const void *key, size_t key_len)
{
    (void)key;
    (void)key_len;
    static const int32_t failures[] = {KV_E_TIMEOUT, KV_E_REJECTED, KV_E_UNREACHABLE};
    return number % 23 == 5 ? failures[number / 23 % 3] : KV_OK;
}

/* Whether a failed insert was executed or not, and although inserts are made again, no line is lost
 * and no older line comes after a newer one of its key. */
static void unconfirmed_inserts_are_made_again(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        fake_reset();
        fake.decide_insert = some_fail;
        fake.is_executed_late = late == 1;
        struct run run;
        make_file("a.tsv", 2000, 150);
        run_kvctl(&run, "import", run_path("a.tsv"), "--window", "500", NULL);
        assert_int_equal(run.status, 0);
        check_last_values(2000, 150);
        assert_has(&run.err, "imported 2000 pairs, ");
        assert_null(strstr((char *)run.err.bytes, ", 0 retried"));
        run_close(&run);
    }
}

static int32_t key3_fails(uint64_t number, const void *key, size_t key_len)
{
    (void)number;
    return key_len == 4 && memcmp(key, "key3", 4) == 0 ? KV_E_TIMEOUT : KV_OK;
}

static void import_gives_up_after_all_attempts(void **state)
{
    (void)state;
    struct run run;
    fake.decide_insert = key3_fails;
    make_file("a.tsv", 2000, 1000);
    run_kvctl(&run, "import", run_path("a.tsv"), "--retries", "2", "--window", "50", NULL);
    assert_int_equal(run.status, 3);
    assert_has(&run.err, "a.tsv:4: not confirmed in 3 attempts, the last one failed: scripted");
    assert_has(&run.err, "1 not confirmed, 1 not sent");
    assert_has(&run.err, "imported 1998 pairs");
    run_close(&run);
}

static void bad_line_ends_the_import(void **state)
{
    (void)state;
    static const char text[] = "a\t1\nb\t2\nno pair\nc\t3\nd\t4\textra\n";
    struct run run;
    run_write_file("a.tsv", text, sizeof(text) - 1);
    run_kvctl(&run, "import", run_path("a.tsv"), NULL);
    assert_int_equal(run.status, 2);
    assert_has(&run.err, "a.tsv:3: no tab between key and value");
    assert_has(&run.err, "imported 2 pairs");
    assert_value("b", "2");
    assert_null(fake_find("c", 1));
    run_close(&run);

    run_kvctl(&run, "import", run_path("a.tsv"), "--skip-bad", NULL);
    assert_int_equal(run.status, 0);
    assert_has(&run.err, "a.tsv:5: column 4: a second tab");
    assert_has(&run.err, "imported 3 pairs");
    assert_has(&run.err, "2 bad lines");
    assert_value("c", "3");
    assert_null(fake_find("d", 1));
    run_close(&run);
}

static void too_large_pair_is_a_bad_line(void **state)
{
    (void)state;
    struct run run;
    struct text_buffer text = {0};
    text_buffer_append_text(&text, "a\t1\n");
    memset(text_buffer_room(&text, 2000), 'k', 2000);
    text.len += 2000;
    text_buffer_append_text(&text, "\t2\nb\t3");
    run_write_file("a.tsv", text.bytes, text.len);
    run_kvctl(&run, "import", run_path("a.tsv"), "--skip-bad", NULL);
    assert_int_equal(run.status, 0);
    assert_has(&run.err, "a.tsv:2: key or value is too large");
    assert_value("b", "3");
    run_close(&run);
    text_buffer_close(&text);
}

static void import_cannot_start(void **state)
{
    (void)state;
    struct run run;
    run_kvctl(&run, "import", run_path("none.tsv"), NULL);
    assert_int_equal(run.status, 2);
    assert_has(&run.err, "cannot open");
    run_close(&run);
    run_kvctl(&run, "import", run_path("."), NULL);
    assert_int_equal(run.status, 2);
    run_close(&run);
    run_kvctl(&run, "import", "-", "--format", "xml", NULL);
    assert_int_equal(run.status, 2);
    run_close(&run);
    fake.view_status = KV_E_UNREACHABLE;
    run_kvctl(&run, "import", "-", NULL);
    assert_int_equal(run.status, 5);
    run_close(&run);
}

/* Any bytes, out and in again, in both formats, through a file and through stdin. */
static void export_and_import_are_inverse(void **state)
{
    (void)state;
    static const char *const formats[] = {"tsv", "jsonl"};
    for (size_t f = 0; f < 2; f++) {
        fake_reset();
        for (uint32_t i = 0; i < 256; i++) {
            uint8_t key[3] = {(uint8_t)i, (uint8_t)(i * 7), 0};
            uint8_t value[256];
            for (uint32_t j = 0; j < 256; j++) {
                value[j] = (uint8_t)(i + j);
            }
            fake_put(key, i % 4, value, i);
        }
        uint32_t pairs = fake.pairs_len;
        struct run run;
        run_kvctl(&run, "export", "--format", formats[f], NULL);
        assert_int_equal(run.status, 0);
        struct fake_pair *before = calloc(pairs, sizeof(*before));
        memcpy(before, fake.pairs, pairs * sizeof(*before));
        fake.pairs_len = 0;

        run_set_input(run.out.bytes, run.out.len);
        struct run back;
        run_kvctl(&back, "import", "-", "--format", formats[f], NULL);
        assert_int_equal(back.status, 0);
        assert_int_equal(fake.pairs_len, pairs);
        for (uint32_t i = 0; i < pairs; i++) {
            const struct fake_pair *pair = fake_find(before[i].key, before[i].key_len);
            assert_non_null(pair);
            assert_int_equal(pair->value_len, before[i].value_len);
            assert_memory_equal(pair->value, before[i].value, pair->value_len);
            free(before[i].key);
            free(before[i].value);
        }
        free(before);
        run_close(&run);
        run_close(&back);
    }
}

static int32_t pages_fail_at_first(uint64_t number)
{
    return number % 3 == 2 ? KV_OK : KV_E_TIMEOUT;
}

static int32_t later_pages_fail(uint64_t number)
{
    return number < 2 ? KV_OK : KV_E_UNREACHABLE;
}

static void export_file_is_complete_or_absent(void **state)
{
    (void)state;
    struct run run;
    struct text_buffer text = {0};
    for (uint32_t i = 0; i < 20; i++) {
        char key[16];
        int len = snprintf(key, sizeof(key), "k%u", i);
        fake_put(key, (size_t)len, "v", 1);
    }
    fake.decide_scan = pages_fail_at_first;
    run_kvctl(&run, "export", run_path("out.jsonl"), NULL);
    assert_int_equal(run.status, 0);
    assert_has(&run.err, "exported 20 pairs from node 'n1'");
    assert_true(run_read_file("out.jsonl", &text));
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++) {
        lines += text.bytes[i] == '\n';
    }
    assert_int_equal(lines, 20);
    assert_has(&text, "{\"key\":\"k0\",\"value\":\"v\"}\n");
    text_buffer_close(&text);
    run_close(&run);

    fake.scans = 0;
    fake.decide_scan = later_pages_fail;
    run_kvctl(&run, "export", run_path("out.jsonl"), "--retries", "1", NULL);
    assert_int_equal(run.status, 5);
    assert_has(&run.err, "export from node 'n1': nobody reachable");
    assert_true(run_read_file("out.jsonl", &text)); /* the one before, untouched */
    assert_int_equal(text.bytes[0], '{');
    text_buffer_close(&text);
    run_close(&run);
    fake.scans = 0;
    run_kvctl(&run, "export", run_path("new.tsv"), "--retries", "0", NULL);
    assert_int_equal(run.status, 5);
    assert_false(run_read_file("new.tsv", &text));
    run_close(&run);
    run_kvctl(&run, "export", run_path("none/new.tsv"), NULL);
    assert_int_equal(run.status, 2);
    run_close(&run);
}

static int32_t interrupt_at_500(uint64_t number, const void *key, size_t key_len)
{
    (void)key;
    (void)key_len;
    if (number == 500) {
        raise(SIGINT);
    }
    return KV_OK;
}

static void interrupt_stops_with_a_summary(void **state)
{
    (void)state;
    struct run run;
    fake.decide_insert = interrupt_at_500;
    make_file("a.tsv", 19000, 19000);
    run_kvctl(&run, "import", run_path("a.tsv"), "--window", "10", NULL);
    assert_int_equal(run.status, 3);
    assert_has(&run.err, "interrupted");
    assert_has(&run.err, "imported ");
    assert_true(fake.inserts >= 500 && fake.inserts < 19000);
    char imported[64];
    snprintf(imported, sizeof(imported), "imported %u pairs", fake.pairs_len);
    assert_has(&run.err, imported); /* each insert that was made is accounted for */
    run_close(&run);
}

static void progress_is_shown_when_asked_for(void **state)
{
    (void)state;
    struct run run;
    make_file("a.tsv", 100, 100);
    run_kvctl(&run, "import", run_path("a.tsv"), NULL);
    assert_null(strstr((char *)run.err.bytes, "["));
    run_close(&run);
    run_kvctl(&run, "import", run_path("a.tsv"), "--progress", NULL);
    assert_has(&run.err, "import [########################] 100%  100 pairs");
    run_close(&run);
    run_kvctl(&run, "export", "--progress", NULL);
    assert_has(&run.err, "export [########################] 100%  100 pairs");
    run_close(&run);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(import_is_complete_and_bounded),
        TEST(last_line_of_a_key_wins),
        TEST(unconfirmed_inserts_are_made_again),
        TEST(import_gives_up_after_all_attempts),
        TEST(bad_line_ends_the_import),
        TEST(too_large_pair_is_a_bad_line),
        TEST(import_cannot_start),
        TEST(export_and_import_are_inverse),
        TEST(export_file_is_complete_or_absent),
        TEST(interrupt_stops_with_a_summary),
        TEST(progress_is_shown_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
