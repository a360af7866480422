/* core/outcome.h: what a request came to: a value, or a failure's code, message and details. A handler's answer is one,
 * and moves into the response. */
#ifndef LARDER_CORE_OUTCOME_H
#define LARDER_CORE_OUTCOME_H

#include "base/body.h"

#include <larder/larder.h>

typedef enum larder__code {
#define LARDER__CODE_ENUM(name, string, text) LARDER__CODE_##name,
    LARDER_CODE_MAP(LARDER__CODE_ENUM)
#undef LARDER__CODE_ENUM
        LARDER__CODE_COUNT
} larder__code;

extern const char *const larder__code_strings[LARDER__CODE_COUNT];
extern const char *const larder__code_texts[LARDER__CODE_COUNT];

typedef struct larder__outcome {
    larder__body *value; /* a success: a reference, owned */
    const char *code;    /* a failure: these three; NULL for a success */
    const char *message;
    const char *details; /* JSON, or NULL */
    void *block;         /* what the texts live in, owned; NULL when they are static */
} larder__outcome;

/* A failure with the code's own text: needs no memory. */
void larder__outcome_plain(larder__outcome *outcome, larder__code code);
/* A failure with copies of these (details may be NULL). LARDER_ENOMEM: it is a plain NO_MEMORY now. */
int larder__outcome_fail(larder__outcome *outcome, const char *code, const char *message, const char *details);
void larder__outcome_release(larder__outcome *outcome);

/* Puts '?' in place of each byte that is not UTF-8: messages end up in JSON. */
void larder__text_clean(char *text);

#endif
