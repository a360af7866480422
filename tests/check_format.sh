#!/usr/bin/env bash
# check_format.sh SOURCE: clang-format would change nothing. Formatters of different versions disagree: only version 14, that of
# Debian 12, decides.
set -euo pipefail
source=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$formatter" ] || ! "$formatter" --version | grep -q 'version 14\.'; then
    echo 'not checked: clang-format 14 is not installed'
    exit 0
fi
cd "$source"
unformatted=$(find include src cli examples tests -name '*.[ch]' | sort | while read -r file; do
    "$formatter" "$file" | cmp -s "$file" - || echo "$file"
done)
if [ -n "$unformatted" ]; then
    printf '%s\n' "$unformatted"
    echo 'clang-format -i would change these files'
    exit 1
fi
