#!/usr/bin/env bash
# check_layers.sh SOURCE: the rules that keep the layers apart, by looking at the text of the files, without their comments.
#   - includes go one way: base <- store <- metrics <- cache <- core; cli, examples and tests/flow see public headers only;
#   - sqlite3.h is known to src/store alone; public headers include the C library's headers and each other;
#   - the library never prints, exits or aborts, and takes memory through base/alloc.h alone;
#   - statements stand in sql/, not in C.
# Before that it plants one breach of each kind in a tree of its own, and must find every one.
set -euo pipefail
source=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Every line of the C files under the current folder as "path:number:code".
code() {
    find include src cli examples tests/flow -name '*.[ch]' 2>/dev/null | sort | xargs -r awk '
        FNR == 1 { inside = 0 }
        { line = $0; out = ""
          while (line != "") {
              if (inside) {
                  end = index(line, "*/")
                  if (end == 0) break
                  line = substr(line, end + 2)
                  inside = 0
              } else if (match(line, /"([^"\\]|\\.)*"|\/\*|\/\//)) {
                  token = substr(line, RSTART, RLENGTH)
                  out = out substr(line, 1, RSTART - 1)
                  line = substr(line, RSTART + RLENGTH)
                  if (token == "/*") inside = 1
                  else if (token == "//") line = ""
                  else out = out token
              } else {
                  out = out line
                  line = ""
              }
          }
          print FILENAME ":" FNR ":" out }'
}

# rule FILES PATTERN [EXCEPT] WHY: prints what in those files has the pattern, unless it has the exception too.
rule() {
    { grep -E "^($1):[0-9]+:.*($2)" "$work/code" || true; } | { grep -vE "$3" || true; } | sed "s|\$|    <- $4|"
}

check() { # FOLDER: prints the breaches
    local include='#[[:space:]]*include[[:space:]]*' allowed='' layer
    local word='(^|[^[:alnum:]_.>])'
    local nothing='^$'
    (cd "$1" && code) >"$work/code"
    for layer in base store metrics cache core; do
        allowed=${allowed:+$allowed|}$layer
        rule "src/$layer/.*" "$include\"" "$include\"($allowed)/[a-z0-9_]+\.h\"" "$layer may include: ${allowed//|/ }"
    done
    rule 'src/.*' 'sqlite3(ext)?\.h' '^src/store/' 'only src/store knows sqlite3.h'
    rule 'include/.*' "$include" "$include<(larder/[a-z]+|std[a-z]+)\.h>" 'public headers stand alone'
    rule '(cli|examples|tests/flow)/.*' "$include[\"<](\.\./|src/|($allowed)/)|(^|[^[:alnum:]_])larder__" "$nothing" \
        'public headers and names only'
    rule 'cli/.*' 'sqlite3(ext)?\.h' "$nothing" 'the command reads files through larder/inspect.h'
    rule 'src/.*' "$word(v?f?printf|f?puts|f?putc|putchar|perror|_?exit|_Exit|quick_exit|abort|raise|system)[[:space:]]*\(" \
        "$nothing" 'the library never prints, exits or aborts'
    rule 'src/.*' "$word([mc]alloc|realloc|reallocarray|free|strn?dup|v?asprintf|getline|aligned_alloc)[[:space:]]*\(" \
        '^src/base/alloc\.c:' 'memory comes from base/alloc.h'
    rule '(src|cli)/.*' '"(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|REPLACE|WITH) ' "$nothing" 'statements stand in sql/'
}

planted=0
plant() { # FILE LINE
    mkdir -p "$work/tree/$(dirname "$1")"
    printf '/* Planted. */\n%s\n' "$2" >"$work/tree/$1"
    if ! check "$work/tree" | grep -qF "$1:2:"; then
        printf 'check_layers.sh does not notice in %s: %s\n' "$1" "$2"
        exit 1
    fi
    rm -r "$work/tree"
    planted=$((planted + 1))
}
plant src/base/x.c '#include "store/store.h"'
plant src/store/x.c '#include "core/dispatch.h"'
plant src/metrics/x.h '#include "cache/cache.h"'
plant src/cache/x.c '#  include "metrics/../core/x.h"'
plant src/core/x.c '#include "../../cli/args.h"'
plant src/core/x.c '#include <sqlite3.h>'
plant include/larder/x.h '#include <uv.h>'
plant include/larder/x.h '#include "base/buf.h"'
plant cli/x.c '#include "base/buf.h"'
plant cli/x.c '#include <sqlite3.h>'
plant examples/x.c '#include "../src/base/buf.h"'
plant tests/flow/x.c 'void f(void) { larder__free(0); }'
plant src/core/x.c 'void f(void) { printf("/* x"); }'
plant src/core/x.c 'void f(void) { abort(); }'
plant src/base/x.c 'void f(void) { if (1) exit (1); }'
plant src/store/x.c '/* a */ void *f(void) { return malloc(1); } /* b */'
plant src/store/x.c 'void f(void *x) { free(x); }'
plant src/store/x.c 'const char *sql = "SELECT 1";'

breaches=$(check "$source")
if [ -n "$breaches" ]; then
    printf '%s\n' "$breaches"
    exit 1
fi
echo "the layers hold; $planted planted breaches were found"
