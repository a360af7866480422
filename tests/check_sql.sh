#!/usr/bin/env bash
# check_sql.sh SOURCE: the migrations and all of sql/ run in the sqlite3 shell as they are, so do the queries of
# docs/database.md, and that page names every table, view and column.
set -euo pipefail
source=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"

for migration in migrations/*.sql; do
    { echo 'BEGIN;'; cat "$migration"; echo 'COMMIT;'; } | sqlite3 -bail "$work/empty.db"
done

# A value for every parameter: a plausible one where a table's checks ask for it.
{
    echo '.parameter init'
    cat sql/*.sql | sed '/^--/d' | grep -oE '[:?][a-z_0-9]+' | sort -u | while read -r name; do
        case $name in
        :key) value="x'00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'" ;;
        :kind) value="'all'" ;;
        :args | :value) value="'[]'" ;;
        :channel | :name | :content_type) value="'text'" ;;
        :scope | :key_prefix) value=NULL ;;
        *) value=7 ;;
        esac
        echo ".parameter set $name \"$value\""
    done
} >"$work/parameters"
for file in sql/*.sql; do
    cp "$work/empty.db" "$work/run.db"
    if ! sqlite3 -bail "$work/run.db" ".read $work/parameters" ".read $file" >"$work/out" 2>&1; then
        cat "$work/out"
        echo "$file does not run in the sqlite3 shell"
        exit 1
    fi
done

awk '/^```sql$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/database.md >"$work/queries.sql"
cp "$work/empty.db" "$work/run.db"
if ! sqlite3 -bail "$work/run.db" ".read $work/queries.sql" >"$work/out" 2>&1 || [ ! -s "$work/queries.sql" ]; then
    cat "$work/out"
    echo 'the queries of docs/database.md do not run'
    exit 1
fi

status=0
while IFS='|' read -r table column; do
    if ! grep -qE "^#+ .*\`$table\`" docs/database.md || ! awk -v t="\`$table\`" '
        /^#/ { here = index($0, t) } here' docs/database.md | grep -qF "\`$column\`"; then
        echo "docs/database.md does not explain $table.$column"
        status=1
    fi
done < <(sqlite3 "$work/empty.db" "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
    WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, c.cid")
exit $status
