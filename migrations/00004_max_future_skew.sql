-- +goose Up
-- How far an event's time may lie ahead of its record's timestamp, and of our clock to decide anything for others. Groups from before ran with 5 minutes.
ALTER TABLE firstclick.progress ADD COLUMN IF NOT EXISTS max_future_skew interval NOT NULL DEFAULT '5 minutes';

-- +goose Down
ALTER TABLE firstclick.progress DROP COLUMN IF EXISTS max_future_skew;
