/* store/db.c: connections, hardened; their statements; transactions.
 *
 * Happy path of larder__db_open: probe the file (nothing is touched) → make it, if asked → connect → busy handler →
 * limits and switches → check owner and history → page size and WAL mode, for a new file → migrate. A connection only
 * ever sees a file that the probe took for ours or for new.
 *
 * Failure: whatever was opened is closed. Where no -wal stood beside the file SQLite removes what it made; a file that
 * this call made is deleted. A crash in the middle leaves a file that the next open completes: no bytes, a header
 * without tables, or some of the migrations.
 *
 * Neither the database nor its -wal and -shm are ever opened by other means than SQLite: closing a descriptor of them
 * would drop the POSIX locks of every connection of this process. The one exception is the file that is made here,
 * exclusively. */
#include "store/db.h"

#include "base/alloc.h"
#include "base/error.h"
#include "store/migrate.h"
#include "store/path.h"
#include "store/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Measured with 100,000 entries of 1 KiB: pages of 4 KiB give 1,416 bytes an entry and 42,000 random upserts a second
 * in groups of 500, checkpoints included; 8 KiB 1,219 bytes and 32,000. Gets are equal. Overwriting what is deleted
 * (secure_delete) cost nothing that could be measured. */
#define PAGE_BYTES 4096
#define CACHE_KIB 2048 /* until larder__db_set_cache */

/* ---- statuses ---- */

static int status_of_extended(int code)
{
    switch (code) {
    case SQLITE_READONLY_DBMOVED:
        return LARDER_EMOVED;
    case SQLITE_CANTOPEN_SYMLINK:
    case SQLITE_CANTOPEN_ISDIR:
        return LARDER_EFOREIGN;
    case SQLITE_IOERR_NOMEM:
    case SQLITE_IOERR_SHMMAP: /* mmap(2) found no room */
        return LARDER_ENOMEM;
    case SQLITE_IOERR_SHMSIZE: /* the -shm could not grow */
        return LARDER_EFULL;
    default:
        return LARDER_OK;
    }
}

int larder__db_status(int sqlite_code)
{
    static const struct {
        int code;
        int status;
    } table[] = {
        {SQLITE_OK, LARDER_OK},
        {SQLITE_ROW, LARDER_OK},
        {SQLITE_DONE, LARDER_OK},
        {SQLITE_BUSY, LARDER_ELOCKED},
        {SQLITE_LOCKED, LARDER_ELOCKED},
        {SQLITE_PROTOCOL, LARDER_ELOCKED},
        {SQLITE_FULL, LARDER_EFULL},
        {SQLITE_CORRUPT, LARDER_ECORRUPT},
        {SQLITE_NOTADB, LARDER_ECORRUPT},
        {SQLITE_READONLY, LARDER_EREADONLY},
        {SQLITE_CANTOPEN, LARDER_EACCESS},
        {SQLITE_PERM, LARDER_EACCESS},
        {SQLITE_AUTH, LARDER_EACCESS},
        {SQLITE_IOERR, LARDER_EIO},
        {SQLITE_NOMEM, LARDER_ENOMEM},
        {SQLITE_TOOBIG, LARDER_ETOOBIG},
        {SQLITE_INTERRUPT, LARDER_ECANCELLED},
        {SQLITE_MISUSE, LARDER_EINVAL},
        {SQLITE_RANGE, LARDER_EINVAL},
        /* A statement of ours that does not fit the tables: somebody changed them. */
        {SQLITE_ERROR, LARDER_ESCHEMA},
        {SQLITE_SCHEMA, LARDER_ESCHEMA},
        {SQLITE_CONSTRAINT, LARDER_ESCHEMA},
        {SQLITE_MISMATCH, LARDER_ESCHEMA},
    };
    int status = status_of_extended(sqlite_code);
    if (status != LARDER_OK) {
        return status;
    }
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].code == (sqlite_code & 0xff)) {
            return table[i].status;
        }
    }
    return LARDER_EIO;
}

static int is_failure(int code)
{
    return code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE;
}

/* CANTOPEN says nothing by itself: the system call's errno does. */
static int refine(int status, int code, int err)
{
    if ((code & 0xff) != SQLITE_CANTOPEN || status != LARDER_EACCESS) {
        return status;
    }
    switch (err) {
    case ENOMEM:
        return LARDER_ENOMEM;
    case ENOSPC:
    case EDQUOT:
        return LARDER_EFULL;
    case EROFS:
        return LARDER_EREADONLY;
    case EMFILE:
    case ENFILE:
        return LARDER_ESYSTEM;
    case EIO:
        return LARDER_EIO;
    default:
        return status;
    }
}

int larder__db_fail(larder_error *error, larder__db *db, const char *what)
{
    int code = sqlite3_extended_errcode(db->handle);
    int err = sqlite3_system_errno(db->handle);
    const char *message = sqlite3_errmsg(db->handle);
    const char *path = sqlite3_db_filename(db->handle, "main");
    if (!is_failure(code) && db->failed_code != SQLITE_OK) {
        code = db->failed_code;
        err = db->failed_errno;
        message = db->failed_message;
    }
    int status = is_failure(code) ? refine(larder__db_status(code), code, err) : LARDER_EIO;
    int by_system = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_FULL;
    larder__fail(error, status, "%s: %s%s%s (%s)", what, message, by_system && err != 0 ? ": " : "",
                 by_system && err != 0 ? strerror(err) : "", path == NULL ? "no file" : path);
    if (error != NULL && by_system) {
        error->system_errno = err;
    }
    return status;
}

/* ---- statements and transactions ---- */

sqlite3_stmt *larder__db_statement(larder__db *db, enum larder__sql id)
{
    sqlite3_stmt **statement = &db->statements[id];
    if (*statement == NULL) {
        /* On failure it stays NULL, and the connection knows why. */
        sqlite3_prepare_v3(db->handle, larder__sql_texts[id], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
        return *statement;
    }
    sqlite3_reset(*statement);
    sqlite3_clear_bindings(*statement);
    return *statement;
}

int larder__db_run(larder__db *db, sqlite3_stmt *statement)
{
    if (statement == NULL) {
        int code = sqlite3_extended_errcode(db->handle);
        return is_failure(code) ? larder__db_status(code) : LARDER_ENOMEM;
    }
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return larder__db_status(code);
}

static int run(larder__db *db, enum larder__sql id)
{
    return larder__db_run(db, larder__db_statement(db, id));
}

int larder__db_begin(larder__db *db)
{
    db->failed_code = SQLITE_OK;
    larder__db_rollback(db); /* of a transaction whose rollback found no memory */
    return run(db, LARDER__SQL_TRANSACTION_BEGIN);
}

int larder__db_commit(larder__db *db)
{
    int status = run(db, LARDER__SQL_TRANSACTION_COMMIT);
    if (status == LARDER_OK) {
        return status;
    }
    db->failed_code = sqlite3_extended_errcode(db->handle);
    db->failed_errno = sqlite3_system_errno(db->handle);
    snprintf(db->failed_message, sizeof db->failed_message, "%s", sqlite3_errmsg(db->handle));
    larder__db_rollback(db);
    return status;
}

/* The statement is prepared beforehand, but after a change of the schema SQLite prepares it again: that may want
 * memory. */
void larder__db_rollback(larder__db *db)
{
    for (int tries = 0; tries < 2 && !sqlite3_get_autocommit(db->handle); tries++) {
        run(db, LARDER__SQL_TRANSACTION_ROLLBACK);
    }
}

int larder__db_moved(larder__db *db)
{
    int moved = 0;
    int code = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return code == SQLITE_OK && moved != 0;
}

int larder__db_changed(larder__db *db, uint32_t *last)
{
    uint32_t now = *last;
    sqlite3_stmt *statement = larder__db_statement(db, LARDER__SQL_SCHEMA_DATA_VERSION);
    if (statement != NULL && sqlite3_step(statement) == SQLITE_ROW) {
        now = (uint32_t)sqlite3_column_int64(statement, 0);
    }
    sqlite3_reset(statement);
    int changed = now != *last;
    *last = now;
    return changed;
}

/* ---- connecting ---- */

typedef struct opening {
    larder__db *db;
    larder__probe probe;
    larder__db_mode mode;
    larder_durability durability;
    int created; /* by us, just now */
} opening;

static int is_reader(larder__db_mode mode)
{
    return mode == LARDER__DB_READ || mode == LARDER__DB_READ_NOW;
}

static int fail_memory(larder_error *error, const char *path)
{
    return larder__fail(error, LARDER_ENOMEM, "out of memory while opening %s", path);
}

static int refuse_by_mode(const larder__probe *probe, larder__db_mode mode, larder_error *error)
{
    int writes = mode == LARDER__DB_WRITE || mode == LARDER__DB_CREATE;
    if (probe->kind == LARDER__PROBE_MISSING) {
        return mode == LARDER__DB_CREATE ? LARDER_OK
                                         : larder__fail(error, LARDER_ENOTFOUND, "there is no file %s", probe->path);
    }
    if (probe->kind == LARDER__PROBE_NEW && mode != LARDER__DB_CREATE) {
        return larder__fail(error, LARDER_ESCHEMA, "%s is empty: no program has opened it with Larder yet",
                            probe->path);
    }
    if (writes && !probe->writable) {
        return larder__fail(error, LARDER_EREADONLY, "%s is read-only: make it writable, or give another path",
                            probe->path);
    }
    if (writes && !probe->folder_writable) {
        return larder__fail(error, LARDER_EREADONLY,
                            "the folder of %s cannot be written, and files must be made beside it (-wal, -shm, -lock)",
                            probe->path);
    }
    return LARDER_OK;
}

/* Mode 0600 before SQLite writes anything: -wal and -shm take the mode of the database. */
static int make_file(opening *o, larder_error *error)
{
    int fd = open(o->probe.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno == EEXIST ? LARDER_OK : larder__fail_errno(error, errno, "cannot create %s", o->probe.path);
    }
    close(fd);
    o->created = 1;
    o->probe.writable = 1;
    return LARDER_OK;
}

/* "file:" and the path with all but plain characters as %XX, for a file that nobody can be writing. */
static char *immutable_uri(const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~";
    static const char tail[] = "?immutable=1";
    size_t len = strlen(path);
    char *uri = larder__malloc(5 + 3 * len + sizeof tail);
    if (uri == NULL) {
        return NULL;
    }
    char *at = uri + 5;
    memcpy(uri, "file:", 5);
    for (size_t i = 0; i < len; i++) {
        if (strchr(plain, path[i]) != NULL) {
            *at++ = path[i];
        } else {
            at += snprintf(at, 4, "%%%02X", (unsigned)(unsigned char)path[i]);
        }
    }
    memcpy(at, tail, sizeof tail);
    return uri;
}

static int connect_to(opening *o, larder_error *error)
{
    int flags = SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    int visit = o->mode == LARDER__DB_VISIT;
    int may_write = o->probe.writable && o->probe.folder_writable;
    char *uri = NULL;
    const char *name = o->probe.path;
    if (visit && !o->probe.folder_writable && !o->probe.has_wal) {
        uri = immutable_uri(o->probe.path);
        if (uri == NULL) {
            return fail_memory(error, o->probe.path);
        }
        name = uri;
        flags |= SQLITE_OPEN_URI;
    }
    /* A visitor that may write can remove the -wal and -shm that reading makes; query_only keeps it from more. */
    flags |= is_reader(o->mode) || (visit && !may_write) ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int code = sqlite3_open_v2(name, &o->db->handle, flags, NULL);
    larder__free(uri);
    if (o->db->handle == NULL) {
        return fail_memory(error, o->probe.path);
    }
    return code == SQLITE_OK ? LARDER_OK : larder__db_fail(error, o->db, "cannot open");
}

/* ---- hardening ---- */

static int set_switches(opening *o)
{
    static const struct {
        int name;
        int value;
    } switches[] = {
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, /* ours are for people who edit entries by hand */
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
    };
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        int now = -1;
        int code = sqlite3_db_config(o->db->handle, switches[i].name, switches[i].value, &now);
        if (code != SQLITE_OK || now != switches[i].value) {
            return code != SQLITE_OK ? code : SQLITE_ERROR;
        }
    }
    if (o->mode == LARDER__DB_VISIT && !o->probe.has_wal) {
        larder__db_tidy(o->db);
    }
    return sqlite3_wal_autocheckpoint(o->db->handle, 0);
}

/* Making and migrating is always done in full: with less, a power cut within a rollback-mode transaction (before WAL
 * mode) can damage the file. */
static int set_pragmas(opening *o)
{
    char text[256];
    int reads = is_reader(o->mode) || o->mode == LARDER__DB_VISIT;
    int full = o->mode == LARDER__DB_CREATE || o->durability == LARDER_DURABILITY_FULL;
    snprintf(text, sizeof text,
             "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA cache_size = -%d; PRAGMA synchronous = %s; "
             "PRAGMA secure_delete = ON; PRAGMA query_only = %s",
             CACHE_KIB, full ? "FULL" : "NORMAL", reads ? "ON" : "OFF");
    return sqlite3_exec(o->db->handle, text, NULL, NULL, NULL);
}

/* The busy handler comes before anything that may need a lock. */
static int harden(opening *o, larder_error *error)
{
    int code = sqlite3_busy_timeout(o->db->handle, o->mode == LARDER__DB_READ_NOW ? 0 : LARDER__DB_BUSY_MS);
    if (code == SQLITE_OK) {
        code = set_switches(o);
    }
    if (code == SQLITE_OK) {
        code = set_pragmas(o);
    }
    return code == SQLITE_OK ? LARDER_OK : larder__db_fail(error, o->db, "cannot open");
}

/* ---- a file's form ---- */

/* 1: the journal mode is WAL now. Leaving another mode needs the file for a moment alone, and SQLite does not always
 * call the busy handler for that. */
static int wal_mode_once(larder__db *db, int *is_wal)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
    *is_wal = 0;
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        const char *mode = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
        *is_wal = mode != NULL && strcmp(mode, "wal") == 0;
    }
    sqlite3_finalize(statement);
    return code;
}

static int set_wal_mode(opening *o, larder_error *error)
{
    int is_wal = 0;
    int code = SQLITE_BUSY;
    for (int waited = 0; (code & 0xff) == SQLITE_BUSY && waited <= LARDER__DB_BUSY_MS; waited += 10) {
        if (waited > 0) {
            sqlite3_sleep(10);
        }
        code = wal_mode_once(o->db, &is_wal);
    }
    if (is_wal) {
        return LARDER_OK;
    }
    if (!is_failure(code)) {
        return larder__fail(error, LARDER_ESYSTEM,
                            "the file system of %s cannot share memory between processes, which WAL mode needs",
                            o->probe.path);
    }
    return larder__db_fail(error, o->db, "cannot switch to WAL mode");
}

static int set_form(opening *o, larder_error *error)
{
    char text[128];
    snprintf(text, sizeof text, "PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL", PAGE_BYTES);
    if (sqlite3_exec(o->db->handle, text, NULL, NULL, NULL) != SQLITE_OK) {
        return larder__db_fail(error, o->db, "cannot set up");
    }
    return LARDER_OK;
}

static int set_up(opening *o, larder_error *error)
{
    int version = 0;
    int status = larder__migrate_version(o->db, &larder__migrate_embedded, &version, error);
    if (status == LARDER_OK && o->mode != LARDER__DB_CREATE) {
        if (version < LARDER__MIGRATION_COUNT) {
            return larder__fail(
                error, LARDER_ESCHEMA,
                "%s was made by an older Larder (schema %d, this one has %d): open it once with a program "
                "that uses this one",
                o->probe.path, version, LARDER__MIGRATION_COUNT);
        }
        return LARDER_OK;
    }
    if (status == LARDER_OK && version == 0) {
        status = set_form(o, error);
    }
    if (status == LARDER_OK) {
        status = set_wal_mode(o, error);
    }
    if (status == LARDER_OK) {
        status = larder__migrate_run(o->db, &larder__migrate_embedded, error);
    }
    if (status == LARDER_OK && o->durability != LARDER_DURABILITY_FULL
        && sqlite3_exec(o->db->handle, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL) != SQLITE_OK) {
        status = larder__db_fail(error, o->db, "cannot open");
    }
    return status;
}

/* So that a rollback needs no memory, as long as the schema stays. */
static int prepare_transactions(opening *o, larder_error *error)
{
    static const enum larder__sql needed[] = {LARDER__SQL_TRANSACTION_BEGIN, LARDER__SQL_TRANSACTION_COMMIT,
                                              LARDER__SQL_TRANSACTION_ROLLBACK};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (larder__db_statement(o->db, needed[i]) == NULL) {
            return larder__db_fail(error, o->db, "cannot open");
        }
    }
    return LARDER_OK;
}

/* A sentence about what to do, where SQLite's own words leave one alone. */
static void advise(larder_error *error, int status)
{
    static const char advice[] =
        ". Move it and what stands beside it (-wal, -shm) away to begin anew, or try sqlite3 FILE "
        ".recover on a copy";
    if (error != NULL && status == LARDER_ECORRUPT) {
        size_t len = strlen(error->message);
        snprintf(error->message + len, sizeof error->message - len, "%s", advice);
    }
}

static int open_steps(opening *o, larder_error *error)
{
    int status = o->probe.kind == LARDER__PROBE_MISSING ? make_file(o, error) : LARDER_OK;
    if (status == LARDER_OK) {
        status = connect_to(o, error);
    }
    if (status == LARDER_OK) {
        status = harden(o, error);
    }
    if (status == LARDER_OK) {
        status = prepare_transactions(o, error);
    }
    if (status == LARDER_OK) {
        status = set_up(o, error);
    }
    if (status == LARDER_OK && is_reader(o->mode)) {
        sqlite3_busy_timeout(o->db->handle, 0);
    }
    return status;
}

/* The database first: the others alone mean nothing, a database without them is another database. */
static void delete_created(const char *path)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    char name[LARDER__PATH_MAX + 16];
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static void undo(opening *o)
{
    if (o->db->handle != NULL && !o->probe.has_wal) {
        larder__db_tidy(o->db);
    }
    larder__db_close(o->db);
    if (o->created) {
        delete_created(o->probe.path);
    }
}

int larder__db_open(larder__db **out, const char *path, larder__db_mode mode, larder_durability durability,
                    larder_error *error)
{
    opening o;
    memset(&o, 0, sizeof o);
    o.mode = mode;
    o.durability = durability;
    *out = NULL;
    int status = larder__probe_open(&o.probe, path, error);
    if (status != LARDER_OK) {
        return status;
    }
    status = refuse_by_mode(&o.probe, mode, error);
    if (status == LARDER_OK) {
        o.db = larder__calloc(1, sizeof *o.db);
        status = o.db == NULL ? fail_memory(error, o.probe.path) : open_steps(&o, error);
        if (o.db != NULL && status != LARDER_OK) {
            advise(error, status);
            undo(&o);
        }
    }
    if (status == LARDER_OK) {
        *out = o.db;
    }
    larder__probe_release(&o.probe);
    return status;
}

int larder__db_look(const char *path, larder__db_mode mode, larder_error *error)
{
    larder__probe probe;
    int status = larder__probe_open(&probe, path, error);
    if (status == LARDER_OK) {
        status = refuse_by_mode(&probe, mode, error);
        larder__probe_release(&probe);
    }
    return status;
}

void larder__db_set_cache(larder__db *db, size_t bytes)
{
    char text[64];
    size_t kib = bytes / 1024;
    snprintf(text, sizeof text, "PRAGMA cache_size = -%d", kib > INT_MAX ? INT_MAX : kib < 64 ? 64 : (int)kib);
    sqlite3_exec(db->handle, text, NULL, NULL, NULL); /* if it fails the cache stays small */
}

void larder__db_tidy(larder__db *db)
{
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

void larder__db_close(larder__db *db)
{
    if (db == NULL) {
        return;
    }
    for (int i = 0; i < LARDER__SQL_COUNT; i++) {
        sqlite3_finalize(db->statements[i]);
    }
    sqlite3_close_v2(db->handle);
    larder__free(db);
}
