/* The shared object itself. What the host refuses is refused before any check runs. */
#include "cases.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that is mapped for reading. */
struct descriptor_file {
    const uint8_t *bytes;
    size_t len;
};

static void descriptor_map(const char *path, struct descriptor_file *ret_file)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        kit_fail("%s cannot be read", path);
    }
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED) {
        kit_fail("%s cannot be mapped", path);
    }
    ret_file->bytes = bytes;
    ret_file->len = (size_t)about.st_size;
}

/* The section of that type; NULL: none, or beyond the file. */
static const Elf64_Shdr *descriptor_section(const struct descriptor_file *file, uint32_t type)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)file->bytes;
    if (head->e_shentsize != sizeof(Elf64_Shdr) || head->e_shoff > file->len ||
        (file->len - head->e_shoff) / sizeof(Elf64_Shdr) < head->e_shnum) {
        return NULL;
    }
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(file->bytes + head->e_shoff);
    for (uint32_t i = 0; i < head->e_shnum; i++) {
        if (sections[i].sh_type == type && sections[i].sh_link < head->e_shnum &&
            sections[i].sh_offset <= file->len &&
            sections[i].sh_size <= file->len - sections[i].sh_offset) {
            return &sections[i];
        }
    }
    return NULL;
}

/* The text at `at` of the strings that belong to a section. */
static const char *descriptor_text(const struct descriptor_file *file, const Elf64_Shdr *section,
                                   uint64_t at)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)file->bytes;
    const Elf64_Shdr *strings =
        (const Elf64_Shdr *)(file->bytes + head->e_shoff) + section->sh_link;
    if (strings->sh_offset > file->len || strings->sh_size > file->len - strings->sh_offset ||
        at >= strings->sh_size ||
        memchr(file->bytes + strings->sh_offset + at, 0, strings->sh_size - at) == NULL) {
        return "";
    }
    return (const char *)file->bytes + strings->sh_offset + at;
}

/* What the linker, a sanitizer or a coverage build adds is not the author's. */
static bool descriptor_is_tool(const char *name)
{
    static const char *const beginnings[] = {
        "_init",   "_fini",  "__bss_start", "_edata",   "_end",    "__asan", "__odr_",
        "__ubsan", "__gcov", "__llvm",      "__start_", "__stop_", "__tsan", "__sanitizer"};
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void descriptor_one_symbol(struct kit *kit)
{
    struct descriptor_file file;
    descriptor_map(kit->plugin->path, &file);
    const Elf64_Shdr *section = descriptor_section(&file, SHT_DYNSYM);
    if (section == NULL) {
        kit_skip("the shared object has no section of dynamic symbols");
    }
    const Elf64_Sym *symbols = (const Elf64_Sym *)(file.bytes + section->sh_offset);
    for (size_t i = 1; i < section->sh_size / sizeof(*symbols); i++) {
        const char *name = descriptor_text(&file, section, symbols[i].st_name);
        bool is_exported = symbols[i].st_shndx != SHN_UNDEF &&
                           ELF64_ST_BIND(symbols[i].st_info) != STB_LOCAL &&
                           ELF64_ST_VISIBILITY(symbols[i].st_other) == STV_DEFAULT;
        if (is_exported && strcmp(name, KV_PLUGIN_SYMBOL) != 0 && !descriptor_is_tool(name)) {
            kit_fail("expected " KV_PLUGIN_SYMBOL " exported and nothing else, found %s too "
                     "(compile with -fvisibility=hidden, make functions static)",
                     name);
        }
    }
    munmap((void *)file.bytes, file.len);
}

static void descriptor_stands_alone(struct kit *kit)
{
    struct descriptor_file file;
    descriptor_map(kit->plugin->path, &file);
    const Elf64_Shdr *section = descriptor_section(&file, SHT_DYNAMIC);
    if (section == NULL) {
        kit_skip("the shared object has no dynamic section");
    }
    const Elf64_Dyn *entries = (const Elf64_Dyn *)(file.bytes + section->sh_offset);
    for (size_t i = 0; i < section->sh_size / sizeof(*entries); i++) {
        const char *name = entries[i].d_tag != DT_NEEDED
                               ? ""
                               : descriptor_text(&file, section, entries[i].d_un.d_val);
        if (strncmp(name, "libkv", 5) == 0 || strncmp(name, "persist-", 8) == 0 ||
            strncmp(name, "transport-", 10) == 0) {
            kit_fail("expected no library of kvnode needed, found %s", name);
        }
    }
    munmap((void *)file.bytes, file.len);
}

static void descriptor_volatile(struct kit *kit)
{
    if (!kit->request->is_volatile) {
        kit_skip("not said to be volatile");
    }
    if (kit_has(kit, KV_PERSIST_DURABLE)) {
        kit_fail("expected no KV_PERSIST_DURABLE of a store that keeps nothing beyond its instance "
                 "(--volatile)");
    }
}

static void descriptor_texts(struct kit *kit)
{
    const struct kv_plugin *descriptor = &kit->plugin->descriptor;
    if (descriptor->summary[0] == '\0' || descriptor->version[0] == '\0') {
        kit_fail("expected a summary and a version, found \"%s\" and \"%s\"", descriptor->summary,
                 descriptor->version);
    }
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        if (descriptor->options[i].help[0] == '\0') {
            kit_fail("expected a sentence of help for the option %s, found none",
                     descriptor->options[i].name);
        }
    }
}

static const struct check_case descriptor_cases[] = {
    {"the shared object exports kv_plugin and nothing else", descriptor_one_symbol, 0, 0},
    {"it needs no library of kvnode", descriptor_stands_alone, 0, 0},
    {"summary, version and each option's help say something", descriptor_texts, 0, 0},
    {"a volatile store does not call itself durable", descriptor_volatile, 0, 0},
};

const struct check_group group_descriptor = {"descriptor", KV_KIND_PERSIST,
                                             CASES_OF(descriptor_cases)};

const struct check_group group_transport_descriptor = {"descriptor", KV_KIND_TRANSPORT,
                                                       descriptor_cases, 3};
