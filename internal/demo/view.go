package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	latestRows   = 5
	refreshEvery = time.Second      // of the table on a terminal
	reportEvery  = 10 * time.Second // lines elsewhere
	firstEvery   = 50 * time.Millisecond
	rateOver     = 10 * time.Second
)

// row is what the table shows of a row.
type row struct {
	checkoutID   string
	clickID      *string
	checkoutTime time.Time
	clickTime    *time.Time
	userName     *string
}

// glance is one look at the rows.
type glance struct {
	latest []row
	rate   float64 // rows per second, by the checkouts' own times
	rows   int64   // about how many there are, as Postgres estimates it
}

func look(ctx context.Context, pool *pgxpool.Pool, begun time.Time) (glance, error) {
	var g glance
	over := min(rateOver, time.Since(begun))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rows, err := pool.Query(ctx, `SELECT checkout_id, click_id, checkout_time, click_time, user_name
		FROM commerce.attributed_checkouts ORDER BY checkout_time DESC LIMIT $1`, latestRows)
	if err != nil {
		return g, fmt.Errorf("read the latest rows: %w", err)
	}
	g.latest, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (row, error) {
		var v row
		err := r.Scan(&v.checkoutID, &v.clickID, &v.checkoutTime, &v.clickTime, &v.userName)
		return v, err
	})
	if err != nil {
		return g, fmt.Errorf("read the latest rows: %w", err)
	}
	var recent int64
	err = pool.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_time > (now() - $1::interval) AT TIME ZONE 'UTC'),
		coalesce((SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = 'commerce.attributed_checkouts'::regclass), 0)`,
		over).Scan(&recent, &g.rows)
	if err != nil {
		return g, fmt.Errorf("count the latest rows: %w", err)
	}
	g.rate = float64(recent) / over.Seconds()
	return g, nil
}

// firstRow waits for a row of a checkout at or after since, and says how long that took.
func firstRow(ctx context.Context, pool *pgxpool.Pool, since time.Time, out io.Writer) error {
	ticker := time.NewTicker(firstEvery)
	defer ticker.Stop()
	for {
		var there bool
		err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM commerce.attributed_checkouts WHERE checkout_time >= $1::timestamptz AT TIME ZONE 'UTC')`,
			since).Scan(&there)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil && there { // a Postgres that was crashed meanwhile is back soon; one that is gone ends the pipeline
			fmt.Fprintf(out, "first row %.1f s after the start\n\n", time.Since(since).Seconds())
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// report writes a line now and then, for logs.
func report(ctx context.Context, pool *pgxpool.Pool, begun time.Time, out io.Writer) error {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		g, err := look(ctx, pool, begun)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			fmt.Fprintf(out, "%s cannot be looked at for now: %v\n", time.Now().UTC().Format(time.TimeOnly), err)
		default:
			latest := "no row yet"
			if len(g.latest) > 0 {
				r := g.latest[0]
				latest = fmt.Sprintf("latest: checkout %s by %s, click %s", r.checkoutID, orDash(r.userName), orDash(r.clickID))
			}
			fmt.Fprintf(out, "%s %.0f rows/s, about %d rows; %s\n", time.Now().UTC().Format(time.TimeOnly), g.rate, g.rows, latest)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// screen is a terminal with a table at its end that is drawn anew in place; what is written to it goes above the table. Safe
// for concurrent use.
type screen struct {
	width func() int

	mu    sync.Mutex
	out   io.Writer
	table []string // as drawn last, without line ends
}

const (
	clearBelow = "\x1b[J"
	bold       = "\x1b[1m"
	plain      = "\x1b[0m"
)

// Write puts text above the table.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.paint(text, s.table); err != nil {
		return 0, err
	}
	return len(text), nil
}

func (s *screen) draw(table []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paint(nil, table)
}

// end leaves the last table where it is: what is written from now on goes below it.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = nil
}

// paint is one write, so that the table does not flicker.
func (s *screen) paint(above []byte, table []string) error {
	var b bytes.Buffer
	if n := len(s.table); n > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r%s", n, clearBelow)
	}
	b.Write(above)
	if len(above) > 0 && above[len(above)-1] != '\n' {
		b.WriteByte('\n')
	}
	width := s.width()
	for i, line := range table {
		// A line that wraps would take two, and the next drawing would miss one.
		line = cut(line, width-1)
		if i == 0 {
			line = bold + line + plain
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	s.table = table
	_, err := s.out.Write(b.Bytes())
	return err
}

// show draws the table every second until ctx ends. The terminal needs no restoring: neither its modes nor the cursor's looks are
// changed, so that whatever ends us leaves it usable.
func (s *screen) show(ctx context.Context, pool *pgxpool.Pool, begun time.Time) error {
	defer s.end()
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		g, err := look(ctx, pool, begun)
		if ctx.Err() != nil {
			return nil
		}
		lines := table(g, s.width())
		if err != nil {
			lines = []string{"the rows cannot be looked at for now: " + printable(err.Error())}
		}
		if err := s.draw(lines); err != nil {
			return fmt.Errorf("draw the table: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// table is the rows as lines, for a terminal of that width: ids are cut short where they do not fit.
func table(g glance, width int) []string {
	id := 36
	if need := 2*id + 2*12 + 20 + 4*2; width < need {
		id = 8
	}
	line := func(checkout, click, checkoutTime, clickTime, user string) string {
		return fmt.Sprintf("%-*s  %-*s  %-12s  %-12s  %s", id, cut(checkout, id), id, cut(click, id), checkoutTime, clickTime, user)
	}
	const clock = "15:04:05.000"
	lines := []string{line("checkout_id", "click_id", "checkout_time", "click_time", "user_name")}
	if id == 8 {
		lines[0] = line("checkout", "click", "bought", "clicked", "user_name")
	} else {
		lines[0] = line("checkout_id", "click_id", "bought", "clicked", "user_name")
	}
	for i := range latestRows {
		if i >= len(g.latest) {
			lines = append(lines, "")
			continue
		}
		r := g.latest[i]
		clicked := "-"
		if r.clickTime != nil {
			clicked = r.clickTime.Format(clock)
		}
		lines = append(lines, line(printable(r.checkoutID), printable(orDash(r.clickID)), r.checkoutTime.Format(clock), clicked, printable(orDash(r.userName))))
	}
	return append(lines, "", fmt.Sprintf("%.0f rows/s, about %d rows, times in UTC. Ctrl-C stops, demo again goes on.", g.rate, g.rows))
}

func orDash(text *string) string {
	if text == nil {
		return "-"
	}
	return *text
}

// printable leaves out what would move the cursor: names are other people's text.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// cut shortens to n characters.
func cut(text string, n int) string {
	runes := []rune(text)
	if n <= 0 || len(runes) <= n {
		return text
	}
	return string(runes[:n])
}
