-- Counters: what was counted since the last time is added to what stands there.

-- name: totals_add
INSERT INTO channel_totals (channel_id, requests, responses, errors, memory_hits, disk_hits, misses, handler_runs,
                            late_answers, not_stored, response_time_us, max_response_time_us, handler_time_us)
VALUES (:channel_id, :requests, :responses, :errors, :memory_hits, :disk_hits, :misses, :handler_runs,
        :late_answers, :not_stored, :response_time_us, :max_response_time_us, :handler_time_us)
ON CONFLICT (channel_id) DO UPDATE
SET requests             = requests + excluded.requests,
    responses            = responses + excluded.responses,
    errors               = errors + excluded.errors,
    memory_hits          = memory_hits + excluded.memory_hits,
    disk_hits            = disk_hits + excluded.disk_hits,
    misses               = misses + excluded.misses,
    handler_runs         = handler_runs + excluded.handler_runs,
    late_answers         = late_answers + excluded.late_answers,
    not_stored           = not_stored + excluded.not_stored,
    response_time_us     = response_time_us + excluded.response_time_us,
    max_response_time_us = max(max_response_time_us, excluded.max_response_time_us),
    handler_time_us      = handler_time_us + excluded.handler_time_us;

-- When the file was found to be writable again after a failure.

-- name: probe
INSERT INTO state (name, value) VALUES ('probed_ms', ifnull(:now_ms, 0))
ON CONFLICT (name) DO UPDATE SET value = excluded.value;
