#include "logic/bug.h"

#ifdef KV_WITH_BUGS

#include <stddef.h>
#include <string.h>

int bug_active = BUG_NONE;

struct bug_line {
    const char *name;
    const char *text;
};

#define BUG_LINE_(name, text) {#name, text},
static const struct bug_line bug_lines[] = {{"none", "no bug"}, BUG_TABLE(BUG_LINE_)};
#undef BUG_LINE_

const char *bug_name(int bug)
{
    return bug >= BUG_NONE && bug < BUG_END ? bug_lines[bug].name : NULL;
}

const char *bug_text(int bug)
{
    return bug >= BUG_NONE && bug < BUG_END ? bug_lines[bug].text : NULL;
}

int bug_find(const char *name)
{
    for (int bug = BUG_NONE + 1; bug < BUG_END; bug++) {
        if (strcmp(bug_lines[bug].name, name) == 0) {
            return bug;
        }
    }
    return BUG_NONE;
}

#else

/* An ordinary build has no bugs; ISO C wants one declaration in a file. */
extern const int bug_none_;

#endif
