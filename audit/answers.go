package audit

// answers are the best clicks of a checkout. None lies below the group's start.
type answers struct {
	best       click // of all
	read       click // of those that the checkout's shard has read
	onTime     click // of those, without those that came too late
	unrecorded click // of those, without those in firstclick.late
	existing   click // not an answer: the row's click to the microsecond, if Kafka or firstclick.late has it
}

// rules say which clicks count for the answers read, onTime and unrecorded. Once a row is final, a
// click that comes too late is recorded in firstclick.late. A recorded click does not excuse a row
// that still moves, unless it was dated far ahead: a restart may have forgotten it.
func rules(k *item, s shard) (read, onTime, unrecorded rule) {
	read = rule{read: true, shard: k.partition}
	onTime, unrecorded = read, read
	onTime.without, unrecorded.without = flagAhead, flagLate|flagEarly
	if k.time < s.finalBefore {
		onTime.without = flagLate
	}
	return read, onTime, unrecorded
}

// answers finds the answers of the checkout that the stream is at.
func (w *window) answers(k *item, s shard) answers {
	a := answers{best: w.first(rule{}, s), existing: w.find(k.click)}
	if k.flags&flagPending != 0 {
		return a // the shard has not read the checkout: nothing is demanded of the row
	}
	read, onTime, unrecorded := rules(k, s)
	a.read = w.first(read, s)
	a.onTime, a.unrecorded = a.read, a.read
	if w.late {
		a.onTime, a.unrecorded = w.first(onTime, s), w.first(unrecorded, s)
	}
	return a
}
