package decode

// A form is all that a record has in common with the next one from the same producer: the members' names, their order, and what stands between
// their values. A record that has the form of one before it need not have its names read and looked up again: it is valid where the bytes
// between its values are those that were valid there, and its values are.
//
// What a form says of a record is what [Decoder.members] would say of it; a record that has no known form is read by that.
type form struct {
	steps []step
	text  []byte // what stands before the values and behind the last one
	long  bool   // too long to be kept
}

// step is one member.
type step struct {
	until  int  // in text; it begins where the step before ended
	field  int  // or fieldNone
	quoted bool // the value is a string, whose quote belongs to the text
}

const (
	maxForms    = 2 // of one topic's producers; each costs a record of another form one comparison
	maxSteps    = 64
	maxFormText = 4096
)

// known reads the value by the forms of records before it. false: it has none of them.
func (d *Decoder) known() bool {
	for n := range d.forms[:maxForms] {
		if d.has(&d.forms[n]) {
			if n > 0 {
				d.forms[0], d.forms[n] = d.forms[n], d.forms[0]
			}
			return true
		}
	}
	return false
}

// has reads the value as one of that form. false: it is none, or not valid; what was noted on the way means nothing then.
func (d *Decoder) has(f *form) bool {
	s := &d.scan
	b := s.b
	i, from := 0, 0
	for n := range f.steps {
		st := &f.steps[n]
		before := f.text[from:st.until]
		from = st.until
		if len(b)-i <= len(before) || string(b[i:i+len(before)]) != string(before) {
			return false
		}
		i += len(before)
		start, end, escaped := i, -1, false
		switch {
		case st.quoted:
			start--
			end, escaped = s.str(i)
		case b[i] != '"' && s.space(i) == i: // else it is another kind of value, or other text stands before it
			end = s.value(i, 1)
		}
		if end < 0 {
			return false
		}
		if st.field != fieldNone {
			d.field[st.field] = span{start: uint32(start), end: uint32(end), escaped: escaped}
		}
		i = end
	}
	return len(f.steps) > 0 && string(b[i:]) == string(f.text[from:])
}

// add notes a member: the text from the end of the value before to this one, and what kind of value it is.
func (f *form) add(text []byte, field int, quoted bool) {
	if len(f.steps) < maxSteps && len(f.text)+len(text) < maxFormText {
		f.text = append(f.text, text...)
		f.steps = append(f.steps, step{len(f.text), field, quoted})
	} else {
		f.long = true
	}
}

func (f *form) begin() { f.steps, f.text, f.long = f.steps[:0], f.text[:0], false }

// learn keeps the form of a valid record in the place of the one that was of use the longest ago.
func (d *Decoder) learn(after []byte) {
	f := d.forms[maxForms]
	if f.long || len(f.steps) == 0 || len(f.text)+len(after) > maxFormText || d.scan.seen >= 0x80 { // names beyond ASCII have to be seen each time
		return
	}
	f.text = append(f.text, after...)
	copy(d.forms[1:], d.forms[:maxForms]) // the one that falls out lends its memory to the next that is learned
	d.forms[0] = f
}
