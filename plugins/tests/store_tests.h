/* What every plugin that keeps a folder has to do while nothing fails. The plugin under test is
 * that of kit_plugin. Test code only. */
#ifndef PLUGINS_TESTS_STORE_TESTS_H
#define PLUGINS_TESTS_STORE_TESTS_H

/* Runs the common tests as one cmocka group; how many failed. */
int store_tests_run(void);

#endif
