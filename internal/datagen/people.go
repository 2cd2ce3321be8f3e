package datagen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"firstclick/internal/pgsession"

	"github.com/brianvoe/gofakeit/v7"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// insertChunk is how many users or products a statement inserts.
const insertChunk = 500

func newFaker(seed, stream uint64) faker {
	return faker{gofakeit.NewFaker(rand.NewPCG(seed, stream), false)}
}

func openDatabase(ctx context.Context, cfg Config) (*pgx.Conn, error) {
	settings, err := pgsession.Config(cfg.Database, "firstclick-generate")
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	conn, err := pgsession.Open(within, settings)
	if err != nil {
		return nil, fmt.Errorf("reach postgres at %s:%d: %w", settings.Host, settings.Port, err)
	}
	return conn, nil
}

// insertPeople inserts users and products 0..Users-1, and renames about every tenth new user.
// Existing rows stay as they are.
func insertPeople(ctx context.Context, cfg Config, sum *Summary) error {
	conn, err := openDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	users, products := newFaker(cfg.Seed, streamUsers), newFaker(cfg.Seed, streamProducts)
	for from := 0; from < cfg.Users; from += insertChunk {
		to := min(from+insertChunk, cfg.Users)
		if err := insertUsers(ctx, conn, users, from, to, sum); err != nil {
			return fmt.Errorf("insert users: %w", withMigrate(err))
		}
		n := to - from
		ids, names, texts, prices := make([]int32, n), make([]string, n), make([]string, n), make([]float32, n)
		for i := range n {
			ids[i], names[i], texts[i] = int32(from+i), products.ProductName(), products.ProductDescription()
			prices[i] = float32(1 + products.IntN(100))
		}
		done, err := conn.Exec(ctx, `INSERT INTO commerce.products (id, name, description, price)
			SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::real[])
			ON CONFLICT (id) DO NOTHING`, ids, names, texts, prices)
		if err != nil {
			return fmt.Errorf("insert products: %w", withMigrate(err))
		}
		sum.Products += done.RowsAffected()
	}
	return nil
}

// withMigrate adds what to do to the error of a missing table.
func withMigrate(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && (pg.Code == "42P01" || pg.Code == "3F000") {
		return fmt.Errorf("%w; run firstclick migrate first", err)
	}
	return err
}

func insertUsers(ctx context.Context, conn *pgx.Conn, f faker, from, to int, sum *Summary) error {
	n := to - from
	ids, names, passwords := make([]int32, n), make([]string, n), make([]string, n)
	renamed := map[int32]string{}
	for i := range n {
		id := int32(from + i)
		ids[i], names[i], passwords[i] = id, f.Username(), f.Password(true, true, true, true, false, 10)
		if name := f.Username(); f.IntN(100) >= 90 {
			renamed[id] = name
		}
	}
	rows, err := conn.Query(ctx, `INSERT INTO commerce.users (id, username, password)
		SELECT * FROM unnest($1::int[], $2::text[], $3::text[])
		ON CONFLICT (id) DO NOTHING RETURNING id`, ids, names, passwords)
	if err != nil {
		return err
	}
	fresh, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	sum.Users += int64(len(fresh))
	ids, names = ids[:0], names[:0]
	for _, id := range fresh {
		if name, ok := renamed[id]; ok {
			ids, names = append(ids, id), append(names, name)
		}
	}
	done, err := conn.Exec(ctx, `UPDATE commerce.users u SET username = n.username
		FROM unnest($1::int[], $2::text[]) AS n(id, username) WHERE u.id = n.id`, ids, names)
	sum.Updated += done.RowsAffected()
	return err
}

// renamer changes usernames while events flow. It connects again after an error.
type renamer struct {
	cfg     Config
	conn    *pgx.Conn
	renamed int64
}

// run renames at the configured rate until ctx ends.
func (r *renamer) run(ctx context.Context) {
	f := newFaker(r.cfg.Seed, streamRenames)
	p := newPace(r.cfg.Renames, tick)
	defer r.disconnect(ctx)
	for {
		n, err := p.wait(ctx, insertChunk)
		if err != nil {
			return
		}
		ids, names := make([]int32, n), make([]string, n)
		for i := range n {
			ids[i], names[i] = int32(f.IntN(r.cfg.Users)), f.Username()
		}
		for {
			err := r.rename(ctx, ids, names)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			r.cfg.Logger.Warn("users not renamed, trying again", "cause", err)
			r.disconnect(ctx)
			if sleep(ctx, time.Second) != nil {
				return
			}
		}
	}
}

func (r *renamer) disconnect(ctx context.Context) {
	if r.conn != nil {
		r.conn.Close(context.WithoutCancel(ctx))
		r.conn = nil
	}
}

// rename changes the names in one transaction, with a statement for each, as an application would.
// A batch is not cut off when ctx ends: it would take effect after the names are counted.
func (r *renamer) rename(ctx context.Context, ids []int32, names []string) error {
	if r.conn == nil {
		conn, err := openDatabase(ctx, r.cfg)
		if err != nil {
			return err
		}
		r.conn = conn
	}
	var b pgx.Batch
	var n int64
	count := func(t pgconn.CommandTag) error { n += t.RowsAffected(); return nil }
	for i := range ids {
		b.Queue(`UPDATE commerce.users SET username = $2 WHERE id = $1`, ids[i], names[i]).Exec(count)
	}
	sending, giveUp := outlasting(ctx, r.cfg.StopTimeout)
	defer giveUp()
	if err := r.conn.SendBatch(sending, &b).Close(); err != nil {
		return err
	}
	r.renamed += n
	return nil
}
