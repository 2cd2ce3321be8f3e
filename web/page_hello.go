package web

import "encoding/json"

// hello is the first event of a stream; "history", in parts, and what is kept follow.
type hello struct {
	Group    string       `json:"group"`
	Version  string       `json:"version"`
	Instance string       `json:"instance"`
	Demo     bool         `json:"demo"`
	Token    string       `json:"token,omitempty"`
	Explain  bool         `json:"explain"`
	Verify   bool         `json:"verify"`
	Actions  []actionInfo `json:"actions"`
	Acted    []acted      `json:"acted"` // the last actions, the oldest first
	Settings []Setting    `json:"settings"`
}

type actionInfo struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	About  string `json:"about"`
	Letter bool   `json:"letter"`
}

const (
	textShown     = 300 // characters of a text that somebody else made, such as an error, at most
	settingsSize  = 24 << 10
	samplesAtOnce = 180 // of the history in an event: with the longest numbers they fit
)

func (p *Page) hello() hello {
	h := hello{
		Group: clip(p.cfg.Group), Version: p.cfg.Version, Instance: clip(p.cfg.Instance), Demo: p.cfg.Demo,
		Explain: p.cfg.Explain != nil, Verify: p.cfg.Verify != nil, Actions: []actionInfo{}, Acted: p.done(),
	}
	for _, s := range p.cfg.Settings {
		h.Settings = append(h.Settings, Setting{s.Name, clip(s.Value), s.Given})
	}
	h.Settings = fitting(h.Settings, settingsSize, func(s Setting) []any { return []any{s} })
	for _, a := range p.cfg.Actions {
		h.Token = p.token // only where it opens something
		h.Actions = append(h.Actions, actionInfo{a.Name, a.Title, a.About, a.Letter})
	}
	return h
}

// greeting is what a stream begins with.
func (p *Page) greeting() [][]byte {
	events := [][]byte{encodeEvent("hello", p.hello())}
	samples := p.feed.recent(kept)
	for len(samples) > 0 {
		n := min(samplesAtOnce, len(samples))
		var part history
		for i := range samples[:n] {
			part.add(&samples[i])
		}
		events, samples = append(events, encodeEvent("history", part)), samples[n:]
	}
	return events
}

// clip shortens a text to textShown characters. What it cuts off it says.
func clip(text string) string {
	n := 0
	for i := range text {
		if n++; n > textShown {
			return text[:i] + "…"
		}
	}
	return text
}

// fitting returns the elements of a list that fit together into so many bytes, from the front. Of each, told is what is sent.
func fitting[T any](list []T, most int, told func(T) []any) []T {
	for i := range list {
		text, err := json.Marshal(told(list[i]))
		if err != nil {
			return list[:i]
		}
		if most -= len(text); most < 0 {
			return list[:i]
		}
	}
	return list
}
