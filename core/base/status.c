#include "base/status.h"

#include <stddef.h>

struct status_row {
    int32_t status;
    int class;
    const char *name;
    const char *text;
};

#define STATUS_ROW(name, number, class, text) {(number), (class), #name, (text)},

static const struct status_row status_rows[] = {{KV_OK, 0, "KV_OK", "done"},
                                                KV_STATUS_TABLE(STATUS_ROW)};

static const struct status_row status_stranger = {0, KV_CLASS_FATAL, "?", "unknown status"};

static const struct status_row *status_find(int32_t status)
{
    for (size_t i = 0; i < sizeof(status_rows) / sizeof(status_rows[0]); i++) {
        if (status_rows[i].status == status) {
            return &status_rows[i];
        }
    }
    return &status_stranger;
}

const char *status_text(int32_t status)
{
    return status_find(status)->text;
}

const char *status_name(int32_t status)
{
    return status_find(status)->name;
}

int status_class(int32_t status)
{
    return status_find(status)->class;
}
