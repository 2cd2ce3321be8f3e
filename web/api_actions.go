package web

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// tokenHeader carries the token that the page was given at its start. A form or a simple request of another origin can't set it.
const tokenHeader = "X-Firstclick-Token"

// acted is how an action stands, as it is told to all who look.
type acted struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	ID    int64  `json:"id,omitempty"`
	State string `json:"state"` // running, done, failed
	Text  string `json:"text"`
	Began int64  `json:"began"` // milliseconds since the epoch; with the name it tells one action from another
	At    int64  `json:"at"`    // of this state
}

var (
	errForeign = errors.New("this did not come from this page")
	errToken   = errors.New("the token is not that of this start: load the page again")
)

// checkOrigin lets nothing pass that another site's page may have sent, and asks for a sign that it is ours.
func (p *Page) checkOrigin(r *http.Request) error {
	if foreign(r) || r.Header.Get("Sec-Fetch-Site") != "same-origin" && r.Header.Get("Origin") == "" {
		return errForeign
	}
	if subtle.ConstantTimeCompare([]byte(r.Header.Get(tokenHeader)), []byte(p.token)) != 1 {
		return errToken
	}
	return nil
}

func (p *Page) serveAction(w http.ResponseWriter, r *http.Request) {
	if len(p.cfg.Actions) == 0 {
		refuse(w, http.StatusForbidden, "this page only looks: it was started without --ui-actions")
		return
	}
	if err := p.checkOrigin(r); err != nil {
		refuse(w, http.StatusForbidden, err.Error())
		return
	}
	action := p.action(r.PathValue("name"))
	if action == nil {
		refuse(w, http.StatusNotFound, "there is no such action")
		return
	}
	var body struct {
		ID int64 `json:"id"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024)).Decode(&body)
	if err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, "the request is no JSON object with an id")
		return
	}
	if !action.Letter {
		body.ID = 0
	}
	switch err := p.act(action, body.ID); {
	case errors.Is(err, errBusy):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		answer(w, http.StatusAccepted, struct {
			Started string `json:"started"`
		}{action.Name})
	}
}

func (p *Page) action(name string) *Action {
	for i := range p.cfg.Actions {
		if p.cfg.Actions[i].Name == name {
			return &p.cfg.Actions[i]
		}
	}
	return nil
}

var (
	errBusy    = errors.New("that is under way already")
	errStopped = errors.New("the page is not running")
)

// act begins an action. Run waits for its end.
func (p *Page) act(a *Action, id int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx := p.working
	if ctx == nil || ctx.Err() != nil {
		return errStopped
	}
	if p.busy[a.Name] {
		return errBusy
	}
	p.busy[a.Name] = true
	began := time.Now().UnixMilli()
	say := func(state, text string) {
		one := acted{a.Name, a.Title, id, state, clip(text), began, time.Now().UnixMilli()}
		p.note(one)
		p.hub.tell("action", one)
	}
	say("running", "")
	p.actions.Go(func() {
		text, err := a.Do(ctx, id)
		p.mu.Lock()
		delete(p.busy, a.Name)
		p.mu.Unlock()
		if err != nil {
			p.log.WarnContext(ctx, "an action of the page", "action", a.Name, "cause", err)
			say("failed", err.Error())
		} else {
			p.log.InfoContext(ctx, "an action of the page", "action", a.Name, "result", text)
			say("done", text)
		}
		select {
		case p.nudge <- struct{}{}: // whether all is well after it is what everybody waits for
		default:
		}
	})
	return nil
}

// shownActions is how many of the last actions a page is told of that comes later.
const shownActions = 12

// note keeps how an action stands for pages that come later.
func (p *Page) note(one acted) {
	p.noted.Lock()
	defer p.noted.Unlock()
	for i := range p.past {
		if p.past[i].Name == one.Name && p.past[i].Began == one.Began {
			p.past[i] = one
			return
		}
	}
	p.past = append(p.past, one)
	if len(p.past) > shownActions {
		p.past = append([]acted(nil), p.past[len(p.past)-shownActions:]...)
	}
}

func (p *Page) done() []acted {
	p.noted.Lock()
	defer p.noted.Unlock()
	return append([]acted{}, p.past...)
}
