/* bench_cache: what a hit in memory, a hit in SQLite and a put cost, beside the raw figures from the same run.
 *
 *     bench_cache [ENTRIES [ROUNDS]]      100,000 and 7
 *
 * Larder is used through its public header, on a loop of this program, with metrics on, as they always are. The raw
 * SQLite figures come from connections opened by the library's own opener, so that pragmas and schema are equal, and
 * use nothing else of it. Each round measures everything once, so that a slow minute of the machine is slow for all.
 */
#include "bench.h"

#include "base/json.h"
#include "cache/key.h"
#include "cache/memory.h"
#include "metrics/metrics.h"
#include "store/db.h"

#define VALUE_BYTES 1024
#define ARGS "[\"VSAM error 000000000\", {\"offset\": 0, \"limit\": 20}]" /* as a caller writes it */
#define ARGS_LEN (sizeof ARGS - 1)
#define ARGS_DIGITS 13
#define BATCH 64
#define GROUP 500    /* puts a transaction of plain SQLite */
#define HITS 200000  /* requests a round */
#define PUT_ROUNDS 5 /* at most: each takes some seconds */
#define CHANNEL "db:search"

typedef struct bench {
    uint32_t entries;
    int rounds;
    uint8_t (*keys)[LARDER_KEY_SIZE]; /* of the stored requests, by number */
    uint32_t *order;
    char value[VALUE_BYTES + 1]; /* JSON: a string */
    const char *path;
    test_random random;
    uint64_t fresh; /* numbers the requests that were never sent before */
    larder__hasher *hasher;
    larder__json json;
    uv_loop_t loop;
    larder *l;
    uint32_t answered;
    uint32_t from[4]; /* answers by larder_source */
    int flag;
} bench;

typedef struct results {
    bench_figure memory_batch, memory_one, turn;
    bench_figure disk_batch, disk_one, raw_held, raw_batch;
    bench_figure roomy_batch, roomy_raw;
    bench_rounds put, put_raw; /* a second */
    bench_figure canonical, hash, lookup, count;
} results;

/* ---- requests ---- */

/* The nth request's args, made where they are needed: a caller has its args in the processor's cache. */
static void number_args(char *args, uint64_t n)
{
    for (int i = 8; i >= 0; i--, n /= 10) {
        args[ARGS_DIGITS + i] = (char)('0' + n % 10);
    }
}

static void key_of(bench *b, const char *args, uint8_t key[LARDER_KEY_SIZE])
{
    bench_require(larder__json_canonical(&b->json, args, ARGS_LEN, NULL, NULL) == LARDER_OK
                      && larder__hasher_key(b->hasher, key, CHANNEL, strlen(CHANNEL), b->json.out.data, b->json.out.len,
                                            NULL, 0)
                             == LARDER_OK,
                  "computing a key");
}

static void prepare(bench *b)
{
    char args[] = ARGS;
    b->keys = calloc(b->entries, sizeof b->keys[0]);
    b->order = calloc(b->entries, sizeof b->order[0]);
    bench_require(b->keys != NULL && b->order != NULL, "allocating");
    bench_require(larder__hasher_new(&b->hasher) == LARDER_OK, "SHA-256");
    larder__json_init(&b->json);
    for (uint32_t i = 0; i < b->entries; i++) {
        number_args(args, i);
        key_of(b, args, b->keys[i]);
    }
    for (int i = 0; i < VALUE_BYTES; i++) {
        b->value[i] = (char)('a' + test_random_below(&b->random, 26));
    }
    b->value[0] = '"';
    b->value[VALUE_BYTES - 1] = '"';
    b->fresh = 100000000;
}

static void on_answer(const larder_response *response, void *user_data)
{
    bench *b = user_data;
    b->answered++;
    b->from[larder_response_meta(response)->source & 3]++;
}

static void on_request(larder_request *request, void *user_data)
{
    bench *b = user_data;
    larder_answer_json(request, b->value, VALUE_BYTES);
}

static void send_request(bench *b, uint64_t n)
{
    char args[] = ARGS;
    larder_error error;
    number_args(args, n);
    if (larder_send(b->l, CHANNEL, args, ARGS_LEN, NULL, on_answer, b, NULL, &error) != LARDER_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

static void run_until_answered(bench *b, uint32_t count)
{
    while (b->answered < count) {
        uv_run(&b->loop, UV_RUN_ONCE);
    }
}

/* ---- an instance ---- */

static void open_larder(bench *b, const char *path, size_t memory_bytes, size_t page_cache_bytes)
{
    larder_options options;
    larder_handler_options handler;
    larder_error error;
    larder_options_init(&options);
    options.path = path;
    options.loop = &b->loop;
    options.memory_bytes = memory_bytes;
    options.page_cache_bytes = page_cache_bytes != 0 ? page_cache_bytes : options.page_cache_bytes;
    options.queue_bytes = (size_t)1 << 30; /* nothing is refused: the writer's pace is part of what is measured */
    larder_handler_options_init(&handler);
    handler.cacheable = 1;
    handler.ttl_ms = 24 * 3600 * 1000;
    handler.user_data = b;
    bench_require(uv_loop_init(&b->loop) == 0, "uv_loop_init");
    if (larder_open(&b->l, &options, &error) != LARDER_OK
        || larder_register(b->l, CHANNEL, on_request, &handler, &error) != LARDER_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

static void on_closed(const larder_close_report *report, void *user_data)
{
    bench_require(report->status == LARDER_OK && report->unsaved == 0, "closing");
    ((bench *)user_data)->flag = 1;
}

static void close_larder(bench *b)
{
    b->flag = 0;
    bench_require(larder_close(b->l, 1000, on_closed, b) == LARDER_OK, "larder_close");
    while (!b->flag) {
        uv_run(&b->loop, UV_RUN_ONCE);
    }
    test_loop_close(&b->loop);
}

static void on_flushed(int status, void *user_data)
{
    bench_require(status == LARDER_OK, "flushing");
    ((bench *)user_data)->flag = 1;
}

static void flush(bench *b)
{
    b->flag = 0;
    bench_require(larder_flush(b->l, on_flushed, b) == LARDER_OK, "larder_flush");
    while (!b->flag) {
        uv_run(&b->loop, UV_RUN_ONCE);
    }
}

/* ---- hits ---- */

/* Sends `count` requests for stored answers in random order, `batch` a loop turn. */
static void run_hits(bench *b, bench_figure *figure, uint32_t count, uint32_t batch, larder_source expected)
{
    bench_shuffle(b->order, b->entries, &b->random);
    memset(b->from, 0, sizeof b->from);
    b->answered = 0;
    bench_watch began = bench_start();
    for (uint32_t sent = 0; sent < count;) {
        for (uint32_t i = 0; i < batch && sent < count; i++, sent++) {
            send_request(b, b->order[sent % b->entries]);
        }
        run_until_answered(b, sent);
    }
    bench_stop(figure, began, count);
    if (b->from[expected] != count) {
        fprintf(stderr, "benchmark: %u of %u answers came from where they should\n", b->from[expected], count);
        exit(1);
    }
}

static void on_idle(uv_idle_t *idle)
{
    if (--*(int *)idle->data == 0) {
        uv_close((uv_handle_t *)idle, NULL);
    }
}

/* A turn of a loop that has nothing to do, for comparison with one request a turn. */
static void run_turns(bench_figure *figure)
{
    uv_loop_t loop;
    uv_idle_t idle;
    int turns = HITS;
    bench_require(uv_loop_init(&loop) == 0, "uv_loop_init");
    uv_idle_init(&loop, &idle);
    idle.data = &turns;
    uv_idle_start(&idle, on_idle);
    bench_watch began = bench_start();
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_stop(figure, began, HITS);
    test_loop_close(&loop);
}

static void fill(bench *b)
{
    b->answered = 0;
    for (uint32_t sent = 0; sent < b->entries;) {
        for (uint32_t i = 0; i < BATCH && sent < b->entries; i++, sent++) {
            send_request(b, sent);
        }
        run_until_answered(b, sent);
    }
    flush(b);
}

static void measure_hits(bench *b, results *r)
{
    open_larder(b, b->path, (size_t)b->entries * 2 * VALUE_BYTES, 0);
    fill(b);
    for (int round = 0; round < b->rounds; round++) {
        run_hits(b, &r->memory_batch, HITS, BATCH, LARDER_SOURCE_MEMORY);
        run_hits(b, &r->memory_one, HITS / 4, 1, LARDER_SOURCE_MEMORY);
        run_turns(&r->turn);
    }
    close_larder(b);
}

/* ---- hits in SQLite ---- */

/* What a hit's row must give: value copied out, the columns that decide read. */
static uint64_t raw_get(sqlite3_stmt *get, const uint8_t *key)
{
    char copy[VALUE_BYTES];
    sqlite3_bind_blob(get, 1, key, LARDER_KEY_SIZE, SQLITE_STATIC);
    bench_require(sqlite3_step(get) == SQLITE_ROW, "a raw get");
    memcpy(copy, sqlite3_column_blob(get, 6), sizeof copy);
    uint64_t sum = (uint64_t)sqlite3_column_int64(get, 0) + (uint64_t)sqlite3_column_int64(get, 3) + (uint8_t)copy[9];
    sqlite3_reset(get);
    return sum;
}

static void run_raw_gets(bench *b, bench_figure *figure, larder__db *db, uint32_t batch)
{
    uint64_t sum = 0;
    sqlite3_stmt *get = larder__db_statement(db, LARDER__SQL_ENTRY_GET);
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    bench_require(sqlite3_prepare_v2(db->handle, "BEGIN", -1, &begin, NULL) == SQLITE_OK
                      && sqlite3_prepare_v2(db->handle, "COMMIT", -1, &commit, NULL) == SQLITE_OK,
                  "preparing");
    bench_shuffle(b->order, b->entries, &b->random);
    bench_watch began = bench_start();
    for (uint32_t i = 0; i < HITS; i++) {
        if (i % batch == 0) {
            sqlite3_step(begin);
            sqlite3_reset(begin);
        }
        sum += raw_get(get, b->keys[b->order[i % b->entries]]);
        if (i % batch == batch - 1 || i == HITS - 1) {
            sqlite3_step(commit);
            sqlite3_reset(commit);
        }
    }
    bench_stop(figure, began, HITS);
    sqlite3_finalize(begin);
    sqlite3_finalize(commit);
    bench_require(sum > 0, "reading rows"); /* so that the compiler cannot leave the reading out */
}

static larder__db *open_raw(const char *path, larder__db_mode mode)
{
    larder__db *db;
    larder_error error;
    if (larder__db_open(&db, path, mode, LARDER_DURABILITY_NORMAL, &error) != LARDER_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    larder_options defaults; /* the same page cache as Larder's own connections have */
    larder_options_init(&defaults);
    larder__db_set_cache(db, mode == LARDER__DB_READ ? defaults.page_cache_bytes : defaults.page_cache_bytes / 4);
    return db;
}

static void measure_disk_hits(bench *b, results *r)
{
    open_larder(b, b->path, 0, 0);
    larder__db *db = open_raw(b->path, LARDER__DB_READ);
    static bench_figure warming;
    run_raw_gets(b, &warming, db, HITS); /* the first pass warms the system's page cache */
    for (int round = 0; round < b->rounds; round++) {
        run_hits(b, &r->disk_batch, HITS, BATCH, LARDER_SOURCE_DISK);
        run_hits(b, &r->disk_one, HITS / 4, 1, LARDER_SOURCE_DISK);
        run_raw_gets(b, &r->raw_held, db, HITS);
        run_raw_gets(b, &r->raw_batch, db, BATCH);
    }
    larder__db_close(db);
    close_larder(b);
}

/* The same with room for the whole file in the page cache. */
static void measure_roomy_hits(bench *b, results *r)
{
    size_t all = (size_t)256 << 20;
    open_larder(b, b->path, 0, all);
    larder__db *db = open_raw(b->path, LARDER__DB_READ);
    larder__db_set_cache(db, all);
    for (int round = 0; round < b->rounds; round++) {
        run_hits(b, &r->roomy_batch, HITS, BATCH, LARDER_SOURCE_DISK);
        run_raw_gets(b, &r->roomy_raw, db, BATCH);
    }
    larder__db_close(db);
    close_larder(b);
}

/* ---- puts ---- */

static void remove_database(const char *path)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        remove(name);
    }
}

/* New requests that miss, whose handler answers at once; until all is committed. Puts a second. */
static double run_puts(bench *b, uint32_t puts)
{
    const char *path = test_path("puts.larder");
    open_larder(b, path, (size_t)64 << 20, 0);
    b->answered = 0;
    uint64_t began = uv_hrtime();
    for (uint32_t sent = 0; sent < puts;) {
        for (uint32_t i = 0; i < BATCH && sent < puts; i++, sent++) {
            send_request(b, b->fresh++);
        }
        run_until_answered(b, sent);
    }
    flush(b);
    double seconds = (double)(uv_hrtime() - began) / 1e9;
    larder_metrics metrics = {.size = sizeof metrics};
    larder_get_metrics(b->l, &metrics);
    bench_require(metrics.not_stored == 0 && metrics.misses == puts, "storing every answer");
    close_larder(b);
    remove_database(path);
    return puts / seconds;
}

static void raw_put(bench *b, sqlite3_stmt *put, const uint8_t *key, uint64_t n)
{
    static const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{":channel_id", 1},
                   {":version", 1},
                   {":seq", 0},
                   {":created_ms", 1700000000000},
                   {":expires_ms", 4000000000000},
                   {":cost_us", 3},
                   {":size", VALUE_BYTES}};
    static int places[sizeof numbers / sizeof numbers[0]]; /* found once, as one writes it for speed */
    static int key_place, type_place, args_place, value_place;
    if (key_place == 0) {
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            places[i] = sqlite3_bind_parameter_index(put, numbers[i].name);
        }
        key_place = sqlite3_bind_parameter_index(put, ":key");
        type_place = sqlite3_bind_parameter_index(put, ":content_type");
        args_place = sqlite3_bind_parameter_index(put, ":args");
        value_place = sqlite3_bind_parameter_index(put, ":value");
    }
    char args[] = ARGS;
    number_args(args, n);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sqlite3_bind_int64(put, places[i], numbers[i].value);
    }
    sqlite3_bind_blob(put, key_place, key, LARDER_KEY_SIZE, SQLITE_STATIC);
    sqlite3_bind_text(put, type_place, "application/json", -1, SQLITE_STATIC);
    sqlite3_bind_text(put, args_place, args, ARGS_LEN, SQLITE_STATIC);
    sqlite3_bind_text(put, value_place, b->value, VALUE_BYTES, SQLITE_STATIC);
    bench_require(sqlite3_step(put) == SQLITE_DONE, "a raw put");
    sqlite3_reset(put);
}

/* Keys are made before the clock starts: plain SQLite is given them. */
static double run_raw_puts(bench *b, uint32_t puts)
{
    const char *path = test_path("raw.larder");
    larder__db *db = open_raw(path, LARDER__DB_CREATE);
    uint8_t(*keys)[LARDER_KEY_SIZE] = calloc(puts, sizeof keys[0]);
    bench_require(keys != NULL, "allocating");
    for (uint32_t i = 0; i < puts; i++) {
        char args[] = ARGS;
        number_args(args, b->fresh + i);
        key_of(b, args, keys[i]);
    }
    bench_require(sqlite3_exec(db->handle,
                               "PRAGMA wal_autocheckpoint = 1000;"
                               "INSERT INTO channels VALUES (1, 'db:search', 0)",
                               NULL, NULL, NULL)
                      == SQLITE_OK,
                  "making the channel");
    sqlite3_stmt *put = larder__db_statement(db, LARDER__SQL_ENTRY_PUT);
    uint64_t began = uv_hrtime();
    for (uint32_t i = 0; i < puts; i++) {
        if (i % GROUP == 0) {
            bench_require(larder__db_begin(db) == LARDER_OK, "BEGIN");
        }
        raw_put(b, put, keys[i], b->fresh++);
        if (i % GROUP == GROUP - 1 || i == puts - 1) {
            bench_require(larder__db_commit(db) == LARDER_OK, "COMMIT");
        }
    }
    double seconds = (double)(uv_hrtime() - began) / 1e9;
    larder__db_close(db);
    remove_database(path);
    free(keys);
    return puts / seconds;
}

static void measure_puts(bench *b, results *r)
{
    for (int round = 0; round < b->rounds && round < PUT_ROUNDS; round++) {
        bench_add(&r->put_raw, run_raw_puts(b, b->entries));
        bench_add(&r->put, run_puts(b, b->entries));
    }
}

/* ---- parts ---- */

static void run_canonical(bench *b, bench_figure *figure)
{
    bench_watch began = bench_start();
    char args[] = ARGS;
    for (uint32_t i = 0; i < HITS; i++) {
        number_args(args, i);
        larder__json_canonical(&b->json, args, ARGS_LEN, NULL, NULL);
    }
    bench_stop(figure, began, HITS);
}

static void run_hash(bench *b, bench_figure *figure)
{
    uint8_t key[LARDER_KEY_SIZE];
    larder__json_canonical(&b->json, ARGS, ARGS_LEN, NULL, NULL);
    bench_watch began = bench_start();
    for (uint32_t i = 0; i < HITS; i++) {
        larder__hasher_key(b->hasher, key, CHANNEL, strlen(CHANNEL), b->json.out.data, b->json.out.len, NULL, 0);
    }
    bench_stop(figure, began, HITS);
}

static void run_lookup(bench *b, bench_figure *figure, larder__memory *memory)
{
    bench_shuffle(b->order, b->entries, &b->random);
    bench_watch began = bench_start();
    for (uint32_t i = 0; i < HITS; i++) {
        const larder__memory_entry *entry = larder__memory_get(memory, b->keys[b->order[i % b->entries]], 1, 1000);
        bench_require(entry != NULL, "a look-up");
        larder__body_release(larder__body_retain(entry->value));
    }
    bench_stop(figure, began, HITS);
}

static void run_count(larder__channel_metrics *channel, bench_figure *figure)
{
    bench_watch began = bench_start();
    for (uint32_t i = 0; i < HITS; i++) {
        larder__measure measure = {LARDER_SOURCE_MEMORY, 1, 0, i};
        larder__metrics_request(channel);
        larder__metrics_response(channel, &measure);
    }
    bench_stop(figure, began, HITS);
}

static void fill_memory(bench *b, larder__memory *memory, larder__channel *channel)
{
    for (uint32_t i = 0; i < b->entries; i++) {
        larder__record record = {.channel = channel, .version = 1, .created_ms = 1, .expires_ms = 2000};
        memcpy(record.key, b->keys[i], LARDER_KEY_SIZE);
        record.value = larder__body_new(b->value, VALUE_BYTES, LARDER_CONTENT_JSON);
        bench_require(record.value != NULL && larder__memory_put(memory, &record, 0, 1000) == LARDER_OK, "filling");
        larder__body_release(record.value);
    }
}

static void measure_parts(bench *b, results *r)
{
    static larder__memory memory;
    larder__validity validity;
    larder__metrics *metrics = NULL;
    bench_require(larder__validity_init(&validity) == LARDER_OK
                      && larder__memory_init(&memory, (size_t)b->entries * 2 * VALUE_BYTES, &validity) == LARDER_OK
                      && larder__metrics_new(&metrics, NULL) == LARDER_OK,
                  "allocating");
    larder__channel *channel = larder__validity_channel(&validity, CHANNEL, strlen(CHANNEL));
    larder__channel_metrics *counters = larder__metrics_channel(metrics, channel);
    fill_memory(b, &memory, channel);
    for (int round = 0; round < b->rounds; round++) {
        run_canonical(b, &r->canonical);
        run_hash(b, &r->hash);
        run_lookup(b, &r->lookup, &memory);
        run_count(counters, &r->count);
    }
    larder__metrics_free(metrics);
    larder__memory_release(&memory);
    larder__validity_release(&validity);
}

/* ---- the report ---- */

static void print_settings(const bench *b)
{
    static const char *const synchronous[] = {"OFF", "NORMAL", "FULL", "EXTRA"};
    larder__db *db = open_raw(b->path, LARDER__DB_READ);
    printf("  WAL, synchronous=%s, pages of %s bytes, page cache %s KiB, mmap %s; the file has %s MiB\n",
           synchronous[bench_pragma(db->handle, "synchronous") & 3],
           bench_number(bench_pragma(db->handle, "page_size")), bench_number(-bench_pragma(db->handle, "cache_size")),
           bench_number(bench_pragma(db->handle, "mmap_size")),
           bench_number(bench_pragma(db->handle, "page_count") * bench_pragma(db->handle, "page_size") / 1048576.0));
    larder__db_close(db);
}

static void print_report(bench *b, const results *r)
{
    printf("Larder: the cache\n");
    bench_machine(b->path);
    print_settings(b);
    printf("  %s entries of %s bytes, args of %zu bytes, random keys; medians of %d rounds\n", bench_number(b->entries),
           bench_number(VALUE_BYTES), ARGS_LEN, b->rounds);
    printf("  wall: time that passed; cpu: the loop thread's processor time, for which the targets are\n");

    bench_title("A hit in memory, larder_send to callback", "wall ns", "cpu ns");
    bench_row("64 requests a loop turn", &r->memory_batch, 1500);
    bench_row("one request a loop turn", &r->memory_one, 0);
    bench_row("  (an empty turn of a libuv loop)", &r->turn, 0);

    bench_title("A hit in SQLite, larder_send to callback", "wall ns", "cpu ns");
    bench_row("64 requests a loop turn", &r->disk_batch, 5000);
    bench_row("one request a loop turn", &r->disk_one, 0);
    bench_row("raw sqlite3 get, a read transaction every 64", &r->raw_batch, 0);
    bench_row("raw sqlite3 get, one read transaction for all", &r->raw_held, 0);
    bench_row_number("Larder / raw, both 64 a transaction", bench_median_ratio(&r->disk_batch.cpu, &r->raw_batch.cpu),
                     2, 0);

    bench_row("64 requests a loop turn, page_cache_bytes 256 MiB", &r->roomy_batch, 5000);
    bench_row("raw sqlite3 get, every 64, cache_size 256 MiB", &r->roomy_raw, 0);

    bench_title("Answers stored, of requests that missed", "puts/s", "");
    bench_row_number("Larder, larder_send to the end of larder_flush", bench_median(&r->put), 0, 0);
    bench_row_number("plain SQLite, one thread, 500 a transaction", bench_median(&r->put_raw), 0, 0);
    bench_row_number("Larder / plain", bench_median_ratio(&r->put, &r->put_raw), 2, 0.8);

    bench_title("Parts of a hit", "wall ns", "cpu ns");
    bench_row("canonical form of the args", &r->canonical, 0);
    bench_row("SHA-256 key", &r->hash, 0);
    bench_row("look-up in the memory tier, and a reference", &r->lookup, 0);
    bench_row("counting", &r->count, 0);
    if (bench_missed > 0) {
        printf("\n%d target%s missed.\n", bench_missed, bench_missed > 1 ? "s" : "");
    }
}

int main(int argc, char **argv)
{
    static bench b;
    static results r;
    b.entries = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    b.rounds = argc > 2 ? atoi(argv[2]) : 7;
    bench_require(b.entries > 0 && b.rounds > 0 && b.rounds <= BENCH_ROUNDS_MAX, "reading ENTRIES and ROUNDS");
    b.random.state = 20241;
    b.path = test_path("bench.larder");
    prepare(&b);
    measure_parts(&b, &r);
    measure_hits(&b, &r);
    measure_disk_hits(&b, &r);
    measure_roomy_hits(&b, &r);
    measure_puts(&b, &r);
    print_report(&b, &r);
    return bench_missed > 0;
}
