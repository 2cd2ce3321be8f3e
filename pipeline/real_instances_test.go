//go:build realkafka

package pipeline_test

import (
	"syscall"
	"testing"
	"time"

	"firstclick/internal/datagen"
)

// Each row is written exactly once across SIGTERM and a new start, under load.
func TestStoppedAndStartedUnderLoad(t *testing.T) {
	w := newWorld(t, durable(t), 4, 4)
	bin := binary(t)
	live := w.generate(datagen.Config{Database: w.dsn, Rate: 1500, OutOfOrder: 0.05, Duplicate: 0.01})
	for range 3 {
		before := w.commits()
		p := w.start(bin)
		eventually(t, "some commits", func() bool { p.alive(); return w.commits() >= before+30 })
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.done(patience)
		if n := count(t, w.conn, `SELECT count(*) FROM firstclick.offsets WHERE owner IS NOT NULL`); n != 0 {
			t.Errorf("%d shards were not handed back", n)
		}
		if n := count(t, w.conn, `SELECT count(*) FROM firstclick.instances`); n != 0 {
			t.Errorf("%d instances are still announced", n)
		}
	}
	live.stop()
	live.wait(t)
	w.start(bin, "--until-caught-up").done(patience)
	w.verify()
	w.compareWithSQL()
}

// sessionTimeout is how long Kafka waits for a silent member.
const sessionTimeout = 10 * time.Second

// Two instances share the shards, and one is killed. The other takes its shards over: nothing is
// lost, and nothing is there twice.
func TestOneOfTwoInstancesIsKilled(t *testing.T) {
	w := newWorld(t, durable(t), 4, 4)
	bin := binary(t)
	live := w.generate(datagen.Config{Database: w.dsn, Rate: 1000, OutOfOrder: 0.05, Duplicate: 0.01})
	one := w.start(bin, "--instance", "one")
	eventually(t, "the first instance has every shard", func() bool { one.alive(); return w.owned("one") == 4 })
	two := w.start(bin, "--instance", "two")
	eventually(t, "each has two shards", func() bool {
		one.alive()
		two.alive()
		return w.owned("one") == 2 &&
			w.owned("two") == 2
	})
	before := w.commits()
	eventually(t, "some commits", func() bool { return w.commits() >= before+20 })

	one.kill()
	killed := time.Now()
	eventually(t, "the second instance has every shard", func() bool { two.alive(); return w.owned("two") == 4 })
	took := time.Since(killed)
	t.Logf("taken over %v after the kill", took.Round(10*time.Millisecond))
	if took > sessionTimeout+10*time.Second {
		t.Errorf("taken over %v after the kill; the session timeout is %v", took, sessionTimeout)
	}
	before = w.commits()
	eventually(t, "some commits", func() bool { two.alive(); return w.commits() >= before+20 })
	if err := two.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	two.done(patience)
	live.stop()
	live.wait(t)
	w.start(bin, "--until-caught-up").done(patience)
	w.verify()
	w.compareWithSQL()
}
