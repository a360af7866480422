-- What larder/inspect.h asks. An entry can be served when it has not expired, was not created after now (a clock that was set
-- back), and no later invalidation covers it: the same as in the view "cache". Invalidations of a key remove the row, so
-- only those of a channel and of everything are looked at: `floors` holds the last of these for each channel.

-- Which entries pass a filter, newest first, from a place on. Only small columns go through the sorter.

-- name: inspect_ids
WITH floors AS MATERIALIZED (
    SELECT c.id AS channel_id,
           max(ifnull((SELECT max(id) FROM invalidations WHERE kind = 'all'), 0), ifnull(i.id, 0)) AS seq
    FROM channels c
    LEFT JOIN (SELECT channel, max(id) AS id FROM invalidations WHERE kind = 'channel' GROUP BY channel) i
           ON i.channel = c.name
    WHERE :channel IS NULL OR c.name = :channel)
SELECT e.created_ms, e.id
FROM entries e
CROSS JOIN floors f ON f.channel_id = e.channel_id
WHERE e.seq >= f.seq
  AND (:with_expired OR (e.expires_ms > :now_ms AND e.created_ms <= :now_ms + 1000))
  AND (e.created_ms < :created_ms OR (e.created_ms = :created_ms AND e.id < :id))
ORDER BY e.created_ms DESC, e.id DESC
LIMIT :rows;

-- name: inspect_ids_by_key
WITH floors AS MATERIALIZED (
    SELECT c.id AS channel_id,
           max(ifnull((SELECT max(id) FROM invalidations WHERE kind = 'all'), 0), ifnull(i.id, 0)) AS seq
    FROM channels c
    LEFT JOIN (SELECT channel, max(id) AS id FROM invalidations WHERE kind = 'channel' GROUP BY channel) i
           ON i.channel = c.name
    WHERE :channel IS NULL OR c.name = :channel)
SELECT e.created_ms, e.id
FROM entries e
CROSS JOIN floors f ON f.channel_id = e.channel_id
WHERE e.key BETWEEN :low AND :high
  AND e.seq >= f.seq
  AND (:with_expired OR (e.expires_ms > :now_ms AND e.created_ms <= :now_ms + 1000))
  AND (e.created_ms < :created_ms OR (e.created_ms = :created_ms AND e.id < :id))
ORDER BY e.created_ms DESC, e.id DESC
LIMIT :rows;

-- name: inspect_log_head
SELECT ifnull(max(id), 0) FROM invalidations;

-- One entry, found before :log_id was the newest invalidation: only later ones can still cover it.

-- name: inspect_row
SELECT e.key, c.name, e.scope, e.args, e.version, e.content_type, e.size, e.created_ms, e.expires_ms, e.used_ms, e.hits,
       e.cost_us, e.expires_ms <= :now_ms OR e.created_ms > :now_ms + 1000
FROM entries e
JOIN channels c ON c.id = e.channel_id
WHERE e.id = :id
  AND NOT EXISTS (SELECT 1
                  FROM invalidations i
                  WHERE i.id > :log_id AND i.id > e.seq
                    AND (i.kind = 'all' OR (i.kind = 'channel' AND i.channel = c.name)));

-- name: inspect_value
SELECT value FROM entries WHERE id = :id;

-- name: inspect_channels
WITH floors AS MATERIALIZED (
    SELECT c.id AS channel_id,
           max(ifnull((SELECT max(id) FROM invalidations WHERE kind = 'all'), 0), ifnull(i.id, 0)) AS seq
    FROM channels c
    LEFT JOIN (SELECT channel, max(id) AS id FROM invalidations WHERE kind = 'channel' GROUP BY channel) i
           ON i.channel = c.name),
cached AS MATERIALIZED (
    SELECT channel_id,
           count(*) FILTER (WHERE fresh)      AS entries,
           sum(size) FILTER (WHERE fresh)     AS bytes,
           count(*) FILTER (WHERE NOT fresh)  AS expired
    FROM (SELECT e.channel_id, e.size, e.expires_ms > :now_ms AND e.created_ms <= :now_ms + 1000 AS fresh
          FROM entries e
          CROSS JOIN floors f ON f.channel_id = e.channel_id
          WHERE e.seq >= f.seq)
    GROUP BY channel_id)
SELECT c.name, k.entries, k.bytes, k.expired,
       t.requests, t.responses, t.errors, t.memory_hits, t.disk_hits, t.misses, t.handler_runs,
       t.response_time_us, t.max_response_time_us, t.handler_time_us
FROM channels c
LEFT JOIN cached k ON k.channel_id = c.id
LEFT JOIN channel_totals t ON t.channel_id = c.id
WHERE k.channel_id IS NOT NULL OR t.requests + t.responses + t.errors + t.handler_runs > 0
ORDER BY c.name;

-- name: inspect_file
SELECT (SELECT user_version FROM pragma_user_version),
       (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size),
       (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size),
       (SELECT value FROM state WHERE name = 'created_ms');

-- Clearing. Everything, or a channel: one row in the log, whatever it covers; the entries go later, in slices.

-- name: inspect_log_all
INSERT INTO invalidations (kind, created_ms) VALUES ('all', :now_ms);

-- name: inspect_log_channel
INSERT INTO invalidations (kind, channel, created_ms) VALUES ('channel', :channel, :now_ms);

-- name: inspect_count
WITH floors AS MATERIALIZED (
    SELECT c.id AS channel_id,
           max(ifnull((SELECT max(id) FROM invalidations WHERE kind = 'all'), 0), ifnull(i.id, 0)) AS seq
    FROM channels c
    LEFT JOIN (SELECT channel, max(id) AS id FROM invalidations WHERE kind = 'channel' GROUP BY channel) i
           ON i.channel = c.name
    WHERE :channel IS NULL OR c.name = :channel)
SELECT count(*)
FROM entries e
CROSS JOIN floors f ON f.channel_id = e.channel_id
WHERE e.seq >= f.seq AND e.expires_ms > :now_ms AND e.created_ms <= :now_ms + 1000;

-- name: inspect_stale_ids
SELECT id
FROM entries
WHERE id > :after AND seq < :log_id
  AND (:channel IS NULL OR channel_id = (SELECT c.id FROM channels c WHERE c.name = :channel))
ORDER BY id
LIMIT :rows;

-- name: inspect_delete_stale
DELETE FROM entries WHERE id = :id AND seq < :log_id;

-- Single keys: each is logged, and its entry goes in the same transaction.

-- name: inspect_count_by_key
WITH floors AS MATERIALIZED (
    SELECT c.id AS channel_id,
           max(ifnull((SELECT max(id) FROM invalidations WHERE kind = 'all'), 0), ifnull(i.id, 0)) AS seq
    FROM channels c
    LEFT JOIN (SELECT channel, max(id) AS id FROM invalidations WHERE kind = 'channel' GROUP BY channel) i
           ON i.channel = c.name
    WHERE :channel IS NULL OR c.name = :channel)
SELECT count(*)
FROM entries e
CROSS JOIN floors f ON f.channel_id = e.channel_id
WHERE e.key BETWEEN :low AND :high
  AND e.seq >= f.seq AND e.expires_ms > :now_ms AND e.created_ms <= :now_ms + 1000;

-- name: inspect_log_keys
INSERT INTO invalidations (kind, key, created_ms)
SELECT 'key', key, :now_ms
FROM entries
WHERE key BETWEEN :low AND :high
  AND (:channel IS NULL OR channel_id = (SELECT c.id FROM channels c WHERE c.name = :channel));

-- name: inspect_delete_keys
DELETE FROM entries
WHERE key BETWEEN :low AND :high
  AND (:channel IS NULL OR channel_id = (SELECT c.id FROM channels c WHERE c.name = :channel));
