/* store/migrate.h: the schema's versions. Each migration is one transaction that also sets application_id and
 * user_version and notes its checksum, so that a crash leaves the version before it or the one after. */
#ifndef LARDER_STORE_MIGRATE_H
#define LARDER_STORE_MIGRATE_H

#include "store/db.h"

/* The list is an argument so that tests can have another history; versions are 1 to count, in order. */
typedef struct larder__migrate_list {
    const larder__migration *migrations;
    int count;
} larder__migrate_list;

extern const larder__migrate_list larder__migrate_embedded;

/* Reads the version of a file and holds it against the list: *version 0 for a database without owner and tables.
 * LARDER_EFOREIGN, LARDER_ENEWER, LARDER_ESCHEMA (another history than the list's), and what reading may fail with. */
int larder__migrate_version(larder__db *db, const larder__migrate_list *list, int *version, larder_error *error);

/* Brings the file to the list's version, and checkpoints when anything was done, so that the main file names its owner.
 */
int larder__migrate_run(larder__db *db, const larder__migrate_list *list, larder_error *error);

#endif
