-- +goose Up
-- firstclick's own state. Times are instants (timestamptz); offsets are Kafka's: the next record to read.
CREATE SCHEMA IF NOT EXISTS firstclick;

-- One row a shard, that is a checkouts partition of a consumer group. Every transaction that writes anything of the shard
-- moves this row WHERE owner and commits are as expected, or rolls back.
CREATE TABLE firstclick.offsets (
    group_id       text     NOT NULL,
    topic          text     NOT NULL,
    partition      int      NOT NULL,
    topic_id       uuid,                          -- Kafka's topic id; NULL where the broker gives none
    leader_epoch   int      NOT NULL DEFAULT -1,  -- of the last record released
    owner          uuid,                          -- random per takeover; NULL: let go in good order
    instance       text,                          -- application_name of the owner's sessions
    commits        bigint   NOT NULL DEFAULT 0,   -- +1 per transaction
    next_offset    bigint   NOT NULL,             -- every checkout below it is a row or a dead letter
    recent_offset  bigint   NOT NULL,             -- restore point: the oldest checkout that is not final
    clicks_next    bigint[] NOT NULL DEFAULT '{}',  -- by clicks partition (from 0): every click below it has had its effect here
    clicks_restore bigint[] NOT NULL DEFAULT '{}',  -- restore points by clicks partition: the oldest click that may still be needed
    clicks_epoch   int[]    NOT NULL DEFAULT '{}',  -- leader epoch of the last click read, by clicks partition; -1 unknown
    watermark      timestamptz,                   -- never goes back
    final_before   timestamptz,                   -- click columns of this shard's rows before it do not move
    expire_before  timestamptz,                   -- clicks before it are not needed by this shard
    committed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, topic, partition)
);

-- One row a group: what it was begun with, and how far all its shards are.
CREATE TABLE firstclick.progress (
    group_id           text PRIMARY KEY,
    clicks_topic       text     NOT NULL,
    checkouts_topic    text     NOT NULL,
    clicks_topic_id    uuid,
    checkouts_topic_id uuid,
    window_length      interval NOT NULL,
    lateness           interval NOT NULL,
    out_of_order       interval NOT NULL,
    time_zone          text     NOT NULL,
    start              text     NOT NULL,
    clicks_start       bigint[] NOT NULL,         -- where the group began, by partition; later partitions begin at 0
    checkouts_start    bigint[] NOT NULL,
    watermark          timestamptz,               -- the least over the shards
    final_before       timestamptz,               -- the least over the shards: click columns of rows before it do not move
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE firstclick.dead_letters (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id       text     NOT NULL,
    topic          text     NOT NULL,
    topic_id       uuid     NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    partition      int      NOT NULL,
    "offset"       bigint   NOT NULL,
    reason         text     NOT NULL,             -- a stable word: see docs/operations.md
    detail         text     NOT NULL DEFAULT '',
    payload        bytea,                         -- NULL where the record had none, or is larger than 1 MiB
    payload_size   bigint   NOT NULL,
    payload_sha256 bytea,
    record_time    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    status         text     NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'retried', 'dropped')),
    resolved_at    timestamptz,
    UNIQUE (group_id, topic, topic_id, partition, "offset")
);

-- Events that came after the rows they could change were final. `firstclick repair` recomputes those rows.
CREATE TABLE firstclick.late (
    group_id    text     NOT NULL,
    topic       text     NOT NULL,
    topic_id    uuid     NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    partition   int      NOT NULL,
    "offset"    bigint   NOT NULL,
    kind        text     NOT NULL CHECK (kind IN ('click', 'checkout')),
    event_id    text     NOT NULL,                -- click_id or checkout_id
    user_id     int      NOT NULL,
    product_id  text     NOT NULL,
    event_time  timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    repaired_at timestamptz,
    PRIMARY KEY (group_id, topic, topic_id, partition, "offset")
);

-- Rows written with user_name NULL, to be filled in when the user appears.
CREATE TABLE firstclick.unknown_users (
    user_id     int     NOT NULL,
    checkout_id varchar NOT NULL,
    noted_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, checkout_id)
);

CREATE TABLE firstclick.instances (
    instance     text PRIMARY KEY,                -- application_name of its sessions
    group_id     text NOT NULL,
    host         text NOT NULL,
    pid          int  NOT NULL,
    version      text NOT NULL,
    listen       text,
    shards       int[] NOT NULL DEFAULT '{}',
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP SCHEMA firstclick CASCADE;
