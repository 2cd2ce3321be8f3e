-- +goose Up
-- The sessions of an instance that write, each as pid/start/role: process id, start in microseconds since 1970, oid of the role. A takeover ends
-- these and no others: an application_name is anybody's to take.
ALTER TABLE firstclick.instances ADD COLUMN IF NOT EXISTS sessions text[] NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE firstclick.instances DROP COLUMN IF EXISTS sessions;
