/* store/db.h: one hardened SQLite connection to a Larder file, with the statements of sql/ prepared when first used.
 * A connection belongs to one thread at a time. */
#ifndef LARDER_STORE_DB_H
#define LARDER_STORE_DB_H

#include "store/lockfile.h"
#include "store/sql_embedded.h" /* generated: enum larder__sql { LARDER__SQL_ENTRY_GET, …, LARDER__SQL_COUNT } */

#include <larder/larder.h>
#include <sqlite3.h>

#define LARDER__APPLICATION_ID 0x4c524452u /* "LRDR" */
#define LARDER__DB_BUSY_MS 5000 /* how long connections wait for locks of programs that do not take the lock file's */

typedef enum larder__db_mode {
    LARDER__DB_READ,     /* existing file, no write, never a checkpoint; once it is open it waits for no lock */
    LARDER__DB_READ_NOW, /* the same, and does not wait for one while opening: for the loop's thread */
    LARDER__DB_WRITE,    /* existing file; the lock file's lock is the caller's business */
    LARDER__DB_CREATE,   /* the file is made (0600) if it is missing, and migrated; under the lock */
    LARDER__DB_VISIT /* existing file, no write, from outside: waits for locks, leaves no -wal and -shm where there were
                        none, and reads a file that was closed cleanly from a folder that cannot be written */
} larder__db_mode;

typedef struct larder__db {
    sqlite3 *handle;
    sqlite3_stmt *statements[LARDER__SQL_COUNT];
    int failed_code; /* of a commit that was rolled back, since a rollback overwrites the connection's own message */
    int failed_errno;
    char failed_message[128];
} larder__db;

/* Opens, hardens, and checks that the file is ours (application_id), of our schema version and unaltered (checksums of
 * the migrations). CREATE needs `lock` held by the caller. Statuses as larder_open. On failure *out is NULL and the
 * file is as it was; a migration that fails leaves the version before it. */
int larder__db_open(larder__db **out, const char *path, larder__db_mode mode, larder_durability durability,
                    larder_error *error);
void larder__db_close(larder__db *db); /* NULL is fine; never checkpoints, unless larder__db_tidy was called */

/* How many bytes of pages the connection keeps; 2 MiB after it was opened. */
void larder__db_set_cache(larder__db *db, size_t bytes);

/* What larder__db_open would refuse before it connects, without making a file beside the path: ask it before the lock
 * file is made, so that nothing is left beside a file that is not ours. */
int larder__db_look(const char *path, larder__db_mode mode, larder_error *error);

/* The close that comes checkpoints and removes -wal and -shm, if no other connection has the file open (SQLite takes
 * its exclusive lock for that, so it needs no lock of ours). */
void larder__db_tidy(larder__db *db);

/* The statement, reset and with bindings cleared; NULL when it cannot be prepared (the reason: larder__db_fail). Reset
 * it after use: a statement left open holds its read transaction. */
sqlite3_stmt *larder__db_statement(larder__db *db, enum larder__sql id);
/* Steps a statement that returns no rows, and resets it: SQLITE_DONE becomes LARDER_OK, the rest as larder__db_status.
 */
int larder__db_run(larder__db *db, sqlite3_stmt *statement);

/* LARDER_E… for the result code (BUSY and LOCKED: ELOCKED; FULL: EFULL; CORRUPT and NOTADB: ECORRUPT; READONLY,
 * CANTOPEN, IOERR, NOMEM, PERM/AUTH likewise). */
int larder__db_status(int sqlite_code);
/* Fills the error from the connection's last failure: "what: sqlite's message (path)"; returns the status. */
int larder__db_fail(larder_error *error, larder__db *db, const char *what);

int larder__db_begin(larder__db *db);     /* BEGIN IMMEDIATE */
int larder__db_commit(larder__db *db);    /* on failure it has been rolled back */
void larder__db_rollback(larder__db *db); /* nothing if no transaction is open */
int larder__db_moved(larder__db *db);     /* 1: the file at the path is not the one that is open */

/* 1: `data_version` says that another connection has committed since the last call. */
int larder__db_changed(larder__db *db, uint32_t *last);

#endif
