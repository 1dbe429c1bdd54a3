/*
 * The long loop: rounds of load, one fault, recovery, and a look at everything that the clients
 * were told. README.md says how it is run and what it looks at.
 *
 * Of one round: load on keys of its own; the fault (nemesis.h); all replicas in sync again, under
 * load; the load ends; all contents equal; each key is read at each node; the history is checked
 * (check.h, and linearizable/ when there is Go); the keys of earlier rounds are as they were.
 */
#include "check.h"
#include "content.h"
#include "load.h"
#include "machines.h"
#include "nemesis.h"
#include "state.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOOP_ROUNDS      300u
#define LOOP_SESSIONS    "10"
#define LOOP_DEADLINE_MS "3000"
#define LOOP_SLACK_MS    2000u
#define LOOP_ACKS_BEFORE 150u
#define LOOP_ACKS_AFTER  100u
#define LOOP_TEXT_MAX    64u

struct loop {
    struct machines machines;
    struct rig *rig;
    uint64_t seed;
    uint32_t round;
    struct rand rand;
    const char *linearizable; /* the program; NULL: there is no Go */
    char prefix[LOOP_TEXT_MAX];
    char history[PROC_PATH_MAX];
    struct content settled; /* what was there at the end of the last round */
    uint64_t requests;
    uint64_t unknown;
    uint64_t checked; /* rounds */
};

static struct loop loop;

static uint64_t loop_number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == '\0' ? fallback : strtoull(text, NULL, 10);
}

static const char *loop_text(const char *name)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == '\0' ? NULL : text;
}

static void loop_name_files(uint32_t round)
{
    char name[LOOP_TEXT_MAX];
    snprintf(loop.prefix, sizeof(loop.prefix), "r%u-", round);
    snprintf(name, sizeof(name), "history.%u", round);
    proc_join(loop.rig->folder, name, loop.history);
}

/* --- the load --- */

/* sessions "0": reads everything once, and ends. */
static void loop_start_load(uint32_t keys, const char *sessions)
{
    char seed[32];
    char keys_text[16];
    const char *argv[] = {LOOP_LOAD, loop.rig->arbiter, loop.history, seed, loop.prefix, keys_text,
                          sessions,  LOOP_DEADLINE_MS,  "n1",         "n2", "n3",        NULL};
    snprintf(seed, sizeof(seed), "%" PRIu64, rand_next(&loop.rand));
    snprintf(keys_text, sizeof(keys_text), "%u", keys);
    proc_start(&loop.rig->other, loop.rig->folder, "load", NULL, argv);
}

static void loop_end_load(void)
{
    int status = proc_wait(&loop.rig->other, PROC_DEADLINE_MS);
    if (status != 0) {
        fail_msg("the load ended with %d (9: a request without its one answer)", status);
    }
}

/* --- checks --- */

/* Whether the history of the key's round has an update of unknown outcome that put the value there;
 * NULL: that removed the key. Such a one may take effect at any later time: say, when the network
 * at last delivers it. */
static bool loop_is_explained(const char *key, const char *value)
{
    struct history history = {0};
    char path[PROC_PATH_MAX];
    char name[LOOP_TEXT_MAX];
    uint32_t at = 0;
    bool is_explained = false;
    uint64_t number = value == NULL ? 0 : strtoull(value, NULL, 10);
    snprintf(name, sizeof(name), "history.%lu", strtoul(key + 1, NULL, 10));
    proc_join(loop.rig->folder, name, path);
    char *text = proc_read_file(path, NULL);
    assert_true(history_parse(&history, text, &at));
    for (uint32_t i = 0; i < history.len; i++) {
        const struct history_op *op = &history.ops[i];
        is_explained = is_explained || (op->kind != HISTORY_GET && op->outcome == HISTORY_UNKNOWN &&
                                        strcmp(op->key, key) == 0 && op->value == number);
    }
    free(text);
    history_close(&history);
    return is_explained;
}

/* A pair of an earlier round is as it was. */
static void loop_check_key(const char *line, const struct content *before,
                           const struct content *now)
{
    char key[HISTORY_NAME_MAX];
    snprintf(key, sizeof(key), "%.*s", (int)strcspn(line, "\t"), line);
    const char *was = content_value(before, key);
    const char *is = content_value(now, key);
    bool is_same = was != NULL && is != NULL && strcmp(was, is) == 0;
    if (!is_same && !loop_is_explained(key, is)) {
        fail_msg("%s of an earlier round was %.40s and is %.40s", key,
                 was == NULL ? "not there" : was, is == NULL ? "not there" : is);
    }
}

static void loop_check_settled(void)
{
    char primary[64];
    struct content now;
    state_primary(loop.rig, primary, sizeof(primary));
    content_export(loop.rig, primary, &now);
    for (uint32_t i = 0; i < loop.settled.len; i++) {
        loop_check_key(loop.settled.lines[i], &loop.settled, &now);
    }
    for (uint32_t i = 0; i < now.len; i++) {
        if (strncmp(now.lines[i], loop.prefix, strlen(loop.prefix)) != 0) {
            loop_check_key(now.lines[i], &loop.settled, &now);
        }
    }
    content_close(&loop.settled);
    loop.settled = now;
}

static void loop_check_linearizable(void)
{
    const char *argv[] = {loop.linearizable, loop.history, NULL};
    struct proc proc = {0};
    if (loop.linearizable == NULL) {
        return;
    }
    proc_start(&proc, loop.rig->folder, "linearizable", NULL, argv);
    int status = proc_wait(&proc, 10 * PROC_DEADLINE_MS);
    if (status != 0) {
        proc_print_tail(proc.out);
        proc_print_tail(proc.err);
        fail_msg("%s: not linearizable (3: not decided): %d", loop.history, status);
    }
}

static void loop_check_history(void)
{
    struct history history = {0};
    char said[CHECK_TEXT_MAX];
    uint32_t line = 0;
    char *text = proc_read_file(loop.history, NULL);
    if (!history_parse(&history, text, &line)) {
        fail_msg("%s:%u: malformed", loop.history, line);
    }
    if (!check_history(&history, LOOP_SLACK_MS, said)) {
        fail_msg("%s: %s", loop.history, said);
    }
    for (uint32_t i = 0; i < history.len; i++) {
        loop.unknown += history.ops[i].outcome == HISTORY_UNKNOWN ? 1 : 0;
    }
    loop.requests += history.len;
    printf("%u requests, ", history.len);
    free(text);
    history_close(&history);
    loop_check_linearizable();
}

/* --- rounds --- */

static void loop_check_alive(void)
{
    for (uint32_t i = 0; i < MACHINES_NODES; i++) {
        if (!proc_is_running(&loop.rig->nodes[i].proc)) {
            fail_msg("%s ended by itself (wait status %d)", loop.rig->nodes[i].name,
                     loop.rig->nodes[i].proc.wait_status);
        }
    }
}

static void loop_round(const struct nemesis *nemesis)
{
    char text[NEMESIS_TEXT_MAX];
    uint32_t keys = 5 + (uint32_t)rand_below(&loop.rand, 12);
    uint64_t begin_ms = proc_now_ms();
    loop_start_load(keys, LOOP_SESSIONS);
    load_wait_more(loop.rig, LOOP_ACKS_BEFORE);
    nemesis_run(nemesis, &loop.machines, &loop.rand, text);
    printf("%s, ", text);
    fflush(stdout);
    uint64_t end_ms = proc_now_ms();
    state_wait_in_sync(loop.rig, MACHINES_REPLICAS);
    load_wait_more(loop.rig, LOOP_ACKS_AFTER);
    uint64_t healthy_ms = proc_now_ms();
    loop_check_alive();
    proc_signal(&loop.rig->other, SIGTERM);
    loop_end_load();
    state_wait_agree(loop.rig, MACHINES_REPLICAS);
    loop_start_load(keys, "0");
    loop_end_load();
    loop_check_history();
    loop_check_settled();
    loop_check_alive();
    printf("healthy after %" PRIu64 " ms, ok (%" PRIu64 " ms)\n", healthy_ms - end_ms,
           proc_now_ms() - begin_ms);
    fflush(stdout);
}

static void test_loop(void **state)
{
    (void)state;
    uint32_t first = (uint32_t)loop_number("KV_LOOP_FIRST", 1);
    uint32_t rounds = (uint32_t)loop_number("KV_LOOP_ROUNDS", LOOP_ROUNDS);
    machines_start(&loop.machines, loop.rig);
    for (loop.round = first; loop.round < first + rounds; loop.round++) {
        struct rand mix = {loop.seed ^ (uint64_t)loop.round << 32};
        loop.rand = (struct rand){rand_next(&mix)};
        const struct nemesis *nemesis =
            nemesis_draw(&loop.machines, &loop.rand, loop_text("KV_LOOP_ONLY"));
        if (nemesis == NULL) {
            fail_msg("no fault is named in %s, or none is possible here",
                     loop_text("KV_LOOP_ONLY"));
        }
        loop_name_files(loop.round);
        printf("round %u: %s ", loop.round, nemesis_name(nemesis));
        fflush(stdout);
        loop_round(nemesis);
        loop.checked++;
    }
    rig_pass(loop.rig);
}

static int loop_setup(void **state)
{
    int result = rig_setup(state);
    loop.rig = *state;
    return result;
}

static int loop_teardown(void **state)
{
    bool is_kept = !loop.rig->is_passed;
    if (is_kept) {
        printf("\nVIOLATION in round %u, seed %" PRIu64
               "; again, as far as the instants of a real system allow:\n"
               "  KV_LOOP_FIRST=%u tests/loop/run.sh 1 %" PRIu64 "\n",
               loop.round, loop.seed, loop.round, loop.seed);
        setenv("KV_CLUSTER_KEEP", "1", 1);
    }
    printf("%" PRIu64 " rounds without a violation, %" PRIu64 " requests, %" PRIu64
           " of unknown outcome; linearizability %s\n",
           loop.checked, loop.requests, loop.unknown,
           loop.linearizable == NULL ? "NOT checked" : "checked");
    fflush(stdout);
    content_close(&loop.settled);
    machines_close(&loop.machines, is_kept);
    return rig_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_loop, loop_setup, loop_teardown),
    };
    loop.seed = loop_number("KV_LOOP_SEED", proc_now_ms());
    loop.linearizable = loop_text("KV_LOOP_LINEARIZABLE");
    printf("seed %" PRIu64 "\n", loop.seed);
    if (loop.linearizable == NULL) {
        printf("SKIPPED: linearizability, for KV_LOOP_LINEARIZABLE names no program "
               "(run.sh builds it when there is Go)\n");
    }
    machines_open(&loop.machines, loop_number("KV_LOOP_PLAIN", 0) != 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
