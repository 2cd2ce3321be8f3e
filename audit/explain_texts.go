package audit

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
)

// Texts are foreign, and there may be many of them: one that is longer than longText is held and
// shown by its first characters, length and hash. Equal texts stay equal by that, and others
// different.
const (
	longText  = 1 << 10 // bytes
	shortText = 200     // characters
)

func short(text string) string {
	if len(text) <= longText {
		return text
	}
	hash := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%s... (%d bytes, sha256 %x)", firstRunes(text, shortText), len(text), hash)
}

// shortSQL is short of a column, in SQL.
func shortSQL(column string) string {
	return strings.NewReplacer("$text", column+"::text", "$bytes", "convert_to("+column+"::text, 'UTF8')",
		"$long", strconv.Itoa(longText), "$short", strconv.Itoa(shortText)).
		Replace(`CASE WHEN octet_length($bytes) > $long THEN left($text, $short) || '... (' || octet_length($bytes) ||
			' bytes, sha256 ' || encode(sha256($bytes), 'hex') || ')' ELSE $text END`)
}

// shortenValues replaces what is long in a checkout's texts by what stands for it, as the columns
// would hold it.
func (x *explainer) shortenValues(values []optional) {
	for i := range values {
		if v := &values[i]; len(v.text) > longText {
			v.text = short(x.snap.columns[ownColumns[i].name].stored(v.text))
			x.shorten = true
		}
	}
}
