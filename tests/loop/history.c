#include "history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"insert", "remove", "get"};
static const char *const outcomes[] = {"ok", "absent", "unknown", "rejected"};

void history_write_op(FILE *file, const struct history_op *op)
{
    fprintf(file,
            "%" PRIu32 " %s %s %" PRIu64 " %s %" PRIu64 " %" PRIu32 " %" PRIu64 " %" PRIu64
            " %s %" PRIu64 " %" PRIu32 "\n",
            op->session, kinds[op->kind], op->key, op->value, op->node, op->min_index,
            op->deadline_ms, op->invoked_ns, op->returned_ns, outcomes[op->outcome], op->index,
            op->answers);
}

void history_add(struct history *history, const struct history_op *op)
{
    if (history->len == history->size) {
        history->size = history->size == 0 ? 1024 : history->size * 2;
        history->ops = realloc(history->ops, history->size * sizeof(*history->ops));
        if (history->ops == NULL) {
            abort();
        }
    }
    history->ops[history->len++] = *op;
}

/* The place of a word in a list; len when it is not there. */
static uint32_t history_find(const char *const *words, uint32_t len, const char *word)
{
    uint32_t i = 0;
    while (i < len && strcmp(words[i], word) != 0) {
        i++;
    }
    return i;
}

static bool history_parse_line(const char *line, struct history_op *ret_op)
{
    char kind[16];
    char outcome[16];
    struct history_op op = {0};
    int fields =
        sscanf(line,
               "%" SCNu32 " %15s %31s %" SCNu64 " %31s %" SCNu64 " %" SCNu32 " %" SCNu64 " %" SCNu64
               " %15s %" SCNu64 " %" SCNu32,
               &op.session, kind, op.key, &op.value, op.node, &op.min_index, &op.deadline_ms,
               &op.invoked_ns, &op.returned_ns, outcome, &op.index, &op.answers);
    uint32_t kind_at = history_find(kinds, 3, fields == 12 ? kind : "");
    uint32_t outcome_at = history_find(outcomes, 4, fields == 12 ? outcome : "");
    if (kind_at == 3 || outcome_at == 4) {
        return false;
    }
    op.kind = (enum history_kind)kind_at;
    op.outcome = (enum history_outcome)outcome_at;
    *ret_op = op;
    return true;
}

bool history_parse(struct history *history, const char *text, uint32_t *ret_line)
{
    uint32_t number = 1;
    for (const char *line = text; *line != '\0'; number++) {
        struct history_op op;
        const char *end = strchr(line, '\n');
        if (end == NULL || !history_parse_line(line, &op)) {
            *ret_line = number;
            return false;
        }
        history_add(history, &op);
        line = end + 1;
    }
    return true;
}

void history_close(struct history *history)
{
    free(history->ops);
    *history = (struct history){0};
}
