#include "address.h"

#include <stdio.h>
#include <string.h>

#include <uv.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Decimal, 1 to 5 digits, up to 65535, nothing behind it. */
static bool parse_port(const char *text, struct address *address)
{
    uint32_t port = 0;
    size_t len = strlen(text);
    if (len == 0 || len >= sizeof address->port_text) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i])) {
            return false;
        }
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (port > UINT16_MAX) {
        return false;
    }
    memcpy(address->port_text, text, len + 1);
    address->port = (uint16_t)port;
    return true;
}

/* Letters, digits, '-', '_' and '.', with something other than digits and dots in it: "1.2.3" is a
 * mistyped address, which a resolver would take for 1.2.0.3. */
static bool is_host_name(const char *host)
{
    bool has_other = false;
    for (const char *at = host; *at != '\0'; at++) {
        bool is_letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!is_letter && !is_digit(*at) && *at != '-' && *at != '_' && *at != '.') {
            return false;
        }
        has_other = has_other || is_letter || *at == '-' || *at == '_';
    }
    return has_other;
}

int32_t address_parse(const char *scheme, const char *uri, struct address *ret_address)
{
    struct address address = {.host = ""};
    size_t scheme_len = strlen(scheme);
    if (strlen(uri) >= KV_URI_MAX || strncmp(uri, scheme, scheme_len) != 0 ||
        strncmp(uri + scheme_len, "://", 3) != 0) {
        return KV_E_INVALID;
    }
    const char *host = uri + scheme_len + 3;
    const char *colon = strrchr(host, ':');
    if (colon == NULL || colon == host || !parse_port(colon + 1, &address)) {
        return KV_E_INVALID;
    }
    size_t host_len = (size_t)(colon - host);
    bool is_v6 = host[0] == '[';
    if (is_v6) {
        if (host_len < 3 || host[host_len - 1] != ']') {
            return KV_E_INVALID;
        }
        host++;
        host_len -= 2;
    }
    memcpy(address.host, host, host_len);
    address.host[host_len] = '\0';

    if (is_v6) {
        /* Zones ("%eth0") are left out: they mean nothing to the other nodes of a cluster. */
        if (strchr(address.host, '%') != NULL ||
            uv_ip6_addr(address.host, address.port, &address.socket.v6) != 0) {
            return KV_E_INVALID;
        }
        address.is_literal = true;
    } else if (uv_ip4_addr(address.host, address.port, &address.socket.v4) == 0) {
        address.is_literal = true;
    } else if (!is_host_name(address.host)) {
        return KV_E_INVALID;
    }
    *ret_address = address;
    return KV_OK;
}

bool address_copy(const struct sockaddr *from, union address_socket *ret_socket)
{
    if (from->sa_family == AF_INET) {
        memcpy(&ret_socket->v4, from, sizeof ret_socket->v4);
        return true;
    }
    if (from->sa_family == AF_INET6) {
        memcpy(&ret_socket->v6, from, sizeof ret_socket->v6);
        return true;
    }
    return false;
}

socklen_t address_len(const union address_socket *socket)
{
    return socket->any.sa_family == AF_INET6 ? sizeof socket->v6 : sizeof socket->v4;
}

/* The port lies at the same place in both families. */
bool address_has_port_of(const union address_socket *a, const union address_socket *b)
{
    return a->v4.sin_port == b->v4.sin_port;
}

bool address_is_equal(const union address_socket *a, const union address_socket *b)
{
    if (a->any.sa_family != b->any.sa_family) {
        return false;
    }
    if (a->any.sa_family == AF_INET) {
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    }
    return a->v6.sin6_port == b->v6.sin6_port &&
           memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
}

void address_format(const char *scheme, const union address_socket *socket, char *uri)
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (socket->any.sa_family == AF_INET6) {
        uv_ip6_name(&socket->v6, text, sizeof text);
        snprintf(uri, KV_URI_MAX, "%s://[%s]:%u", scheme, text, ntohs(socket->v6.sin6_port));
    } else {
        uv_ip4_name(&socket->v4, text, sizeof text);
        snprintf(uri, KV_URI_MAX, "%s://%s:%u", scheme, text, ntohs(socket->v4.sin_port));
    }
}
