#!/usr/bin/env bash
# check_symbols.sh SOURCE BINARY: liblarder.so exports the functions that the public headers declare and nothing else; what the
# archive shows to a linker is named larder_ or larder__.
set -euo pipefail
source=$(cd "$1" && pwd)
binary=$(cd "$2" && pwd)
export LC_ALL=C

declared=$(cat "$source"/include/larder/*.h | tr '\n' ' ' | grep -oE 'LARDER_EXPORT [^;(]*\b(larder_[a-z0-9_]+)\(' |
    sed -E 's/.*[^a-z0-9_](larder_[a-z0-9_]+)\($/\1/' | sort -u)
exported=$(nm -D --defined-only "$binary/liblarder.so" | awk '{ print $3 }' | sed 's/@.*//' | grep -v '^__odr_asan' | sort -u)
if [ "$declared" != "$exported" ]; then
    echo 'declared (<) and exported (>) differ:'
    diff <(printf '%s\n' "$declared") <(printf '%s\n' "$exported") || true
    exit 1
fi
foreign=$(nm -g --defined-only "$binary/liblarder.a" 2>/dev/null | awk 'NF == 3 { print $3 }' |
    grep -vE '^(larder_[a-z0-9_]+|__odr_asan.*)$' || true)
if [ -n "$foreign" ]; then
    printf 'names in liblarder.a that are not ours:\n%s\n' "$foreign"
    exit 1
fi
printf '%d functions exported\n' "$(printf '%s\n' "$exported" | wc -l)"
