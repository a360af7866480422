#!/usr/bin/env bash
# check_size.sh SOURCE: files below 800 lines, functions up to 100, lines up to 120 characters; nothing left to do in comments.
set -euo pipefail
source=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
cd "$source"
export LC_ALL=C.UTF-8
found=$(
    find include src cli examples tests -name '*.[ch]' | sort | while read -r file; do
        awk -v file="$file" '
            /^\{/ { start = NR }
            /^\}/ && start { if (NR - start > 100) print file ":" start ": a function of " NR - start " lines"; start = 0 }
            END { if (NR >= 800) print file ": " NR " lines" }' "$file"
        grep -nE '^.{121,}' "$file" | sed "s|^|$file:|; s|\$|    <- over 120 characters|" || true
        grep -nE '\b(TODO|FIXME|XXX|HACK)\b' "$file" | sed "s|^|$file:|" || true
    done
)
if [ -n "$found" ]; then
    printf '%s\n' "$found"
    exit 1
fi
