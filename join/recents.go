package join

// Recent is a checkout whose answer may still move. Times are micros.
type Recent struct {
	Time, Offset int64
	ID           ID
	ClickTime    int64 // 0 unless HasClick
	Click        ID    // the best click so far
	HasClick     bool
}

// Recents holds the recent checkouts of one shard. Not safe for concurrent use.
type Recents struct {
	keys map[Key][]Recent
	n    int
}

// NewRecents returns an empty one.
func NewRecents() *Recents { return &Recents{keys: map[Key][]Recent{}} }

// Add adds a checkout, whatever is there already.
func (r *Recents) Add(key Key, k Recent) {
	r.keys[key] = append(r.keys[key], k)
	r.n++
}

// Improve gives (t, click) to every recent checkout of key with from <= Time <= to whose best click is absent or greater,
// and calls fn with each of them as it then is. fn must not call back into r nor keep the pointer.
func (r *Recents) Improve(key Key, t int64, click ID, from, to int64, fn func(*Recent)) {
	list := r.keys[key]
	for i := range list {
		k := &list[i]
		if k.Time < from || k.Time > to || k.HasClick && (k.ClickTime < t || k.ClickTime == t && k.Click.Compare(click) <= 0) {
			continue
		}
		k.ClickTime, k.Click, k.HasClick = t, click, true
		c := *k
		fn(&c)
	}
}

// Expire drops exactly the checkouts with Time < before.
func (r *Recents) Expire(before int64) {
	for key, list := range r.keys {
		var kept []Recent
		for _, k := range list {
			if k.Time >= before {
				kept = append(kept, k)
			}
		}
		r.n -= len(list) - len(kept)
		if len(kept) == 0 {
			delete(r.keys, key)
		} else {
			r.keys[key] = kept
		}
	}
}

// OldestOffset is the least Offset among the checkouts held; false when there is none.
func (r *Recents) OldestOffset() (least int64, ok bool) {
	for _, list := range r.keys {
		for _, k := range list {
			if !ok || k.Offset < least {
				least, ok = k.Offset, true
			}
		}
	}
	return least, ok
}

// Each calls fn with every checkout held, in no order that means anything, until fn returns false.
func (r *Recents) Each(fn func(key Key, k *Recent) bool) {
	for key, list := range r.keys {
		for i := range list {
			c := list[i]
			if !fn(key, &c) {
				return
			}
		}
	}
}

// Len is the number of checkouts held.
func (r *Recents) Len() int { return r.n }

// Bytes is what is allocated for them.
func (r *Recents) Bytes() int64 { return int64(r.n) * 120 }

// Remove drops the checkout of key with that Offset, and says whether there was one.
func (r *Recents) Remove(key Key, offset int64) bool {
	list := r.keys[key]
	for i := range list {
		if list[i].Offset == offset {
			r.keys[key] = append(list[:i], list[i+1:]...)
			r.n--
			return true
		}
	}
	return false
}
