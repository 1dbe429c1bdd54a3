#include "listen.h"

#include <string.h>

#include <uv.h>

#include "log.h"

int32_t listen_find_address(const struct kv_host *host, const char *scheme, const char *uri,
                            union address_socket *ret_socket)
{
    struct address address;
    if (address_parse(scheme, uri, &address) != KV_OK) {
        log_line(host, KV_LOG_ERROR, "%s: cannot listen on %s: not of the form %s://ADDRESS:PORT",
                 scheme, uri, scheme);
        return KV_E_INVALID;
    }
    if (!address.is_literal) {
        if (strcmp(address.host, "localhost") != 0) {
            log_line(host, KV_LOG_ERROR,
                     "%s: cannot listen on %s: give a literal address or localhost, not a name",
                     scheme, uri);
            return KV_E_INVALID;
        }
        uv_ip4_addr("127.0.0.1", address.port, &address.socket.v4);
    }
    *ret_socket = address.socket;
    return KV_OK;
}
