/* create() judges the values of its settings; the host has checked names and types. */
#include "cases.h"

#include <inttypes.h>
#include <string.h>

static void settings_given(struct kit *kit)
{
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kit_store *store = kit_store_at(kit, &place);
    kit_create(store);
    kit_destroy(store);
    kit_store_drop(store);
}

/* One value in place of option `at`'s: refused with a reason, or taken; kit_try_create() looks. */
static void settings_try(struct kit *kit, uint32_t at, const char *value, uint32_t *refused)
{
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kit_store *store = kit_store_at(kit, &place);
    struct kv_setting *settings = kit_settings(kit, &place);
    settings[at].value = value;
    int32_t status = kit_try_create(store, settings);
    if (status == KV_OK) {
        kit_destroy(store);
    } else {
        *refused += 1;
        if (status != KV_E_INVALID) {
            kit_note("the value \"%s\" of %s is refused with %s; KV_E_INVALID would say more",
                     value, settings[at].name, kit_code(status));
        }
    }
    loader_settings_free(settings);
    kit_store_drop(store);
}

static void settings_odd(struct kit *kit)
{
    static const char *const numbers[] = {"-9223372036854775808", "-1", "0", "1",
                                          "9223372036854775807"};
    static const char *const texts[] = {"", " ", "\x01 no value that means anything \xff",
                                        "%s%s%n{}[]\"'"};
    const struct kv_plugin *descriptor = &kit->plugin->descriptor;
    uint32_t refused = 0;
    uint32_t tried = 0;
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        bool is_int = descriptor->options[i].type == KV_OPTION_INT;
        bool is_text = descriptor->options[i].type == KV_OPTION_STRING;
        for (uint32_t j = 0; j < 5 && (is_int || (is_text && j < 4)); j++) {
            settings_try(kit, i, is_int ? numbers[j] : texts[j], &refused);
            tried++;
        }
    }
    if (tried == 0) {
        kit_skip("there is no option that is a number or a text");
    }
    kit_note("%" PRIu32 " odd values tried, %" PRIu32 " of them refused", tried, refused);
}

static void settings_long(struct kit *kit)
{
    static char text[10000];
    const struct kv_plugin *descriptor = &kit->plugin->descriptor;
    uint32_t refused = 0;
    uint32_t tried = 0;
    memset(text, 'x', sizeof(text) - 1);
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        if (descriptor->options[i].type == KV_OPTION_STRING) {
            settings_try(kit, i, text, &refused);
            tried++;
        }
    }
    if (tried == 0) {
        kit_skip("there is no option that is a text");
    }
}

static const struct check_case settings_cases[] = {
    {"create takes the settings given", settings_given, 0, 0},
    {"odd values of each option are taken or refused, and nothing is left", settings_odd, 0, 0},
    {"a text of 9999 bytes for each option is taken or refused, and nothing is left", settings_long,
     0, 0},
};

const struct check_group group_settings = {"settings", KV_KIND_PERSIST, CASES_OF(settings_cases)};
