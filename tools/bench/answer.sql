-- The right rows, by SQL over the records as they are in Kafka; of equal duplicates one counts. Nothing of join/ takes
-- part. CLICKS, CHECKOUTS and ANSWERS are replaced by the names of the topics and of the table of right rows.
CREATE UNLOGGED TABLE bench.clicks AS
	SELECT e.* FROM bench.records r, json_to_record(r.value::json)
		AS e(click_id text, user_id int, product_id text, datetime_occured timestamp)
	WHERE topic = 'CLICKS';
CREATE INDEX ON bench.clicks (user_id, product_id, datetime_occured, click_id COLLATE "C");
ANALYZE bench.clicks;
CREATE UNLOGGED TABLE ANSWERS AS
	SELECT DISTINCT ON (k.checkout_id) r.partition, r."offset", k.checkout_id, u.username AS user_name, c.click_id,
		k.product_id, k.payment_method, k.total_amount, k.shipping_address, k.billing_address, k.user_agent,
		k.ip_address, k.datetime_occured AS checkout_time, c.datetime_occured AS click_time
	FROM bench.records r
	CROSS JOIN json_to_record(r.value::json) AS k(checkout_id text, user_id int, product_id text, payment_method text,
		total_amount numeric(12,2), shipping_address text, billing_address text, user_agent text, ip_address text,
		datetime_occured timestamp)
	LEFT JOIN commerce.users u ON u.id = k.user_id
	LEFT JOIN LATERAL (
		SELECT c.click_id, c.datetime_occured FROM bench.clicks c
		WHERE c.user_id = k.user_id AND c.product_id = k.product_id
			AND c.datetime_occured BETWEEN k.datetime_occured - interval '1 hour' AND k.datetime_occured
		ORDER BY c.datetime_occured, c.click_id COLLATE "C" LIMIT 1) c ON true
	WHERE r.topic = 'CHECKOUTS'
	ORDER BY k.checkout_id;
CREATE UNIQUE INDEX ON ANSWERS (checkout_id);
ANALYZE ANSWERS;
DROP TABLE bench.records, bench.clicks;
