/* What the programs that measure plugins share. */
#ifndef PLUGINS_TESTS_BENCH_H
#define PLUGINS_TESTS_BENCH_H

/* Seconds, monotonic. */
double bench_now(void);

/* For qsort(): two doubles. */
int bench_compare(const void *left, const void *right);

/* Ends the process unless it is fine; says what failed, with errno's text. */
void bench_require(int fine, const char *what);

#endif
