/* core/outcome.c: what a request came to. */
#include "core/outcome.h"

#include "base/alloc.h"
#include "base/json.h"

#include <string.h>

const char *const larder__code_strings[LARDER__CODE_COUNT] = {
#define CODE_STRING(name, string, text) string,
    LARDER_CODE_MAP(CODE_STRING)
#undef CODE_STRING
};

const char *const larder__code_texts[LARDER__CODE_COUNT] = {
#define CODE_TEXT(name, string, text) text,
    LARDER_CODE_MAP(CODE_TEXT)
#undef CODE_TEXT
};

void larder__text_clean(char *text)
{
    size_t len = strlen(text);
    size_t at = 0;
    while ((at += larder__utf8_valid(text + at, len - at, 0)) < len) {
        text[at] = '?';
    }
}

void larder__outcome_plain(larder__outcome *outcome, larder__code code)
{
    memset(outcome, 0, sizeof *outcome);
    outcome->code = larder__code_strings[code];
    outcome->message = larder__code_texts[code];
}

static char *put_text(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

int larder__outcome_fail(larder__outcome *outcome, const char *code, const char *message, const char *details)
{
    size_t size = strlen(code) + strlen(message) + (details == NULL ? 0 : strlen(details)) + 3;
    char *block = larder__malloc(size);
    if (block == NULL) {
        larder__outcome_plain(outcome, LARDER__CODE_NO_MEMORY);
        return LARDER_ENOMEM;
    }
    char *at = block;
    outcome->value = NULL;
    outcome->block = block;
    outcome->code = put_text(&at, code);
    char *copy = put_text(&at, message);
    larder__text_clean(copy);
    outcome->message = copy;
    outcome->details = details == NULL ? NULL : put_text(&at, details);
    return LARDER_OK;
}

void larder__outcome_release(larder__outcome *outcome)
{
    larder__body_release(outcome->value);
    larder__free(outcome->block);
    memset(outcome, 0, sizeof *outcome);
}
