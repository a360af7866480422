#!/usr/bin/env bash
# check_docs.sh SOURCE BINARY: the program in README.md is examples/hello.c, and it prints what the README says; docs/errors.md
# has every status and every code; the pages' links to files lead somewhere.
set -euo pipefail
source=$(cd "$1" && pwd)
binary=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"

block() { # N LANGUAGE: the Nth fenced block of that language in README.md
    awk -v n="$1" -v open="\`\`\`$2" '
        $0 == "```" && inside { inside = 0; next }
        $0 == open { if (++count == n) { inside = 1; next } }
        inside' README.md
}
if ! diff <(block 1 c) examples/hello.c; then
    echo 'README.md: the program (<) is not examples/hello.c (>)'
    exit 1
fi

printf '%s\n' '144 (from the handler)' '144 (from the cache)' '144 (from the cache)' '144 (from the cache)' >"$work/expected"
(cd "$work" && "$binary/examples/hello" && "$binary/examples/hello") >"$work/printed"
diff "$work/expected" "$work/printed"

status=0
while read -r name; do
    if ! grep -qF "\`$name\`" docs/errors.md; then
        echo "docs/errors.md does not explain $name"
        status=1
    fi
done < <(sed -nE 's/^ *X\(([A-Z_]+), -[0-9]+, .*/LARDER_\1/p; s/^ *X\([A-Z_]+, "([A-Z_]+)", .*/\1/p' include/larder/status.h)
for page in *.md docs/*.md; do
    while read -r link; do
        if [ ! -e "$(dirname "$page")/${link%%#*}" ]; then
            echo "$page: the link to $link leads nowhere"
            status=1
        fi
    done < <(grep -oE '\]\([^)#][^)]*\)' "$page" | sed -E 's/^\]\((.*)\)$/\1/' | grep -vE '^(https?|mailto):' || true)
done
exit $status
