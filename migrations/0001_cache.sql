-- The cache: channels, entries, and the log of invalidations. docs/database.md explains each column to a reader.
-- Times are wall-clock milliseconds since 1970-01-01 UTC.

CREATE TABLE migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    checksum   TEXT    NOT NULL,              -- SHA-256 of the file that was applied
    applied_ms INTEGER NOT NULL
);

CREATE TABLE state (                          -- one value each: created_ms, log_floor
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE channels (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,       -- '' (id 0): requests to channels that nobody has registered
    created_ms INTEGER NOT NULL
);
INSERT INTO channels (id, name, created_ms) VALUES (0, '', 0);

-- The only index is the one that look-ups need: sweeps go in rowid order. The value comes last, so that a row's other
-- columns are read without its overflow pages.
CREATE TABLE entries (
    id           INTEGER PRIMARY KEY,
    key          BLOB    NOT NULL UNIQUE,     -- SHA-256 of channel, 0x00, args [, 0x00, scope]
    channel_id   INTEGER NOT NULL REFERENCES channels (id),
    version      INTEGER NOT NULL,            -- of the handler
    seq          INTEGER NOT NULL,            -- invalidations.id up to which this entry has been checked
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER NOT NULL,
    used_ms      INTEGER NOT NULL DEFAULT 0,  -- last use that was recorded
    hits         INTEGER NOT NULL DEFAULT 0,
    cost_us      INTEGER NOT NULL,            -- what computing the answer took
    size         INTEGER NOT NULL,            -- bytes of value
    content_type TEXT    NOT NULL,
    scope        TEXT,
    args         TEXT    NOT NULL,            -- canonical JSON
    value        NOT NULL                     -- TEXT for JSON and text, BLOB for bytes
);

-- Each invalidation takes the next id. An entry is stale for good when a row that covers it has a higher id than its seq.
CREATE TABLE invalidations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL CHECK (kind IN ('key', 'channel', 'all')),
    channel    TEXT,                          -- for 'channel'
    key        BLOB,                          -- for 'key'
    origin     INTEGER,                       -- which running instance asked, NULL: somebody else
    number     INTEGER,                       -- that instance's own count
    created_ms INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX invalidations_of_channels ON invalidations (channel, id) WHERE kind = 'channel';
CREATE INDEX invalidations_of_all ON invalidations (id) WHERE kind = 'all';

-- Larder's own connections have triggers switched off, so these fire only when somebody edits entries by hand: a running
-- program then forgets what it held in memory.
CREATE TRIGGER entries_deleted_by_hand AFTER DELETE ON entries BEGIN
    INSERT INTO invalidations (kind, key, created_ms)
    VALUES ('key', OLD.key, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
CREATE TRIGGER entries_updated_by_hand AFTER UPDATE ON entries BEGIN
    INSERT INTO invalidations (kind, key, created_ms)
    VALUES ('key', OLD.key, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
