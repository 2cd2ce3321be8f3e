// Package decode turns a record's value into a click or a checkout, or says why it is neither: an
// event.DecodeError with a stable Reason. The rules are those of docs/semantics.md#decoding.
//
// # Invariants
//
//   - A value is checked whole by RFC 8259, also where nothing of it is used.
//   - Decoding allocates nothing but an id that is not a UUID.
//   - What a decoder has read before changes nothing. It makes records of the same form faster.
//
// # Files
//
//   - decode.go: the API, the members, and the outermost object.
//   - field.go, time.go: members that are used.
//   - json.go: the scanner.
//   - form.go: records that look like those before.
//   - where.go: where a value is not valid JSON, for people.
package decode
