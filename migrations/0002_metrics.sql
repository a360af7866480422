-- Counters since the file was made, summed over all processes and restarts. Times in microseconds.

CREATE TABLE channel_totals (
    channel_id           INTEGER PRIMARY KEY REFERENCES channels (id),
    requests             INTEGER NOT NULL DEFAULT 0,
    responses            INTEGER NOT NULL DEFAULT 0,
    errors               INTEGER NOT NULL DEFAULT 0,
    memory_hits          INTEGER NOT NULL DEFAULT 0,
    disk_hits            INTEGER NOT NULL DEFAULT 0,
    misses               INTEGER NOT NULL DEFAULT 0,
    handler_runs         INTEGER NOT NULL DEFAULT 0,
    late_answers         INTEGER NOT NULL DEFAULT 0,
    not_stored           INTEGER NOT NULL DEFAULT 0,
    response_time_us     INTEGER NOT NULL DEFAULT 0,
    max_response_time_us INTEGER NOT NULL DEFAULT 0,
    handler_time_us      INTEGER NOT NULL DEFAULT 0
);
