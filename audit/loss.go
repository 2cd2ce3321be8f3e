package audit

// A record that Kafka no longer holds may have made a row, or be its click. What is still known of
// such records bounds what they can excuse: how many there were at most, and before which time
// their events lie. A row that claims more is wrong.

// Why a record is not there.
const (
	lostToRetention  = "retention took the record"
	lostToCompaction = "compaction took the record"
	lostBeforeStart  = "the record lies before the group's start, where Kafka no longer holds it"
)

// lostRange is records of one partition that are not there.
type lostRange struct {
	why    string
	count  int64 // at most; endless: not known
	before int64 // all their event times lie before it
	likely int64 // and before this, if they were produced in the order of their times
}

// losses is what a topic has lost.
type losses struct {
	ranges []lostRange
	in     map[int32]bool  // by partition, whether any of it is of the group's own time
	claims map[int64]int64 // by the least bound that admits them, how many rows or clicks claim to be lost records
	// ahead has lost events that were dated ahead of the clock, by id. No bound of event time holds
	// for them, because nothing waits for such an event. firstclick.late says that they were there.
	ahead map[string]lostAhead
}

type lostAhead struct {
	time int64
	why  string
}

func newLosses() losses {
	return losses{in: map[int32]bool{}, claims: map[int64]int64{}, ahead: map[string]lostAhead{}}
}

// admits says whether an event of that time may be among what was lost, and why it was. doubtful:
// only if records are far out of the order of their times.
func (l *losses) admits(time int64) (why string, doubtful, ok bool) {
	doubtful = true
	for _, r := range l.ranges {
		if time >= r.before || !doubtful {
			continue
		}
		if doubtful = time >= r.likely; why == "" || !doubtful {
			why = r.why
		}
		ok = true
	}
	return why, doubtful, ok
}

// claim counts an event of that time as a lost record.
func (l *losses) claim(time int64) {
	bound := int64(endless)
	for _, r := range l.ranges {
		if r.before > time {
			bound = min(bound, r.before)
		}
	}
	l.claims[bound]++
}

// excess is how many more claims there are than lost records can answer, and how many there are.
//
// The ranges that admit an event are nested by time: the later it is, the fewer there are. So it is
// enough to count, for each bound, what lies behind it (Hall's theorem).
func (l *losses) excess() (more, claims int64) {
	for bound, n := range l.claims {
		claims += n
		claimed, held := int64(0), int64(0)
		for other, n := range l.claims {
			if other >= bound {
				claimed += n
			}
		}
		for _, r := range l.ranges {
			if r.before >= bound {
				held += min(r.count, endless-held)
			}
		}
		more = max(more, claimed-held)
	}
	return more, claims
}
