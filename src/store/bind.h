/* store/bind.h: parameters by name, so that a statement in C can be read beside its SQL. A NULL statement (it could not
 * be prepared) is accepted by all: larder__db_run and larder__read_int then report the connection's failure. */
#ifndef LARDER_STORE_BIND_H
#define LARDER_STORE_BIND_H

#include "store/db.h"

static inline void larder__bind_int(sqlite3_stmt *statement, const char *name, int64_t value)
{
    if (statement != NULL) {
        sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, name), value);
    }
}

/* Borrowed until the statement is reset; as larder__bind_blob. */
static inline void larder__bind_text(sqlite3_stmt *statement, const char *name, const char *text, size_t len)
{
    if (statement != NULL) {
        int place = sqlite3_bind_parameter_index(statement, name);
        sqlite3_bind_text64(statement, place, text, len, SQLITE_STATIC, SQLITE_UTF8);
    }
}

static inline void larder__bind_blob(sqlite3_stmt *statement, const char *name, const void *bytes, size_t len)
{
    if (statement != NULL) {
        sqlite3_bind_blob64(statement, sqlite3_bind_parameter_index(statement, name), bytes, len, SQLITE_STATIC);
    }
}

/* The first column of the first row; `missing` when there is none or it is NULL. Resets the statement. */
static inline int64_t larder__read_int(larder__db *db, sqlite3_stmt *statement, int64_t missing, int *status)
{
    int64_t value = missing;
    if (statement == NULL) {
        *status = larder__db_status(sqlite3_errcode(db->handle));
        return missing;
    }
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL) {
        value = sqlite3_column_int64(statement, 0);
    }
    *status = code == SQLITE_ROW || code == SQLITE_DONE ? LARDER_OK : larder__db_status(code);
    sqlite3_reset(statement);
    return value;
}

#endif
