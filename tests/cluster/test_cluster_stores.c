/* Nodes with different stores in one cluster, and a cluster moved from one store to another while
 * it works: the file store and Berkeley DB. (test_cluster_mongo.c has MongoDB beside them.) */
#include "stores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_STORE "plugin = \"persist-file\"; "

static char stores_paths[4][512];

/* Berkeley DB in a folder of its own. */
static const char *stores_bdb(const struct rig *rig, uint32_t number)
{
    snprintf(stores_paths[number], sizeof(stores_paths[number]),
             "plugin = \"persist-bdb\"; path = \"%.300s/bdb-%u\"; ", rig->folder, number);
    return stores_paths[number];
}

static void test_file_and_berkeley_db_together(void **state)
{
    struct rig *rig = *state;
    const char *const persistence[] = {FILE_STORE, stores_bdb(rig, 0), stores_bdb(rig, 1)};
    stores_check_together(rig, persistence);
    rig_pass(rig);
}

static void test_berkeley_db_at_the_primary(void **state)
{
    struct rig *rig = *state;
    const char *const persistence[] = {stores_bdb(rig, 0), FILE_STORE, stores_bdb(rig, 1)};
    stores_check_together(rig, persistence);
    rig_pass(rig);
}

static void test_moved_from_file_to_berkeley_db(void **state)
{
    struct rig *rig = *state;
    stores_check_move(rig, FILE_STORE, stores_bdb(rig, 0));
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_and_berkeley_db_together, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(test_berkeley_db_at_the_primary, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_moved_from_file_to_berkeley_db, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
