-- What people ask: what is cached and when does it expire, how much per channel, how often was the cache right.

CREATE VIEW cache AS
SELECT lower(hex(e.key))                                    AS key,
       c.name                                               AS channel,
       e.scope                                              AS scope,
       e.args                                               AS args,
       e.value                                              AS value,
       e.content_type                                       AS content_type,
       e.size                                               AS size,
       datetime(e.created_ms / 1000, 'unixepoch')           AS created,
       datetime(e.expires_ms / 1000, 'unixepoch')           AS expires,
       (e.expires_ms - n.ms) / 1000                         AS expires_in_s,
       e.hits                                               AS hits,
       round(e.cost_us / 1000.0, 3)                         AS cost_ms,
       e.version                                            AS version
FROM entries e
JOIN channels c ON c.id = e.channel_id
CROSS JOIN (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS ms) n
WHERE e.expires_ms > n.ms
  AND e.created_ms <= n.ms + 1000
  AND NOT EXISTS (SELECT 1
                  FROM invalidations i
                  WHERE i.id > e.seq
                    AND (i.kind = 'all' OR (i.kind = 'channel' AND i.channel = c.name)));

CREATE VIEW cache_by_channel AS
SELECT channel,
       count(*)               AS entries,
       sum(size)              AS bytes,
       sum(hits)              AS hits,
       min(expires)           AS first_expires,
       max(expires)           AS last_expires
FROM cache
GROUP BY channel
ORDER BY bytes DESC;

CREATE VIEW totals AS
SELECT sum(requests)                                                                        AS requests,
       sum(responses)                                                                       AS responses,
       sum(errors)                                                                          AS errors,
       sum(memory_hits)                                                                     AS memory_hits,
       sum(disk_hits)                                                                       AS disk_hits,
       sum(misses)                                                                          AS misses,
       round(100.0 * sum(memory_hits + disk_hits)
             / nullif(sum(memory_hits + disk_hits + misses), 0), 1)                         AS hit_rate_percent,
       round(sum(response_time_us) / 1000.0 / nullif(sum(responses + errors), 0), 3)        AS average_response_ms,
       sum(handler_runs)                                                                    AS handler_runs,
       sum(late_answers)                                                                    AS late_answers,
       sum(not_stored)                                                                      AS not_stored
FROM channel_totals;

CREATE VIEW channel_stats AS
SELECT CASE WHEN c.name = '' THEN '(unknown)' ELSE c.name END                               AS channel,
       t.requests                                                                           AS requests,
       t.responses                                                                          AS responses,
       t.errors                                                                             AS errors,
       t.memory_hits                                                                        AS memory_hits,
       t.disk_hits                                                                          AS disk_hits,
       t.misses                                                                             AS misses,
       round(100.0 * (t.memory_hits + t.disk_hits)
             / nullif(t.memory_hits + t.disk_hits + t.misses, 0), 1)                        AS hit_rate_percent,
       round(t.response_time_us / 1000.0 / nullif(t.responses + t.errors, 0), 3)            AS average_response_ms,
       round(t.max_response_time_us / 1000.0, 3)                                            AS max_response_ms,
       round(t.handler_time_us / 1000.0 / nullif(t.handler_runs, 0), 3)                     AS average_handler_ms
FROM channel_totals t
JOIN channels c ON c.id = t.channel_id
ORDER BY t.requests DESC;
