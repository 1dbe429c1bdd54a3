/*
 * The proof that a peer receives at the address it claims: a keyed hash over that address, the
 * peer's token and the time, which only the holder of the secret can make. So no memory is spent on
 * a peer before it has shown that it got one. As the server cookies of DNS (RFC 9018): SipHash-2-4
 * (libsodium's crypto_shorthash). Pure but for cookie_secret_init(); one secret per instance.
 */
#ifndef TRANSPORT_UDP_COOKIE_H
#define TRANSPORT_UDP_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"

#define COOKIE_SECRET_LEN 16u
#define COOKIE_LIFE_S     10u

struct cookie_secret {
    uint8_t bytes[COOKIE_SECRET_LEN];
};

struct cookie {
    uint32_t time_s;
    uint64_t proof;
};

/* From the system's randomness. KV_E_IO: there is none. */
int32_t cookie_secret_init(struct cookie_secret *secret);

struct cookie cookie_make(const struct cookie_secret *secret, const union address_socket *address,
                          uint64_t token, uint32_t now_s);

/* Whether we made it for that address and token, at most COOKIE_LIFE_S ago. The comparison takes
 * the same time whatever differs. */
bool cookie_is_valid(const struct cookie_secret *secret, const struct cookie *cookie,
                     const union address_socket *address, uint64_t token, uint32_t now_s);

#endif
