/*
 * The lines with which the process of a check tells its outcome to the runner, on a descriptor that
 * it inherits. The first character says what a line is.
 */
#ifndef KVNODE_CHECK_REPORT_H
#define KVNODE_CHECK_REPORT_H

#define REPORT_FD      3

#define REPORT_NOTE    '#'
#define REPORT_PASSED  '+'
#define REPORT_FAILED  '-'
#define REPORT_SKIPPED 's'

#endif
