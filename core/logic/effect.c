#include "logic/effect.h"

#include "base/alloc.h"
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define EFFECTS_CAPACITY_MIN 64u

void effects_init(struct effects *effects)
{
    memset(effects, 0, sizeof(*effects));
    arena_init(&effects->arena);
}

void effects_close(struct effects *effects)
{
    alloc_free(effects->items);
    arena_close(&effects->arena);
    effects_init(effects);
}

void effects_reset(struct effects *effects)
{
    effects->len = 0;
    arena_reset(&effects->arena);
}

struct effect *effects_add(struct effects *effects, enum effect_kind kind)
{
    if (effects->len == effects->capacity) {
        effects->capacity = effects->capacity == 0 ? EFFECTS_CAPACITY_MIN : effects->capacity * 2;
        effects->items = alloc_resize(effects->items, effects->capacity * sizeof(*effects->items));
    }
    struct effect *effect = &effects->items[effects->len++];
    memset(effect, 0, sizeof(*effect));
    effect->kind = kind;
    return effect;
}

void effects_note(struct effects *effects, enum note_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    KV_CHECK(len >= 0);
    char *text = arena_alloc(&effects->arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    struct effect *effect = effects_add(effects, EFFECT_NOTE);
    effect->as.note.level = level;
    effect->as.note.text = text;
}
