package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/internal/escape"
)

const (
	latestRows   = 5
	firstEvery   = 50 * time.Millisecond
	refreshEvery = time.Second      // of the table on a terminal
	reportEvery  = 10 * time.Second // lines elsewhere
	rateOver     = 10 * time.Second
)

// every calls do at once and then in each interval, until ctx ends or do returns false.
func every(ctx context.Context, interval time.Duration, do func() bool) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil && do() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// row is what the table shows of a row.
type row struct {
	checkoutID   string
	clickID      *string
	checkoutTime time.Time
	clickTime    *time.Time
	userName     *string
}

// rows is what the table shows.
type rows struct {
	latest []row
	rate   float64 // rows per second, by the times of the checkouts
	total  int64   // Postgres' estimate
}

func readRows(ctx context.Context, pool *pgxpool.Pool, begun time.Time) (shown rows, err error) {
	over := min(rateOver, time.Since(begun))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := pool.Query(ctx, `SELECT checkout_id, click_id, checkout_time, click_time, user_name
		FROM commerce.attributed_checkouts ORDER BY checkout_time DESC LIMIT $1`, latestRows)
	if err == nil {
		shown.latest, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (v row, err error) {
			err = r.Scan(&v.checkoutID, &v.clickID, &v.checkoutTime, &v.clickTime, &v.userName)
			return v, err
		})
	}
	if err != nil {
		return shown, fmt.Errorf("read the latest rows: %w", err)
	}
	var recent int64
	err = pool.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM commerce.attributed_checkouts
			WHERE checkout_time > (now() - $1::interval) AT TIME ZONE 'UTC'),
		coalesce((SELECT n_live_tup FROM pg_stat_user_tables
			WHERE relid = 'commerce.attributed_checkouts'::regclass), 0)`, over).Scan(&recent, &shown.total)
	if err != nil {
		return shown, fmt.Errorf("count the latest rows: %w", err)
	}
	shown.rate = float64(recent) / over.Seconds()
	return shown, nil
}

// view shows the rows until ctx ends: as a table on a terminal, else as a line now and then.
func (d *demo) view(ctx context.Context) error {
	every(ctx, firstEvery, func() bool {
		var exists bool
		err := d.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM commerce.attributed_checkouts
			WHERE checkout_time >= $1::timestamptz AT TIME ZONE 'UTC')`, d.begun).Scan(&exists)
		if err != nil || !exists { // a Postgres that the page has crashed comes back
			return true
		}
		fmt.Fprintf(d.out, "first row %.1f s after the start\n\n", time.Since(d.begun).Seconds())
		return false
	})
	if d.screen != nil {
		return d.screen.show(ctx, d.pool, d.begun)
	}
	every(ctx, reportEvery, func() bool {
		now := time.Now().UTC().Format(time.TimeOnly)
		shown, err := readRows(ctx, d.pool, d.begun)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			fmt.Fprintf(d.out, "%s the rows cannot be read for now: %v\n", now, err)
		default:
			latest := "no row yet"
			if len(shown.latest) > 0 {
				r := shown.latest[0]
				latest = fmt.Sprintf("latest: checkout %s by %s, click %s",
					r.checkoutID, orDash(r.userName), orDash(r.clickID))
			}
			fmt.Fprintf(d.out, "%s %.0f rows/s, about %d rows; %s\n", now, shown.rate, shown.total, latest)
		}
		return true
	})
	return nil
}

// screen is a terminal with a table at its end that is redrawn in place. What is written to it goes
// above the table. It changes neither modes nor the cursor, so that a killed demo leaves a usable
// terminal. It is safe for concurrent use.
type screen struct {
	width func() int

	mu    sync.Mutex
	out   io.Writer
	table []string // the lines that are drawn
}

const (
	up         = "\x1b[%dA\r"
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

// end leaves the table where it is: what is written from now on goes below it.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = nil
}

// paint makes one write, so that the table does not flicker. The caller holds mu.
func (s *screen) paint(above []byte, table []string) error {
	var b bytes.Buffer
	if n := len(s.table); n > 0 {
		fmt.Fprintf(&b, up+clearBelow, n)
	}
	b.Write(above)
	if len(above) > 0 && above[len(above)-1] != '\n' {
		b.WriteByte('\n')
	}
	width := s.width()
	for i, line := range table {
		line = cut(line, width-1) // a line that wraps would take two
		if i == 0 {
			line = bold + line + plain
		}
		b.WriteString(line + "\n")
	}
	s.table = table
	_, err := s.out.Write(b.Bytes())
	return err
}

// show draws the table every second until ctx ends.
func (s *screen) show(ctx context.Context, pool *pgxpool.Pool, begun time.Time) (err error) {
	defer s.end()
	every(ctx, refreshEvery, func() bool {
		shown, failed := readRows(ctx, pool, begun)
		if ctx.Err() != nil {
			return false
		}
		lines := table(shown, s.width())
		if failed != nil {
			lines = []string{"the rows cannot be read for now: " + printable(failed.Error())}
		}
		err = s.draw(lines)
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("draw the table: %w", err)
	}
	return nil
}

// table returns the rows as lines, for a terminal of that width. It cuts ids that do not fit.
func table(shown rows, width int) []string {
	id, checkout, click := 36, "checkout_id", "click_id"
	if width < 2*id+2*12+20+4*2 {
		id, checkout, click = 8, "checkout", "click"
	}
	line := func(checkout, click, checkoutTime, clickTime, user string) string {
		return fmt.Sprintf("%-*s  %-*s  %-12s  %-12s  %s",
			id, cut(checkout, id), id, cut(click, id), checkoutTime, clickTime, user)
	}
	const clock = "15:04:05.000"
	lines := []string{line(checkout, click, "bought", "clicked", "user_name")}
	for _, r := range shown.latest {
		clicked := "-"
		if r.clickTime != nil {
			clicked = r.clickTime.Format(clock)
		}
		lines = append(lines, line(printable(r.checkoutID), printable(orDash(r.clickID)),
			r.checkoutTime.Format(clock), clicked, printable(orDash(r.userName))))
	}
	for len(lines) <= latestRows+1 {
		lines = append(lines, "")
	}
	return append(lines, fmt.Sprintf("%.0f rows/s, about %d rows, times in UTC. Ctrl-C stops, demo again goes on.",
		shown.rate, shown.total))
}

func orDash(text *string) string {
	if text == nil {
		return "-"
	}
	return *text
}

// printable escapes what would control the terminal: the texts are foreign.
func printable(text string) string { return escape.Text([]byte(text)) }

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if runes := []rune(text); n > 0 && len(runes) > n {
		return string(runes[:n])
	}
	return text
}
