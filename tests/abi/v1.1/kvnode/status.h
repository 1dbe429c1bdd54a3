/*
 * Status codes: every function that can fail returns 0 (KV_OK) or one of these negative numbers.
 *
 * One table, expanded with a macro, so that number, text and class cannot drift apart. A code
 * exists only if a caller reacts differently to it. The numbers are part of the plugin ABI: they
 * never change, new ones are appended. Valid C99 and C++11 on its own.
 */
#ifndef KVNODE_STATUS_H
#define KVNODE_STATUS_H

/* Classes: what the caller should do about it. */
#define KV_CLASS_RETRY  1 /* the same call may succeed later */
#define KV_CLASS_FATAL  2 /* the object is of no further use: close it */
#define KV_CLASS_CALLER 3 /* the caller asked for something that cannot be */

/* X(name, number, class, text) */
#define KV_STATUS_TABLE(X)                                                       \
    X(KV_E_NOMEM, -1, KV_CLASS_RETRY, "out of memory")                           \
    X(KV_E_INVALID, -2, KV_CLASS_CALLER, "invalid argument")                     \
    X(KV_E_RETRY, -3, KV_CLASS_RETRY, "not now, try again")                      \
    X(KV_E_UNKNOWN, -4, KV_CLASS_RETRY, "outcome unknown, it may have happened") \
    X(KV_E_IO, -5, KV_CLASS_RETRY, "input or output failed")                     \
    X(KV_E_CORRUPT, -6, KV_CLASS_FATAL, "stored data is damaged")                \
    X(KV_E_BUSY, -7, KV_CLASS_RETRY, "a limit is reached")                       \
    X(KV_E_CLOSED, -8, KV_CLASS_FATAL, "closed")                                 \
    X(KV_E_NOT_FOUND, -9, KV_CLASS_CALLER, "not found")                          \
    X(KV_E_TOO_LARGE, -10, KV_CLASS_CALLER, "too large")                         \
    X(KV_E_MALFORMED, -11, KV_CLASS_CALLER, "malformed")                         \
    X(KV_E_VERSION, -12, KV_CLASS_FATAL, "version not supported")                \
    X(KV_E_TIMEOUT, -13, KV_CLASS_RETRY, "not confirmed in time")                \
    X(KV_E_REJECTED, -14, KV_CLASS_RETRY, "rejected, certainly not executed")    \
    X(KV_E_UNREACHABLE, -15, KV_CLASS_RETRY, "nobody reachable")                 \
    X(KV_E_CONTRACT, -16, KV_CLASS_FATAL, "the plugin broke its contract")       \
    X(KV_E_EXISTS, -17, KV_CLASS_CALLER, "exists or is in use already")          \
    X(KV_E_REFUSED, -18, KV_CLASS_CALLER, "refused by a store for good, undone")

#define KV_OK                                           0

#define KV_STATUS_CONSTANT_(name, number, class_, text) name = (number),
enum { KV_STATUS_TABLE(KV_STATUS_CONSTANT_) KV_STATUS_LAST_ = -18 };
#undef KV_STATUS_CONSTANT_

#endif
