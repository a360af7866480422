#!/bin/sh
# embed.sh SOURCE OUT: writes OUT/sql_embedded.h and OUT/sql_embedded.c.
#
# sql/*.sql hold statements, each under a line "-- name: entry_get"; it becomes LARDER__SQL_ENTRY_GET in enum larder__sql
# and its text larder__sql_texts[LARDER__SQL_ENTRY_GET]. migrations/NNNN_name.sql become larder__migrations[], in order.
set -eu
source=$1
out=$2
mkdir -p "$out"
header=$out/sql_embedded.h
code=$out/sql_embedded.c

names() {
    cat "$source"/sql/*.sql | sed -n 's/^-- name: \([a-z0-9_]*\) *$/\1/p'
}

twice=$(names | sort | uniq -d)
if [ -n "$twice" ]; then
    echo "embed.sh: statement named twice in sql/: $twice" >&2
    exit 1
fi
count=$(ls "$source"/migrations/*.sql | wc -l)

{
    echo '/* Generated from sql/ and migrations/ by cmake/embed.sh. */'
    echo '#ifndef LARDER_STORE_SQL_EMBEDDED_H'
    echo '#define LARDER_STORE_SQL_EMBEDDED_H'
    echo 'enum larder__sql {'
    names | tr a-z A-Z | sed 's/.*/    LARDER__SQL_&,/'
    echo '    LARDER__SQL_COUNT'
    echo '};'
    echo 'extern const char *const larder__sql_names[LARDER__SQL_COUNT];'
    echo 'extern const char *const larder__sql_texts[LARDER__SQL_COUNT];'
    echo 'typedef struct larder__migration {'
    echo '    int version;'
    echo '    const char *name;'
    echo '    const char *sql;'
    echo '} larder__migration;'
    echo "#define LARDER__MIGRATION_COUNT $((count))"
    echo 'extern const larder__migration larder__migrations[LARDER__MIGRATION_COUNT];'
    echo '#endif'
} >"$header.new"

{
    echo '/* Generated from sql/ and migrations/ by cmake/embed.sh. */'
    echo '#include "store/sql_embedded.h"'
    echo 'const char *const larder__sql_names[LARDER__SQL_COUNT] = {'
    names | sed 's/.*/    "&",/'
    echo '};'
    echo 'const char *const larder__sql_texts[LARDER__SQL_COUNT] = {'
    cat "$source"/sql/*.sql | awk '
        /^-- name: / { if (open) print ","; print ""; open = 1; next }
        open && !/^--/ && !/^[ \t]*$/ { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); printf "    \"%s\\n\"\n", $0 }
        END { if (open) print "," }'
    echo '};'
    echo 'const larder__migration larder__migrations[LARDER__MIGRATION_COUNT] = {'
    for file in "$source"/migrations/*.sql; do
        base=$(basename "$file" .sql)
        number=$(expr "$base" : '0*\([0-9]*\)_')
        echo "    {$number, \"$base\","
        awk '{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); printf "     \"%s\\n\"\n", $0 }' "$file"
        echo '    },'
    done
    echo '};'
} >"$code.new"

mv "$header.new" "$header"
mv "$code.new" "$code"
