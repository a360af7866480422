#!/usr/bin/env bash
# check_headers.sh SOURCE: each public header compiles alone, and twice in a row, as strict C99 and C++11, without a warning.
set -euo pipefail
source=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-pedantic-errors -Wall -Wextra -Wshadow -Wundef -Werror -fsyntax-only -I "$source/include")

count=0
for header in "$source"/include/larder/*.h; do
    name=$(basename "$header")
    printf '#include <larder/%s>\n#include <larder/%s>\nextern int larder_used;\n' "$name" "$name" | tee "$work/u.c" >"$work/u.cc"
    for cc in gcc clang; do
        command -v "$cc" >/dev/null || continue
        "$cc" -std=c99 -Wstrict-prototypes "${flags[@]}" "$work/u.c"
        count=$((count + 1))
    done
    for cxx in g++ clang++; do
        command -v "$cxx" >/dev/null || continue
        "$cxx" -std=c++11 "${flags[@]}" "$work/u.cc"
        count=$((count + 1))
    done
done
if [ "$count" -eq 0 ]; then
    echo 'no compiler or no header was found'
    exit 1
fi
echo "$count compilations"
