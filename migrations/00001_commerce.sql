-- +goose Up
-- The tables that the readers know. An existing schema of the old pipeline is taken as it is: nothing here alters a table
-- that already stands (also not decimal(5,2), also not REPLICA IDENTITY FULL).
CREATE SCHEMA IF NOT EXISTS commerce;

CREATE TABLE IF NOT EXISTS commerce.users (
    id       int PRIMARY KEY,
    username varchar(255) NOT NULL,
    password varchar(255) NOT NULL
);

CREATE TABLE IF NOT EXISTS commerce.products (
    id          int PRIMARY KEY,
    name        varchar(255) NOT NULL,
    description text,
    price       real NOT NULL
);

-- Times are UTC. click_id and click_time are both NULL or both set.
CREATE TABLE IF NOT EXISTS commerce.attributed_checkouts (
    checkout_id      varchar PRIMARY KEY,
    user_name        varchar,
    click_id         varchar,
    product_id       varchar,
    payment_method   varchar,
    total_amount     numeric(12,2),
    shipping_address varchar,
    billing_address  varchar,
    user_agent       varchar,
    ip_address       varchar,
    checkout_time    timestamp,
    click_time       timestamp
);

-- +goose Down
SELECT 1; -- the customer's data is never dropped
