-- +goose Up
-- By clicks partition: the greatest event time of a click below clicks_next, NULL where there was none. After clicks that were read have
-- left Kafka it tells whether a checkout could need one of them. Of clicks read before this column was there: none is stamped more than
-- five minutes ahead of its record.
ALTER TABLE firstclick.offsets ADD COLUMN IF NOT EXISTS clicks_latest timestamptz[] NOT NULL DEFAULT '{}';
UPDATE firstclick.offsets SET clicks_latest = array_fill(committed_at + interval '5 minutes', ARRAY[cardinality(clicks_next)])
    WHERE cardinality(clicks_next) > 0;

-- +goose Down
ALTER TABLE firstclick.offsets DROP COLUMN IF EXISTS clicks_latest;
