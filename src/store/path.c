/* store/path.c: paths are resolved once, when a file is opened.
 *
 * SQLITE_OPEN_NOFOLLOW refuses a link anywhere in a path, also in folders, where links are common and harmless. So the
 * folder is resolved here, and SQLite sees a path in which only the last part can still be a link. */
#include "store/path.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

char *larder__path_beside(const char *path, const char *suffix)
{
    size_t len = strlen(path);
    size_t more = strlen(suffix);
    char *joined = larder__malloc(len + more + 1);
    if (joined != NULL) {
        memcpy(joined, path, len);
        memcpy(joined + len, suffix, more + 1);
    }
    return joined;
}

char *larder__path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return larder__strdup(".");
    }
    return slash == path ? larder__strdup("/") : larder__strndup(path, (size_t)(slash - path));
}

static int fail_folder(larder_error *error, int err, const char *path, const char *folder)
{
    if (err == ENOENT || err == ENOTDIR) {
        return larder__fail(error, LARDER_ENOTFOUND, "cannot open %s: there is no folder %s", path, folder);
    }
    return larder__fail_errno(error, err, "cannot open %s: its folder cannot be reached", path);
}

static int join(char **out, const char *path, const char *folder, const char *name, larder_error *error)
{
    size_t len = strlen(folder);
    size_t name_len = strlen(name);
    int slash = len == 0 || folder[len - 1] != '/';
    if (len + (size_t)slash + name_len > LARDER__PATH_MAX) {
        return larder__fail(error, LARDER_EINVAL, "the path of %.200s… is longer than %d bytes", path,
                            LARDER__PATH_MAX);
    }
    char *joined = larder__malloc(len + (size_t)slash + name_len + 1);
    if (joined == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening %s", path);
    }
    memcpy(joined, folder, len);
    if (slash) {
        joined[len++] = '/';
    }
    memcpy(joined + len, name, name_len + 1);
    *out = joined;
    return LARDER_OK;
}

int larder__path_resolve(char **out, const char *path, larder_error *error)
{
    *out = NULL;
    if (path == NULL || path[0] == '\0') {
        return larder__fail(error, LARDER_EINVAL, "the path of the file is empty");
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return larder__fail(error, LARDER_EFOREIGN, "%s is a folder, not a Larder file", path);
    }
    char *folder = larder__path_folder(path);
    if (folder == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening %s", path);
    }
    char resolved[PATH_MAX];
    int status = realpath(folder, resolved) == NULL ? fail_folder(error, errno, path, folder)
                                                    : join(out, path, resolved, name, error);
    larder__free(folder);
    return status;
}
