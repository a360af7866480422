/* store/probe.c: recognises a file before a real connection touches it.
 *
 * The header is read through SQLite's own file handle (a connection that has run no statement yet): it makes neither
 * -wal nor -shm, and closing it cannot drop the POSIX locks of another connection of this process, as close(2) would.
 * The header of the main file tells nearly everything: a database is checkpointed right after its migrations. Only
 * where it names no owner or makes no sense, and a -wal with content is there (a crash before or in a checkpoint), is
 * the connection asked, read-only. A -journal is looked at too: see undo_journal.
 *
 * Header: sqlite.org/fileformat2.html, section 1.3. */
#include "store/probe.h"

#include "base/alloc.h"
#include "base/error.h"
#include "store/db.h"
#include "store/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_SIZE 108 /* the database header and the header of the b-tree page that follows it */
#define WAL_HEADER_SIZE 32
#define JOURNAL_HEADER_SIZE 28

typedef struct header {
    unsigned char bytes[HEADER_SIZE];
    int64_t file_size; /* from stat(2): SQLite calls a file of one byte empty */
} header;

static uint32_t big_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int fail_foreign_id(larder_error *error, const char *path, uint32_t id)
{
    return larder__fail(error, LARDER_EFOREIGN,
                        "%s is an SQLite database of another program (application_id 0x%08x): give another path", path,
                        id);
}

static int fail_foreign_tables(larder_error *error, const char *path)
{
    return larder__fail(error, LARDER_EFOREIGN,
                        "%s is an SQLite database of another program (it has tables, and no application_id): give "
                        "another path",
                        path);
}

static int fail_newer(larder_error *error, const char *path, uint32_t version)
{
    return larder__fail(
        error, LARDER_ENEWER,
        "%s was written by a newer Larder (schema %u, this one knows %d): use that version, or another path", path,
        version, LARDER__MIGRATION_COUNT);
}

/* ---- the file ---- */

static int check_type(const char *path, mode_t mode, larder_error *error)
{
    if (S_ISREG(mode)) {
        return LARDER_OK;
    }
    const char *what = S_ISDIR(mode)    ? "a folder"
                       : S_ISLNK(mode)  ? "a symbolic link"
                       : S_ISFIFO(mode) ? "a FIFO"
                       : S_ISSOCK(mode) ? "a socket"
                                        : "a device";
    return larder__fail(error, LARDER_EFOREIGN, "%s is %s, not a Larder file%s", path, what,
                        S_ISLNK(mode) ? ": give the path that it leads to" : "");
}

static int may_access(const char *path, int how)
{
    return faccessat(AT_FDCWD, path, how, AT_EACCESS) == 0;
}

/* Size of the -wal, -1 when there is none. Only stat(2): the file is not opened. */
static int wal_size(const char *path, sqlite3_int64 *size)
{
    struct stat info;
    char *wal = larder__path_beside(path, "-wal");
    if (wal == NULL) {
        return LARDER_ENOMEM;
    }
    *size = lstat(wal, &info) == 0 ? (sqlite3_int64)info.st_size : -1;
    larder__free(wal);
    return LARDER_OK;
}

static int look_beside(larder__probe *probe, larder_error *error)
{
    char *folder = larder__path_folder(probe->path);
    if (folder == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening %s", probe->path);
    }
    probe->folder_writable = may_access(folder, W_OK | X_OK);
    larder__free(folder);
    return LARDER_OK;
}

/* ---- the header ---- */

static int fail_handle(larder_error *error, sqlite3 *handle, int code, const char *path)
{
    int status = handle == NULL ? LARDER_ENOMEM : larder__db_status(code);
    larder__fail(error, status, "cannot open %s: %s", path, handle == NULL ? "out of memory" : sqlite3_errmsg(handle));
    if (error != NULL && handle != NULL) {
        error->system_errno = sqlite3_system_errno(handle);
    }
    return status;
}

static int read_header(sqlite3 *handle, const char *path, header *out, larder_error *error)
{
    sqlite3_file *file = NULL;
    int code = sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code == SQLITE_OK && file != NULL && file->pMethods != NULL) {
        code = file->pMethods->xRead(file, out->bytes, HEADER_SIZE, 0);
    }
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) { /* short: the rest was filled with zeros */
        return larder__fail(error, larder__db_status(code), "cannot read %s: %s", path, sqlite3_errstr(code));
    }
    return LARDER_OK;
}

/* A power cut within a rollback-mode transaction (a new file's first, or a switch to WAL mode) can leave half a first
 * page. What counts then is the page before the transaction: SQLite takes the file back to it from the journal beside
 * it, before anybody reads. Journal: magic, records, nonce, pages before, sector size, page size; in the next sector
 * the first record: page number, page (fileformat2.html, section 3). It was synced before the first page was written,
 * so that it is whole where that one is not. SQLite holds no locks on journals, so closing one is safe. */
static void undo_journal(const char *path, header *h)
{
    static const unsigned char magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    unsigned char start[JOURNAL_HEADER_SIZE] = {0};
    unsigned char record[4 + HEADER_SIZE] = {0};
    char *journal = larder__path_beside(path, "-journal");
    int fd = journal == NULL ? -1 : open(journal, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    larder__free(journal);
    if (fd < 0) {
        return;
    }
    if (pread(fd, start, sizeof start, 0) == (ssize_t)sizeof start && memcmp(start, magic, sizeof magic) == 0) {
        h->file_size = (int64_t)big_endian(start + 16) * big_endian(start + 24);
        if (pread(fd, record, sizeof record, (off_t)big_endian(start + 20)) == (ssize_t)sizeof record
            && big_endian(record) == 1) {
            memcpy(h->bytes, record + 4, HEADER_SIZE);
        }
    }
    close(fd);
}

static int begins_like_a_database(const header *h)
{
    return memcmp(h->bytes, "SQLite format 3", 16) == 0;
}

static int header_is_sound(const header *h)
{
    static const unsigned char fractions[3] = {64, 32, 32};
    uint32_t page_size = (uint32_t)h->bytes[16] << 8 | h->bytes[17];
    if (page_size == 1) {
        page_size = 65536;
    }
    return begins_like_a_database(h) && page_size >= 512 && (page_size & (page_size - 1)) == 0 && h->bytes[18] >= 1
           && h->bytes[18] <= 2 && h->bytes[19] >= 1 && h->bytes[19] <= 2
           && memcmp(h->bytes + 21, fractions, sizeof fractions) == 0 && h->file_size >= (int64_t)page_size;
}

static int fail_header(const header *h, const char *path, larder_error *error)
{
    if (!begins_like_a_database(h)) {
        return larder__fail(error, LARDER_ECORRUPT,
                            "%s is not an SQLite database (it does not begin like one): give another path, or move the "
                            "file away",
                            path);
    }
    return larder__fail(error, LARDER_ECORRUPT,
                        "the database %s is damaged: its header makes no sense. Move it and what stands beside it "
                        "(-wal, -shm) away to begin anew, or try sqlite3 FILE .recover on a copy",
                        path);
}

/* What the connection says, the -wal included; all of one moment, since somebody may be making the file just now. The
 * close that follows ends the transaction. */
static int ask_connection(larder__probe *probe, sqlite3 *handle, larder_error *error)
{
    const char *texts[2] = {"PRAGMA application_id", larder__sql_texts[LARDER__SQL_SCHEMA_OBJECTS]};
    sqlite3_int64 values[2] = {0, 0};
    sqlite3_busy_timeout(handle, LARDER__DB_BUSY_MS);
    int begun = sqlite3_exec(handle, larder__sql_texts[LARDER__SQL_TRANSACTION_BEGIN_READ], NULL, NULL, NULL);
    if (begun != SQLITE_OK) {
        return fail_handle(error, handle, begun, probe->path);
    }
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *statement = NULL;
        int code = sqlite3_prepare_v2(handle, texts[i], -1, &statement, NULL);
        if (code == SQLITE_OK) {
            code = sqlite3_step(statement);
            values[i] = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
        }
        if (code != SQLITE_ROW) {
            fail_handle(error, handle, code, probe->path);
            sqlite3_finalize(statement);
            return larder__db_status(code);
        }
        sqlite3_finalize(statement);
    }
    if ((uint32_t)values[0] != LARDER__APPLICATION_ID && values[0] != 0) {
        return fail_foreign_id(error, probe->path, (uint32_t)values[0]);
    }
    if (values[0] == 0 && values[1] != 0) {
        return fail_foreign_tables(error, probe->path);
    }
    probe->kind = values[0] == 0 ? LARDER__PROBE_NEW : LARDER__PROBE_OURS;
    return LARDER_OK;
}

static int judge(larder__probe *probe, sqlite3 *handle, header *h, sqlite3_int64 wal, larder_error *error)
{
    if (h->file_size != 0 && !header_is_sound(h)) {
        undo_journal(probe->path, h);
    }
    if (h->file_size == 0) {
        probe->kind = LARDER__PROBE_NEW;
        return LARDER_OK;
    }
    if (!header_is_sound(h)) {
        /* A power cut during a checkpoint can leave half a first page, while the whole one is in the WAL. */
        int status = wal > WAL_HEADER_SIZE ? ask_connection(probe, handle, error) : LARDER_ECORRUPT;
        return status == LARDER_ECORRUPT ? fail_header(h, probe->path, error) : status;
    }
    uint32_t application_id = big_endian(h->bytes + 68);
    uint32_t user_version = big_endian(h->bytes + 60);
    if (application_id == LARDER__APPLICATION_ID) {
        probe->kind = LARDER__PROBE_OURS;
        return user_version > LARDER__MIGRATION_COUNT ? fail_newer(error, probe->path, user_version) : LARDER_OK;
    }
    if (application_id != 0) {
        return fail_foreign_id(error, probe->path, application_id);
    }
    if (wal > WAL_HEADER_SIZE) {
        return ask_connection(probe, handle, error);
    }
    /* The root page of sqlite_schema: a leaf (13) without cells means that there are no tables. */
    if (user_version != 0 || h->bytes[100] != 13 || h->bytes[103] != 0 || h->bytes[104] != 0) {
        return fail_foreign_tables(error, probe->path);
    }
    probe->kind = LARDER__PROBE_NEW;
    return LARDER_OK;
}

static int look_inside(larder__probe *probe, int64_t size, larder_error *error)
{
    header h;
    sqlite3 *handle = NULL;
    sqlite3_int64 wal = -1;
    memset(&h, 0, sizeof h);
    h.file_size = size;
    int code =
        sqlite3_open_v2(probe->path, &handle,
                        SQLITE_OPEN_READONLY | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        NULL);
    int status =
        code == SQLITE_OK ? read_header(handle, probe->path, &h, error) : fail_handle(error, handle, code, probe->path);
    if (status == LARDER_OK && wal_size(probe->path, &wal) != LARDER_OK) {
        status = larder__fail(error, LARDER_ENOMEM, "out of memory while opening %s", probe->path);
    }
    if (status == LARDER_OK) {
        probe->has_wal = wal >= 0;
        status = judge(probe, handle, &h, wal, error);
    }
    sqlite3_close(handle);
    return status;
}

int larder__probe_open(larder__probe *probe, const char *path, larder_error *error)
{
    struct stat info;
    memset(probe, 0, sizeof *probe);
    int status = larder__path_resolve(&probe->path, path, error);
    if (status == LARDER_OK) {
        status = look_beside(probe, error);
    }
    if (status == LARDER_OK) {
        if (lstat(probe->path, &info) == 0) {
            status = check_type(probe->path, info.st_mode, error);
            probe->writable = may_access(probe->path, W_OK);
            if (status == LARDER_OK && !may_access(probe->path, R_OK)) {
                status = larder__fail_errno(error, errno, "%s may not be read", probe->path);
            }
            if (status == LARDER_OK) {
                status = look_inside(probe, (int64_t)info.st_size, error);
            }
        } else if (errno != ENOENT) {
            status = larder__fail_errno(error, errno, "cannot open %s", probe->path);
        }
    }
    if (status != LARDER_OK) {
        larder__probe_release(probe);
    }
    return status;
}

void larder__probe_release(larder__probe *probe)
{
    larder__free(probe->path);
    probe->path = NULL;
}
