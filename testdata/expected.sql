-- The answer for clicks.jsonl and checkouts.jsonl, written by hand and sharing nothing with the program.
-- Needs: seed_clicks (value jsonb) and seed_checkouts (value jsonb), a line each, and commerce.users.
SELECT k.value ->> 'checkout_id'                             AS checkout_id,
       u.username                                            AS user_name,
       c.click_id                                            AS click_id,
       k.value ->> 'product_id'                              AS product_id,
       k.value ->> 'payment_method'                          AS payment_method,
       round((k.value ->> 'total_amount')::numeric, 2)       AS total_amount,
       k.value ->> 'shipping_address'                        AS shipping_address,
       k.value ->> 'billing_address'                         AS billing_address,
       k.value ->> 'user_agent'                              AS user_agent,
       k.value ->> 'ip_address'                              AS ip_address,
       (k.value ->> 'datetime_occured')::timestamp           AS checkout_time,
       c.click_time                                          AS click_time
FROM seed_checkouts k
LEFT JOIN commerce.users u ON u.id = (k.value ->> 'user_id')::int
LEFT JOIN LATERAL (
    SELECT c.value ->> 'click_id' AS click_id, (c.value ->> 'datetime_occured')::timestamp AS click_time
    FROM seed_clicks c
    WHERE c.value ->> 'user_id' = k.value ->> 'user_id'
      AND c.value ->> 'product_id' = k.value ->> 'product_id'
      AND (c.value ->> 'datetime_occured')::timestamp
          BETWEEN (k.value ->> 'datetime_occured')::timestamp - interval '1 hour' AND (k.value ->> 'datetime_occured')::timestamp
    ORDER BY (c.value ->> 'datetime_occured')::timestamp, c.value ->> 'click_id' COLLATE "C"
    LIMIT 1
) c ON true
