/* store/probe.h: what stands at a path, found out without changing a byte of it or leaving a file beside it. */
#ifndef LARDER_STORE_PROBE_H
#define LARDER_STORE_PROBE_H

#include <larder/larder.h>

typedef enum larder__probe_kind {
    LARDER__PROBE_MISSING,
    LARDER__PROBE_NEW, /* no bytes yet, or a database without an owner and without tables: a creation that was cut short
                        */
    LARDER__PROBE_OURS
} larder__probe_kind;

typedef struct larder__probe {
    char *path; /* as larder__path_resolve gives it; owned */
    larder__probe_kind kind;
    int has_wal;         /* a -wal stands beside it */
    int writable;        /* the file may be written */
    int folder_writable; /* files may be made beside it */
} larder__probe;

/* Refuses what is not ours: LARDER_EFOREIGN (another program's database, or no file at all: a directory, a link …),
 * LARDER_ECORRUPT (no database, or a damaged header), LARDER_ENEWER, LARDER_EACCESS, LARDER_EIO, LARDER_ENOMEM, and
 * what larder__path_resolve refuses. On failure nothing needs releasing. */
int larder__probe_open(larder__probe *probe, const char *path, larder_error *error);
void larder__probe_release(larder__probe *probe);

#endif
