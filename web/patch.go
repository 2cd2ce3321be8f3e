package web

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// plain converts a value to what JSON has: maps, lists, texts, numbers. It leaves out members that
// are null: in a patch null removes a member.
func plain(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // a float cannot hold every offset
	var out any
	if err := decoder.Decode(&out); err != nil {
		return nil, err
	}
	return withoutNulls(out), nil
}

func withoutNulls(value any) any {
	object, ok := value.(map[string]any)
	if !ok {
		return value
	}
	for name, member := range object {
		if member == nil {
			delete(object, name)
		} else {
			object[name] = withoutNulls(member)
		}
	}
	return object
}

// patch returns the JSON merge patch (RFC 7396) from one plain value to another: the members that
// changed, and null for a member that is gone. A list is sent as a whole. It changes neither value.
func patch(from, to any) (change any, changed bool) {
	before, wasObject := from.(map[string]any)
	after, isObject := to.(map[string]any)
	if !wasObject || !isObject {
		return to, !reflect.DeepEqual(from, to)
	}
	out := map[string]any{}
	for name, member := range after {
		old, known := before[name]
		if !known {
			out[name] = member
		} else if change, changed := patch(old, member); changed {
			out[name] = change
		}
	}
	for name := range before {
		if _, still := after[name]; !still {
			out[name] = nil
		}
	}
	return out, len(out) > 0
}
