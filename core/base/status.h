/* Text and class of the status codes of <kvnode/status.h>. Any thread. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <kvnode/status.h>
#include <stdint.h>

/* Static text for KV_OK and each KV_E_ code; "unknown status" for any other number. */
const char *status_text(int32_t status);

/* The code's name, for logs: "KV_E_BUSY". */
const char *status_name(int32_t status);

/* KV_CLASS_ of a KV_E_ code; 0 for KV_OK; KV_CLASS_FATAL for a number that is no code. */
int status_class(int32_t status);

#endif
