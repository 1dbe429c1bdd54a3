#include "logic/resume.h"

#include "logic/bug.h"
#include "logic/record.h"

/* The highest index up to which the member's log is the same as the primary's and behind which its
 * content is not fixed; else, for what it may rely on when it fetches, an index before that. */
static bool resume_find_common(const struct log *log, const struct message *resume,
                               uint64_t *ret_index)
{
    struct kv_position last = resume->body.resume.last;
    struct kv_position committed = resume->body.resume.committed;
    uint64_t index;
    if (BUG(tail_by_index)) {
        *ret_index = last.index < log_last_index(log) ? last.index : log_last_index(log);
        return true;
    }
    bool is_known = log_common(log, last, ret_index);
    if (is_known && *ret_index >= committed.index) {
        return true;
    }
    if (log_common(log, committed, &index) && index == committed.index) {
        *ret_index = index;
        return true;
    }
    return is_known;
}

/* Where the member's last position is at that index, the log has it there, too. A shared store
 * tells an index with a later view than its record's; it cannot be gone on from. */
static bool resume_leads_on(const struct log *log, const struct message *resume, uint64_t index)
{
    struct kv_position last = resume->body.resume.last;
    struct kv_position committed = resume->body.resume.committed;
    struct kv_position here = log_position_at(log, index);
    return BUG(tail_by_index) ||
           ((index != last.index || position_compare(here, last) == 0) &&
            (index != committed.index || position_compare(here, committed) == 0));
}

struct replicator_start resume_choose(const struct log *log, struct kv_position committed,
                                      const struct message *resume, bool *ret_drops)
{
    struct replicator_start start = {.as_of = committed, .tail = TAIL_NONE, .base = UINT64_MAX};
    uint64_t index;
    *ret_drops = false;
    if (resume->body.resume.complete == 0 || !resume_find_common(log, resume, &index)) {
        return start;
    }
    start.base = index;
    if (index >= resume->body.resume.committed.index && index + 1 >= log_first_index(log) &&
        resume_leads_on(log, resume, index)) {
        start.tail = TAIL_FOLLOWS;
        start.base = 0;
        start.as_of = log_position_at(log, index);
        *ret_drops = index < resume->body.resume.last.index;
    }
    return start;
}
