/* package_load: reads package records into the database that package_search answers from.
 *
 *     apt-cache dumpavail | package_load packages.db -
 *
 * The input is Debian's control-file format (also /var/lib/dpkg/status): records of "Field: value" lines, continued by
 * lines that begin with a space, with an empty line between. It is read as a stream. All is loaded in one transaction,
 * so that a database holds all of it or nothing; one that is loaded already is left alone. Of two records with one name
 * the first counts. Exit status: 0; 1 with a sentence on standard error; 2 for a wrong command line.
 */
#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema_sql[] =
    "CREATE TABLE loaded (packages INTEGER NOT NULL, checksum INTEGER NOT NULL);"
    "CREATE TABLE packages (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version TEXT, section TEXT,"
    "                       homepage TEXT, summary TEXT, description TEXT);"
    "CREATE TABLE depends (package_id INTEGER NOT NULL, name TEXT NOT NULL,"
    "                      PRIMARY KEY (package_id, name)) WITHOUT ROWID;"
    "CREATE VIRTUAL TABLE packages_text USING fts5(name, summary, description, content = 'packages',"
    "                                              content_rowid = 'id', tokenize = 'porter unicode61');";

static const char finish_sql[] = "CREATE INDEX depends_by_name ON depends (name);"
                                 "INSERT INTO packages_text (packages_text) VALUES ('rebuild');";

static const char insert_package_sql[] =
    "INSERT OR IGNORE INTO packages (name, version, section, homepage, summary, description)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
static const char insert_depends_sql[] = "INSERT OR IGNORE INTO depends (package_id, name) VALUES (?1, ?2)";
static const char insert_loaded_sql[] = "INSERT INTO loaded (packages, checksum) VALUES (?1, ?2)";
static const char loaded_sql[] = "SELECT packages FROM loaded";

enum field { FIELD_NAME, FIELD_VERSION, FIELD_SECTION, FIELD_HOMEPAGE, FIELD_SUMMARY, FIELD_DESCRIPTION, FIELD_COUNT };

typedef struct loader {
    sqlite3 *db;
    sqlite3_stmt *insert_package;
    sqlite3_stmt *insert_depends;
    char *fields[FIELD_COUNT]; /* of the record that is being read; columns of packages, in their order */
    char *depends;             /* Depends and Pre-Depends, with a comma between */
    char **continued;          /* where a line that begins with a space belongs; NULL: nowhere */
    sqlite3_int64 packages;
    uint32_t checksum;
    int failed; /* 1: SQLite or memory failed */
} loader;

/* Appends to a string that malloc made, with `between` before what is added to something. */
static void append(loader *l, char **to, const char *between, const char *text)
{
    size_t old = *to == NULL ? 0 : strlen(*to);
    size_t size = old + strlen(between) + strlen(text) + 1;
    char *grown = realloc(*to, size);
    if (grown == NULL) {
        l->failed = 1;
        return;
    }
    snprintf(grown + old, size - old, "%s%s", old == 0 ? "" : between, text);
    *to = grown;
}

/* Names of packages in "libc6 (>= 2.34), default-mta | mail-transport-agent, python3:any": each as a row. */
static void store_depends(loader *l, sqlite3_int64 package_id)
{
    char *rest = NULL;
    char *word = l->depends == NULL ? NULL : strtok_r(l->depends, ",|", &rest);
    for (; word != NULL; word = strtok_r(NULL, ",|", &rest)) {
        word += strspn(word, " \n");
        size_t len = strcspn(word, " :(\n");
        if (len == 0) {
            continue;
        }
        sqlite3_bind_int64(l->insert_depends, 1, package_id);
        sqlite3_bind_text(l->insert_depends, 2, word, (int)len, SQLITE_STATIC);
        sqlite3_step(l->insert_depends);
        l->failed |= sqlite3_reset(l->insert_depends) != SQLITE_OK;
    }
}

/* At a record's end: stores it, unless its name is known already or missing, and is ready for the next. */
static void store_record(loader *l)
{
    if (l->fields[FIELD_NAME] != NULL) {
        for (int i = 0; i < FIELD_COUNT; i++) {
            sqlite3_bind_text(l->insert_package, i + 1, l->fields[i], -1, SQLITE_STATIC);
        }
        sqlite3_step(l->insert_package);
        l->failed |= sqlite3_reset(l->insert_package) != SQLITE_OK;
        if (sqlite3_changes(l->db) == 1) {
            l->packages++;
            store_depends(l, sqlite3_last_insert_rowid(l->db));
        }
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        free(l->fields[i]);
        l->fields[i] = NULL;
    }
    free(l->depends);
    l->depends = NULL;
    l->continued = NULL;
}

/* Bytes that are not UTF-8 would make the JSON of an answer invalid. */
static void make_utf8(char *line)
{
    int plain = 1;
    for (const char *p = line; *p != '\0'; p++) {
        plain &= (*p & 0x80) == 0;
    }
    json_t *valid = plain ? NULL : json_string(line);
    for (char *p = line; !plain && valid == NULL && *p != '\0'; p++) {
        *p = (*p & 0x80) == 0 ? *p : '?';
    }
    json_decref(valid);
}

static void read_field(loader *l, const char *name, const char *value)
{
    static const struct {
        const char *name;
        enum field field;
    } kept[] = {
        {"Package", FIELD_NAME},      {"Version", FIELD_VERSION},     {"Section", FIELD_SECTION},
        {"Homepage", FIELD_HOMEPAGE}, {"Description", FIELD_SUMMARY}, {"Description-en", FIELD_SUMMARY},
    };
    l->continued = NULL;
    if (strcmp(name, "Depends") == 0 || strcmp(name, "Pre-Depends") == 0) {
        append(l, &l->depends, ", ", value);
        l->continued = &l->depends;
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (strcmp(name, kept[i].name) == 0 && l->fields[kept[i].field] == NULL) {
            append(l, &l->fields[kept[i].field], "", value);
            l->continued = kept[i].field == FIELD_SUMMARY ? &l->fields[FIELD_DESCRIPTION] : NULL;
        }
    }
}

static void read_line(loader *l, char *line)
{
    for (const char *p = line; *p != '\0'; p++) {
        l->checksum = (l->checksum ^ (unsigned char)*p) * 16777619u; /* FNV-1a */
    }
    line[strcspn(line, "\r\n")] = '\0';
    make_utf8(line);
    char *colon = strchr(line, ':');
    if (*line == '\0') {
        store_record(l);
    } else if (*line == ' ' || *line == '\t') {
        if (l->continued != NULL) {
            append(l, l->continued, "\n", strcmp(line + 1, ".") == 0 ? "" : line + 1);
        }
    } else if (colon != NULL) {
        *colon = '\0';
        read_field(l, line, colon + 1 + strspn(colon + 1, " \t"));
    }
}

static void store_totals(loader *l)
{
    sqlite3_stmt *statement = NULL;
    l->failed |= sqlite3_prepare_v2(l->db, insert_loaded_sql, -1, &statement, NULL) != SQLITE_OK;
    sqlite3_bind_int64(statement, 1, l->packages);
    sqlite3_bind_int64(statement, 2, l->checksum | 1); /* a handler's version; not 0 */
    sqlite3_step(statement);
    l->failed |= sqlite3_finalize(statement) != SQLITE_OK;
}

/* One transaction: either all is loaded, or nothing. */
static int load_stream(sqlite3 *db, FILE *in, sqlite3_int64 *packages)
{
    loader l = {.db = db, .checksum = 2166136261u};
    char *line = NULL;
    size_t size = 0;
    l.failed = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK
               || sqlite3_exec(db, schema_sql, NULL, NULL, NULL) != SQLITE_OK
               || sqlite3_prepare_v2(db, insert_package_sql, -1, &l.insert_package, NULL) != SQLITE_OK
               || sqlite3_prepare_v2(db, insert_depends_sql, -1, &l.insert_depends, NULL) != SQLITE_OK;
    while (!l.failed && getline(&line, &size, in) >= 0) {
        read_line(&l, line);
    }
    if (!l.failed) {
        store_record(&l);
        store_totals(&l);
    }
    free(line);
    sqlite3_finalize(l.insert_package);
    sqlite3_finalize(l.insert_depends);
    l.failed = l.failed || ferror(in) || sqlite3_exec(db, finish_sql, NULL, NULL, NULL) != SQLITE_OK;
    *packages = l.packages;
    if (l.failed || l.packages == 0) {
        return -1; /* closing the connection rolls back */
    }
    return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}

/* The number of packages that the database holds already, or 0. */
static sqlite3_int64 count_loaded(sqlite3 *db)
{
    sqlite3_int64 count = 0;
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, loaded_sql, -1, &statement, NULL) == SQLITE_OK
        && sqlite3_step(statement) == SQLITE_ROW) {
        count = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return count;
}

static int load(sqlite3 *db, const char *path)
{
    sqlite3_int64 packages = count_loaded(db);
    if (packages > 0) {
        printf("%lld packages are loaded already\n", (long long)packages);
        return 0;
    }
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (in == NULL) {
        fprintf(stderr, "package_load: %s: %s\n", path, strerror(errno));
        return 1;
    }
    int status = load_stream(db, in, &packages);
    if (status == 0) {
        printf("%lld packages loaded\n", (long long)packages);
    } else if (packages == 0 && sqlite3_errcode(db) == SQLITE_OK) {
        fprintf(stderr, "package_load: %s: no package records were found\n", path);
    } else {
        fprintf(stderr, "package_load: %s\n", sqlite3_errmsg(db));
    }
    if (in != stdin) {
        fclose(in);
    }
    return status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: package_load DATABASE FILE|-\n", stderr);
        return 2;
    }
    sqlite3 *db = NULL;
    int status = 1;
    if (sqlite3_open(argv[1], &db) == SQLITE_OK) {
        status = load(db, argv[2]);
    } else {
        fprintf(stderr, "package_load: %s: %s\n", argv[1], sqlite3_errmsg(db));
    }
    sqlite3_close(db); /* rolls back what was not committed */
    return status;
}
