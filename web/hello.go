package web

import "encoding/json"

// hello is the first event of a stream. "history", in parts, and all state follow.
type hello struct {
	Group    string        `json:"group"`
	Version  string        `json:"version"`
	Instance string        `json:"instance"`
	Demo     bool          `json:"demo"`
	Token    string        `json:"token,omitempty"`
	Explain  bool          `json:"explain"`
	Verify   bool          `json:"verify"`
	Actions  []actionInfo  `json:"actions"`
	Acted    []actionState `json:"acted"` // the last actions, the oldest first
	Settings []Setting     `json:"settings"`
}

type actionInfo struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	About  string `json:"about"`
	Letter bool   `json:"letter"`
}

const (
	textShown     = 300      // characters of a foreign text, such as an error, at most
	settingsSize  = 24 << 10 // bytes
	samplesAtOnce = 180      // of the history in an event: they fit even with the longest numbers
)

func (p *Page) hello() hello {
	h := hello{
		Group: clip(p.cfg.Group), Version: p.cfg.Version, Instance: clip(p.cfg.Instance), Demo: p.cfg.Demo,
		Explain: p.cfg.Explain != nil, Verify: p.cfg.Verify != nil, Actions: []actionInfo{}, Acted: []actionState{},
	}
	p.mu.Lock()
	h.Acted = append(h.Acted, p.past...)
	p.mu.Unlock()
	for _, s := range p.cfg.Settings {
		h.Settings = append(h.Settings, Setting{s.Name, clip(s.Value), s.Given})
	}
	h.Settings = fitting(h.Settings, settingsSize, func(s Setting) []any { return []any{s} })
	for _, a := range p.cfg.Actions {
		h.Token = p.token // only a page that may act needs it
		h.Actions = append(h.Actions, actionInfo{a.Name, a.Title, a.About, a.Letter})
	}
	return h
}

// clip cuts a text to textShown characters, and marks the cut.
func clip(text string) string {
	n := 0
	for i := range text {
		if n++; n > textShown {
			return text[:i] + "…"
		}
	}
	return text
}

// fitting returns the first elements of a list that fit into so many bytes together. sent is what
// is sent of an element.
func fitting[T any](list []T, most int, sent func(T) []any) []T {
	for i := range list {
		text, err := json.Marshal(sent(list[i]))
		if most -= len(text); err != nil || most < 0 {
			return list[:i]
		}
	}
	return list
}
