#include "cookie.h"

#include <string.h>

#include <sodium.h>

_Static_assert(COOKIE_SECRET_LEN == crypto_shorthash_KEYBYTES, "the secret is the hash's key");
_Static_assert(sizeof(uint64_t) == crypto_shorthash_BYTES, "the proof is the hash");

/* family 2, port 2, token 8, time 4, address 4 or 16 */
#define HASHED_LEN_MAX 32u

int32_t cookie_secret_init(struct cookie_secret *secret)
{
    if (sodium_init() < 0) {
        return KV_E_IO;
    }
    randombytes_buf(secret->bytes, sizeof secret->bytes);
    return KV_OK;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

/* Each member by itself: the system's structure has padding and, for IPv6, members that are not the
 * peer's address. Nobody but this process reads the proof, so byte order does not matter. */
static uint64_t compute_proof(const struct cookie_secret *secret,
                              const union address_socket *address, uint64_t token, uint32_t time_s)
{
    uint8_t hashed[HASHED_LEN_MAX];
    uint16_t family = address->any.sa_family;
    uint8_t *at = put(hashed, &family, sizeof family);
    at = put(at, &token, sizeof token);
    at = put(at, &time_s, sizeof time_s);
    if (family == AF_INET6) {
        at = put(at, &address->v6.sin6_port, sizeof address->v6.sin6_port);
        at = put(at, &address->v6.sin6_addr, sizeof address->v6.sin6_addr);
    } else {
        at = put(at, &address->v4.sin_port, sizeof address->v4.sin_port);
        at = put(at, &address->v4.sin_addr, sizeof address->v4.sin_addr);
    }
    uint64_t proof;
    crypto_shorthash((uint8_t *)&proof, hashed, (size_t)(at - hashed), secret->bytes);
    return proof;
}

struct cookie cookie_make(const struct cookie_secret *secret, const union address_socket *address,
                          uint64_t token, uint32_t now_s)
{
    return (struct cookie){now_s, compute_proof(secret, address, token, now_s)};
}

bool cookie_is_valid(const struct cookie_secret *secret, const struct cookie *cookie,
                     const union address_socket *address, uint64_t token, uint32_t now_s)
{
    uint64_t proof = compute_proof(secret, address, token, cookie->time_s);
    bool is_ours = sodium_memcmp(&proof, &cookie->proof, sizeof proof) == 0;
    /* The clock may wrap; a time to come is a huge age. */
    uint32_t age_s = now_s - cookie->time_s;
    return is_ours && age_s <= COOKIE_LIFE_S;
}
