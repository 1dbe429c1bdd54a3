#include "host/log.h"

#include "logic/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    uint32_t level;
    int fd;
    char node[NODE_NAME_MAX + 1];
} log_state = {KV_LOG_INFO, STDERR_FILENO, ""};

static const char *const log_names[] = {
    [KV_LOG_ERROR] = "error",
    [KV_LOG_WARN] = "warn",
    [KV_LOG_INFO] = "info",
    [KV_LOG_DEBUG] = "debug",
};

void log_init(uint32_t level, const char *node, int fd)
{
    log_state.level = level;
    log_state.fd = fd;
    snprintf(log_state.node, sizeof(log_state.node), "%s", node);
}

uint32_t log_level_from_name(const char *name)
{
    for (uint32_t level = KV_LOG_ERROR; level <= KV_LOG_DEBUG; level++) {
        if (strcmp(name, log_names[level]) == 0) {
            return level;
        }
    }
    return 0;
}

bool log_wants(uint32_t level)
{
    return level <= log_state.level;
}

/* A line in the making. `len` may go up to LOG_LINE_MAX: then the text was cut. */
struct log_line {
    char text[LOG_LINE_MAX + 1];
    size_t len;
};

static void log_append(struct log_line *line, const char *text, size_t len)
{
    size_t room = LOG_LINE_MAX - line->len;
    size_t taken = len < room ? len : room;
    memcpy(line->text + line->len, text, taken);
    line->len += taken;
}

static void log_head(struct log_line *line, uint32_t level, const char *module)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char head[256];
    int len = snprintf(head, sizeof(head),
                       "time=%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ level=%s%s%s module=%.64s ",
                       utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                       utc.tm_sec, now.tv_nsec / 1000000, log_names[level],
                       log_state.node[0] == '\0' ? "" : " node=", log_state.node, module);
    line->len = 0;
    log_append(line, head, len > 0 ? (size_t)len : 0);
}

/* Ends the line and hands it to the kernel; what cannot be written is lost. */
static void log_write(struct log_line *line)
{
    if (line->len >= LOG_LINE_MAX) {
        memcpy(line->text + LOG_LINE_MAX - 4, "...", 3);
        line->len = LOG_LINE_MAX - 1;
    }
    line->text[line->len++] = '\n';
    ssize_t written = write(log_state.fd, line->text, line->len);
    (void)written;
}

void log_event(uint32_t level, const char *module, const char *format, ...)
{
    if (!log_wants(level)) {
        return;
    }
    char text[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len < 0) {
        return;
    }
    size_t text_len = strnlen(text, sizeof(text));
    for (size_t i = 0; i < text_len; i++) {
        unsigned char byte = (unsigned char)text[i];
        text[i] = byte < 0x20 || byte == 0x7f ? ' ' : text[i];
    }
    struct log_line line;
    log_head(&line, level, module);
    log_append(&line, "event=", strlen("event="));
    log_append(&line, text, text_len);
    log_write(&line);
}

const char *log_quote(const char *text, char *ret_quoted)
{
    size_t len = 0;
    for (size_t i = 0; text[i] != '\0' && len + 2 < LOG_QUOTED_MAX; i++) {
        if (text[i] == '"' || text[i] == '\\') {
            ret_quoted[len++] = '\\';
        }
        ret_quoted[len++] = text[i];
    }
    ret_quoted[len] = '\0';
    return ret_quoted;
}

void log_plugin(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    (void)ctx;
    if (level < KV_LOG_ERROR || level > KV_LOG_DEBUG) {
        level = KV_LOG_WARN; /* a level we do not know: shown rather than lost */
    }
    if (!log_wants(level)) {
        return;
    }
    struct log_line line;
    log_head(&line, level, plugin);
    log_append(&line, "text=\"", strlen("text=\""));
    for (size_t i = 0; text[i] != '\0' && line.len < LOG_LINE_MAX; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\') {
            log_append(&line, "\\", 1);
        }
        char shown = byte < 0x20 || byte == 0x7f ? ' ' : text[i];
        log_append(&line, &shown, 1);
    }
    log_append(&line, "\"", 1);
    log_write(&line);
}
