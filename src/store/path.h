/* store/path.h: where a file is, once and for all. */
#ifndef LARDER_STORE_PATH_H
#define LARDER_STORE_PATH_H

#include <larder/status.h>

/* The longest path that SQLite's Unix VFS takes, with room for "-journal". */
#define LARDER__PATH_MAX 500

/* The absolute path, the links of its folder resolved, its last part untouched: so that a change of the working folder
 * moves nothing, a linked folder (/var/run) is fine, and the file itself is still refused when it is a link. The file
 * need not exist, the folder must. larder__free the result. LARDER_EINVAL empty or too long, LARDER_EFOREIGN it names a
 * folder, LARDER_ENOTFOUND no such folder, LARDER_EACCESS, LARDER_ENOMEM. */
int larder__path_resolve(char **out, const char *path, larder_error *error);

/* "<path><suffix>" into a block to larder__free; NULL when out of memory. */
char *larder__path_beside(const char *path, const char *suffix);

/* The folder of an absolute path, in a block to larder__free; NULL when out of memory. */
char *larder__path_folder(const char *path);

#endif
