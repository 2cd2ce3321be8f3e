package audit

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
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
		if _, err := admin.CreateTopic(m.w.t.Context(), int32(n), 1, map[string]*string{"cleanup.policy": &policy},
			m.topic(name)); err != nil {
			m.t.Fatal(err)
		}
		m.ends[name] = make([]int64, n)
	}
	span := 20 + m.random.IntN(200)
	event := func(prefix string, i int) modelEvent {
		e := modelEvent{id: fmt.Sprintf("%s%02d", prefix, i), user: 1 + m.random.IntN(3),
			minutes: float64(m.random.IntN(span))}
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
	r := &kgo.Record{Topic: topic, Partition: int32(e.partition), Value: []byte(value),
		Timestamp: noon.Add(time.Duration(e.stamp * float64(time.Minute)))}
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
			c.late = c.late || c.minutes < sh.final && c.offset < sh.clicks[c.partition] &&
				c.offset >= m.starts[clicksName][c.partition] && m.random.IntN(8) == 0
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
				return c.offset >= m.starts[clicksName][c.partition] && c.offset < sh.clicks[c.partition] &&
					!(c.late && k.minutes < sh.final)
			}))
		}
		m.rows[k.id] = row
	}
	// What the shards store of what they have read.
	for s := range m.shards {
		sh := &m.shards[s]
		sh.recent = sh.next
		for _, k := range m.checkouts {
			if k.partition == s && k.offset >= m.starts[checkoutsName][s] && k.offset < sh.next &&
				k.minutes >= sh.final {
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
		if c.user == k.user && c.minutes <= k.minutes && c.minutes >= k.minutes-60 && counts(c) &&
			(best.id == "" || c.minutes < best.minutes || c.minutes == best.minutes && c.id < best.id) {
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
	w.exec(`TRUNCATE firstclick.progress, firstclick.offsets, firstclick.late, firstclick.dead_letters,
		commerce.attributed_checkouts`)
	when := func(minutes float64) *time.Time {
		if math.IsInf(minutes, 0) {
			return nil
		}
		return new(noon.Add(time.Duration(minutes * float64(time.Minute))))
	}
	w.exec(`INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic, window_length, lateness,
		out_of_order, time_zone, start, clicks_start, checkouts_start, created_at)
		VALUES ('g', $1, $2, '1 hour', '15 minutes', '15 seconds', 'UTC', 'latest', $3, $4, $5)`,
		m.topic(clicksName), m.topic(checkoutsName), m.starts[clicksName], m.starts[checkoutsName], when(m.created))
	for s, sh := range m.shards {
		latest := make([]*time.Time, len(sh.clicks))
		for _, c := range m.clicks {
			if p := c.partition; c.offset < sh.clicks[p] && c.offset >= m.starts[clicksName][p] &&
				(latest[p] == nil || latest[p].Before(*when(c.minutes))) {
				latest[p] = when(c.minutes)
			}
		}
		recent, restore := sh.recent, sh.restore
		if !sh.known {
			recent, restore, latest = m.starts[checkoutsName][s], m.starts[clicksName], []*time.Time{}
		}
		w.exec(`INSERT INTO firstclick.offsets (group_id, topic, partition, next_offset, recent_offset, clicks_next,
			clicks_restore, clicks_latest, final_before, expire_before)
			VALUES ('g', $1, $2, $3, $4, $5, $6, $7, $8, $9)`, m.topic(checkoutsName), s, sh.next, recent, sh.clicks,
			restore, latest, when(sh.final), when(sh.final-60))
	}
	for _, c := range m.clicks {
		if c.late {
			w.exec(`INSERT INTO firstclick.late (group_id, topic, partition, "offset", kind, event_id, user_id,
				product_id, event_time, recorded_at)
				VALUES ('g', $1, $2, $3, 'click', $4, $5, 'p', $6, $7)`,
				m.topic(clicksName), c.partition, c.offset, c.id, c.user, when(c.minutes), when(c.minutes+60))
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
