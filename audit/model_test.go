package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// The model makes a table as the rules say, by brute force: random topics, shards at random
// positions, a group that began somewhere, clicks that came too late; and then retention and
// compaction take what they like. Verify must not call it wrong. Then one thing in it is falsified.
// Verify must call that wrong wherever what is left in Kafka, and what is stored, tells.

type modelEvent struct {
	id        string
	user      int
	minutes   float64 // event time
	partition int
	offset    int64
	gone      bool // compaction took it
	late      bool // a click that is noted in firstclick.late
	stamp     float64
}

type modelRow struct {
	id      string
	minutes float64
	user    int
	click   string
	at      float64
	evil    bool // an own column is not the record's
}

type modelShard struct {
	next, recent int64
	clicks       []int64
	restore      []int64
	final        float64 // -Inf: nothing
	known        bool
}

type model struct {
	t          *rapid.T
	w          *world
	n          int // of the run
	random     *rand.Rand
	clicks     []modelEvent
	checkouts  []modelEvent
	ends       map[string][]int64
	starts     map[string][]int64
	logs       map[string][]int64
	compacted  map[string]bool
	shards     []modelShard
	rows       map[string]modelRow
	created    float64
	partitions map[string]int
}

const (
	clicksName    = "clicks"
	checkoutsName = "checkouts"
)

var modelTopics = []string{clicksName, checkoutsName}

func (m *model) events(name string) []modelEvent {
	if name == clicksName {
		return m.clicks
	}
	return m.checkouts
}

func (m *model) topic(name string) string { return fmt.Sprintf("%s-%d", name, m.n) }

func (m *model) chance(n int) bool { return m.random.IntN(n) == 0 }

// draw makes the topics.
func (m *model) draw() {
	m.partitions = map[string]int{clicksName: 1 + m.random.IntN(3), checkoutsName: 1 + m.random.IntN(3)}
	m.compacted = map[string]bool{clicksName: m.chance(4), checkoutsName: m.chance(4)}
	admin := kadm.NewClient(m.w.client())
	m.ends = map[string][]int64{}
	for _, name := range modelTopics {
		n := m.partitions[name]
		policy := "delete"
		if m.compacted[name] {
			policy = "compact,delete"
		}
		if _, err := admin.CreateTopic(m.w.t.Context(), int32(n), 1, map[string]*string{"cleanup.policy": &policy}, m.topic(name)); err != nil {
			m.t.Fatal(err)
		}
		m.ends[name] = make([]int64, n)
	}
	span := 20 + m.random.IntN(200)
	event := func(prefix string, i int) modelEvent {
		e := modelEvent{id: fmt.Sprintf("%s%02d", prefix, i), user: 1 + m.random.IntN(3), minutes: float64(m.random.IntN(span))}
		e.stamp = e.minutes + float64(m.random.IntN(2)*m.random.IntN(60))
		return e
	}
	for i := range 5 + m.random.IntN(30) {
		m.clicks = append(m.clicks, event("c", i))
	}
	for i := range 3 + m.random.IntN(15) {
		m.checkouts = append(m.checkouts, event("k", i))
		if m.chance(3) { // a duplicate
			m.checkouts = append(m.checkouts, m.checkouts[m.random.IntN(len(m.checkouts))])
		}
	}
	for _, name := range modelTopics {
		events := m.events(name)
		slices.SortStableFunc(events, func(a, b modelEvent) int { return cmp.Compare(a.stamp, b.stamp) })
		for i := range events {
			e := &events[i]
			e.partition = m.random.IntN(m.partitions[name])
			e.gone = m.compacted[name] && m.chance(6)
			value := clickOf(e.id, e.user, "p", e.minutes)
			if name == checkoutsName {
				value = checkoutOf(e.id, e.user, "p", e.minutes)
			}
			e.offset = m.ends[name][e.partition]
			m.ends[name][e.partition] += m.produce(m.topic(name), e, value)
		}
	}
	// The group begins somewhere; what it begins with is drawn by place.
	m.starts, m.logs, m.created = map[string][]int64{}, map[string][]int64{}, -1
	begins := m.chance(3)
	for _, name := range modelTopics {
		ends := m.ends[name]
		m.starts[name], m.logs[name] = make([]int64, len(ends)), make([]int64, len(ends))
		for p, end := range ends {
			if begins {
				m.starts[name][p] = m.random.Int64N(end/2 + 1)
			}
		}
	}
	for _, name := range modelTopics {
		for _, e := range m.events(name) {
			if e.offset < m.starts[name][e.partition] {
				m.created = max(m.created, e.stamp+1)
			}
		}
	}
}

// produce appends the record; one that compaction takes is there as an offset only, as an aborted
// one is.
func (m *model) produce(topic string, e *modelEvent, value string) (offsets int64) {
	r := &kgo.Record{Topic: topic, Partition: int32(e.partition), Value: []byte(value), Timestamp: noon.Add(time.Duration(e.stamp * float64(time.Minute)))}
	client := m.w.producer
	if e.gone {
		client = m.w.aborter
		if err := client.BeginTransaction(); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := client.ProduceSync(m.w.t.Context(), r).FirstErr(); err != nil {
		m.t.Fatal(err)
	}
	if !e.gone {
		return 1
	}
	if err := client.EndTransaction(m.w.t.Context(), kgo.TryAbort); err != nil {
		m.t.Fatal(err)
	}
	return 2
}

// run lets the shards read up to somewhere and writes the rows that are right then.
func (m *model) run() {
	m.shards = make([]modelShard, m.partitions[checkoutsName])
	for s := range m.shards {
		sh := &m.shards[s]
		start, end := m.starts[checkoutsName][s], m.ends[checkoutsName][s]
		sh.final = math.Inf(-1)
		sh.next, sh.recent = end, start
		if m.chance(3) {
			sh.next = start + m.random.Int64N(end-start+1)
		}
		if !m.chance(3) {
			sh.final = float64(m.random.IntN(200)) + 0.5
		}
		for p, end := range m.ends[clicksName] {
			start := m.starts[clicksName][p]
			if m.chance(4) {
				end = start + m.random.Int64N(end-start+1)
			}
			sh.clicks = append(sh.clicks, end)
		}
		sh.known = !m.chance(4)
	}
	for i := range m.clicks {
		c := &m.clicks[i]
		for _, sh := range m.shards {
			c.late = c.late || c.minutes < sh.final && c.offset < sh.clicks[c.partition] && c.offset >= m.starts[clicksName][c.partition] && m.random.IntN(8) == 0
		}
	}
	m.rows = map[string]modelRow{}
	for _, k := range m.checkouts {
		row, there := m.rows[k.id]
		if !there {
			row = modelRow{id: k.id, minutes: k.minutes, user: k.user}
		}
		sh := m.shards[k.partition]
		switch {
		case k.offset < m.starts[checkoutsName][k.partition]:
			if there || m.chance(3) { // another job's row, or none
				continue
			}
			if c := m.clicks[m.random.IntN(len(m.clicks))]; c.minutes <= k.minutes && !m.dup(k.id) {
				row.click, row.at = c.id, c.minutes
			}
		case k.offset >= sh.next:
			continue
		default:
			row.take(m.best(k, func(c modelEvent) bool {
				return c.offset >= m.starts[clicksName][c.partition] && c.offset < sh.clicks[c.partition] && !(c.late && k.minutes < sh.final)
			}))
		}
		m.rows[k.id] = row
	}
	// What the shards store of what they have read.
	for s := range m.shards {
		sh := &m.shards[s]
		sh.recent = sh.next
		for _, k := range m.checkouts {
			if k.partition == s && k.offset >= m.starts[checkoutsName][s] && k.offset < sh.next && k.minutes >= sh.final {
				sh.recent = min(sh.recent, k.offset)
			}
		}
		sh.restore = slices.Clone(sh.clicks)
		for _, c := range m.clicks {
			if c.minutes >= sh.final-60 && c.offset >= m.starts[clicksName][c.partition] {
				sh.restore[c.partition] = min(sh.restore[c.partition], c.offset)
			}
		}
	}
}

func (m *model) dup(id string) bool {
	n := 0
	for _, k := range m.checkouts {
		if k.id == id {
			n++
		}
	}
	return n > 1
}

func (r *modelRow) take(c modelEvent) {
	if c.id != "" && (r.click == "" || c.minutes < r.at || c.minutes == r.at && c.id < r.click) {
		r.click, r.at = c.id, c.minutes
	}
}

func (m *model) best(k modelEvent, counts func(modelEvent) bool) (best modelEvent) {
	for _, c := range m.clicks {
		if c.user == k.user && c.minutes <= k.minutes && c.minutes >= k.minutes-60 && counts(c) && (best.id == "" || c.minutes < best.minutes || c.minutes == best.minutes && c.id < best.id) {
			best = c
		}
	}
	return best
}

// lose takes records from the beginning of some partitions.
func (m *model) lose() {
	for _, name := range modelTopics {
		ends := m.ends[name]
		for p, end := range ends {
			if m.chance(2) {
				continue
			}
			m.logs[name][p] = m.random.Int64N(end + 1)
			if m.chance(2) {
				m.logs[name][p] = min(end, 1)
			}
			m.w.deleteBelow(m.topic(name), int32(p), m.logs[name][p])
		}
	}
}

// store writes all of it to Postgres.
func (m *model) store() {
	w := m.w
	w.exec(`TRUNCATE firstclick.progress, firstclick.offsets, firstclick.late, firstclick.dead_letters, commerce.attributed_checkouts`)
	when := func(minutes float64) *time.Time {
		if math.IsInf(minutes, 0) {
			return nil
		}
		return new(noon.Add(time.Duration(minutes * float64(time.Minute))))
	}
	w.exec(`INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic, window_length, lateness, out_of_order, time_zone, start, clicks_start, checkouts_start, created_at)
		VALUES ('g', $1, $2, '1 hour', '15 minutes', '15 seconds', 'UTC', 'latest', $3, $4, $5)`,
		m.topic(clicksName), m.topic(checkoutsName), m.starts[clicksName], m.starts[checkoutsName], when(m.created))
	for s, sh := range m.shards {
		latest := make([]*time.Time, len(sh.clicks))
		for _, c := range m.clicks {
			if p := c.partition; c.offset < sh.clicks[p] && c.offset >= m.starts[clicksName][p] && (latest[p] == nil || latest[p].Before(*when(c.minutes))) {
				latest[p] = when(c.minutes)
			}
		}
		recent, restore := sh.recent, sh.restore
		if !sh.known {
			recent, restore, latest = m.starts[checkoutsName][s], m.starts[clicksName], []*time.Time{}
		}
		w.exec(`INSERT INTO firstclick.offsets (group_id, topic, partition, next_offset, recent_offset, clicks_next, clicks_restore, clicks_latest, final_before, expire_before)
			VALUES ('g', $1, $2, $3, $4, $5, $6, $7, $8, $9)`, m.topic(checkoutsName), s, sh.next, recent, sh.clicks, restore, latest, when(sh.final), when(sh.final-60))
	}
	for _, c := range m.clicks {
		if c.late {
			w.exec(`INSERT INTO firstclick.late (group_id, topic, partition, "offset", kind, event_id, user_id, product_id, event_time, recorded_at)
				VALUES ('g', $1, $2, $3, 'click', $4, $5, 'p', $6, $7)`, m.topic(clicksName), c.partition, c.offset, c.id, c.user, when(c.minutes), when(c.minutes+60))
		}
	}
	m.storeRows()
}

func (m *model) storeRows() {
	m.w.exec(`TRUNCATE commerce.attributed_checkouts`)
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		r := m.rows[id]
		m.w.row(r.id, "", "p", r.minutes, r.click, r.at)
		if r.evil {
			m.w.exec(`UPDATE commerce.attributed_checkouts SET ip_address = 'evil' WHERE checkout_id = $1`, id)
		}
	}
}

func (m *model) held(name string, e modelEvent) bool {
	return !e.gone && e.offset >= m.logs[name][e.partition]
}

// losses counts the offsets that are gone of what was read, and says whether any lie below the
// start.
func (m *model) losses(name string) (n int64, beforeStart bool) {
	for p := range m.ends[name] {
		start, log := m.starts[name][p], m.logs[name][p]
		var next int64
		for s, sh := range m.shards {
			if name == clicksName {
				next = max(next, sh.clicks[p])
			} else if s == p {
				next = sh.next
			}
		}
		n += max(0, min(log, next)-start)
		beforeStart = beforeStart || start > 0 && log > 0
		if !m.compacted[name] {
			continue
		}
		for _, e := range m.events(name) {
			if e.gone && e.partition == p && e.offset+1 >= log {
				n += 2 // with what marks it as aborted
				beforeStart = beforeStart || e.offset < start
			}
		}
	}
	return n, beforeStart
}

// falsify changes one thing. certain says that verify must see it.
func (m *model) falsify() (what string, certain bool) {
	ids := slices.Sorted(maps.Keys(m.rows))
	if len(ids) == 0 || m.chance(4) {
		return m.inventRow()
	}
	id := ids[m.random.IntN(len(ids))]
	row := m.rows[id]
	var records []modelEvent // that the row must do for
	readable := false
	before := false
	for _, k := range m.checkouts {
		if k.id != id {
			continue
		}
		start := m.starts[checkoutsName][k.partition]
		before = before || k.offset < start
		if m.held(checkoutsName, k) && k.offset >= start && k.offset < m.shards[k.partition].next {
			readable = true
			records = append(records, k)
		}
	}
	switch m.random.IntN(5) {
	case 0:
		delete(m.rows, id)
		return "row " + id + " deleted", readable
	case 1:
		row.evil = true
		m.rows[id] = row
		return "own column of " + id, readable
	case 2:
		row.click, row.at = "", 0
	case 3:
		c := m.clicks[m.random.IntN(len(m.clicks))]
		row.click, row.at = c.id, c.minutes
	case 4:
		row.click, row.at = "invented", row.minutes-float64(m.random.IntN(70))+0.25
	}
	if row == m.rows[id] {
		return "nothing", false
	}
	m.rows[id] = row
	return fmt.Sprintf("click of %s is now %q at %g", id, row.click, row.at), m.certain(row, records, before)
}

// certain says whether the row's click can be known to be wrong.
func (m *model) certain(row modelRow, records []modelEvent, before bool) bool {
	if len(records) == 0 {
		return false
	}
	if row.click != "" && (row.at > row.minutes || row.at < row.minutes-60) {
		return true
	}
	real := false
	for _, c := range m.clicks {
		real = real || c.id == row.click && c.minutes == row.at && c.user == row.user && (m.held(clicksName, c) || c.late)
	}
	// Worse than what is known to have been read in time.
	first := map[int]bool{}
	for _, k := range records {
		if first[k.partition] && !before { // equal to one that came before it
			continue
		}
		first[k.partition] = true
		sh := m.shards[k.partition]
		sure := m.best(k, func(c modelEvent) bool {
			return m.held(clicksName, c) && c.offset >= m.starts[clicksName][c.partition] && c.offset < sh.clicks[c.partition] && !(c.late && k.minutes < sh.final)
		})
		if sure.id != "" && (row.click == "" || row.at > sure.minutes || row.at == sure.minutes && row.click > sure.id) {
			return true
		}
	}
	if real || row.click == "" {
		return false
	}
	// Of what is lost.
	n, beforeStart := m.losses(clicksName)
	if beforeStart {
		return false
	}
	claimed := map[string]bool{}
	for _, r := range m.rows {
		there := r.click == ""
		readable := false
		for _, c := range m.clicks {
			there = there || c.id == r.click && c.minutes == r.at && c.user == r.user && (m.held(clicksName, c) || c.late)
		}
		for _, k := range m.checkouts {
			readable = readable || k.id == r.id && m.held(checkoutsName, k) && k.offset >= m.starts[checkoutsName][k.partition]
		}
		if !there && readable {
			claimed[fmt.Sprint(r.user, r.click, r.at)] = true
		}
	}
	latest := -1.0
	known := true
	for _, sh := range m.shards {
		known = known && sh.known
	}
	for _, c := range m.clicks {
		latest = max(latest, c.minutes)
	}
	return int64(len(claimed)) > n || known && row.at > latest
}

func (m *model) inventRow() (string, bool) {
	row := modelRow{id: "invented", user: 1, minutes: float64(m.random.IntN(300))}
	m.rows[row.id] = row
	n, beforeStart := m.losses(checkoutsName)
	bare := int64(0)
	for id := range m.rows {
		if !slices.ContainsFunc(m.checkouts, func(k modelEvent) bool { return k.id == id && m.held(checkoutsName, k) }) {
			bare++
		}
	}
	old := true // whatever is lost is final
	for s, sh := range m.shards {
		old = old && sh.known && !math.IsInf(sh.final, 0) && row.minutes >= sh.final && m.logs[checkoutsName][s] <= sh.recent
	}
	old = old && !m.compacted[checkoutsName]
	return fmt.Sprintf("row at %g", row.minutes), !beforeStart && (bare > n || old)
}

func TestVerifyModel(t *testing.T) {
	w := newWorld(t)
	w.producer = w.client()
	w.aborter = w.client(kgo.TransactionalID("compaction"))
	n := 0
	certain := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		n++
		seed := rapid.Uint64().Draw(t, "seed")
		m := &model{t: t, w: w, n: n, random: rand.New(rand.NewPCG(seed, 1))}
		m.draw()
		m.run()
		m.lose()
		m.store()
		r, err := Verify(context.WithoutCancel(w.t.Context()), w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == VerdictRed {
			t.Fatalf("a right table is called wrong:\n%s\n%s", said(r), m)
		}
		right := maps.Clone(m.rows)
		for range 4 {
			what, must := m.falsify()
			m.storeRows()
			if r, err = Verify(context.WithoutCancel(w.t.Context()), w.cfg); err != nil {
				t.Fatal(err)
			}
			if must {
				certain[strings.Fields(what)[0]]++
			}
			if must && r.Verdict != VerdictRed {
				t.Fatalf("%s: verdict %s\n%s\n%s", what, r.Verdict, said(r), m)
			}
			m.rows = maps.Clone(right)
		}
	})
	for _, what := range []string{"row", "own", "click"} {
		if certain[what] == 0 {
			t.Errorf("never certain of: %s", what)
		}
	}
	t.Log(certain)
}

func said(r *Report) string {
	var b strings.Builder
	_, _ = r.WriteTo(&b) // a buffer takes everything
	return b.String()
}

func (m *model) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "starts %v logs %v ends %v compacted %v created %g\n", m.starts, m.logs, m.ends, m.compacted, m.created)
	for s, sh := range m.shards {
		fmt.Fprintf(&b, "shard %d %+v\n", s, sh)
	}
	for _, e := range slices.Concat(m.clicks, m.checkouts) {
		fmt.Fprintf(&b, "%s user %d at %g: %d/%d gone %v late %v\n", e.id, e.user, e.minutes, e.partition, e.offset, e.gone, e.late)
	}
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		fmt.Fprintf(&b, "row %+v\n", m.rows[id])
	}
	return b.String()
}
