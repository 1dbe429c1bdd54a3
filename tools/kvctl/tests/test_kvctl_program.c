/*
 * The program as users start it, with the real client library and transport, and nobody to talk
 * to: exit status and an answer in bounded time.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

/* Starts kvctl, gathers its stdout and stderr, returns its exit status. */
static int run_program(char *const argv[], char *ret_output, size_t output_size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        setenv("KV_PLUGINS", TEST_PLUGINS, 1);
        execv(TEST_KVCTL, argv);
        _exit(127);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], ret_output + len, output_size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    ret_output[len] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status)) {
        fail_msg("ended by signal %d: %s", WTERMSIG(status), ret_output);
    }
    return WEXITSTATUS(status);
}

/* A port of loopback where nobody listens: bound by us, never listened on. */
static int bind_silent_port(char *ret_uri, size_t uri_size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(ret_uri, uri_size, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

#define ARGV(...) ((char *[]){(char *)(uintptr_t) "kvctl", __VA_ARGS__, NULL})

static void nobody_reachable_is_5(void **state)
{
    (void)state;
    char uri[64];
    char output[4096];
    int fd = bind_silent_port(uri, sizeof(uri));
    char *const *const runs[] = {
        ARGV("-a", uri, "--timeout", "300", "get", "a"),
        ARGV("-a", uri, "--timeout", "300", "put", "a", "b"),
        ARGV("-a", uri, "--timeout", "300", "status", "--json"),
        ARGV("-a", uri, "--timeout", "300", "digest"),
        ARGV("-a", uri, "--timeout", "300", "scan"),
        ARGV("-a", uri, "--timeout", "300", "leave", "n1"),
        ARGV("-a", uri, "--timeout", "300", "handover", "n1"),
        ARGV("-a", uri, "--timeout", "300", "takeover", "n1", "--force"),
        ARGV("-a", uri, "--timeout", "300", "export", "-"),
        ARGV("-a", uri, "--timeout", "300", "import", "/dev/null"),
        ARGV("-a", uri, "--timeout", "300", "bench", "--connections", "2"),
    };
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        uint64_t start_ns = uv_hrtime();
        int status = run_program(runs[i], output, sizeof(output));
        if (status != 5) {
            fail_msg("%s: %d: %s", runs[i][5], status, output);
        }
        assert_non_null(strstr(output, "kvctl: "));
        assert_non_null(strstr(output, "nobody reachable"));
        assert_non_null(strstr(output, "connection refused")); /* the transport's reason */
        /* The deadline is 300 ms; what matters is that it is not many times that. */
        assert_true(uv_hrtime() - start_ns < 5000000000ull);
    }
    close(fd);
}

static void usage_is_2(void **state)
{
    (void)state;
    char output[8192];
    assert_int_equal(run_program(ARGV("frobnicate"), output, sizeof(output)), 2);
    assert_non_null(strstr(output, "unknown verb 'frobnicate'"));
    assert_int_equal(run_program(ARGV("get"), output, sizeof(output)), 2);
    assert_int_equal(run_program(ARGV("-a", "nonsense", "get", "a"), output, sizeof(output)), 2);
    assert_int_equal(
        run_program(ARGV("--plugins", "/nonexistent", "get", "a"), output, sizeof(output)), 2);
    assert_int_equal(run_program(ARGV("handover"), output, sizeof(output)), 2);
    assert_int_equal(run_program(ARGV("handover", "n1", "--force"), output, sizeof(output)), 2);
    assert_int_equal(run_program(ARGV("--help"), output, sizeof(output)), 0);
    assert_non_null(strstr(output, "Exit status: 0 done, 1 key not found, 2 usage"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_reachable_is_5),
        cmocka_unit_test(usage_is_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
