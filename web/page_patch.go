package web

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// plain is a value as JSON has it: maps, lists, texts, numbers. Members that are null are left out, for in a patch null means that one is gone.
func plain(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // offsets are larger than a float holds
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
			continue
		}
		object[name] = withoutNulls(member)
	}
	return object
}

// patch is what turns one plain value into another, as a JSON merge patch (RFC 7396): members that changed, null for one that is gone; lists are
// sent as they are. It changes neither value.
func patch(from, to any) (change any, changed bool) {
	was, ok := from.(map[string]any)
	is, also := to.(map[string]any)
	if !ok || !also {
		return to, !reflect.DeepEqual(from, to)
	}
	out := map[string]any{}
	for name, member := range is {
		before, known := was[name]
		if !known {
			out[name] = member
		} else if change, changed := patch(before, member); changed {
			out[name] = change
		}
	}
	for name := range was {
		if _, still := is[name]; !still {
			out[name] = nil
		}
	}
	return out, len(out) > 0
}
