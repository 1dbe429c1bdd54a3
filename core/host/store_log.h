/*
 * The log lines about a store that fails and that works again: "store-failing" at growing intervals
 * (failure_log.h), "store-works-again" once. Meanwhile the plugin's own ERROR and WARN lines are
 * kept low. The persistence worker's thread only.
 */
#ifndef HOST_STORE_LOG_H
#define HOST_STORE_LOG_H

#include "host/failure_log.h"
#include "host/services.h"

/* A call of the store failed, for the reason of error. */
void store_log_failure(struct failure_log *failures, struct services *services, int32_t status,
                       const char *error);

/* A call of the store succeeded: nothing happens unless one had failed. */
void store_log_success(struct failure_log *failures, struct services *services);

#endif
