package web

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"testing"
	"time"

	"firstclick/internal/pgtest"
	"firstclick/pipeline"
	"firstclick/pipeline/sink"
)

func TestTrouble(t *testing.T) {
	now := time.Now()
	well := pipeline.Stats{At: now, EndsAt: now, Ready: true, Shards: []pipeline.ShardStats{{}}}
	well.Users.Connected = true
	with := func(change func(*pipeline.Stats)) *pipeline.Stats {
		st := well
		change(&st)
		return &st
	}
	for name, c := range map[string]struct {
		st   *pipeline.Stats
		want map[string]string
	}{
		"not begun":     {&pipeline.Stats{}, map[string]string{}},
		"well":          {&well, map[string]string{}},
		"Kafka is deaf": {with(func(st *pipeline.Stats) { st.EndsAt = now.Add(-4 * time.Second) }), map[string]string{"clicks": "does not answer", "checkouts": "does not answer"}},
		"Postgres refuses": {with(func(st *pipeline.Stats) { st.Sink = sink.Stats{LastError: "disk full"}; st.Users.Connected = false }),
			map[string]string{"postgres": "does not take rows", "users": "stream is down"}},
		"a stand-by needs no stream": {with(func(st *pipeline.Stats) { st.Users.Connected, st.Shards = false, nil }), map[string]string{}},
		"frozen: nobody knows of the others": {with(func(st *pipeline.Stats) {
			st.At, st.EndsAt, st.Users.Connected = now.Add(-12*time.Second), now.Add(-12*time.Second), false
		}),
			map[string]string{"join": "stands still for 12 s"}},
	} {
		if got := trouble(now, c.st); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// What was broken is known to a page that comes later, and is followed by a verification at once.
func TestActionsAreRememberedAndVerified(t *testing.T) {
	verified := make(chan struct{}, 100)
	s := begin(t, "127.0.0.1:0", pgtest.New(t), func(cfg *PageConfig) {
		cfg.Verify = func(context.Context) (Verdict, error) { verified <- struct{}{}; return Verdict{OK: true}, nil }
		cfg.VerifyEvery = time.Hour
		cfg.Actions = []Action{{Name: "poke", Title: "Poke it", Do: func(context.Context, int64) (string, error) { return "It was poked", nil }}}
	})
	watched, err := s.page.hub.join("a") // somebody looks
	if err != nil {
		t.Fatal(err)
	}
	defer s.page.hub.leave(watched)
	wait := func(what string) {
		t.Helper()
		select {
		case <-verified:
		case <-time.After(time.Minute):
			t.Fatalf("no verification %s", what)
		}
	}
	wait("when somebody looks")
	if got := s.page.hello().Acted; got == nil || len(got) != 0 {
		t.Errorf("acted before anything was done: %v", got)
	}
	good := map[string]string{"Origin": s.base, "Sec-Fetch-Site": "same-origin", tokenHeader: s.page.token}
	if answer, body := ask(t, "POST", s.base+"/api/actions/poke", good); answer.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
	wait("after an action")
	var hello hello
	if err := json.Unmarshal([]byte(listen(t, s.base, "hello")["hello"]), &hello); err != nil {
		t.Fatal(err)
	}
	if len(hello.Acted) != 1 || hello.Acted[0].State != "done" || hello.Acted[0].Text != "It was poked" || hello.Acted[0].Began == 0 || hello.Acted[0].At < hello.Acted[0].Began {
		t.Errorf("acted: %+v", hello.Acted)
	}
	for i := range 3 * shownActions {
		s.page.note(acted{Name: "again", Began: int64(i)})
	}
	if got := s.page.done(); len(got) != shownActions || got[0].Began != 2*shownActions {
		t.Errorf("%d actions are remembered, from %d", len(got), got[0].Began)
	}
}
