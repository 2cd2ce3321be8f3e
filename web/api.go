package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/escape"
)

// answer writes a value as JSON.
func answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "encode the answer: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // an error means that the client has gone
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}

// maxID is the largest length of a checkout_id in bytes: see docs/semantics.md#decoding.
const maxID = 255

func (p *Page) serveExplain(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	switch {
	case p.cfg.Explain == nil:
		refuse(w, http.StatusNotFound, "this page cannot explain checkouts")
		return
	case id == "" || len(id) > maxID || !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		refuse(w, http.StatusBadRequest, "a checkout_id is a text of 1 to 255 bytes")
		return
	}
	select {
	case p.explaining <- struct{}{}:
		defer func() { <-p.explaining }()
	default:
		refuse(w, http.StatusServiceUnavailable, "other explanations are under way: try again in a moment")
		return
	}
	// A recorder in tests has no deadline.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(explainWithin + writeWithin))
	ctx, cancel := context.WithTimeout(r.Context(), explainWithin)
	defer cancel()
	explanation, err := p.cfg.Explain(ctx, id)
	if err != nil {
		refuse(w, http.StatusBadGateway, err.Error())
		return
	}
	answer(w, http.StatusOK, explanation)
}

// letter is a dead letter in the list. Its texts are foreign: they leave as JSON with everything
// unprintable escaped, and the page shows them as text.
type letter struct {
	ID         int64      `json:"id"`
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Offset     int64      `json:"offset"`
	Reason     string     `json:"reason"`
	Detail     string     `json:"detail"`
	Size       int64      `json:"size"`
	RecordTime *time.Time `json:"record_time"`
	CreatedAt  time.Time  `json:"created_at"`
	Status     string     `json:"status"`
}

// openLetter is a dead letter with its payload.
type openLetter struct {
	letter
	SHA256  string `json:"sha256"`
	Kept    bool   `json:"kept"`
	Payload string `json:"payload"`
	Cut     bool   `json:"cut"` // the payload is longer than what is shown
}

const (
	letterColumns = `id, left(topic, 249), partition, "offset", left(reason, 40), left(detail, 1000), payload_size,
		record_time, created_at, status`
	lettersAtOnce = 50
	payloadShown  = 64 << 10 // bytes
)

func (l *letter) fields() []any {
	return []any{
		&l.ID, &l.Topic, &l.Partition, &l.Offset, &l.Reason, &l.Detail, &l.Size, &l.RecordTime, &l.CreatedAt, &l.Status,
	}
}

func (p *Page) serveLetters(w http.ResponseWriter, r *http.Request) {
	before := int64(1<<63 - 1)
	if text := r.URL.Query().Get("before"); text != "" {
		var err error
		if before, err = strconv.ParseInt(text, 10, 64); err != nil {
			refuse(w, http.StatusBadRequest, "before is not an id")
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryWithin)
	defer cancel()
	rows, err := p.pool.Query(ctx, `SELECT `+letterColumns+` FROM firstclick.dead_letters
		WHERE group_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, p.cfg.Group, before, lettersAtOnce)
	list := []letter{}
	if err == nil {
		list, err = pgx.AppendRows(list, rows, func(row pgx.CollectableRow) (l letter, err error) {
			err = row.Scan(l.fields()...)
			l.Detail = printable([]byte(l.Detail))
			return l, err
		})
	}
	if err != nil {
		refuse(w, http.StatusBadGateway, "read the dead letters: "+err.Error())
		return
	}
	answer(w, http.StatusOK, list)
}

func (p *Page) serveLetter(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "that is not an id of a dead letter")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryWithin)
	defer cancel()
	var l openLetter
	var payload []byte
	err = p.pool.QueryRow(ctx, `SELECT `+letterColumns+`, coalesce(encode(payload_sha256, 'hex'), ''),
		payload IS NOT NULL OR payload_size = 0 AND reason <> 'refused_click', substring(payload FROM 1 FOR $3)
		FROM firstclick.dead_letters WHERE group_id = $1 AND id = $2`, p.cfg.Group, id, payloadShown+1).
		Scan(append(l.fields(), &l.SHA256, &l.Kept, &payload)...)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		refuse(w, http.StatusNotFound, "there is no dead letter "+strconv.FormatInt(id, 10))
		return
	case err != nil:
		refuse(w, http.StatusBadGateway, "read the dead letter: "+err.Error())
		return
	}
	if len(payload) > payloadShown {
		payload, l.Cut = payload[:payloadShown], true
	}
	l.Payload, l.Detail = printable(payload), printable([]byte(l.Detail))
	answer(w, http.StatusOK, l)
}

// printable escapes control and format characters, which can hide or reorder text, and bytes that
// are not UTF-8. Line breaks stay.
func printable(text []byte) string { return string(escape.Lines(text)) }
