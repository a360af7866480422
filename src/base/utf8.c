/* base/utf8.c: is a whole text valid UTF-8? Plain ASCII goes by eight bytes at a time. */
#include "base/utf8.h"

#include "base/json.h"

size_t larder__utf8_valid(const char *text, size_t len, int allow_nul)
{
    const uint64_t nul_finder = allow_nul ? 0 : LARDER__BYTES(1u);
    size_t i = 0;
    while (i < len) {
        if (len - i >= 8) {
            uint64_t word = larder__load8(text + i);
            /* A byte that is zero borrows when one is taken away. */
            if ((((word - nul_finder) | word) & LARDER__HIGH_BITS) == 0) {
                i += 8;
                continue;
            }
        }
        if ((unsigned char)text[i] < 0x80) {
            if (text[i] == '\0' && !allow_nul) {
                return i;
            }
            i++;
            continue;
        }
        size_t sequence = larder__utf8_sequence(text + i, len - i);
        if (sequence == 0) {
            return i;
        }
        i += sequence;
    }
    return len;
}
