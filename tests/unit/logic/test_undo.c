/* Undo: whatever is refused, in whatever order, the keys end with what they would have if the void
 * updates had never been, and every stop that is allowed on the way shows no void value. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/rand.h"
#include "fixture.h"
#include "logic/primary.h"
#include "logic/secondary.h"
#include "logic/undo.h"

#include <stdlib.h>
#include <string.h>

#define KEYS    4u
#define UPDATES 24u
#define LOG_MAX 256u

struct bench {
    struct fixture fixture;
    struct replica *replica;
    /* per index: what the update sets its key to ("": removed), and whether it is void */
    char values[LOG_MAX][16];
    uint32_t keys[LOG_MAX];
    bool is_void[LOG_MAX];
    uint64_t updates; /* the client's; undo records follow anywhere */
};

static const char *const key_names[KEYS] = {"", "a", "key-b", "c"};

static void bench_begin(struct bench *bench)
{
    memset(bench, 0, sizeof(*bench));
    fixture_init(&bench->fixture, false, true);
    bench->replica = replica_create(&bench->fixture.context);
    bench->replica->view.number = 3;
}

static void bench_end(struct bench *bench)
{
    replica_destroy(bench->replica);
    fixture_close(&bench->fixture);
}

/* As primary_on_update() does. value NULL: a removal. Returns the index. */
static uint64_t bench_update(struct bench *bench, uint32_t key, const char *value)
{
    struct replica *replica = bench->replica;
    uint64_t last = log_last_index(replica->log);
    struct kv_record record = {.key = key_names[key],
                               .key_len = (uint32_t)strlen(key_names[key]),
                               .value = value,
                               .value_len = value == NULL ? 0 : (uint32_t)strlen(value),
                               .kind = value == NULL ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
                               .position = {3, last + 1},
                               .client = 9,
                               .request = last + 1};
    struct operation *operation =
        operations_add(&replica->primary.operations, replica->committed + 1, last,
                       hash_bytes(record.key, record.key_len));
    log_append(replica->log, &record);
    operation->answered = true;
    bench->keys[last + 1] = key;
    snprintf(bench->values[last + 1], sizeof(bench->values[0]), "%s", value == NULL ? "" : value);
    return last + 1;
}

static void bench_refuse(struct bench *bench, uint64_t index)
{
    struct bytes_view reason = {(const uint8_t *)"no", 2};
    assert_true(undo_is_possible(bench->replica, index));
    undo_refuse(bench->replica, index, reason);
    bench->is_void[index] = true;
}

/* The value that a key must have at an index: of the last update up to there that is not void. */
static const char *bench_expected(const struct bench *bench, uint32_t key, uint64_t index)
{
    const char *value = "";
    for (uint64_t i = 1; i <= index; i++) {
        struct kv_record record = log_get(bench->replica->log, i);
        if (record.client != 0 && bench->keys[i] == key && !bench->is_void[i]) {
            value = bench->values[i];
        }
    }
    return value;
}

/* The value that a replay of the log shows at an index. */
static void bench_shown(const struct bench *bench, uint32_t key, uint64_t index, char *ret_value)
{
    ret_value[0] = '\0';
    for (uint64_t i = 1; i <= index; i++) {
        struct kv_record record = log_get(bench->replica->log, i);
        if (record.key_len == strlen(key_names[key]) &&
            (record.key_len == 0 || memcmp(record.key, key_names[key], record.key_len) == 0)) {
            memcpy(ret_value, record.value_len == 0 ? "" : record.value, record.value_len);
            ret_value[record.value_len] = '\0';
        }
    }
}

static void bench_check(const struct bench *bench)
{
    const struct index_set *stops = &bench->replica->primary.stops;
    uint64_t last = log_last_index(bench->replica->log);
    assert_int_equal(index_set_floor(stops, last), last); /* the end is always a stop */
    for (uint64_t index = bench->replica->committed; index <= last; index++) {
        for (uint32_t key = 0; key < KEYS && !index_set_has(stops, index); key++) {
            char shown[16];
            bench_shown(bench, key, index, shown);
            if (strcmp(shown, bench_expected(bench, key, index)) != 0) {
                fail_msg("at %u key %u shows \"%s\", not \"%s\"", (unsigned)index, key, shown,
                         bench_expected(bench, key, index));
            }
        }
    }
}

static void test_a_committed_value_comes_back(void **state)
{
    struct bench bench;
    (void)state;
    bench_begin(&bench);
    bench_update(&bench, 1, "old");
    replica_commit(bench.replica, 1);
    bench_refuse(&bench, bench_update(&bench, 1, "new"));
    assert_int_equal(log_last_index(bench.replica->log), 3);
    struct kv_record undo = log_get(bench.replica->log, 3);
    assert_int_equal(undo.client, 0);
    assert_int_equal(undo.request, 2); /* what it undoes */
    assert_int_equal(undo.position.view, 3);
    assert_int_equal(index_set_floor(&bench.replica->primary.stops, 2), 1);
    assert_int_equal(index_set_floor(&bench.replica->primary.stops, 3), 3);
    assert_string_equal(operations_at(&bench.replica->primary.operations, 2)->reason, "no");
    assert_false(undo_is_possible(bench.replica, 3)); /* an undo is not undone */
    assert_false(undo_is_possible(bench.replica, 1)); /* nor what is committed */
    assert_false(undo_is_possible(bench.replica, 4)); /* nor what is not there */
    bench_check(&bench);
    bench_end(&bench);
}

static void test_a_newer_update_makes_up_for_it(void **state)
{
    struct bench bench;
    (void)state;
    bench_begin(&bench);
    uint64_t refused = bench_update(&bench, 1, "bad");
    bench_update(&bench, 2, "other");
    bench_update(&bench, 1, "good");
    bench_refuse(&bench, refused);
    assert_int_equal(log_last_index(bench.replica->log), 3); /* nothing was added */
    assert_int_equal(index_set_floor(&bench.replica->primary.stops, 2), 0);
    bench_check(&bench);
    bench_refuse(&bench, refused); /* told again, by another node */
    assert_int_equal(log_last_index(bench.replica->log), 3);
    bench_refuse(&bench, 3); /* and now that one */
    assert_int_equal(log_last_index(bench.replica->log), 4);
    bench_check(&bench);
    bench_end(&bench);
}

/* The undo of one brings back the value of another that is refused later. */
static void test_an_undo_that_becomes_void(void **state)
{
    struct bench bench;
    (void)state;
    bench_begin(&bench);
    bench_update(&bench, 1, "first");
    bench_update(&bench, 1, "second");
    bench_update(&bench, 1, "third");
    bench_refuse(&bench, 3);
    struct kv_record undo = log_get(bench.replica->log, 4);
    assert_memory_equal(undo.value, "second", 6);
    bench_refuse(&bench, 2);
    undo = log_get(bench.replica->log, 5);
    assert_memory_equal(undo.value, "first", 5);
    bench_refuse(&bench, 1);
    undo = log_get(bench.replica->log, 6);
    assert_int_equal(undo.kind, KV_RECORD_REMOVE);
    bench_check(&bench);
    bench_end(&bench);
}

/* What a store says of one record of the log. */
static struct refused refused_at(const struct bench *bench, uint64_t index)
{
    struct refused refused = {log_get(bench->replica->log, index), index, "no"};
    return refused;
}

/* The primary's own store refuses an update whose value an undo has brought back meanwhile, and
 * then that undo as well: it is void by then, and nothing is to be tried again for ever. */
static void test_a_void_undo_is_refused_too(void **state)
{
    struct bench bench;
    (void)state;
    bench_begin(&bench);
    bench_update(&bench, 1, "bad");
    bench_update(&bench, 1, "worse");
    bench_refuse(&bench, 2); /* a secondary tells first: 3 brings "bad" back */
    struct refused first = refused_at(&bench, 1);
    assert_true(primary_on_refused(bench.replica, &first, 1));
    bench.is_void[1] = true;
    bench_check(&bench);
    assert_int_equal(log_last_index(bench.replica->log), 4);
    struct refused copy = refused_at(&bench, 3);
    assert_true(primary_on_refused(bench.replica, &copy, 1));
    struct refused valid = refused_at(&bench, 4);
    assert_false(primary_on_refused(bench.replica, &valid, 1)); /* that one must be stored */
    assert_int_equal(log_last_index(bench.replica->log), 4);
    bench_check(&bench);
    bench_end(&bench);
}

/* A secondary's store refuses a record of the log and, in the same batch, its repetition because of
 * a piece: that is one refusal, no reason to leave. Content that was never in the log is one. */
static void test_a_piece_repeats_a_refused_record(void **state)
{
    struct bench bench;
    (void)state;
    bench_begin(&bench);
    bench.replica->role = ROLE_CANDIDATE;
    bench.replica->membership.joined = true;
    bench_update(&bench, 1, "bad");
    struct refused both[2] = {refused_at(&bench, 1), refused_at(&bench, 1)};
    both[1].index = 0; /* not as a record of the log */
    assert_true(secondary_on_refused(bench.replica, both, 2));
    assert_true(bench.replica->membership.joined);
    assert_int_equal(bench.replica->secondary.refusals.len, 1);
    struct refused content = refused_at(&bench, 1);
    content.index = 0;
    content.record.position.view = 2; /* another record, though of the same index */
    assert_true(secondary_on_refused(bench.replica, &content, 1));
    assert_false(bench.replica->membership.joined);
    assert_string_equal(bench.replica->refused, "no");
    content.record.kind = KV_RECORD_REMOVE;
    assert_false(secondary_on_refused(bench.replica, &content, 1));
    bench_end(&bench);
}

/* Another node takes over the log that has come so far, of which so much is committed there: as
 * primary_start() does. */
static void bench_adopt(struct bench *bench, const struct bench *before, uint64_t committed)
{
    uint64_t last = log_last_index(before->replica->log);
    bench_begin(bench);
    memcpy(bench->values, before->values, sizeof(bench->values));
    memcpy(bench->keys, before->keys, sizeof(bench->keys));
    memcpy(bench->is_void, before->is_void, sizeof(bench->is_void));
    bench->replica->view.number = before->replica->view.number + 1;
    for (uint64_t index = 1; index <= last; index++) {
        struct kv_record record = log_get(before->replica->log, index);
        operations_add(&bench->replica->primary.operations, 1, index - 1,
                       hash_bytes(record.key, record.key_len))
            ->answered = true;
        log_append(bench->replica->log, &record);
    }
    for (uint64_t index = 1; index <= committed; index++) {
        operations_done(&bench->replica->primary.operations, index);
    }
    replica_commit(bench->replica, committed);
    for (uint64_t index = committed + 1; index <= last; index++) {
        undo_adopt(bench->replica, index);
    }
}

/* What an undo in the log undoes is void at the next primary, too, and is not passed alone. */
static void test_an_undo_is_taken_over(void **state)
{
    (void)state;
    struct bench first;
    struct bench second;
    bench_begin(&first);
    bench_update(&first, 1, "old");
    bench_refuse(&first, bench_update(&first, 1, "bad")); /* 2, undone by 3 */
    bench_update(&first, 2, "x");
    bench_adopt(&second, &first, 1);
    assert_true(index_set_has(&second.replica->primary.voids, 2));
    assert_false(undo_is_possible(second.replica, 3));
    assert_int_equal(index_set_floor(&second.replica->primary.stops, 2), 1);
    assert_int_equal(index_set_floor(&second.replica->primary.stops, 3), 3);
    bench_check(&second);
    /* What it brought back is void now: it goes with it. */
    bench_refuse(&second, 4);
    bench_check(&second);
    bench_end(&second);
    /* All committed before: nothing is left of it. */
    bench_adopt(&second, &first, 4);
    assert_false(index_set_has(&second.replica->primary.voids, 2));
    bench_check(&second);
    bench_end(&second);
    bench_end(&first);
}

/* A later update of its key makes up for it: no record says then that it was void. */
static bool bench_has_newer(const struct bench *bench, uint64_t index)
{
    for (uint64_t next = index + 1; next <= log_last_index(bench->replica->log); next++) {
        struct kv_record record = log_get(bench->replica->log, next);
        if (record.client != 0 && bench->keys[next] == bench->keys[index] &&
            !bench->is_void[next]) {
            return true;
        }
    }
    return false;
}

/* Wherever the old primary was, and whatever is refused then. Without an undo in the log a new one
 * learns only from the stores that refuse it what is void: refusals are told anew. */
static void test_random_logs_are_taken_over(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct rand rand = {.state = seed};
        struct bench first;
        struct bench second;
        bench_begin(&first);
        for (uint32_t i = 0; i < UPDATES / 2; i++) {
            char value[16];
            snprintf(value, sizeof(value), "v%u", i);
            bench_update(&first, (uint32_t)rand_below(&rand, KEYS),
                         rand_percent(&rand, 25) ? NULL : value);
            uint64_t index = 1 + rand_below(&rand, log_last_index(first.replica->log));
            if (rand_percent(&rand, 30) && undo_is_possible(first.replica, index) &&
                !bench_has_newer(&first, index)) {
                bench_refuse(&first, index);
            }
        }
        uint64_t committed = index_set_floor(&first.replica->primary.stops,
                                             rand_below(&rand, log_last_index(first.replica->log)));
        bench_adopt(&second, &first, committed);
        bench_check(&second);
        for (uint32_t i = 0; i < 10; i++) {
            uint64_t index = 1 + rand_below(&rand, log_last_index(second.replica->log));
            if (undo_is_possible(second.replica, index)) {
                bench_refuse(&second, index);
                bench_check(&second);
            }
        }
        bench_end(&second);
        bench_end(&first);
    }
}

static void test_random_refusals(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        struct rand rand = {.state = seed};
        struct bench bench;
        bench_begin(&bench);
        uint64_t committed_max = rand_below(&rand, UPDATES / 2);
        for (uint32_t i = 0; i < UPDATES; i++) {
            char value[16];
            uint32_t key = (uint32_t)rand_below(&rand, KEYS);
            snprintf(value, sizeof(value), "v%u", i);
            bench_update(&bench, key, rand_percent(&rand, 25) ? NULL : value);
            if (i + 1 == committed_max) {
                replica_commit(bench.replica, committed_max);
            }
            while (rand_percent(&rand, 35)) {
                uint64_t last = log_last_index(bench.replica->log);
                uint64_t index = 1 + rand_below(&rand, last);
                if (undo_is_possible(bench.replica, index) && last < LOG_MAX - UPDATES) {
                    bench_refuse(&bench, index);
                    bench_check(&bench);
                    committed_max = 0;
                }
            }
        }
        bench_check(&bench);
        bench_end(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_committed_value_comes_back),
        cmocka_unit_test(test_a_newer_update_makes_up_for_it),
        cmocka_unit_test(test_an_undo_that_becomes_void),
        cmocka_unit_test(test_a_void_undo_is_refused_too),
        cmocka_unit_test(test_a_piece_repeats_a_refused_record),
        cmocka_unit_test(test_an_undo_is_taken_over),
        cmocka_unit_test(test_random_logs_are_taken_over),
        cmocka_unit_test(test_random_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
