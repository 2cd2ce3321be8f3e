package web

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firstclick/internal/pgtest"
	"firstclick/pipeline"
	"firstclick/pipeline/sink"
)

func TestTrouble(t *testing.T) {
	now := time.Now()
	well := pipeline.Stats{Status: pipeline.Status{At: now, EndsAt: now, Ready: true,
		Shards: []pipeline.ShardStats{{}}}}
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
		"not begun": {&pipeline.Stats{}, map[string]string{}},
		"well":      {&well, map[string]string{}},
		"Kafka is deaf": {with(func(st *pipeline.Stats) { st.EndsAt = now.Add(-4 * time.Second) }),
			map[string]string{"clicks": "does not answer", "checkouts": "does not answer"}},
		"Postgres refuses": {with(func(st *pipeline.Stats) {
			st.Sink = sink.Stats{LastError: "disk " +
				"full"}
			st.Users.Connected = false
		}),
			map[string]string{"postgres": "does not take rows", "users": "stream is down"}},
		"a stand-by needs no stream": {with(func(st *pipeline.Stats) { st.Users.Connected, st.Shards = false, nil }),
			map[string]string{}},
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

// A page that is opened later shows the last actions. A verification follows an action at once.
func TestActionsAreRememberedAndVerified(t *testing.T) {
	verified := make(chan struct{}, 100)
	s := begin(t, "127.0.0.1:0", pgtest.New(t), func(cfg *PageConfig) {
		cfg.Verify = func(context.Context) (Verdict, error) { verified <- struct{}{}; return Verdict{OK: true}, nil }
		cfg.VerifyEvery = time.Hour
		cfg.Actions = []Action{
			{
				Name:  "poke",
				Title: "Poke it",
				Do:    func(context.Context, int64) (string, error) { return "It was poked", nil },
			},
		}
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
	if len(hello.Acted) != 1 || hello.Acted[0].State != "done" || hello.Acted[0].Text != "It was poked" ||
		hello.Acted[0].Began == 0 ||
		hello.Acted[0].At < hello.Acted[0].Began {
		t.Errorf("acted: %+v", hello.Acted)
	}
	for i := range 3 * shownActions {
		s.page.record(actionState{Name: "again", Began: int64(i)})
	}
	if got := s.page.hello().Acted; len(got) != shownActions || got[0].Began != 2*shownActions {
		t.Errorf("%d actions are remembered, from %d", len(got), got[0].Began)
	}
}

func TestActions(t *testing.T) {
	dsn := pgtest.New(t)
	release := make(chan struct{})
	var did atomic.Int64
	s := begin(t, "127.0.0.1:0", dsn, func(cfg *PageConfig) {
		cfg.Actions = []Action{{Name: "slow", Title: "Slow", Do: func(ctx context.Context, _ int64) (string, error) {
			did.Add(1)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return "done", nil
		}}}
	})
	good := func(change map[string]string) map[string]string {
		h := map[string]string{"Origin": s.base, "Sec-Fetch-Site": "same-origin", tokenHeader: s.page.token}
		for name, value := range change {
			h[name] = value
		}
		return h
	}
	for _, c := range []struct {
		name, method, path string
		headers            map[string]string
		want               int
	}{
		{"nothing", "POST", "slow", nil, 403},
		{"only a token", "POST", "slow", map[string]string{tokenHeader: s.page.token}, 403},
		{"another token", "POST", "slow", good(map[string]string{tokenHeader: "guess"}), 403},
		{"no token", "POST", "slow", map[string]string{"Origin": s.base}, 403},
		{"another origin", "POST", "slow", good(map[string]string{"Origin": "https://evil.example"}), 403},
		{"origin null", "POST", "slow", good(map[string]string{"Origin": "null"}), 403},
		{"another port", "POST", "slow", good(map[string]string{"Origin": "http://127.0.0.1:1"}), 403},
		{"another site", "POST", "slow", good(map[string]string{"Sec-Fetch-Site": "cross-site"}), 403},
		{"the same site", "POST", "slow", good(map[string]string{"Sec-Fetch-Site": "same-site"}), 403},
		{"GET", "GET", "slow", good(nil), 404},
		{"unknown", "POST", "other", good(nil), 404},
		{"good", "POST", "slow", good(nil), 202},
		{"twice", "POST", "slow", good(nil), 409},
	} {
		if answer, body := ask(t, c.method, s.base+"/api/actions/"+c.path, c.headers); answer.StatusCode != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, answer.StatusCode, body, c.want)
		}
	}
	close(release)
	s.stop() // waits for the action
	if did.Load() != 1 {
		t.Errorf("done %d times", did.Load())
	}
}

func TestNoActionsUnlessAsked(t *testing.T) {
	s := begin(t, "127.0.0.1:0", pgtest.New(t), nil)
	answer, body := ask(
		t,
		"POST",
		s.base+"/api/actions/drop-letter",
		map[string]string{"Origin": s.base, tokenHeader: s.page.token},
	)
	if answer.StatusCode != http.StatusForbidden || !strings.Contains(body, "--ui-actions") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	if h := s.page.hello(); h.Token != "" {
		t.Error("a token that opens nothing was given out")
	}
}
