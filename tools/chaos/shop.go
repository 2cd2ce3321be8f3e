package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"firstclick/tools/testbed"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
)

// shopFaults are what the shop's own devices and administrators do while rows flow: nothing of it
// breaks a server, and all of it is allowed.
func shopFaults() []fault {
	return []fault{
		{name: "producer with a wrong clock", weight: 3, least: 2 * second, most: 6 * second, during: sendAhead},
		{name: "role's settings are hostile", weight: 2, least: 4 * second, most: 12 * second, do: setRole,
			heal: resetRole},
		{name: "target altered", weight: 3, do: alter(targetChanges)},
		{name: "users altered", weight: 3, do: alter(usersChanges)},
		{
			name: "users dropped", weight: 1, least: 1 * second, most: 4 * second,
			do: change(`CREATE TABLE chaos.users (LIKE commerce.users INCLUDING ALL); INSERT INTO chaos.users SELECT *
				FROM commerce.users;
				SELECT chaos.retire(); DROP TABLE commerce.users`),
			heal: change(`ALTER TABLE chaos.users SET SCHEMA commerce; UPDATE commerce.users SET username = ` +
				`left(username || '!', 255); SELECT chaos.watch_users()`),
		},
	}
}

// hostileSettings are those that a session must not depend on.
func hostileSettings() map[string]string {
	return map[string]string{
		"statement_timeout":                   "'2ms'",
		"lock_timeout":                        "'5ms'",
		"idle_in_transaction_session_timeout": "'10ms'",
		"idle_session_timeout":                "'200ms'", // Postgres 14
		"default_transaction_isolation":       "'serializable'",
		"default_transaction_read_only":       "on",
		"TimeZone":                            "'America/St_Johns'",
		"DateStyle":                           "SQL, DMY",
		"IntervalStyle":                       "'sql_standard'",
		"search_path":                         "pg_catalog",
	}
}

// setRole gives the role settings that a session of ours must not depend on. Sessions are ended, so
// that new ones begin with them.
func setRole(l *lane) error {
	var statements []string
	for name, value := range hostileSettings() {
		statements = append(statements, fmt.Sprintf("ALTER ROLE CURRENT_USER SET %s = %s", name, value))
	}
	statements = append(statements,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'chaos-%'`)
	return l.sql(strings.Join(statements, "; "), "settings of the role")
}

func resetRole(l *lane) error {
	return l.sql("ALTER ROLE CURRENT_USER RESET ALL", "settings of the role are reset")
}

// sendAhead produces clicks and their checkouts that are dated a day ahead of everybody's clock, by
// a device that stamps its records so too, or dated 9999 in records without a timestamp.
func sendAhead(ctx context.Context, l *lane) error {
	w := l.world
	cl, err := w.producer()
	if err != nil {
		return err
	}
	defer cl.Close()
	for testbed.Pause(ctx, 200*ms) {
		w.mu.Lock()
		w.wrongClocks++
		n := w.wrongClocks
		w.mu.Unlock()
		name, user := fmt.Sprintf("ahead-%d-%d", w.opts.seed, n), 1+l.random.IntN(users-1)
		at := time.Now().Add(25 * time.Hour)
		stamp := at
		if l.random.IntN(2) == 0 {
			at, stamp = time.Date(9999, 12, 1, 0, 0, int(n%60), 0, time.UTC), time.UnixMilli(-1)
		}
		click := event(clicksTopic, heldPartitions+l.random.Int32N(clicksPartitions-heldPartitions), at, "click-"+name,
			user, "product-"+name)
		checkout := event(checkoutsTopic, l.random.Int32N(checkoutsPartitions), at.Add(second), "checkout-"+name, user,
			"product-"+name)
		click.Timestamp, checkout.Timestamp = stamp, stamp
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
		for _, r := range []*kgo.Record{click, checkout} { // the click is acknowledged before its checkout is made
			if err = cl.ProduceSync(sending, r).FirstErr(); err != nil {
				break
			}
		}
		cancel()
		if err != nil {
			return fmt.Errorf("send events of a wrong clock: %w", err)
		}
	}
	return nil
}

// targetChanges keep the meaning of every column.
var targetChanges = []string{
	`ALTER TABLE commerce.attributed_checkouts ALTER payment_method TYPE text`,
	`ALTER TABLE commerce.attributed_checkouts ALTER payment_method TYPE varchar(2000)`,
	`ALTER TABLE commerce.attributed_checkouts ALTER user_agent TYPE text, ALTER shipping_address TYPE text`,
	`ALTER TABLE commerce.attributed_checkouts ADD COLUMN IF NOT EXISTS chaos_note text DEFAULT 'none'`,
	`ALTER TABLE commerce.attributed_checkouts DROP COLUMN IF EXISTS chaos_note`,
	`ALTER TABLE commerce.attributed_checkouts ADD COLUMN IF NOT EXISTS chaos_stamp timestamptz NOT NULL DEFAULT now()`,
	`ALTER TABLE commerce.attributed_checkouts DROP COLUMN IF EXISTS chaos_stamp`,
	`DROP TRIGGER IF EXISTS chaos_later ON commerce.attributed_checkouts; CREATE CONSTRAINT TRIGGER chaos_later AFTER
		INSERT ON commerce.attributed_checkouts
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos.accept()`,
	`DROP TRIGGER IF EXISTS chaos_later ON commerce.attributed_checkouts`,
}

// usersChanges give every user another name in a way that no change of a row tells.
var usersChanges = []string{
	`DROP PUBLICATION IF EXISTS firstclick_users; SELECT chaos.retire();
		ALTER TABLE commerce.users ALTER username TYPE varchar(255) USING left(username || '~', 255)`,
	`SELECT chaos.retire(); CREATE TABLE commerce.users_next (LIKE commerce.users INCLUDING ALL);
		INSERT INTO commerce.users_next (id, username, password) SELECT id, left(username || '^', 255), password FROM
			commerce.users;
		DROP TABLE commerce.users; ALTER TABLE commerce.users_next RENAME TO users; SELECT chaos.watch_users()`,
	`DROP PUBLICATION IF EXISTS firstclick_users; SELECT chaos.retire(); ALTER TABLE commerce.users ADD COLUMN other
		varchar(255) NOT NULL DEFAULT '';
		ALTER TABLE commerce.users DISABLE TRIGGER USER; UPDATE commerce.users SET other = left(username || '=', 255);
			ALTER TABLE commerce.users ENABLE TRIGGER USER;
		ALTER TABLE commerce.users DROP COLUMN username; ALTER TABLE commerce.users RENAME other TO username`,
	// refused with a column list
	`SELECT chaos.retire(); ALTER TABLE commerce.users ALTER username TYPE varchar(255) USING left(username || '-', ` +
		`255)`,
	`ALTER TABLE commerce.users REPLICA IDENTITY FULL; DROP PUBLICATION IF EXISTS firstclick_users`,
	`ALTER TABLE commerce.users REPLICA IDENTITY DEFAULT`,
}

// alter makes one of the changes.
func alter(changes []string) func(*lane) error {
	return func(l *lane) error { return change(changes[l.random.IntN(len(changes))])(l) }
}

// change runs statements in one transaction. It tries until it has the locks: a frozen instance may
// hold one for long, and two changes may meet in a deadlock.
func change(statements string) func(*lane) error {
	return func(l *lane) error {
		ctx, cancel := context.WithTimeout(context.Background(), sendTime)
		defer cancel()
		for {
			err := l.world.db.With(ctx, func(conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "BEGIN; SET LOCAL lock_timeout = '3s'; "+statements+"; COMMIT")
				return err
			})
			if err == nil {
				l.world.out.Say("%-9s | %s", l.name, strings.Join(strings.Fields(statements), " "))
				return nil
			}
			var refused *pgconn.PgError
			if errors.As(err, &refused) && refused.Code == "0A000" {
				l.world.out.Say("%-9s | refused: %s", l.name, refused.Message)
				return nil
			}
			passes := !errors.As(err, &refused) || refused.Code == "55P03" || refused.Code == "40P01" ||
				strings.HasPrefix(refused.Code, "57P")
			if !passes || !testbed.Pause(ctx, time.Duration(100+rand.IntN(400))*ms) {
				return err
			}
		}
	}
}
