package event

// Position is what a transaction stores of a shard beside its rows. Offsets are Kafka's: of the
// next record to read. Times are micros or NoTime. Lists are by clicks partition.
type Position struct {
	NextOffset    int64   // every checkout below it is a row or a dead letter
	OpenOffset    int64   // restore point: the oldest checkout that is not final
	LeaderEpoch   int32   // of the last checkout released; -1: unknown
	ClicksNext    []int64 // every click below it has had its effect here
	ClicksRestore []int64 // restore point: the oldest click that may still be needed
	ClicksEpoch   []int32 // leader epoch of the last click read; -1: unknown
	ClicksLatest  []int64 // the greatest event time of a click below ClicksNext, far ones aside
	Watermark     int64   // never goes back
	FinalBefore   int64   // click columns of this shard's rows before it do not move
	ExpireBefore  int64   // this shard does not need clicks before it
}

// Effective is the offset in a clicks partition below which every click has had its effect.
func (at *Position) Effective(p int) int64 {
	if p < len(at.ClicksNext) {
		return at.ClicksNext[p]
	}
	return 0
}

// NeedsClick says whether the click at an offset is at or behind the restore point.
func (at *Position) NeedsClick(p int32, offset int64) bool {
	return int(p) >= len(at.ClicksRestore) || offset >= at.ClicksRestore[p]
}

// Correction moves a row to an earlier click. It changes nothing where the stored click is as early
// or earlier, or where there is no row.
type Correction struct {
	Offset    int64 // of the checkout, in the shard's partition
	Key       Key
	Time      int64 // the checkout's
	Checkout  ID
	Click     ID
	ClickTime int64
}

// Refusal says that Postgres refused the first click of a checkout, and which one the row got
// instead.
type Refusal struct {
	Offset int64 // of the checkout, in the shard's partition
	Key    Key
	Time   int64 // the checkout's
	ID     ID
	Tried  []ClickAt // refused, in order
	Took   ClickAt   // the row has this click or a better one; only if HasClick
	// HasClick is false if Postgres refused every click there was.
	HasClick bool
}
