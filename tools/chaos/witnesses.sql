-- Witnesses note what no final state shows. A transaction that is rolled back takes its notes with it.
CREATE SCHEMA chaos;
CREATE TABLE chaos.witness (at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL,
	who text NOT NULL DEFAULT current_setting('application_name'), detail text NOT NULL);

CREATE FUNCTION chaos.note(what text, form text, VARIADIC of text[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO chaos.witness (what, detail) VALUES (what, format(form, VARIADIC of))
$$;

CREATE FUNCTION chaos.see_offsets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.commits <> OLD.commits AND current_setting('application_name') IS DISTINCT FROM OLD.instance THEN
		PERFORM chaos.note('commit by another than the owner', 'partition %s, owner %s, commits %s',
			OLD.partition::text, OLD.instance, OLD.commits::text);
	END IF;
	IF NEW.commits NOT IN (OLD.commits, OLD.commits + 1) THEN
		PERFORM chaos.note('commits out of step', 'partition %s, %s to %s',
			OLD.partition::text, OLD.commits::text, NEW.commits::text);
	END IF;
	IF NEW.next_offset < OLD.next_offset OR NEW.watermark < OLD.watermark OR NEW.final_before < OLD.final_before THEN
		PERFORM chaos.note('a position went back',
			'partition %s, offset %s to %s, watermark %s to %s, final before %s to %s', OLD.partition::text,
			OLD.next_offset::text, NEW.next_offset::text, OLD.watermark::text, NEW.watermark::text,
			OLD.final_before::text, NEW.final_before::text);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE ON firstclick.offsets FOR EACH ROW EXECUTE FUNCTION chaos.see_offsets();

CREATE FUNCTION chaos.see_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		PERFORM chaos.note('a row was deleted', '%s', OLD.checkout_id);
	ELSIF OLD.checkout_id LIKE 'sentinel-%' AND OLD.click_id IS DISTINCT FROM NEW.click_id THEN
		PERFORM chaos.note('a row was written without its click', '%s: %s, then %s',
			OLD.checkout_id, OLD.click_id, NEW.click_id);
	ELSIF NEW.click_id IS NULL AND OLD.click_id IS NOT NULL
		OR (NEW.click_time, NEW.click_id COLLATE "C") > (OLD.click_time, OLD.click_id COLLATE "C") THEN
		PERFORM chaos.note('a row moved to a later click', '%s: %s, then %s',
			OLD.checkout_id, OLD.click_id, NEW.click_id);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE OR DELETE ON commerce.attributed_checkouts
	FOR EACH ROW EXECUTE FUNCTION chaos.see_rows();

-- The witness of names. What a user was called is noted when it ends, and no row may be written with it a minute later.
-- An attempt of a transaction may take half of that: frozen, behind a lock, cut off.
CREATE TABLE chaos.retired (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());

CREATE FUNCTION chaos.retire() RETURNS void LANGUAGE sql AS $$
	INSERT INTO chaos.retired (name) SELECT DISTINCT username FROM commerce.users
	ON CONFLICT (name) DO UPDATE SET at = excluded.at
$$;

CREATE FUNCTION chaos.see_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP <> 'INSERT' THEN
		INSERT INTO chaos.retired (name) VALUES (OLD.username) ON CONFLICT (name) DO UPDATE SET at = excluded.at;
	END IF;
	IF TG_OP <> 'DELETE' THEN
		DELETE FROM chaos.retired WHERE name = NEW.username;
	END IF;
	RETURN NULL;
END $$;

CREATE FUNCTION chaos.watch_users() RETURNS void LANGUAGE sql AS $$
	CREATE TRIGGER chaos AFTER INSERT OR UPDATE OR DELETE ON commerce.users
	FOR EACH ROW EXECUTE FUNCTION chaos.see_users()
$$;
SELECT chaos.watch_users();

CREATE FUNCTION chaos.see_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM chaos.retired
		WHERE name = NEW.user_name AND at < clock_timestamp() - interval '1 minute') THEN
		BEGIN
			IF NOT EXISTS (SELECT FROM commerce.users WHERE username = NEW.user_name) THEN
				PERFORM chaos.note('a row was written with an old name', '%s: %s', NEW.checkout_id, NEW.user_name);
			END IF;
		EXCEPTION WHEN undefined_table THEN -- dropped just now
		END;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER chaos_name AFTER INSERT ON commerce.attributed_checkouts
	FOR EACH ROW EXECUTE FUNCTION chaos.see_name();

CREATE FUNCTION chaos.accept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
