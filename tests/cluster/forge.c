#include "forge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define FORGE_NET     0x0a4d0000u /* 10.77.0.0 */
#define FORGE_HEADERS (sizeof(struct iphdr) + sizeof(struct udphdr))

uint32_t forge_address(uint32_t host)
{
    return FORGE_NET + host + 1;
}

/* A socket of a host: it belongs to the namespace in which it was made. */
static int forge_socket(struct netns *net, uint32_t host, int family, int type, int protocol)
{
    uint32_t home = net->home;
    netns_go(net, host);
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    netns_go(net, home);
    assert_true(fd >= 0);
    return fd;
}

int forge_tap(struct netns *net, uint32_t host, uint16_t port)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9), /* protocol; the IP header comes first */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16), /* destination */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forge_address(host), 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, sizeof(struct iphdr) + 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, FORGE_HEADERS + FORGE_BYTES_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    struct sockaddr_ll ipv4 = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    int tap = forge_socket(net, host, AF_PACKET, SOCK_DGRAM, 0);
    assert_int_equal(setsockopt(tap, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)), 0);
    assert_int_equal(bind(tap, (struct sockaddr *)&ipv4, sizeof(ipv4)), 0);
    return tap;
}

uint32_t forge_take(int tap, struct forge_datagram *ret_datagrams, uint32_t max)
{
    uint8_t packet[FORGE_HEADERS + FORGE_BYTES_MAX];
    struct iphdr ip;
    struct udphdr head;
    uint32_t taken = 0;
    while (taken < max) {
        ssize_t len = recv(tap, packet, sizeof(packet), 0);
        if (len < 0) {
            assert_int_equal(errno, EAGAIN);
            break;
        }
        if ((size_t)len <= FORGE_HEADERS) {
            continue;
        }
        memcpy(&ip, packet, sizeof(ip));
        memcpy(&head, packet + sizeof(ip), sizeof(head));
        struct forge_datagram *datagram = &ret_datagrams[taken++];
        datagram->from = ntohl(ip.saddr);
        datagram->from_port = ntohs(head.source);
        datagram->len = (uint16_t)((size_t)len - FORGE_HEADERS);
        memcpy(datagram->bytes, packet + FORGE_HEADERS, datagram->len);
    }
    return taken;
}

int forge_open(struct netns *net, uint32_t host)
{
    return forge_socket(net, host, AF_INET, SOCK_RAW, IPPROTO_RAW);
}

void forge_send(int forger, const struct forge_datagram *datagram, uint32_t to_host,
                uint16_t to_port)
{
    uint8_t packet[FORGE_HEADERS + FORGE_BYTES_MAX];
    size_t len = FORGE_HEADERS + datagram->len;
    struct iphdr ip = {.version = 4,
                       .ihl = sizeof(ip) / 4,
                       .ttl = 64,
                       .protocol = IPPROTO_UDP,
                       .saddr = htonl(datagram->from),
                       .daddr = htonl(forge_address(to_host))}; /* the kernel adds the rest */
    struct udphdr head = {.source = htons(datagram->from_port),
                          .dest = htons(to_port),
                          .len = htons((uint16_t)(sizeof(head) + datagram->len))};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = ip.daddr};
    assert_true(datagram->len <= FORGE_BYTES_MAX);
    memcpy(packet, &ip, sizeof(ip));
    memcpy(packet + sizeof(ip), &head, sizeof(head));
    memcpy(packet + FORGE_HEADERS, datagram->bytes, datagram->len);
    ssize_t sent = sendto(forger, packet, len, 0, (struct sockaddr *)&to, sizeof(to));
    /* A full queue loses it, as a network would. */
    assert_true(sent == (ssize_t)len || errno == EAGAIN || errno == ENOBUFS);
}

int forge_victim(struct netns *net, uint32_t host, uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(forge_address(host));
    int victim = forge_socket(net, host, AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(victim, (struct sockaddr *)&at, sizeof(at)), 0);
    return victim;
}

uint64_t forge_count(int victim)
{
    uint8_t bytes[1];
    uint64_t total = 0;
    for (;;) {
        ssize_t len = recv(victim, bytes, sizeof(bytes), MSG_TRUNC); /* its whole length */
        if (len < 0) {
            assert_int_equal(errno, EAGAIN);
            return total;
        }
        total += (uint64_t)len;
    }
}
