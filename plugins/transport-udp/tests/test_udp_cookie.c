/* Unit tests of the proof of an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "cookie.h"

#define TOKEN 0x0123456789abcdefull
#define NOW_S 1000u

/* What the address does not consist of is filled with `filling`. */
static union address_socket make_address(int family, const char *text, uint16_t port, int filling)
{
    union address_socket address;
    memset(&address, filling, sizeof address);
    address.any.sa_family = (sa_family_t)family;
    if (family == AF_INET6) {
        address.v6.sin6_port = htons(port);
        assert_int_equal(inet_pton(family, text, &address.v6.sin6_addr), 1);
    } else {
        address.v4.sin_port = htons(port);
        assert_int_equal(inet_pton(family, text, &address.v4.sin_addr), 1);
    }
    return address;
}

static void test_life(void **state)
{
    (void)state;
    struct cookie_secret secret;
    assert_int_equal(cookie_secret_init(&secret), KV_OK);
    union address_socket address = make_address(AF_INET, "192.0.2.1", 7400, 0);
    static const uint32_t times_s[] = {0, NOW_S, UINT32_MAX - 3}; /* the last one wraps */
    for (size_t i = 0; i < sizeof times_s / sizeof times_s[0]; i++) {
        uint32_t now_s = times_s[i];
        struct cookie cookie = cookie_make(&secret, &address, TOKEN, now_s);
        assert_int_equal(cookie.time_s, now_s);
        for (uint32_t age_s = 0; age_s <= COOKIE_LIFE_S; age_s++) {
            assert_true(cookie_is_valid(&secret, &cookie, &address, TOKEN, now_s + age_s));
        }
        assert_false(cookie_is_valid(&secret, &cookie, &address, TOKEN, now_s + COOKIE_LIFE_S + 1));
        assert_false(cookie_is_valid(&secret, &cookie, &address, TOKEN, now_s - 1));
        assert_false(cookie_is_valid(&secret, &cookie, &address, TOKEN, now_s + (1u << 31)));
    }
}

static void test_others(void **state)
{
    (void)state;
    struct cookie_secret secret;
    struct cookie_secret other;
    assert_int_equal(cookie_secret_init(&secret), KV_OK);
    assert_int_equal(cookie_secret_init(&other), KV_OK);
    assert_memory_not_equal(secret.bytes, other.bytes, sizeof secret.bytes);
    const union address_socket addresses[] = {
        make_address(AF_INET, "192.0.2.1", 7400, 0),
        make_address(AF_INET, "192.0.2.2", 7400, 0),
        make_address(AF_INET, "192.0.2.1", 7401, 0),
        make_address(AF_INET6, "2001:db8::1", 7400, 0),
        make_address(AF_INET6, "2001:db8::2", 7400, 0),
        make_address(AF_INET6, "2001:db8:1::1", 7400, 0),
        make_address(AF_INET6, "2001:db8::1", 7401, 0),
        make_address(AF_INET6, "::ffff:192.0.2.1", 7400, 0),
    };
    const size_t addresses_len = sizeof addresses / sizeof addresses[0];
    for (size_t i = 0; i < addresses_len; i++) {
        struct cookie cookie = cookie_make(&secret, &addresses[i], TOKEN, NOW_S);
        for (size_t j = 0; j < addresses_len; j++) {
            assert_int_equal(cookie_is_valid(&secret, &cookie, &addresses[j], TOKEN, NOW_S),
                             i == j);
        }
        assert_false(cookie_is_valid(&other, &cookie, &addresses[i], TOKEN, NOW_S));
        for (uint32_t bit = 0; bit < 64; bit++) {
            struct cookie forged = cookie;
            forged.proof ^= 1ull << bit;
            assert_false(cookie_is_valid(&secret, &forged, &addresses[i], TOKEN, NOW_S));
            assert_false(
                cookie_is_valid(&secret, &cookie, &addresses[i], TOKEN ^ (1ull << bit), NOW_S));
        }
        struct cookie renewed = cookie; /* an old proof with a new time */
        renewed.time_s++;
        assert_false(cookie_is_valid(&secret, &renewed, &addresses[i], TOKEN, NOW_S + 1));
    }
}

/* Padding, and members that are not the peer's address, do not count. */
static void test_padding(void **state)
{
    (void)state;
    struct cookie_secret secret;
    assert_int_equal(cookie_secret_init(&secret), KV_OK);
    static const struct {
        int family;
        const char *text;
    } cases[] = {{AF_INET, "192.0.2.1"}, {AF_INET6, "2001:db8::1"}};
    for (size_t i = 0; i < 2; i++) {
        union address_socket clean = make_address(cases[i].family, cases[i].text, 1, 0);
        union address_socket dirty = make_address(cases[i].family, cases[i].text, 1, 0xff);
        struct cookie cookie = cookie_make(&secret, &clean, TOKEN, NOW_S);
        assert_true(cookie_is_valid(&secret, &cookie, &dirty, TOKEN, NOW_S));
    }
}

/* Tokens that are near each other have proofs that are not the same. */
static void test_near(void **state)
{
    (void)state;
    struct cookie_secret secret;
    assert_int_equal(cookie_secret_init(&secret), KV_OK);
    union address_socket address = make_address(AF_INET, "192.0.2.1", 7400, 0);
    uint64_t proofs[256];
    for (uint32_t i = 0; i < 256; i++) {
        proofs[i] = cookie_make(&secret, &address, TOKEN + i, NOW_S).proof;
        for (uint32_t j = 0; j < i; j++) {
            assert_true(proofs[i] != proofs[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
