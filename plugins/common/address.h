/*
 * URIs of the transports over IP: SCHEME://HOST:PORT, where HOST is an IPv4 address, an IPv6
 * address in brackets or a host name. Pure functions; any thread. They never resolve a name.
 */
#ifndef PLUGINS_COMMON_ADDRESS_H
#define PLUGINS_COMMON_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <kvnode/transport.h>

/* A socket address of either family. */
union address_socket {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct address {
    char host[KV_URI_MAX];       /* without brackets */
    char port_text[6];           /* decimal */
    uint16_t port;               /* 0 is let through: a free one, for listen() */
    bool is_literal;             /* socket is filled in */
    union address_socket socket; /* port included */
};

/* KV_E_INVALID: not a URI of that scheme ("tcp"). */
int32_t address_parse(const char *scheme, const char *uri, struct address *ret_address);

/* Takes an AF_INET or AF_INET6 address over; false: another family. */
bool address_copy(const struct sockaddr *from, union address_socket *ret_socket);

/* How many bytes of the union its family uses. */
socklen_t address_len(const union address_socket *socket);

bool address_has_port_of(const union address_socket *a, const union address_socket *b);

bool address_is_equal(const union address_socket *a, const union address_socket *b);

/* Writes SCHEME://ADDRESS:PORT and a NUL into uri, KV_URI_MAX bytes. */
void address_format(const char *scheme, const union address_socket *socket, char *uri);

#endif
