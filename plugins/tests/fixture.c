#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

int fixture_set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    kit_host_init(&fixture->host);
    kit_folder_make(fixture->path);
    kit_folder_make(fixture->trial);
    *state = fixture;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct fixture *fixture = *state;
    kit_close(&fixture->store);
    kit_folder_remove(fixture->path);
    kit_folder_remove(fixture->trial);
    kit_host_close(&fixture->host);
    free(fixture);
    return 0;
}

void fixture_reopen(struct fixture *fixture, const struct kit_options *options)
{
    kit_close(&fixture->store);
    int32_t status = kit_open(&fixture->store, &fixture->host, fixture->path, options);
    if (status != KV_OK) {
        print_message("%s", fixture->host.log);
    }
    assert_int_equal(status, KV_OK);
}
