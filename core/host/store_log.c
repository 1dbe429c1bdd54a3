#include "host/store_log.h"

#include "base/status.h"
#include "host/log.h"

#include <inttypes.h>

static uint64_t store_log_now_ms(struct services *services)
{
    const struct kv_host *host = services_table(services);
    return host->now_ms(host->ctx);
}

void store_log_failure(struct failure_log *failures, struct services *services, int32_t status,
                       const char *error)
{
    char quoted[LOG_QUOTED_MAX];
    uint64_t now_ms = store_log_now_ms(services);
    if (failure_log_note(failures, now_ms, error)) {
        log_event(KV_LOG_WARN, "persist",
                  "store-failing status=%s attempts=%" PRIu64 " for_ms=%" PRIu64 " reason=\"%s\"",
                  status_name(status), failures->attempts, now_ms - failures->since_ms,
                  log_quote(error, quoted));
    }
    services_set_quiet(services, true);
}

void store_log_success(struct failure_log *failures, struct services *services)
{
    uint64_t attempts;
    uint64_t after_ms;
    if (failures->attempts == 0) {
        return;
    }
    services_set_quiet(services, false);
    if (failure_log_end(failures, store_log_now_ms(services), &attempts, &after_ms)) {
        log_event(KV_LOG_INFO, "persist",
                  "store-works-again after_ms=%" PRIu64 " attempts=%" PRIu64, after_ms, attempts);
    }
}
