//go:build realkafka

package pipeline_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"firstclick/internal/datagen"
)

// backlogEvents is the size of the backlog. FIRSTCLICK_BACKLOG_EVENTS=1500000 is the full one: a
// million clicks and half as many checkouts.
func backlogEvents(t testing.TB) int64 { return number(t, "FIRSTCLICK_BACKLOG_EVENTS", 150_000) }

func TestBacklogByBinary(t *testing.T) {
	n := backlogEvents(t)
	w := newWorld(t, durable(t), 4, 4)
	// Two and a half hours of event time: clicks expire and rows become final on the way.
	sum := w.generate(datagen.Config{
		Database: w.dsn, Count: n, Seed: 1, EventRate: float64(n) / 9000, OutOfOrder: 0.02, Duplicate: 0.01,
	}).wait(t)
	begun := time.Now()
	w.start(binary(t), "--until-caught-up").done(5 * time.Minute)
	t.Logf("%d clicks and %d checkouts in %v", sum.Clicks, sum.Checkouts, time.Since(begun).Round(time.Millisecond))
	if r := w.verify(); r.Rows != sum.Rows() || r.Attributed < r.Rows*9/10 {
		t.Errorf("%d rows of which %d have a click; %d were generated", r.Rows, r.Attributed, sum.Rows())
	}
	w.compareWithSQL()
	if n := count(t, w.conn, `SELECT count(*) FROM firstclick.late`); n != 0 {
		t.Errorf("%d events noted as late; none was", n)
	}
}

// Half of a backlog is there, and the rest comes while the process is killed and started again.
// Events are bad, doubled and late: clicks by up to 20 minutes. The lateness is more than that, so
// that every late click must correct its rows.
func TestKilledTwentyTimes(t *testing.T) {
	n := backlogEvents(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, durable(t), 4, 4)
	bin := binary(t)
	events := datagen.Config{Seed: seed, OutOfOrder: 0.05, Late: 0.02, Duplicate: 0.01, Poison: 0.002, HotKey: 0.01}

	stand := events
	stand.Database, stand.Count = w.dsn, n*2/3
	stand.Start, stand.EventRate = time.Now().Add(-6*time.Hour), float64(stand.Count)/(2*3600)
	w.generate(stand).wait(t)
	come := events
	come.Seed++
	come.Start, come.Rate, come.Speed = time.Now().Add(-4*time.Hour), 1500, 60
	live := w.generate(come)

	flags := []string{"--group-instance", "one", "--lateness", "30m"}
	for life := range 20 {
		before := w.commits()
		p := w.start(bin, flags...)
		if life%2 == 0 {
			eventually(t, "a commit since the start", func() bool { p.alive(); return w.commits() > before })
		} else {
			life := time.NewTimer(time.Duration(random.Int64N(int64(3 * time.Second))))
			<-life.C
		}
		p.alive()
		p.kill()
	}
	live.stop()
	sum := live.wait(t)
	t.Logf("%d clicks and %d checkouts came meanwhile; %d transactions so far", sum.Clicks, sum.Checkouts, w.commits())
	w.start(bin, append(flags, "--until-caught-up")...).done(5 * time.Minute)
	w.verify()
	w.compareWithSQL()
	if n := count(t, w.conn, `SELECT count(*) FROM firstclick.late`); n != 0 {
		t.Errorf("%d events noted as late; none was beyond the horizon", n)
	}
}
