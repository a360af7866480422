-- What opening a file asks, transactions, and the record of migrations. Unbound parameters are NULL in the sqlite3 shell.

-- Every write transaction takes the write lock at once: an upgrade from reading to writing fails whatever the busy timeout.
-- name: transaction_begin
BEGIN IMMEDIATE;

-- name: transaction_commit
COMMIT;

-- Several reads of one moment.
-- name: transaction_begin_read
BEGIN DEFERRED;

-- name: transaction_rollback
ROLLBACK;

-- How many tables, views, indexes and triggers the file has: 0 in a new one.
-- name: schema_objects
SELECT count(*) FROM sqlite_schema;

-- name: schema_has_migrations
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migrations';

-- name: schema_migrations
SELECT version, name, checksum FROM migrations ORDER BY version;

-- name: schema_migration_add
INSERT INTO migrations (version, name, checksum, applied_ms) VALUES (:version, :name, :checksum, :now_ms);

-- name: schema_created_set
INSERT INTO state (name, value) VALUES ('created_ms', :now_ms) ON CONFLICT (name) DO NOTHING;

-- Moves when another connection has committed, not with our own commits.
-- name: schema_data_version
PRAGMA data_version;
