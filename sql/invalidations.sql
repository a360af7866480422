-- The log of invalidations. See docs/design.md, "Invalidation: two orders".

-- The newest id ever given, and the highest that has been removed from the log.

-- name: log_head
SELECT max(ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'invalidations'), 0),
           ifnull((SELECT value FROM state WHERE name = 'log_floor'), 0));

-- name: log_floor
SELECT ifnull((SELECT value FROM state WHERE name = 'log_floor'), 0);

-- name: log_add
INSERT INTO invalidations (kind, channel, key, origin, number, created_ms)
VALUES (:kind, :channel, :key, :origin, :number, :now_ms);

-- Has somebody invalidated this entry since its run began? Our own invalidations up to the run's mark came before it.

-- name: log_covers
SELECT 1
FROM invalidations
WHERE id > :after
  AND NOT (origin IS :origin AND number <= :number)
  AND (kind = 'all' OR (kind = 'channel' AND channel = :channel) OR (kind = 'key' AND key = :key))
LIMIT 1;

-- name: log_since
SELECT id, kind, channel, key, origin FROM invalidations WHERE id > :after ORDER BY id LIMIT :rows;

-- The last invalidation of each channel and of everything: what rows must be measured against.

-- name: log_last
SELECT kind, channel, max(id) FROM invalidations WHERE kind IN ('channel', 'all') GROUP BY kind, channel;

-- A log row is not needed once a sweep that began after it has passed; it is kept a while for runs that began before it.

-- name: log_purge_upto
SELECT max(id)
FROM (SELECT id FROM invalidations
      WHERE id <= :swept AND created_ms < :before_ms
        AND id < ifnull((SELECT min(id) FROM invalidations WHERE created_ms >= :before_ms), :swept + 1)
      ORDER BY id LIMIT :rows);

-- name: log_purge
DELETE FROM invalidations WHERE id <= :upto;

-- name: log_set_floor
INSERT INTO state (name, value) VALUES ('log_floor', :upto)
ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value);
