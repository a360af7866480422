-- Statements on entries. Parameters are given by name; in the sqlite3 shell they are NULL unless set with .parameter.

-- name: entry_get
SELECT version, seq, created_ms, expires_ms, cost_us, content_type, value
FROM entries
WHERE key = :key;

-- name: entry_put
INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, cost_us, size, content_type, scope, args, value)
VALUES (:key, :channel_id, :version, :seq, :created_ms, :expires_ms, :cost_us, :size, :content_type, :scope, :args, :value)
ON CONFLICT (key) DO UPDATE
SET channel_id = excluded.channel_id, version = excluded.version, seq = excluded.seq, created_ms = excluded.created_ms,
    expires_ms = excluded.expires_ms, used_ms = 0, hits = 0, cost_us = excluded.cost_us, size = excluded.size,
    content_type = excluded.content_type, scope = excluded.scope, args = excluded.args, value = excluded.value;

-- name: entry_delete
DELETE FROM entries WHERE key = :key;

-- name: entry_used
UPDATE entries SET hits = hits + :hits, used_ms = max(used_ms, :used_ms) WHERE key = :key;

-- The sweep goes over the rows in the order of their ids, a slice at a time: first where the slice ends, then what of it
-- nobody can be served any more.

-- name: sweep_slice
SELECT max(id) FROM (SELECT id FROM entries WHERE id > :after ORDER BY id LIMIT :rows);

-- name: sweep_delete
DELETE FROM entries
WHERE id > :after AND id <= :upto
  AND (expires_ms <= :now_ms
       OR created_ms > :now_ms + 1000
       OR EXISTS (SELECT 1 FROM invalidations i WHERE i.kind = 'all' AND i.id > entries.seq)
       OR EXISTS (SELECT 1 FROM channels c JOIN invalidations i ON i.kind = 'channel' AND i.channel = c.name
                  WHERE c.id = entries.channel_id AND i.id > entries.seq));

-- name: channel_find
SELECT id FROM channels WHERE name = :name;

-- name: channel_add
INSERT INTO channels (name, created_ms) VALUES (:name, :now_ms);
