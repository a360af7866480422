#!/usr/bin/env bash
# check_package_search.sh SOURCE BINARY: the example programs on the sample and on hostile input.
set -euo pipefail
source=$(cd "$1" && pwd)
binary=$(cd "$2" && pwd)/examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

wrong() {
    printf '%s\n' "$*"
    exit 1
}
search() { "$binary/package_search" "$@"; }

# What is no package list is not loaded, and says so; nothing is left half-loaded.
head -c 100000 /dev/urandom >noise
for input in noise /dev/null; do
    if "$binary/package_load" packages.db "$input" 2>message; then wrong "$input was loaded"; fi
    grep -q 'no package records' message || wrong "$input: $(cat message)"
done
if search search x 2>message; then wrong 'searched without packages'; fi
grep -q 'run package_load first' message || wrong "no packages: $(cat message)"

# Odd records: continued fields, no name, twice the same name, bytes that are not UTF-8, no end of line.
printf 'Version: 1\n\nPackage: a\nDepends: b (>= 1) | c:any,\n d\nDescription: caf\351 \303\251\n long\n .\n more\n\n\nPackage: a\nDepends: z\n\nPackage: b' >odd
"$binary/package_load" odd.db odd | grep -qx '2 packages loaded' || wrong 'odd records'
search --db odd.db entry a >printed
grep -q 'caf? ??' printed || wrong "not made UTF-8: $(cat printed)"
grep -q '\["b", "c", "d"\]' printed || wrong "dependencies: $(cat printed)"

"$binary/package_load" packages.db "$source/examples/packages-sample.txt" | grep -qx '45 packages loaded'
"$binary/package_load" packages.db "$source/examples/packages-sample.txt" | grep -qx '45 packages are loaded already'

# A line to serve, and what its answer must have.
lines=()
expected=()
line() {
    lines+=("$1")
    expected+=("$2")
}
line 'db:search ["image viewer"]' '^source=handler '
line 'db:search [ "image viewer" ]' '^source=memory '
line 'db:search ["image viewer",2]' '^source=handler '
line 'db:search ["IMAG* view*"]' 'lightview'
line 'db:search ["\""]' 'nothing found'
line 'db:search ["\"\"\" AND NEAR( OR * ^ {name}: -"]' 'nothing found'
line 'db:search ["*"]' 'nothing found'
line 'db:search ["name:image"]' 'nothing found'
line "db:search [\"$(printf '\\"%.0s ' {1..100})\"]" '^source=handler '
line "db:search [\"$(printf 'x%.0s' {1..201})\"]" '^error=VALIDATION_ERROR .*200 bytes'
line 'db:search ["'"'"'; DROP TABLE packages; --"]' 'nothing found'
line 'db:search [""]' '^error=VALIDATION_ERROR '
line 'db:search [" \t "]' '^error=VALIDATION_ERROR .*no words'
line 'db:search []' '^error=VALIDATION_ERROR '
line 'db:search null' '^error=VALIDATION_ERROR '
line 'db:search' '^error=VALIDATION_ERROR '
line 'db:search "image"' '^error=VALIDATION_ERROR .*array'
line 'db:search {"q":1}' '^error=VALIDATION_ERROR .*array'
line 'db:search [7]' '^error=VALIDATION_ERROR '
line 'db:search ["a\u0000b"]' '^error=VALIDATION_ERROR '
line 'db:search ["a",0]' '^error=VALIDATION_ERROR .*1 to 100'
line 'db:search ["a",101]' '^error=VALIDATION_ERROR .*1 to 100'
line 'db:search ["a",1.5]' '^error=VALIDATION_ERROR .*1 to 100'
line 'db:search ["a",1e400]' '^error=VALIDATION_ERROR '
line 'db:search ["a",99999999999999999999]' '^error=VALIDATION_ERROR '
line 'db:search ["a",5,6]' '^error=VALIDATION_ERROR .*too many'
line 'db:search ["a"' '^error=INVALID_ARGS '
line 'db:getEntry ["gallery-wall"]' '^  dependsOn +\["libheif-read", "libsql3"'
line 'db:getEntry ["no such package"]' 'nothing found'
line 'db:getEntry ["no such package"]' '^source=memory '
line 'db:getEntry ["a","b"]' '^error=VALIDATION_ERROR .*too many'
line 'db:getPopular [1]' '^  base-runtime +needed by +22 '
line 'db:getPopular' 'libwidgets4 +needed by +19 '
line 'db:drop []' '^error=HANDLER_NOT_FOUND '
line 'flush' '^flush=committed$'

printf '%s\n' "${lines[@]}" | search serve >printed
awk 'BEGIN { RS = ""; ORS = "\0" } { print }' printed | {
    IFS= read -r -d '' answer
    [ "$answer" = ready ] || wrong "not ready: $answer"
    for i in "${!lines[@]}"; do
        IFS= read -r -d '' answer || wrong "no answer: ${lines[i]}"
        grep -qE "${expected[i]}" <<<"$answer" || wrong "${lines[i]} gives: $answer"
    done
    if IFS= read -r -d '' answer; then wrong "one answer too many: $answer"; fi
}

# In another process: from the file. Other packages: not from the file.
search search 'image viewer' >printed
grep -q '^source=disk ' printed || wrong "a new process gives: $(cat printed)"
search --json search 'image viewer' | grep -q '"success":true.*"source":"disk"' || wrong 'no envelope'
search --db odd.db search 'image viewer' >printed
grep -q '^source=handler ' printed || wrong "another database gives: $(cat printed)"
if search entry 2>/dev/null; then wrong 'a command without its argument'; fi
echo "${#lines[@]} requests"
