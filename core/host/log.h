/*
 * The process's log: one line of key=value a time on stderr,
 *
 *     time=2026-01-31T23:59:59.123Z level=info node=n1 module=runtime event=listening uri=tcp://...
 *
 * Written with one write() each, so lines of several threads never mix and nothing is buffered when
 * the process ends. log_init() on the main thread before any other thread starts; the rest from any
 * thread. Never fails and never ends the process.
 */
#ifndef HOST_LOG_H
#define HOST_LOG_H

#include <kvnode/host.h>
#include <stdbool.h>

/* Bytes of a line, newline included; a longer one is cut and ends in "...". */
#define LOG_LINE_MAX 2048u

/* level: KV_LOG_, the least urgent one that is written. node: the node's name, copied. fd: where
 * lines go. Until it is called, everything up to KV_LOG_INFO goes to stderr without a name. */
void log_init(uint32_t level, const char *node, int fd);

/* KV_LOG_ of "error", "warn", "info", "debug"; 0 for any other text. */
uint32_t log_level_from_name(const char *name);

/* True when a line of that level is written: spares the work of making one that is not. */
bool log_wants(uint32_t level);

/* format makes "event" or "event key=value ..."; control characters in it become spaces. */
void log_event(uint32_t level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define LOG_QUOTED_MAX 1100u /* bytes of what log_quote() writes, NUL included */

/* Makes text fit for key="..." of a line: quotes and backslashes get a backslash before them. What
 * is longer than LOG_QUOTED_MAX is cut. Returns ret_quoted (LOG_QUOTED_MAX bytes). */
const char *log_quote(const char *text, char *ret_quoted);

/* A line of free text, written as text="...": what plugins log. A services_log_fn. */
void log_plugin(void *ctx, const char *plugin, uint32_t level, const char *text);

#endif
