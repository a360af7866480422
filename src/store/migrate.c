/* store/migrate.c: checks and applies migrations/.
 *
 * `migrations` in the file holds number, name and SHA-256 of each text that was applied (sha256sum of the file in
 * migrations/ gives the same). A file whose rows differ from what is embedded has another history than this program
 * thinks, and is refused: guessing would destroy somebody's data.
 *
 * Two programs may migrate at once: the version is read again inside the write transaction. */
#include "store/migrate.h"

#include "base/clock.h"
#include "base/error.h"
#include "store/bind.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define CHECKSUM_SIZE 65 /* hexadecimal, and the NUL */

const larder__migrate_list larder__migrate_embedded = {larder__migrations, LARDER__MIGRATION_COUNT};

static const char *path_of(larder__db *db)
{
    return sqlite3_db_filename(db->handle, "main");
}

static int checksum(char hex[CHECKSUM_SIZE], const char *text, larder_error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL) != 1 || len != 32) {
        return larder__fail(error, LARDER_ESYSTEM, "OpenSSL cannot compute SHA-256");
    }
    for (unsigned int i = 0; i < len; i++) {
        snprintf(hex + (size_t)2 * i, 3, "%02x", digest[i]);
    }
    return LARDER_OK;
}

/* ---- checking ---- */

static int read_number(larder__db *db, const char *pragma, sqlite3_int64 *out, larder_error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->handle, pragma, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        *out = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    }
    int status = code == SQLITE_ROW ? LARDER_OK : larder__db_fail(error, db, "cannot read the header");
    sqlite3_finalize(statement);
    return status;
}

static int read_count(larder__db *db, enum larder__sql id, int *out, larder_error *error)
{
    sqlite3_stmt *statement = larder__db_statement(db, id);
    if (statement == NULL || sqlite3_step(statement) != SQLITE_ROW) {
        int status = larder__db_fail(error, db, "cannot read the schema");
        sqlite3_reset(statement);
        return status;
    }
    *out = sqlite3_column_int(statement, 0);
    sqlite3_reset(statement);
    return LARDER_OK;
}

static int check_row(larder__db *db, sqlite3_stmt *row, const larder__migration *expected, larder_error *error)
{
    char hex[CHECKSUM_SIZE];
    const char *path = path_of(db);
    int status = checksum(hex, expected->sql, error);
    if (status != LARDER_OK) {
        return status;
    }
    const char *name = (const char *)sqlite3_column_text(row, 1);
    const char *sum = (const char *)sqlite3_column_text(row, 2);
    if (name == NULL || sum == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening %s", path); /* both are NOT NULL */
    }
    if (sqlite3_column_int(row, 0) != expected->version || strcmp(name, expected->name) != 0) {
        return larder__fail(
            error, LARDER_ESCHEMA,
            "the schema of %s was made by migration %d \"%.60s\", where this Larder has %d \"%s\": use the "
            "program that made it, or another path",
            path, sqlite3_column_int(row, 0), name, expected->version, expected->name);
    }
    if (strcmp(sum, hex) != 0) {
        return larder__fail(
            error, LARDER_ESCHEMA,
            "migration %s was applied to %s with another text (its SHA-256 differs): use the program that "
            "made it, or another path",
            expected->name, path);
    }
    return LARDER_OK;
}

static int check_history(larder__db *db, const larder__migrate_list *list, int version, larder_error *error)
{
    const char *path = path_of(db);
    int found = 0;
    int status = read_count(db, LARDER__SQL_SCHEMA_HAS_MIGRATIONS, &found, error);
    if (status != LARDER_OK) {
        return status;
    }
    if (found == 0 || version == 0) {
        return larder__fail(error, LARDER_ESCHEMA,
                            "%s names version %d of the schema, but its table of migrations is missing", path, version);
    }
    sqlite3_stmt *row = larder__db_statement(db, LARDER__SQL_SCHEMA_MIGRATIONS);
    if (row == NULL) {
        return larder__db_fail(error, db, "cannot read the migrations");
    }
    int count = 0;
    int code = SQLITE_ROW;
    while (status == LARDER_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        if (count < version) {
            status = check_row(db, row, &list->migrations[count], error);
        }
        count++;
    }
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        status = larder__db_fail(error, db, "cannot read the migrations");
    } else if (status == LARDER_OK && count != version) {
        status =
            larder__fail(error, LARDER_ESCHEMA, "%s names version %d of the schema, but %d migrations were applied",
                         path, version, count);
    }
    sqlite3_reset(row);
    return status;
}

static int check_unowned(larder__db *db, sqlite3_int64 application_id, sqlite3_int64 user_version, larder_error *error)
{
    int objects = 0;
    int status = read_count(db, LARDER__SQL_SCHEMA_OBJECTS, &objects, error);
    if (status != LARDER_OK) {
        return status;
    }
    if (application_id != 0 || user_version != 0 || objects != 0) {
        return larder__fail(error, LARDER_EFOREIGN,
                            "%s is an SQLite database of another program (application_id 0x%08x): give another path",
                            path_of(db), (unsigned)application_id);
    }
    return LARDER_OK;
}

static int check_version(larder__db *db, const larder__migrate_list *list, int *version, larder_error *error)
{
    sqlite3_int64 application_id = 0;
    sqlite3_int64 user_version = 0;
    int status = read_number(db, "PRAGMA application_id", &application_id, error);
    if (status == LARDER_OK) {
        status = read_number(db, "PRAGMA user_version", &user_version, error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    if (application_id != (sqlite3_int64)LARDER__APPLICATION_ID) {
        return check_unowned(db, application_id, user_version, error);
    }
    if (user_version < 0 || user_version > list->count) {
        return larder__fail(error, LARDER_ENEWER,
                            "%s was written by a newer Larder (schema %lld, this one knows %d): use that version, or "
                            "another path",
                            path_of(db), (long long)user_version, list->count);
    }
    *version = (int)user_version;
    return check_history(db, list, *version, error);
}

/* All of one moment: somebody may be migrating just now. */
int larder__migrate_version(larder__db *db, const larder__migrate_list *list, int *version, larder_error *error)
{
    *version = 0;
    larder__db_rollback(db); /* of a transaction whose rollback found no memory */
    if (larder__db_run(db, larder__db_statement(db, LARDER__SQL_TRANSACTION_BEGIN_READ)) != LARDER_OK) {
        return larder__db_fail(error, db, "cannot read the schema");
    }
    int status = check_version(db, list, version, error);
    larder__db_rollback(db);
    return status;
}

/* ---- applying ---- */

static int note(larder__db *db, const larder__migration *migration, const char *hex)
{
    sqlite3_int64 now = larder__wall_ms(&larder__system_clock);
    sqlite3_stmt *add = larder__db_statement(db, LARDER__SQL_SCHEMA_MIGRATION_ADD);
    larder__bind_int(add, ":version", migration->version);
    larder__bind_text(add, ":name", migration->name, strlen(migration->name));
    larder__bind_text(add, ":checksum", hex, strlen(hex));
    larder__bind_int(add, ":now_ms", now);
    int status = larder__db_run(db, add);
    if (status == LARDER_OK) {
        sqlite3_stmt *created = larder__db_statement(db, LARDER__SQL_SCHEMA_CREATED_SET);
        larder__bind_int(created, ":now_ms", now);
        status = larder__db_run(db, created);
    }
    return status;
}

/* Inside the transaction. The error is written before the caller rolls back: that changes the connection's message. */
static int apply_inside(larder__db *db, const larder__migration *migration, larder_error *error)
{
    char hex[CHECKSUM_SIZE];
    char pragmas[128];
    char what[128];
    int status = checksum(hex, migration->sql, error);
    if (status != LARDER_OK) {
        return status;
    }
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %u; PRAGMA user_version = %d", LARDER__APPLICATION_ID,
             migration->version);
    snprintf(what, sizeof what, "cannot apply migration %.80s", migration->name);
    if (sqlite3_exec(db->handle, migration->sql, NULL, NULL, NULL) != SQLITE_OK
        || sqlite3_exec(db->handle, pragmas, NULL, NULL, NULL) != SQLITE_OK || note(db, migration, hex) != LARDER_OK) {
        return larder__db_fail(error, db, what);
    }
    if (sqlite3_get_autocommit(db->handle)) {
        return larder__fail(error, LARDER_ESCHEMA, "migration %s ends its own transaction", migration->name);
    }
    return LARDER_OK;
}

/* One migration, unless somebody else was faster. */
static int apply(larder__db *db, const larder__migration *migration, larder_error *error)
{
    sqlite3_int64 version = 0;
    int status = larder__db_begin(db);
    if (status != LARDER_OK) {
        return larder__db_fail(error, db, "cannot begin a migration");
    }
    status = read_number(db, "PRAGMA user_version", &version, error);
    if (status == LARDER_OK && version == migration->version - 1) {
        status = apply_inside(db, migration, error);
        if (status == LARDER_OK) {
            status = larder__db_commit(db);
            return status == LARDER_OK ? status : larder__db_fail(error, db, "cannot commit a migration");
        }
    }
    larder__db_rollback(db);
    return status;
}

int larder__migrate_run(larder__db *db, const larder__migrate_list *list, larder_error *error)
{
    int version = 0;
    int applied = 0;
    int status = larder__migrate_version(db, list, &version, error);
    while (status == LARDER_OK && version < list->count) {
        status = apply(db, &list->migrations[version], error);
        if (status == LARDER_OK) {
            applied = 1;
            status = larder__migrate_version(db, list, &version, error);
        }
    }
    if (applied) {
        sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL); /* it may come later */
    }
    return status;
}
