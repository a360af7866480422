/* base/utf8.h: one sequence of UTF-8 at a time, for the scanners. Whole texts: larder__utf8_valid in json.h. */
#ifndef LARDER_BASE_UTF8_H
#define LARDER_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LARDER__BYTES(byte) (0x0101010101010101ull * (byte)) /* that byte, eight times */
#define LARDER__HIGH_BITS LARDER__BYTES(0x80u)

/* Eight bytes, the first in the lowest bits, so that the lowest mark of a mask is the first byte that has it. */
static inline uint64_t larder__load8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline int larder__utf8_continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The length (2 to 4) of the sequence at p, whose first byte is not ASCII; `left` bytes are there. 0: it is not well
 * formed (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing beyond U+10FFFF). */
static inline size_t larder__utf8_sequence(const char *p, size_t left)
{
    unsigned char first = (unsigned char)p[0];
    unsigned char second = left > 1 ? (unsigned char)p[1] : 0;
    if (first < 0xc2 || first > 0xf4 || (second & 0xc0) != 0x80) {
        return 0;
    }
    if (first < 0xe0) {
        return 2;
    }
    if (left < 3 || !larder__utf8_continues(p[2])) {
        return 0;
    }
    if (first < 0xf0) {
        return (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ? 0 : 3;
    }
    if (left < 4 || !larder__utf8_continues(p[3])) {
        return 0;
    }
    return (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f) ? 0 : 4;
}

#endif
