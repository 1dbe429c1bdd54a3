/*
 * The program kvnode as a user meets it: command line, `ready` line, exit statuses, signals, and
 * what it says when it does not start (SYSTEM.md section 6).
 */
#include "kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16u
#define OUTPUT_MAX    65536u

struct process {
    pid_t pid;
    int ends[2]; /* stdout, stderr; -1: at its end */
    char texts[2][OUTPUT_MAX];
    size_t lens[2];
};

static char folder[KIT_PATH_MAX];
static char config[KIT_PATH_MAX];
static struct process process;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static int setup(void **state)
{
    (void)state;
    memset(&process, 0, sizeof(process));
    kit_make_folder(folder);
    kit_join(folder, "kv.cfg", config);
    char text[4096];
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n1\"; roles = [\"arbiter\", \"replica\"];\n"
                       "         arbiter = \"tcp://127.0.0.1:0\"; data = \"%s/data\"; };\n"
                       "transports = ( { plugin = \"transport-tcp\";\n"
                       "                 listen = \"tcp://127.0.0.1:0\"; } );\n"
                       "persistence = { plugin = \"persist-file\"; path = \"%s/store\"; };\n",
                       folder, folder);
    kit_write_file(config, text, (size_t)len);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (process.pid != 0) {
        kill(process.pid, SIGKILL);
        waitpid(process.pid, NULL, 0);
    }
    kit_remove_folder(folder);
    return 0;
}

/* Starts kvnode with the arguments, up to NULL; "-c CONFIG" comes first. */
static void start(const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 4] = {(char *)KVNODE, (char *)"-c", config};
    for (unsigned i = 0; arguments[i] != NULL; i++) {
        assert_true(i < ARGUMENTS_MAX);
        argv[3 + i] = (char *)arguments[i];
    }
    int out[2];
    int err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    memset(&process, 0, sizeof(process));
    process.pid = fork();
    assert_true(process.pid >= 0);
    if (process.pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        setenv("KV_PLUGINS", KV_PLUGIN_FOLDER, 1);
        execv(KVNODE, argv);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    process.ends[0] = out[0];
    process.ends[1] = err[0];
}

/* Reads what the process writes until `wanted` is in that stream (0: stdout, 1: stderr), or, with
 * wanted NULL, until both have ended. */
static void read_until(unsigned stream, const char *wanted)
{
    uint64_t end_ms = now_ms() + KIT_DEADLINE_MS;
    while (wanted == NULL ? process.ends[0] >= 0 || process.ends[1] >= 0
                          : strstr(process.texts[stream], wanted) == NULL) {
        struct pollfd polls[2] = {{process.ends[0], POLLIN, 0}, {process.ends[1], POLLIN, 0}};
        uint64_t left_ms = end_ms > now_ms() ? end_ms - now_ms() : 0;
        if (poll(polls, 2, (int)left_ms) <= 0) {
            fail_msg("timed out; stdout \"%s\", stderr \"%s\"", process.texts[0], process.texts[1]);
        }
        for (unsigned i = 0; i < 2; i++) {
            if (polls[i].revents == 0) {
                continue;
            }
            ssize_t len = read(process.ends[i], process.texts[i] + process.lens[i],
                               OUTPUT_MAX - 1 - process.lens[i]);
            process.lens[i] += len > 0 ? (size_t)len : 0;
            if (len <= 0) {
                close(process.ends[i]);
                process.ends[i] = -1;
            }
        }
        if (wanted != NULL && process.ends[0] < 0 && process.ends[1] < 0 &&
            strstr(process.texts[stream], wanted) == NULL) {
            fail_msg("ended without \"%s\"; stdout \"%s\", stderr \"%s\"", wanted, process.texts[0],
                     process.texts[1]);
        }
    }
}

/* Reads to the end and returns the exit status. */
static int finish(void)
{
    int result;
    read_until(0, NULL);
    assert_int_equal(waitpid(process.pid, &result, 0), process.pid);
    process.pid = 0;
    if (!WIFEXITED(result)) {
        fail_msg("killed by signal %d; stderr \"%s\"", WTERMSIG(result), process.texts[1]);
    }
    return WEXITSTATUS(result);
}

static void expect_text(unsigned stream, const char *part)
{
    if (strstr(process.texts[stream], part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, process.texts[stream]);
    }
}

#define START(...) start((const char *const[]){__VA_ARGS__, NULL})

/* It ends by itself with that status, nothing on stdout, and `part` on stderr. */
static void expect_exit(int status, const char *part)
{
    int got = finish();
    if (got != status) {
        fail_msg("status %d, not %d; stderr \"%s\"", got, status, process.texts[1]);
    }
    assert_string_equal(process.texts[0], "");
    expect_text(1, part);
}

static void test_usage(void **state)
{
    (void)state;
    START("--nonsense");
    expect_exit(2, "usage: kvnode -c FILE");
    START("surplus");
    expect_exit(2, "unexpected argument \"surplus\"");
    START("-c", "/nonexistent/kv.cfg");
    expect_exit(2, "/nonexistent/kv.cfg");
    START("--set", "node.nmae=x");
    expect_exit(2, "node.nmae");
}

static void test_help_and_version(void **state)
{
    (void)state;
    START("--help");
    assert_int_equal(finish(), 0);
    expect_text(0, "Exit status: 0 done, 2 usage");
    START("--version");
    assert_int_equal(finish(), 0);
    assert_memory_equal(process.texts[0], "kvnode ", 7);
    assert_string_equal(process.texts[1], "");
}

static void test_check(void **state)
{
    (void)state;
    char expected[KIT_PATH_MAX + 16];
    char data[KIT_PATH_MAX];
    snprintf(expected, sizeof(expected), "%s: ok\n", config);
    START("--check");
    assert_int_equal(finish(), 0);
    assert_string_equal(process.texts[0], expected);
    kit_join(folder, "data", data);
    assert_int_equal(access(data, F_OK), -1);
    START("--check", "--set", "persistence.sinc=always");
    expect_exit(2, "sinc");
    START("--check", "--set", "persistence.plugin=persist-nowhere");
    expect_exit(3, "persist-nowhere");
}

static void test_plugins(void **state)
{
    (void)state;
    START("--set", "persistence.plugin=transport-tcp");
    expect_exit(3, "transport-tcp");
    START("--set", "transports.[0].listen=udp://127.0.0.1:0");
    expect_exit(2, "tcp://");
}

/* ret_uri: KIT_PATH_MAX bytes. */
static void expect_ready(const char *role, char *ret_uri)
{
    char expected[128];
    read_until(0, "\n");
    int len =
        snprintf(expected, sizeof(expected), "ready name=n1 role=%s listen=tcp://127.0.0.1:", role);
    assert_memory_equal(process.texts[0], expected, (size_t)len);
    int port = 0;
    int end = 0;
    assert_int_equal(sscanf(process.texts[0] + len, "%d%n", &port, &end), 1);
    assert_true(port > 0);
    assert_string_equal(process.texts[0] + len + end, "\n");
    snprintf(ret_uri, KIT_PATH_MAX, "tcp://127.0.0.1:%d", port);
}

static void expect_clean_stop(int signal_number)
{
    assert_int_equal(kill(process.pid, signal_number), 0);
    assert_int_equal(finish(), 0);
    expect_text(1, "event=stopped status=0");
    char *newline = strchr(process.texts[0], '\n');
    assert_string_equal(newline, "\n"); /* one line, no more */
}

/* The arbiter has one address only: a transport for it must be there. */
static void test_arbiter_of_no_transport(void **state)
{
    (void)state;
    char expected[KIT_PATH_MAX + 256];
    char text[2048];
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n1\"; data = \"%s/data\";\n"
                       "         arbiter = \"pigeon://loft:7400\"; };\n"
                       "transports = ( { plugin = \"transport-tcp\"; },\n"
                       "               { plugin = \"transport-tcp\"; } );\n"
                       "persistence = { plugin = \"persist-file\"; path = \"%s/store\"; };\n",
                       folder, folder);
    kit_write_file(config, text, (size_t)len);
    snprintf(expected, sizeof(expected),
             "%s:2: node.arbiter is \"pigeon://loft:7400\", and no transport of this node serves "
             "such an address (schemes served: tcp); give",
             config);
    START("--check");
    expect_exit(2, expected);
    START(NULL);
    expect_exit(2, expected);
    START("--check", "--set", "node.arbiter=crow://loft:7400");
    expect_exit(2, "--set node.arbiter: node.arbiter is \"crow://loft:7400\", and no transport");
    START("--check", "--set", "node.arbiter=tcp://127.0.0.1:7400");
    assert_int_equal(finish(), 0);
}

/* Two entries of one plugin, each with a port of its own: the node listens on both. */
static void test_two_transports(void **state)
{
    (void)state;
    char text[2048];
    int ports[2] = {0, 0};
    int end = 0;
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n1\"; roles = [\"arbiter\", \"replica\"];\n"
                       "         arbiter = \"tcp://127.0.0.1:0\"; data = \"%s/data\"; };\n"
                       "transports = (\n"
                       "    { plugin = \"transport-tcp\"; listen = \"tcp://127.0.0.1:0\"; },\n"
                       "    { plugin = \"transport-tcp\"; listen = \"tcp://127.0.0.1:0\"; } );\n"
                       "persistence = { plugin = \"persist-file\"; path = \"%s/store\"; };\n",
                       folder, folder);
    kit_write_file(config, text, (size_t)len);
    START(NULL);
    read_until(0, "\n");
    if (sscanf(process.texts[0],
               "ready name=n1 role=primary listen=tcp://127.0.0.1:%d,tcp://127.0.0.1:%d\n%n",
               &ports[0], &ports[1], &end) != 2) {
        fail_msg("%s", process.texts[0]);
    }
    assert_int_equal(process.texts[0][end], '\0');
    assert_true(ports[0] > 0 && ports[1] > 0 && ports[0] != ports[1]);
    expect_clean_stop(SIGTERM);
}

static void test_ready_and_stop(void **state)
{
    (void)state;
    char uri[KIT_PATH_MAX];
    char file[KIT_PATH_MAX];
    char first[256] = "";
    char again[256] = "";
    START(NULL);
    expect_ready("primary", uri);
    expect_clean_stop(SIGTERM);
    kit_join(folder, "data/node.id", file);
    size_t len = kit_read_file(file, first, sizeof(first));
    START("--check"); /* is no start */
    assert_int_equal(finish(), 0);
    START(NULL);
    expect_ready("primary", uri);
    expect_clean_stop(SIGINT);
    assert_int_equal(kit_read_file(file, again, sizeof(again)), len);
    char *starts = strstr(first, "\nstarts 0000000000000001\n");
    assert_non_null(starts);
    assert_memory_equal(first, again, starts - first);
    assert_non_null(strstr(again, "\nstarts 0000000000000002\n"));
}

static void test_arbiter_alone(void **state)
{
    (void)state;
    char uri[KIT_PATH_MAX];
    char text[1024];
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n1\"; roles = [\"arbiter\"];\n"
                       "         arbiter = \"tcp://127.0.0.1:0\"; data = \"%s/data\"; };\n",
                       folder);
    kit_write_file(config, text, (size_t)len);
    START(NULL);
    expect_ready("arbiter", uri);
    expect_clean_stop(SIGTERM);
}

static void test_busy_port(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    char setting[128];
    char arbiter[128];
    char expected[128];
    int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(taken, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&address, &size), 0);
    snprintf(setting, sizeof(setting), "transports.[0].listen=tcp://127.0.0.1:%u",
             ntohs(address.sin_port));
    snprintf(arbiter, sizeof(arbiter), "node.arbiter=tcp://127.0.0.1:%u", ntohs(address.sin_port));
    snprintf(expected, sizeof(expected),
             "cannot listen on tcp://127.0.0.1:%u: the address is in use", ntohs(address.sin_port));
    START("--set", setting, "--set", arbiter);
    expect_exit(4, expected);
    close(taken);
}

static void test_nobody_to_join(void **state)
{
    (void)state;
    START("--set", "node.roles=[\"replica\"]", "--set", "node.arbiter=tcp://127.0.0.1:1", "--set",
          "replication.join_timeout_ms=300");
    expect_exit(4, "event=stop status=4");
}

static void test_leave_before_joining(void **state)
{
    (void)state;
    START("--set", "node.roles=[\"replica\"]", "--set", "node.arbiter=tcp://127.0.0.1:1");
    read_until(1, "event=loaded");
    assert_int_equal(kill(process.pid, SIGTERM), 0);
    assert_int_equal(finish(), 0);
    assert_string_equal(process.texts[0], "");
}

static void test_data_folder(void **state)
{
    (void)state;
    char uri[KIT_PATH_MAX];
    char path[KIT_PATH_MAX];
    char setting[KIT_PATH_MAX + 32];
    kit_join(folder, "plain", path);
    kit_write_file(path, "", 0);
    snprintf(setting, sizeof(setting), "node.data=%s/plain/data", folder);
    START("--set", setting);
    expect_exit(5, "event=data-unusable");

    START(NULL);
    expect_ready("primary", uri);
    struct process first = process;
    START(NULL);
    expect_exit(5, "is in use by process");
    process = first;
    expect_clean_stop(SIGTERM);

    kit_join(folder, "data/arbiter.state", path);
    kit_write_file(path, "KVARBITR", 8);
    START(NULL);
    expect_exit(5, "arbiter.state is damaged");
    kit_join(folder, "data/node.id", path);
    kit_write_file(path, "kvnode identity 1\n", 18);
    START(NULL);
    expect_exit(5, "node.id is damaged");
}

static void write_second_config(void)
{
    char text[2048];
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n2\"; roles = [\"replica\"]; arbiter = \"\"; };\n"
                       "persistence = { plugin = \"persist-file\"; };\n");
    kit_write_file(config, text, (size_t)len);
}

static void copy_identity(const char *from, const char *to)
{
    char path[KIT_PATH_MAX];
    uint8_t bytes[300];
    kit_join(folder, from, path);
    size_t len = kit_read_file(path, bytes, sizeof(bytes));
    kit_join(folder, to, path);
    kit_write_file(path, bytes, len);
}

/* A copy of a data folder is refused while the original is in use, and whoever starts it again gets
 * the same answer, from the folder: it does not come to look like the newer one. */
static void test_copied_folder(void **state)
{
    (void)state;
    char arbiter[KIT_PATH_MAX + 32];
    char data[KIT_PATH_MAX + 32];
    char store[KIT_PATH_MAX + 32];
    char copy[KIT_PATH_MAX + 32];
    char copy_store[KIT_PATH_MAX + 32];
    char path[KIT_PATH_MAX];
    char uri[KIT_PATH_MAX];
    START(NULL);
    expect_ready("primary", uri);
    struct process first = process;
    write_second_config();
    snprintf(arbiter, sizeof(arbiter), "node.arbiter=%s", uri);
    snprintf(data, sizeof(data), "node.data=%s/data2", folder);
    snprintf(store, sizeof(store), "persistence.path=%s/store2", folder);
    snprintf(copy, sizeof(copy), "node.data=%s/copy", folder);
    snprintf(copy_store, sizeof(copy_store), "persistence.path=%s/store3", folder);

    START("--set", arbiter, "--set", data, "--set", store);
    read_until(0, "ready name=n2 role=secondary");
    kit_join(folder, "copy", path);
    assert_int_equal(mkdir(path, 0755), 0);
    copy_identity("data2/node.id", "copy/node.id");
    expect_clean_stop(SIGTERM);
    START("--set", arbiter, "--set", data, "--set", store);
    read_until(0, "ready name=n2 role=secondary");
    struct process second = process;

    START("--set", arbiter, "--set", copy, "--set", copy_store);
    expect_exit(4, "event=join-rejected reason=");
    expect_text(1, "refused=copy");
    for (unsigned i = 0; i < 3; i++) {
        START("--set", arbiter, "--set", copy, "--set", copy_store);
        expect_exit(4, "/copy is a copy of another node's folder");
        assert_null(strstr(process.texts[1], "join-rejected"));
    }
    process = second;
    expect_clean_stop(SIGTERM);
    process = first;
    expect_clean_stop(SIGTERM);
}

static void test_store_that_does_not_open(void **state)
{
    (void)state;
    char text[2048];
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n1\"; roles = [\"arbiter\", \"replica\"];\n"
                       "         arbiter = \"tcp://127.0.0.1:0\"; data = \"%s/data\"; };\n"
                       "persistence = { plugin = \"%s\"; };\n",
                       folder, PERSIST_HANG);
    kit_write_file(config, text, (size_t)len);
    START("--set", "persistence.open=-6");
    expect_exit(5, "event=store-failed plugin=persist-hang status=KV_E_CORRUPT reason=\"page 3 is "
                   "damaged\" help=\"");
    START("--set", "persistence.open=-5");
    expect_exit(5, "event=store-failed plugin=persist-hang status=KV_E_IO");
    START("--set", "persistence.open=1");
    expect_exit(3, "event=plugin-refused plugin=persist-hang status=KV_E_INVALID reason=\"this "
                   "setting is not for me\"");
}

/* What a plugin says is quoted in the log, whatever it says. */
static void test_reason_with_quotes(void **state)
{
    (void)state;
    char text[2048];
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n1\"; roles = [\"arbiter\", \"replica\"];\n"
                       "         arbiter = \"tcp://127.0.0.1:0\"; data = \"%s/data\"; };\n"
                       "persistence = { plugin = \"%s\"; open = 2; };\n",
                       folder, PERSIST_HANG);
    kit_write_file(config, text, (size_t)len);
    START(NULL);
    expect_exit(3, "status=KV_E_INVALID reason=\"not \\\"2\\\" in c:\\\\here\"\n");
}

/* A store that hangs keeps a node from leaving, but not from ending. */
static void test_hanging_store(void **state)
{
    (void)state;
    char text[2048];
    char uri[KIT_PATH_MAX];
    int len = snprintf(text, sizeof(text),
                       "node = { name = \"n1\"; roles = [\"arbiter\", \"replica\"];\n"
                       "         arbiter = \"tcp://127.0.0.1:0\"; data = \"%s/data\"; };\n"
                       "persistence = { plugin = \"persist-file\"; path = \"%s/store\"; };\n",
                       folder, folder);
    kit_write_file(config, text, (size_t)len);
    START(NULL);
    expect_ready("primary", uri);
    struct process arbiter = process;

    char setting[KIT_PATH_MAX + 32];
    char data[KIT_PATH_MAX + 32];
    snprintf(setting, sizeof(setting), "node.arbiter=%s", uri);
    snprintf(data, sizeof(data), "node.data=%s/data2", folder);
    len = snprintf(text, sizeof(text),
                   "node = { name = \"n2\"; roles = [\"replica\"]; arbiter = \"\"; };\n"
                   "persistence = { plugin = \"%s\"; };\n",
                   PERSIST_HANG);
    kit_write_file(config, text, (size_t)len);
    START("--set", setting, "--set", data);
    read_until(1, "role=candidate"); /* and the first batch is under way */
    read_until(1, "event=store-slow");
    assert_int_equal(kill(process.pid, SIGTERM), 0);
    read_until(1, "action=leave");
    assert_int_equal(kill(process.pid, SIGTERM), 0);
    assert_int_equal(finish(), 0);
    expect_text(1, "store=hanging");

    process = arbiter;
    expect_clean_stop(SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_help_and_version, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plugins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arbiter_of_no_transport, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ready_and_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_transports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arbiter_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_to_join, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leave_before_joining, setup, teardown),
        cmocka_unit_test_setup_teardown(test_data_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copied_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_that_does_not_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reason_with_quotes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hanging_store, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
