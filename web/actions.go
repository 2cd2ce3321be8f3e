package web

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"
)

// Action is something that the page may do. One action of a name runs at a time.
type Action struct {
	Name   string // stable word, part of the address
	Title  string // on the button
	About  string // what will happen, one sentence
	Letter bool   // is for one dead letter, whose id is the argument of Do; else the argument is 0

	// Do returns one line about what was done.
	Do func(ctx context.Context, id int64) (string, error) `json:"-"`
}

// actionState is how an action stands, as the page shows it.
type actionState struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	ID    int64  `json:"id,omitempty"`
	State string `json:"state"` // running, done, failed
	Text  string `json:"text"`
	Began int64  `json:"began"` // milliseconds since the epoch; identifies the action, with its name
	At    int64  `json:"at"`    // of this state
}

func (p *Page) serveAction(w http.ResponseWriter, r *http.Request) {
	if len(p.cfg.Actions) == 0 {
		refuse(w, http.StatusForbidden, "this page has no actions: it was started without --ui-actions")
		return
	}
	// Of an action the request must show that it comes from the page of this start.
	if foreign(r) || r.Header.Get("Sec-Fetch-Site") != "same-origin" && r.Header.Get("Origin") == "" {
		refuse(w, http.StatusForbidden, refusedForeign)
		return
	}
	if subtle.ConstantTimeCompare([]byte(r.Header.Get(tokenHeader)), []byte(p.token)) != 1 {
		refuse(w, http.StatusForbidden, "the token is not that of this start: load the page again")
		return
	}
	name := r.PathValue("name")
	i := slices.IndexFunc(p.cfg.Actions, func(a Action) bool { return a.Name == name })
	if i < 0 {
		refuse(w, http.StatusNotFound, "there is no such action")
		return
	}
	var body struct {
		ID int64 `json:"id"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024)).Decode(&body)
	if err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, "the request is not a JSON object with an id")
		return
	}
	if !p.cfg.Actions[i].Letter {
		body.ID = 0
	}
	switch err := p.act(&p.cfg.Actions[i], body.ID); {
	case errors.Is(err, errBusy):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		answer(w, http.StatusAccepted, map[string]string{"started": name})
	}
}

var errBusy = errors.New("this action is already running")

// act begins an action. The stop of [Page.start] waits for its end.
func (p *Page) act(a *Action, id int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx := p.running
	if ctx == nil {
		return errClosed
	}
	if p.busy[a.Name] {
		return errBusy
	}
	p.busy[a.Name] = true
	state := actionState{Name: a.Name, Title: a.Title, ID: id, State: "running", Began: time.Now().UnixMilli()}
	p.actions.Go(func() {
		p.record(state)
		text, err := a.Do(ctx, id)
		if err != nil {
			p.log.WarnContext(ctx, "an action of the page", "action", a.Name, "cause", err)
			state.State, state.Text = "failed", clip(err.Error())
		} else {
			p.log.InfoContext(ctx, "an action of the page", "action", a.Name, "result", text)
			state.State, state.Text = "done", clip(text)
		}
		p.mu.Lock()
		delete(p.busy, a.Name)
		p.mu.Unlock()
		p.record(state)
		select {
		case p.acted <- struct{}{}:
		default:
		}
	})
	return nil
}

// shownActions is how many of the last actions a new stream is sent.
const shownActions = 12

// record sends the state of an action, and keeps it for new streams.
func (p *Page) record(state actionState) {
	state.At = time.Now().UnixMilli()
	p.mu.Lock()
	i := slices.IndexFunc(p.past, func(s actionState) bool { return s.Name == state.Name && s.Began == state.Began })
	if i >= 0 {
		p.past[i] = state
	} else {
		p.past = append(p.past[max(len(p.past)+1-shownActions, 0):len(p.past):len(p.past)], state)
	}
	p.mu.Unlock()
	p.hub.send("action", state)
}
