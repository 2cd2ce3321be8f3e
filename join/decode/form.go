package decode

import "firstclick/join/event"

// A form is all that a record has in common with the next one of the same producer: the members'
// names, their order, and the text between their values. For a record of a known form the text
// between the values is compared as bytes, and only the values are read. It is valid if they are.
//
// What a form says of a record is what [Decoder.members] says of it. A record of no known form is
// read by that.
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

// known reads the value by the known forms. false: it has none of them.
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

// has reads the value as one of that form. false: it is not, or not valid. d.field means nothing
// then.
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
			d.field[st.field] = span{event.Span{From: uint32(start), To: uint32(end)}, escaped}
		}
		i = end
	}
	return len(f.steps) > 0 && string(b[i:]) == string(f.text[from:])
}

// add adds a member: the text from the end of the value before to this one, and whether the value
// is a string.
func (f *form) add(text []byte, field int, quoted bool) {
	if len(f.steps) < maxSteps && len(f.text)+len(text) < maxFormText {
		f.text = append(f.text, text...)
		f.steps = append(f.steps, step{len(f.text), field, quoted})
	} else {
		f.long = true
	}
}

func (f *form) begin() { f.steps, f.text, f.long = f.steps[:0], f.text[:0], false }

// learn keeps the form of a valid record in place of the one that was used the longest ago.
func (d *Decoder) learn(after []byte) {
	f := d.forms[maxForms]
	// Names beyond ASCII have to be checked each time.
	if f.long || len(f.steps) == 0 || len(f.text)+len(after) > maxFormText || d.scan.seen >= 0x80 {
		return
	}
	f.text = append(f.text, after...)
	copy(d.forms[1:], d.forms[:maxForms]) // the next form is learned in the memory of the one dropped
	d.forms[0] = f
}
