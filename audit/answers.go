package audit

// answers are the best clicks of a checkout, of those not below the group's start: of all; of those
// that the checkout's shard has read; of those that are also not rightly noted as too late; of
// those that are not noted at all.
type answers struct {
	best, read, onTime, unrecorded click
	real                           click // the row's click as it was clicked, where there is such a click
}

// rules of the answers read, onTime and unrecorded. Once a row is final, a click that comes too
// late is noted. A noted click is no excuse for a row that still moves, unless it was dated far
// ahead: a restart may have forgotten it.
func rules(k *item, s shard) (read, onTime, unrecorded rule) {
	read = rule{read: true, shard: k.partition}
	onTime, unrecorded = read, read
	onTime.without, unrecorded.without = flagAhead, flagLate|flagEarly
	if k.time < s.finalBefore {
		onTime.without = flagLate
	}
	return read, onTime, unrecorded
}

// answers finds them.
func (w *window) answers(k *item, s shard) answers {
	a := answers{best: w.first(rule{}, s), real: w.find(k.click)}
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
