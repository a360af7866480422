/* package_search: the descriptions of Debian's packages, searched through Larder.
 *
 * A whole program around an SQLite database of its own, which package_load filled. Three channels answer from it:
 *     db:search      [query] or [query, limit]   packages whose name or description has all the words
 *     db:getEntry    [name]                      one package, or null
 *     db:getPopular  [] or [limit]               the packages that most others depend on
 * All are cacheable and blocking: a query runs on one of Larder's worker threads, an answer is kept in the cache file,
 * and the same request is then answered from memory, or from disk when the program was started anew.
 *
 * What to copy from here: one table of channels; arguments checked by a validate callback before anything is asked; a
 * connection for each worker; a query that stops when nobody waits for it; and a handler version made of the data, so
 * that other packages never get the answers of these.
 *
 * Fails, with a sentence on standard error and exit status 1, when the database holds no packages, the cache cannot be
 * opened, or the answer is an error; 2 is a wrong command line.
 */
#include <jansson.h>
#include <larder/larder.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 200     /* bytes of a query or a name */
#define LIMIT_DEFAULT 10 /* results */
#define LIMIT_MAX 100
#define TTL_MS (60 * 60 * 1000)
#define GRACE_MS 2000

/* ---- the database --------------------------------------------------------------------------------------------------
 */

static const char loaded_sql[] = "SELECT packages, checksum FROM loaded";

/* What the channels ask; each gives one row with one JSON value. ?1 is the text, ?2 the limit. */
enum query { QUERY_SEARCH, QUERY_ENTRY, QUERY_POPULAR, QUERY_COUNT };
static const char *const query_sql[QUERY_COUNT] = {
    [QUERY_SEARCH] = "SELECT json_group_array(json_object('name', name, 'version', version, 'summary', summary))"
                     " FROM (SELECT p.name, p.version, p.summary"
                     "       FROM packages_text t JOIN packages p ON p.id = t.rowid"
                     "       WHERE packages_text MATCH ?1"
                     "       ORDER BY bm25(packages_text, 10.0, 5.0, 1.0), p.name LIMIT ?2)",
    [QUERY_ENTRY] = "SELECT json_object('name', p.name, 'version', p.version, 'section', p.section,"
                    " 'homepage', p.homepage, 'summary', p.summary, 'description', p.description,"
                    " 'dependsOn', (SELECT json_group_array(name) FROM depends WHERE package_id = p.id),"
                    " 'neededBy', (SELECT count(*) FROM depends d WHERE d.name = p.name))"
                    " FROM packages p WHERE p.name = ?1",
    [QUERY_POPULAR] = "SELECT json_group_array(json_object('name', name, 'neededBy', needed_by, 'summary', summary))"
                      " FROM (SELECT p.name, d.needed_by, p.summary"
                      "       FROM (SELECT name, count(*) AS needed_by FROM depends GROUP BY name) d"
                      "       JOIN packages p ON p.name = d.name"
                      "       ORDER BY d.needed_by DESC, p.name LIMIT ?2)",
};

/* A connection is used by one thread at a time. */
typedef struct connection {
    struct connection *next;
    sqlite3 *db;
    sqlite3_stmt *statements[QUERY_COUNT];
} connection;

/* Connections that no worker is using. There are never more than workers. */
typedef struct pool {
    const char *path;
    pthread_mutex_t mutex;
    connection *idle;
} pool;

static void connection_close(connection *c)
{
    for (int i = 0; i < QUERY_COUNT; i++) {
        sqlite3_finalize(c->statements[i]);
    }
    sqlite3_close(c->db);
    free(c);
}

static connection *connection_open(const char *path)
{
    connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &c->db, flags, NULL) != SQLITE_OK) {
        connection_close(c);
        return NULL;
    }
    for (int i = 0; i < QUERY_COUNT; i++) {
        int code = sqlite3_prepare_v3(c->db, query_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &c->statements[i], NULL);
        if (code != SQLITE_OK) {
            connection_close(c);
            return NULL;
        }
    }
    return c;
}

static connection *pool_take(pool *p)
{
    pthread_mutex_lock(&p->mutex);
    connection *c = p->idle;
    if (c != NULL) {
        p->idle = c->next;
    }
    pthread_mutex_unlock(&p->mutex);
    return c != NULL ? c : connection_open(p->path);
}

static void pool_give_back(pool *p, connection *c)
{
    pthread_mutex_lock(&p->mutex);
    c->next = p->idle;
    p->idle = c;
    pthread_mutex_unlock(&p->mutex);
}

static void pool_close(pool *p)
{
    while (p->idle != NULL) {
        connection *c = p->idle;
        p->idle = c->next;
        connection_close(c);
    }
    pthread_mutex_destroy(&p->mutex);
}

/* ---- the channels --------------------------------------------------------------------------------------------------
 */

typedef struct channel {
    const char *name;
    const char *description;
    enum query query;
    const char *text; /* what the first argument is; NULL: there is none */
    int takes_limit;  /* 1: a number of results may follow */
    int is_full_text; /* 1: the text is words to look for */
} channel;

static const channel channels[] = {
    {"db:search", "packages whose name or description has all the words", QUERY_SEARCH, "query", 1, 1},
    {"db:getEntry", "one package by its name, or null", QUERY_ENTRY, "name", 0, 0},
    {"db:getPopular", "the packages that most others depend on", QUERY_POPULAR, NULL, 1, 0},
};
#define CHANNEL_COUNT (sizeof channels / sizeof channels[0])

typedef struct service { /* a channel's user_data */
    const channel *channel;
    pool *pool;
} service;

typedef struct arguments {
    char text[TEXT_MAX + 1];
    int limit;
} arguments;

static int refuse(char *message, size_t size, const char *channel_name, const char *why)
{
    snprintf(message, size, "%s: %s", channel_name, why);
    return -1;
}

static int read_text(const channel *c, const json_t *value, arguments *out, char *message, size_t size)
{
    char why[96];
    if (!json_is_string(value) || json_string_length(value) == 0 || json_string_length(value) > TEXT_MAX) {
        snprintf(why, sizeof why, "the first argument is the %s, a text of 1 to %d bytes", c->text, TEXT_MAX);
        return refuse(message, size, c->name, why);
    }
    memcpy(out->text, json_string_value(value), json_string_length(value) + 1);
    if (c->is_full_text && strspn(out->text, " \t\r\n") == strlen(out->text)) {
        return refuse(message, size, c->name, "the query has no words");
    }
    return 0;
}

static int read_limit(const channel *c, const json_t *value, arguments *out, char *message, size_t size)
{
    char why[96];
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > LIMIT_MAX) {
        snprintf(why, sizeof why, "the limit is a whole number from 1 to %d", LIMIT_MAX);
        return refuse(message, size, c->name, why);
    }
    out->limit = (int)json_integer_value(value);
    return 0;
}

/* An array of what the channel takes, and of nothing else. */
static int read_array(const channel *c, const json_t *array, arguments *out, char *message, size_t size)
{
    size_t at = 0;
    size_t count = json_array_size(array);
    out->text[0] = '\0';
    out->limit = LIMIT_DEFAULT;
    if (!json_is_array(array) && !json_is_null(array)) {
        return refuse(message, size, c->name, "the arguments are an array");
    }
    if (c->text != NULL && read_text(c, json_array_get(array, at++), out, message, size) != 0) {
        return -1;
    }
    if (c->takes_limit && at < count && read_limit(c, json_array_get(array, at++), out, message, size) != 0) {
        return -1;
    }
    return at < count ? refuse(message, size, c->name, "there are too many arguments") : 0;
}

static int read_arguments(const channel *c, const char *args, size_t len, arguments *out, char *message, size_t size)
{
    json_error_t error;
    json_t *array = json_loadb(args, len, JSON_DECODE_ANY, &error);
    if (array == NULL) { /* Larder lets valid JSON only pass; jansson refuses NULs in strings and huge numbers */
        return refuse(message, size, c->name, error.text);
    }
    int status = read_array(c, array, out, message, size);
    json_decref(array);
    return status;
}

/* For larder_handler_options.validate: on the loop, for every request, so it only looks. */
static int on_validate(const char *args, size_t args_len, char *message, size_t size, void *user_data)
{
    const service *s = user_data;
    arguments ignored;
    return read_arguments(s->channel, args, args_len, &ignored, message, size);
}

/* Writes the words as FTS5 strings, in quotes, so that nothing in them is taken for FTS5's own syntax; a word that ends
 * with a star stays a prefix. `out` holds 3 * TEXT_MAX + 1 bytes: the worst are quotation marks one by one, five bytes
 * for two. */
static void quote_words(char *out, const char *text)
{
    while (*(text += strspn(text, " \t\r\n")) != '\0') {
        size_t len = strcspn(text, " \t\r\n");
        size_t body = len > 1 && text[len - 1] == '*' ? len - 1 : len;
        *out++ = '"';
        for (size_t i = 0; i < body; i++) {
            if (text[i] == '"') {
                *out++ = '"';
            }
            *out++ = text[i];
        }
        *out++ = '"';
        if (body < len) {
            *out++ = '*';
        }
        *out++ = ' ';
        text += len;
    }
    *out = '\0';
}

static int nobody_waits(void *request)
{
    return larder_request_cancelled(request);
}

static void answer_from(larder_request *request, connection *c, const channel *ch, const arguments *a)
{
    char words[3 * TEXT_MAX + 1];
    const char *text = a->text;
    if (ch->is_full_text) {
        quote_words(words, a->text);
        text = words;
    }
    sqlite3_stmt *statement = c->statements[ch->query];
    if (ch->text != NULL) {
        sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
    }
    if (ch->takes_limit) {
        sqlite3_bind_int(statement, 2, a->limit);
    }
    sqlite3_progress_handler(c->db, 10000, nobody_waits, request);
    int code = sqlite3_step(statement);
    sqlite3_progress_handler(c->db, 0, NULL, NULL);
    const char *json = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (json != NULL) {
        larder_answer_json(request, json, (size_t)sqlite3_column_bytes(statement, 0));
    } else if (code == SQLITE_DONE) {
        larder_answer_json(request, "null", 4); /* an answer like any other: it is cached too */
    } else {
        larder_fail(request, "QUERY_FAILED", sqlite3_errmsg(c->db), NULL);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

/* The handler of all three channels: on a worker thread. */
static void on_request(larder_request *request, void *user_data)
{
    service *s = user_data;
    char message[256];
    arguments a;
    size_t len;
    const char *args = larder_request_args(request, &len);
    if (read_arguments(s->channel, args, len, &a, message, sizeof message) != 0) {
        larder_fail(request, "VALIDATION_ERROR", message, NULL);
        return;
    }
    connection *c = pool_take(s->pool);
    if (c == NULL) {
        larder_fail(request, "DATABASE_UNAVAILABLE", "the packages' database cannot be opened", NULL);
        return;
    }
    answer_from(request, c, s->channel, &a);
    pool_give_back(s->pool, c);
}

/* ---- the program ----------------------------------------------------------------------------------------------------
 */

/* 1 and the two numbers; 0 when nothing is loaded, or there is no such file. */
static int read_loaded(const char *path, sqlite3_int64 *packages, uint32_t *checksum)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int found = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK
                && sqlite3_prepare_v2(db, loaded_sql, -1, &statement, NULL) == SQLITE_OK
                && sqlite3_step(statement) == SQLITE_ROW;
    if (found) {
        *packages = sqlite3_column_int64(statement, 0);
        *checksum = (uint32_t)sqlite3_column_int64(statement, 1);
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return found;
}

typedef struct program {
    const char *db;
    const char *cache;
    int as_json;
    larder *larder;
    pool pool;
    service services[CHANNEL_COUNT];
} program;

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "package_search: %s: %s\n", what, why);
    return 1;
}

static int register_channels(program *p, uint32_t version, larder_error *error)
{
    for (size_t i = 0; i < CHANNEL_COUNT; i++) {
        p->services[i].channel = &channels[i];
        p->services[i].pool = &p->pool;
        larder_handler_options options;
        larder_handler_options_init(&options);
        options.version = version;
        options.cacheable = 1;
        options.ttl_ms = TTL_MS;
        options.blocking = 1;
        options.description = channels[i].description;
        options.validate = on_validate;
        options.user_data = &p->services[i];
        int status = larder_register(p->larder, channels[i].name, on_request, &options, error);
        if (status != LARDER_OK) {
            return status;
        }
    }
    return LARDER_OK;
}

static void stop(program *p)
{
    larder_close_report report = {0};
    larder_close_wait(p->larder, GRACE_MS, &report);
    if (report.status != LARDER_OK) {
        fail(p->cache, larder_status_text(report.status));
    }
    if (report.stuck_workers == 0) { /* else a handler is still using its connection */
        pool_close(&p->pool);
    }
}

/* Opens the cache, with no loop of our own: Larder runs one in a thread. */
static int start(program *p)
{
    sqlite3_int64 packages;
    uint32_t version;
    larder_error error = {0};
    if (!read_loaded(p->db, &packages, &version)) {
        return fail(p->db, "holds no packages; run package_load first");
    }
    larder_options options;
    larder_options_init(&options);
    options.path = p->cache;
    if (larder_open(&p->larder, &options, &error) != LARDER_OK) {
        return fail(p->cache, error.message);
    }
    p->pool.path = p->db;
    pthread_mutex_init(&p->pool.mutex, NULL);
    if (register_channels(p, version, &error) != LARDER_OK) {
        fail("the channels cannot be registered", error.message);
        stop(p);
        return 1;
    }
    return 0;
}

/* ---- printing ------------------------------------------------------------------------------------------------------
 */

static void print_source(const larder_response *response)
{
    static const char *const sources[] = {"none", "handler", "memory", "disk"};
    const larder_response_metadata *meta = larder_response_meta(response);
    printf("source=%s  time=%.3f ms", sources[meta->source], (double)meta->response_time_ns / 1e6);
    if (meta->cached) {
        printf("  (the handler took %.3f ms)", (double)meta->execution_time_ns / 1e6);
    }
    putchar('\n');
}

static void print_member(const char *name, const json_t *value)
{
    char *text = json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY);
    char *rest = NULL;
    char *line = text == NULL ? NULL : strtok_r(text, "\n", &rest);
    printf("  %-12s %s\n", name, line != NULL ? line : "");
    while (line != NULL && (line = strtok_r(NULL, "\n", &rest)) != NULL) {
        printf("  %-12s %s\n", "", line);
    }
    free(text);
}

static void print_result(const json_t *result)
{
    const char *summary = json_string_value(json_object_get(result, "summary"));
    const json_t *needed_by = json_object_get(result, "neededBy");
    printf("  %-28s ", json_string_value(json_object_get(result, "name")));
    if (needed_by != NULL) {
        printf("needed by %6lld  ", (long long)json_integer_value(needed_by));
    }
    printf("%s\n", summary != NULL ? summary : "");
}

static void print_data(const larder_response *response)
{
    size_t len;
    const char *data = larder_response_data(response, &len);
    json_t *value = json_loadb(data, len, JSON_DECODE_ANY, NULL);
    size_t index;
    const char *name;
    json_t *item;
    json_array_foreach(value, index, item) {
        print_result(item);
    }
    json_object_foreach(value, name, item) {
        if (!json_is_null(item)) {
            print_member(name, item);
        }
    }
    if (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0)) {
        puts("  (nothing found)");
    }
    json_decref(value);
}

static int print_response(const program *p, const larder_response *response)
{
    char *envelope = NULL;
    if (p->as_json && larder_response_envelope(response, &envelope, NULL) == LARDER_OK) {
        puts(envelope);
        larder_free(envelope);
    } else if (larder_response_success(response)) {
        print_source(response);
        print_data(response);
    } else {
        printf("error=%s  %s\n", larder_response_code(response), larder_response_message(response));
    }
    return larder_response_success(response) ? 0 : 1;
}

/* ---- commands ------------------------------------------------------------------------------------------------------
 */

static int ask(program *p, const char *channel_name, const char *args)
{
    larder_response *response = NULL;
    larder_error error = {0};
    int status = larder_send_wait(p->larder, channel_name, args, LARDER_NUL, NULL, &response, &error);
    if (status != LARDER_OK) {
        printf("refused=%s  %s\n", larder_status_name(status), error.message);
        return 1;
    }
    status = print_response(p, response);
    larder_response_release(response);
    return status;
}

/* `search WORDS [LIMIT]`, `entry NAME`, `popular [LIMIT]`: one request. */
static int ask_once(program *p, const channel *c, int argc, char **argv)
{
    json_t *array = json_array();
    int at = 0;
    if (c->text != NULL && at < argc) {
        json_array_append_new(array, json_string(argv[at++])); /* not added when it is not UTF-8: then it is refused */
    }
    if (c->takes_limit && at < argc) {
        json_array_append_new(array, json_integer(atoll(argv[at++])));
    }
    char *args = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    int status = args == NULL || at < argc || (c->text != NULL && argc == 0) ? 2 : start(p);
    if (status == 0) {
        status = ask(p, c->name, args);
        stop(p);
    }
    free(args);
    return status;
}

static int search(program *p, int argc, char **argv)
{
    return ask_once(p, &channels[0], argc, argv);
}

static int entry(program *p, int argc, char **argv)
{
    return ask_once(p, &channels[1], argc, argv);
}

static int popular(program *p, int argc, char **argv)
{
    return ask_once(p, &channels[2], argc, argv);
}

/* One line of standard input: CHANNEL, a space and JSON, or `flush`. */
static void serve_line(program *p, char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *args = strchr(line, ' ');
    if (strcmp(line, "flush") == 0) {
        int status = larder_flush_wait(p->larder);
        printf("flush=%s\n", status == LARDER_OK ? "committed" : larder_status_text(status));
    } else if (args != NULL) {
        *args = '\0';
        ask(p, line, args + 1);
    } else {
        ask(p, line, NULL);
    }
}

/* Answers lines until standard input ends; after each answer comes an empty line. */
static int serve(program *p, int argc, char **argv)
{
    (void)argv;
    int status = argc > 0 ? 2 : start(p);
    if (status != 0) {
        return status;
    }
    char *line = NULL;
    size_t size = 0;
    puts("ready\n");
    fflush(stdout);
    while (getline(&line, &size, stdin) >= 0) {
        serve_line(p, line);
        puts("");
        fflush(stdout);
    }
    free(line);
    stop(p);
    return 0;
}

static const struct command {
    int (*run)(program *p, int argc, char **argv);
    const char *name;
    const char *arguments;
} commands[] = {
    {search, "search", "WORDS [LIMIT]"},
    {entry, "entry", "NAME"},
    {popular, "popular", "[LIMIT]"},
    {serve, "serve", ""}, /* until standard input ends */
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int usage(void)
{
    fputs("usage: package_search [--db FILE] [--cache FILE] [--json] COMMAND\n", stderr);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(stderr, "       %s %s\n", commands[i].name, commands[i].arguments);
    }
    fputs("serve reads lines such as: db:search [\"image viewer\",5]\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    program p = {.db = "packages.db", .cache = "packages.larder"};
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--json") == 0) {
            p.as_json = 1;
        } else if (strcmp(argv[at], "--db") == 0 && at + 1 < argc) {
            p.db = argv[++at];
        } else if (strcmp(argv[at], "--cache") == 0 && at + 1 < argc) {
            p.cache = argv[++at];
        } else {
            return usage();
        }
    }
    for (size_t i = 0; at < argc && i < COMMAND_COUNT; i++) {
        if (strcmp(argv[at], commands[i].name) == 0) {
            int status = commands[i].run(&p, argc - at - 1, argv + at + 1);
            return status == 2 ? usage() : status;
        }
    }
    return usage();
}
