/* tests/bench/bench.h: what benchmarks share: a clock, medians of rounds, a shuffled order, and tables that read well.
 */
#ifndef LARDER_BENCH_H
#define LARDER_BENCH_H

#include "support.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>

#define BENCH_ROUNDS_MAX 31

static inline void bench_require(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "benchmark: %s failed\n", what);
        exit(1);
    }
}

/* ---- rounds ---- */

typedef struct bench_rounds { /* one figure a round */
    double values[BENCH_ROUNDS_MAX];
    int count;
} bench_rounds;

static inline void bench_add(bench_rounds *rounds, double value)
{
    bench_require(rounds->count < BENCH_ROUNDS_MAX, "keeping that many rounds");
    rounds->values[rounds->count++] = value;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median(const bench_rounds *rounds)
{
    bench_rounds sorted = *rounds;
    qsort(sorted.values, (size_t)sorted.count, sizeof sorted.values[0], bench_compare);
    int half = sorted.count / 2;
    return sorted.count % 2 ? sorted.values[half] : (sorted.values[half - 1] + sorted.values[half]) / 2;
}

/* The figures of one round are of the same minute; so ratios are taken round by round. */
static inline double bench_median_ratio(const bench_rounds *above, const bench_rounds *below)
{
    bench_rounds ratios = {.count = 0};
    for (int i = 0; i < above->count && i < below->count; i++) {
        bench_add(&ratios, above->values[i] / below->values[i]);
    }
    return bench_median(&ratios);
}

/* What a piece of work took: elapsed, and of that the processor time of the thread that did it, which other programs on
 * the machine disturb less. */
typedef struct bench_figure {
    bench_rounds wall; /* ns a piece */
    bench_rounds cpu;
} bench_figure;

typedef struct bench_watch {
    uint64_t wall;
    uint64_t cpu;
} bench_watch;

static inline bench_watch bench_start(void)
{
    struct timespec now;
    bench_require(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0, "reading the clock");
    return (bench_watch){uv_hrtime(), (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec};
}

static inline void bench_stop(bench_figure *figure, bench_watch began, uint32_t pieces)
{
    bench_watch now = bench_start();
    bench_add(&figure->wall, (double)(now.wall - began.wall) / pieces);
    bench_add(&figure->cpu, (double)(now.cpu - began.cpu) / pieces);
}

/* ---- order ---- */

static inline void bench_shuffle(uint32_t *order, uint32_t count, test_random *random)
{
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (uint32_t i = count; i > 1; i--) { /* Fisher and Yates */
        uint32_t j = (uint32_t)test_random_below(random, i);
        uint32_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}

/* ---- output ---- */

/* 1234567.8 as "1,234,568". Good until the sixteenth call after. */
static inline const char *bench_number(double value)
{
    static char texts[16][32];
    static unsigned at;
    char digits[32];
    char *text = texts[at++ % 16];
    int len = snprintf(digits, sizeof digits, "%.0f", value);
    int to = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-') {
            text[to++] = ',';
        }
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

static inline void bench_title(const char *title, const char *first, const char *second)
{
    printf("\n%-50s %10s %10s\n", title, first, second);
    printf("--------------------------------------------------------------------------------------------\n");
}

static int bench_missed; /* how many targets */

static inline void bench_verdict(double value, double bound, int at_most, int digits)
{
    int met = at_most ? value <= bound : value >= bound;
    bench_missed += !met;
    printf("   %s %.*f %s\n", at_most ? "at most" : "at least", digits, bound, met ? "met" : "MISSED");
}

/* A target is a bound for the processor time; 0: none. */
static inline void bench_row(const char *label, const bench_figure *figure, double at_most)
{
    double cpu = bench_median(&figure->cpu);
    printf("  %-48s %10s %10s", label, bench_number(bench_median(&figure->wall)), bench_number(cpu));
    if (at_most > 0) {
        bench_verdict(cpu, at_most, 1, 0);
    } else {
        printf("\n");
    }
}

/* One figure that is not a time; at_least 0: no target. */
static inline void bench_row_number(const char *label, double value, int digits, double at_least)
{
    char text[32];
    snprintf(text, sizeof text, "%.*f", digits, value);
    printf("  %-48s %10s", label, digits == 0 ? bench_number(value) : text);
    if (at_least > 0) {
        printf(" %10s", "");
        bench_verdict(value, at_least, 0, digits);
    } else {
        printf("\n");
    }
}

static inline void bench_file_system(const char *path, char *out, size_t size)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {{0xef53, "ext4"},    {0x01021994, "tmpfs"},   {0x9123683e, "btrfs"},
                 {0x58465342, "xfs"}, {0x794c7630, "overlay"}, {0x2fc12fc1, "zfs"}};
    struct statfs info;
    snprintf(out, size, "an unknown file system");
    for (size_t i = 0; statfs(path, &info) == 0 && i < sizeof known / sizeof known[0]; i++) {
        if ((unsigned long)info.f_type == known[i].magic) {
            snprintf(out, size, "%s", known[i].name);
        }
    }
}

static inline void bench_machine(const char *folder)
{
    struct utsname system;
    uv_cpu_info_t *cpus = NULL;
    int count = 0;
    char file_system[64];
    bench_require(uname(&system) == 0 && uv_cpu_info(&cpus, &count) == 0, "asking about the machine");
    bench_file_system(folder, file_system, sizeof file_system);
    printf("  %s %s, %d x %s; files on %s\n", system.sysname, system.release, count, cpus[0].model, file_system);
    printf("  SQLite %s, libuv %s, Larder %s\n", sqlite3_libversion(), uv_version_string(), larder_version());
    uv_free_cpu_info(cpus, count);
}

/* ---- a connection's settings ---- */

static inline int64_t bench_pragma(sqlite3 *db, const char *name)
{
    char sql[64];
    sqlite3_stmt *statement;
    snprintf(sql, sizeof sql, "PRAGMA %s", name);
    bench_require(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sql);
    int64_t value = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    return value;
}

#endif
