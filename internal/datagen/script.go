package datagen

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
)

// topic is one of the two topics.
type topic uint8

const (
	clicks topic = iota
	checkouts
	topics // how many there are
)

// The extent of the faults in microseconds of event time.
const (
	second = int64(1e6)
	minute = 60 * second

	maxOutOfOrder   = 10 * second
	minLate         = 20 * second
	maxLate         = 20 * minute
	maxDuplicateLag = 5 * second
	minAhead        = minute // below --max-future-skew
	maxAhead        = 4*minute + 30*second
	minRefused      = 6 * minute
	maxRefused      = 60 * minute
)

// continueShare is the probability of the original's coin: randint(1, 100) >= 50.
const continueShare = 0.51

// hotUser is the user of the hot key.
const hotUser = 1

// rankedKeys is how many keys sessions return to, with Config.Zipf.
const rankedKeys = 1_000_000

// mark says how a record is counted.
type mark struct {
	role                                      role
	late, outOfOrder, ahead, refused, unknown bool
	hot                                       bool
	poison                                    int16 // index into Poisons
}

type role uint8

const (
	roleEvent role = iota
	roleDuplicate
	roleConflict
	rolePoison
	roleTooLarge
)

// record is one record to produce. Its value is in the batch's arena.
type record struct {
	from, to  int // from < 0: no value
	clock     int64
	partition int32
	topic     topic
	mark      mark
}

// held is a record that is produced later.
type held struct {
	due   int64
	turn  uint64 // orders the records that are due at the same time
	value []byte
	topic topic
	mark  mark
}

type heldHeap []held

func (h heldHeap) Len() int { return len(h) }
func (h heldHeap) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].turn < h[j].turn
}
func (h heldHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heldHeap) Push(x any)   { *h = append(*h, x.(held)) }
func (h *heldHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = held{}
	*h = (*h)[:last]
	return x
}

// script makes the records in order. It reads no clock: the same calls give the same records.
type script struct {
	cfg        Config
	enc        encoder
	src        *source // of the events
	faults     *source
	partitions [topics]int32

	drawn        int64 // events
	checkoutNext bool  // the coin brought a click and a checkout; the click is drawn
	opened       bool
	user         int32
	product      uuid
	hot          bool
	hotID        uuid
	ranks        *rand.Zipf // nil: every session has a key of its own

	held  heldHeap
	turns uint64
	next  [topics]int32 // partition of the next record
	kinds []Poison
	bad   []badRecord // sent in turn
	turn  int         // the next of bad
}

func newScript(cfg Config, partitions [topics]int32) *script {
	s := &script{
		cfg:        cfg,
		enc:        encoder{pools: newPools(cfg.Seed)},
		src:        newSource(cfg.Seed, streamEvents),
		faults:     newSource(cfg.Seed, streamFaults),
		partitions: partitions,
		kinds:      Poisons(),
	}
	s.hotID = s.faults.uuid()
	if cfg.Zipf > 0 {
		s.ranks = rand.NewZipf(rand.New(newSource(cfg.Seed, streamRanks)), cfg.Zipf, 1, rankedKeys-1)
	}
	s.bad = badRecords(s.kinds)
	for t := range s.next {
		s.next[t] = int32(s.faults.below(uint64(partitions[t])))
	}
	return s
}

// step draws one event at the given event clock. It appends to b what is produced at that moment:
// records that were held until now, the event unless it is held, and bad records.
func (s *script) step(b *batch, clock int64) {
	for len(s.held) > 0 && s.held[0].due <= clock {
		s.release(b, clock)
	}
	s.drawn++
	s.draw(b, clock, s.nextTopic())
	if s.faults.share(s.cfg.Poison) {
		s.poison(b, clock)
	}
	if s.faults.share(s.cfg.TooLarge) {
		s.tooLarge(b, clock)
	}
}

// drain appends the next record that is held, at the clock at which it is due; false if there is
// none.
func (s *script) drain(b *batch) bool {
	if len(s.held) == 0 {
		return false
	}
	s.release(b, s.held[0].due)
	return true
}

func (s *script) release(b *batch, clock int64) {
	h := heap.Pop(&s.held).(held)
	from := len(b.arena)
	b.arena = append(b.arena, h.value...)
	s.emit(b, from, h.topic, clock, h.mark)
}

// emit makes a record of the arena's tail from from on.
func (s *script) emit(b *batch, from int, t topic, clock int64, m mark) {
	p := s.next[t]
	if s.next[t]++; s.next[t] == s.partitions[t] {
		s.next[t] = 0
	}
	b.records = append(b.records, record{from: from, to: len(b.arena), clock: clock, partition: p, topic: t, mark: m})
}

// nextTopic goes to the next event of the session, or begins another session.
func (s *script) nextTopic() topic {
	if s.checkoutNext {
		s.checkoutNext = false
		return checkouts
	}
	if s.opened && s.src.share(continueShare) {
		s.checkoutNext = true
		return clicks
	}
	s.opened = true
	s.user, s.product = 1+int32(s.src.below(uint64(s.cfg.Users))), s.src.uuid()
	s.hot = s.faults.share(s.cfg.HotKey)
	switch {
	case s.ranks != nil && !s.hot:
		key := newSource(s.cfg.Seed, streamKeys+s.ranks.Uint64())
		s.user, s.product = 1+int32(key.below(uint64(s.cfg.Users))), key.uuid()
	case s.hot:
		s.user, s.product = hotUser, s.hotID
	case s.faults.share(s.cfg.UnknownUser):
		s.user = int32(s.cfg.Users) + 1 + int32(s.faults.below(1_000_000))
	}
	return clicks
}

// draw draws an event and puts it, with the copies that the faults add.
func (s *script) draw(b *batch, clock int64, t topic) {
	ev := event{id: s.src.uuid(), user: s.user, product: s.product, time: clock}
	m := mark{hot: s.hot, unknown: s.user >= int32(s.cfg.Users)}
	due := s.disturb(&ev, &m, t)
	from := len(b.arena)
	conflict, cents := false, 0
	if t == clicks {
		b.arena = s.enc.click(b.arena, s.src, &ev)
	} else {
		cents = 1 + int(s.src.below(maxCents))
		b.arena = s.enc.checkout(b.arena, s.src, &ev, cents)
		conflict = !m.refused && s.faults.share(s.cfg.Conflict)
	}
	switch {
	case conflict:
		// There is no equal duplicate besides: whichever of the two is read first, the other one is
		// the one dead letter.
		s.put(b, from, t, clock, due, m)
		other := 1 + (cents+int(s.faults.below(maxCents-1)))%maxCents
		from = len(b.arena)
		b.arena = s.enc.checkout(b.arena, s.faults, &ev, other)
		s.put(b, from, t, clock, s.again(due), mark{role: roleConflict})
	case !m.refused && s.faults.share(s.cfg.Duplicate):
		value := slices.Clone(b.arena[from:])
		s.put(b, from, t, clock, due, m)
		from = len(b.arena)
		b.arena = append(b.arena, value...)
		s.put(b, from, t, clock, s.again(due), mark{role: roleDuplicate})
	default:
		s.put(b, from, t, clock, due, m)
	}
}

// disturb may change the time of an event. It returns the clock at which the event is produced.
func (s *script) disturb(ev *event, m *mark, t topic) (due int64) {
	c := &s.cfg
	if c.Future+c.OutOfOrder+c.Late == 0 {
		return ev.time
	}
	due = ev.time
	u := s.faults.float()
	switch {
	case u < c.Future:
		if s.faults.below(3) == 0 {
			m.refused = true
			ev.time += minRefused + int64(s.faults.below(uint64(maxRefused-minRefused)))
		} else {
			m.ahead = true
			ev.time += minAhead + int64(s.faults.below(uint64(maxAhead-minAhead)))
		}
	case u < c.Future+c.OutOfOrder:
		m.outOfOrder = true
		due += 1 + int64(s.faults.below(uint64(maxOutOfOrder)))
	case t == clicks && u < c.Future+c.OutOfOrder+c.Late:
		m.late = true
		due += int64(float64(minLate) * math.Pow(float64(maxLate)/float64(minLate), s.faults.float()))
	}
	return due
}

// again returns the clock at which the copy of an event that is due at due is produced: the same or
// soon after.
func (s *script) again(due int64) int64 {
	if s.faults.share(0.5) {
		return due
	}
	return due + int64(s.faults.below(uint64(maxDuplicateLag)))
}

// put emits the arena's tail from from on, or holds it until it is due.
func (s *script) put(b *batch, from int, t topic, clock, due int64, m mark) {
	if due <= clock {
		s.emit(b, from, t, clock, m)
		return
	}
	s.turns++
	heap.Push(&s.held, held{due: due, turn: s.turns, value: slices.Clone(b.arena[from:]), topic: t, mark: m})
	b.arena = b.arena[:from]
}

// poison sends a bad record, made of an event of its own: no event that counts has the same id.
func (s *script) poison(b *batch, clock int64) {
	turn := s.bad[s.turn]
	s.turn = (s.turn + 1) % len(s.bad)
	from := len(b.arena)
	b.arena = s.spare(b.arena, turn.topic, clock)
	value := s.kinds[turn.kind].spoil(slices.Clone(b.arena[from:]), clock)
	b.arena = append(b.arena[:from], value...)
	s.emit(b, from, turn.topic, clock, mark{role: rolePoison, poison: int16(turn.kind)})
	if value == nil {
		b.records[len(b.records)-1].from = -1
	}
}

// spare appends an event that is not part of the stream.
func (s *script) spare(dst []byte, t topic, clock int64) []byte {
	ev := event{id: s.faults.uuid(), user: 1 + int32(s.faults.below(uint64(s.cfg.Users))), product: s.faults.uuid(),
		time: clock}
	if t == clicks {
		return s.enc.click(dst, s.faults, &ev)
	}
	return s.enc.checkout(dst, s.faults, &ev, 1+int(s.faults.below(maxCents)))
}

const (
	maxValue = 1 << 20 // bytes; a larger record is a dead letter
	largest  = 5 << 20 // bytes of a record that tooLarge makes
)

func (s *script) tooLarge(b *batch, clock int64) {
	t := topic(s.faults.below(uint64(topics)))
	from := len(b.arena)
	b.arena = s.spare(b.arena, t, clock)
	first, last := member(b.arena[from:], "user_agent")
	agent, rest := slices.Clone(b.arena[from+first+1:from+last-1]), slices.Clone(b.arena[from+last-1:])
	size := maxValue + 1 + int(s.faults.below(largest-maxValue-1024))
	for b.arena = b.arena[:from+last-1]; len(b.arena)-from+len(rest) < size; {
		b.arena = append(b.arena, agent...)
	}
	b.arena = append(b.arena, rest...)
	s.emit(b, from, t, clock, mark{role: roleTooLarge})
}
