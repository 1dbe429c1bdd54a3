/* What a transport over IP may listen on: a literal address, or localhost. Loop thread. */
#ifndef PLUGINS_COMMON_LISTEN_H
#define PLUGINS_COMMON_LISTEN_H

#include "address.h"

/* The address that the URI of that scheme ("tcp") names; localhost is 127.0.0.1. KV_E_INVALID: it
 * is none, and a line says why. */
int32_t listen_find_address(const struct kv_host *host, const char *scheme, const char *uri,
                            union address_socket *ret_socket);

#endif
