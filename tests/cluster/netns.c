/*
 * Happy path: unshare() makes a namespace and moves us into it, an open /proc/self/ns/net keeps it,
 * setns() comes back to it; `ip` of iproute2 does the rest from within.
 *
 * Failure modes: a container forbids unshare(), has no veth, or no `ip`: netns_is_possible() finds
 * out by making what is needed once. After that every failure is one of the test.
 */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <cmocka.h>

#define NETNS_BATCH_MAX 4096
#define NETNS_NET       0x0a4d0000u /* 10.77.0.0 */

/* Folders of `ip` that a user's PATH may not have. */
#define NETNS_IP "PATH=\"$PATH:/usr/sbin:/sbin\" exec ip -batch -"

/* Runs lines of `ip -batch` where we are. Only errors are printed. */
static bool netns_run_ip(const char *lines)
{
    FILE *ip = popen(NETNS_IP, "w");
    if (ip == NULL) {
        return false;
    }
    bool is_written = fputs(lines, ip) >= 0;
    return pclose(ip) == 0 && is_written;
}

static bool netns_write_map(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool is_written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return is_written;
}

/* A user namespace in which we are root, and may have networks. */
static bool netns_become_root(void)
{
    char uid_map[64];
    char gid_map[64];
    snprintf(uid_map, sizeof(uid_map), "0 %u 1\n", (unsigned)geteuid());
    snprintf(gid_map, sizeof(gid_map), "0 %u 1\n", (unsigned)getegid());
    return unshare(CLONE_NEWUSER) == 0 && netns_write_map("/proc/self/setgroups", "deny") &&
           netns_write_map("/proc/self/uid_map", uid_map) &&
           netns_write_map("/proc/self/gid_map", gid_map);
}

bool netns_is_possible(char *ret_reason)
{
    if (geteuid() != 0 && !netns_become_root()) {
        snprintf(ret_reason, NETNS_TEXT_MAX, "no user namespace: %s", strerror(errno));
        return false;
    }
    if (unshare(CLONE_NEWNET) != 0) {
        snprintf(ret_reason, NETNS_TEXT_MAX, "no network namespace: %s", strerror(errno));
        return false;
    }
    if (!netns_run_ip("link add hub type bridge\nlink add v1 type veth peer name v2\n")) {
        snprintf(ret_reason, NETNS_TEXT_MAX,
                 "no `ip` (iproute2), or it cannot make a bridge and a veth pair here");
        return false;
    }
    return true;
}

static int netns_make(void)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void netns_move(const struct netns *net, uint32_t host)
{
    assert_true(host == NETNS_HUB || host < net->hosts_len);
    assert_int_equal(setns(net->fds[host], CLONE_NEWNET), 0);
}

void netns_open(struct netns *net, uint32_t hosts_len)
{
    assert_true(hosts_len > 0 && hosts_len <= NETNS_HOSTS_MAX);
    *net = (struct netns){.hosts_len = hosts_len, .home = NETNS_HUB};
    for (uint32_t i = 0; i < hosts_len; i++) {
        net->fds[i] = netns_make();
    }
    net->fds[NETNS_HUB] = netns_make();
    netns_ip(net, NETNS_HUB, "link add hub type bridge\nlink set hub up\nlink set lo up\n");
    for (uint32_t i = 0; i < hosts_len; i++) {
        netns_ip(net, NETNS_HUB,
                 "link add v%u type veth peer name eth0 netns /proc/%d/fd/%d\n"
                 "link set v%u master hub up\n",
                 i + 1, (int)getpid(), net->fds[i], i + 1);
        netns_ip(net, i,
                 "address add 10.77.0.%u/24 dev eth0\n"
                 "address add fd00:77::%u/64 dev eth0 nodad\n"
                 "link set lo up\nlink set eth0 up\n",
                 i + 1, i + 1);
    }
}

void netns_close(struct netns *net)
{
    if (net->hosts_len > 0) {
        close(net->fds[NETNS_HUB]);
    }
    for (uint32_t i = 0; i < net->hosts_len; i++) {
        close(net->fds[i]);
    }
    *net = (struct netns){0};
}

void netns_go(struct netns *net, uint32_t host)
{
    netns_move(net, host);
    net->home = host;
}

void netns_ip(struct netns *net, uint32_t host, const char *format, ...)
{
    char lines[NETNS_BATCH_MAX];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(lines, sizeof(lines), format, arguments);
    va_end(arguments);
    assert_true(len > 0 && (size_t)len < sizeof(lines));
    netns_move(net, host);
    bool is_done = netns_run_ip(lines);
    netns_move(net, net->home);
    if (!is_done) {
        fail_msg("ip in host %u failed at: %s", host, lines);
    }
}

int netns_tap(struct netns *net, uint32_t host, uint32_t to, uint32_t len)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12), /* EtherType */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 30), /* destination */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETNS_NET + to + 1, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, len, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 1), /* bytes of it to keep: it is only counted */
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    netns_move(net, host);
    int tap = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    assert_true(tap >= 0);
    assert_int_equal(setsockopt(tap, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)), 0);
    struct sockaddr_ll everything = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    assert_int_equal(bind(tap, (struct sockaddr *)&everything, sizeof(everything)), 0);
    netns_move(net, net->home);
    return tap;
}

uint32_t netns_tap_count(int tap)
{
    struct tpacket_stats stats = {0};
    socklen_t size = sizeof(stats);
    assert_int_equal(getsockopt(tap, SOL_PACKET, PACKET_STATISTICS, &stats, &size), 0);
    return stats.tp_packets; /* with those that found its queue full */
}
