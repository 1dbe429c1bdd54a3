/*
 * KV_CHECK: an invariant of our own code, checked in every build; a violation ends the process with
 * file, line and condition. For programming mistakes only: never for input from the network, a file
 * or a plugin.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

_Noreturn void check_fail(const char *file, int line, const char *condition);

#define KV_CHECK(condition)                             \
    do {                                                \
        if (__builtin_expect(!(condition), 0)) {        \
            check_fail(__FILE__, __LINE__, #condition); \
        }                                               \
    } while (0)

#endif
