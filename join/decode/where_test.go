package decode

import (
	"strings"
	"testing"
	"time"

	"firstclick/join/event"
)

// Whoever looks at a dead letter sees the byte, the member and what stands there.
func TestWhereAValueIsNotJSON(t *testing.T) {
	for _, c := range [][2]string{
		{`{"click_id":"a","user_id":0x52,"product_id":"p"}`,
			`27 (user_id): invalid character 'x' after object key:value pair, at "x52,\"product_id\":\"p\"}"`},
		{`{"click_id":"a","user_id":`,
			`26 (user_id): the text ends early, behind "{\"click_id\":\"a\",\"user_id\":"`},
		{`{"click_id":"a"`,
			`15 (click_id): the text ends early, behind "{\"click_id\":\"a\""`},
		{"\ufeff{}",
			`0: invalid character '`},
		{`{"a":{"b":[1,{"c":NaN}]}}`,
			`18 (a.b[1].c): invalid character 'N' looking for beginning of value, at "NaN}]}}"`},
		{`{"a":[[],[1,2,]]}`,
			`14 (a[1][2]): invalid character ']' looking for beginning of value, at "]]}"`},
		{`{} {}`,
			`3: invalid character '{' after top-level value, at "{}"`},
		{`{'a':1}`,
			`1: invalid character '\'' looking for beginning of object key string, at "'a':1}"`},
		{"{\"a\":\"x\ny\"}",
			`7 (a): invalid character '\n' in string literal, at "\ny\"}"`},
		{`{"a":"` + "\xff\x01" + `"}`,
			`7 (a): invalid character '\x01' in string literal, at "\x01\"}"`},
		{`{"\u0000\u009b\u202e":0x1}`,
			`23 (\x00\u009b\u202e): `},
		{`{"` + strings.Repeat("n", 500) + `":0x1}`,
			`505 (` + strings.Repeat("n", 30) +
				`...): `},
		{strings.Repeat(`{"`+strings.Repeat("n", 50)+`":`, 30) + "x",
			`(...` + strings.Repeat("n", 29) + `....` +
				strings.Repeat("n", 30) + `....` + strings.Repeat("n", 30) + `...): `},
	} {
		value, want := c[0], c[1]
		err := New(time.UTC).Click([]byte(value), new(Click))
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%d bytes: %v", len(err.Error()), err)
		}
		const begin = "json: not valid JSON at byte "
		if err == nil || !strings.HasPrefix(err.Error(), begin) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n have %v\n want %s", value, err, want)
		}
	}
	for _, value := range []string{strings.Repeat("[", event.MaxRecord), strings.Repeat(`{"a":`, event.MaxRecord/5),
		`{"x":"` + strings.Repeat("y", event.MaxRecord-20)} {
		var c Click
		err := New(time.UTC).Click([]byte(value), &c)
		if err == nil || len(err.Error()) > 400 {
			t.Errorf("%d bytes: %.500v", len(value), err)
		}
	}
}
