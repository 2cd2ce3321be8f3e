package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"firstclick/internal/escape"
)

// Status is the weight of a finding. The words are those of the output.
type Status string

// The statuses, from good to bad.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Finding is one line of the report.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"` // to paste: a command, SQL or a flag

	subject string // empty, or what a second look has to confirm the finding for
}

// Report holds the findings in the order of the checks.
type Report struct {
	Findings []Finding `json:"findings"`
	Failed   int       `json:"fail"`
	Warned   int       `json:"warn"`
	Fine     int       `json:"ok"`
}

// OK says that nothing failed.
func (r *Report) OK() bool { return r.Failed == 0 }

// WriteTo writes the report for people.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.Check))
	}
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-4s  %-*s  %s\n", f.Status, width, f.Check, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      %*s  fix: %s\n", width, "", f.Fix)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d warn, %d fail\n", r.Fine, r.Warned, r.Failed)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (r *Report) add(check string, found findings) {
	for _, f := range found {
		f.Check, f.Text, f.Fix = check, oneLine(f.Text), oneLine(f.Fix)
		switch f.Status {
		case OK:
			r.Fine++
		case Warn:
			r.Warned++
		case Fail:
			r.Failed++
		}
		r.Findings = append(r.Findings, f)
	}
}

// oneLine also escapes what a terminal would obey: names and messages come from the other side.
func oneLine(text string) string {
	return escape.Text([]byte(strings.Join(strings.Fields(text), " ")))
}

// findings is a list that grows by the methods of its statuses.
type findings []Finding

func (fs findings) ok(format string, args ...any) findings {
	return append(fs, Finding{Status: OK, Text: fmt.Sprintf(format, args...)})
}

// orOK adds an ok to an empty list.
func (fs findings) orOK(format string, args ...any) findings {
	if len(fs) > 0 {
		return fs
	}
	return fs.ok(format, args...)
}

func (fs findings) warn(fix, format string, args ...any) findings {
	return append(fs, Finding{Status: Warn, Text: fmt.Sprintf(format, args...), Fix: fix})
}

func (fs findings) fail(fix, format string, args ...any) findings {
	return append(fs, Finding{Status: Fail, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// failAbout is a fail that counts only if a second look finds the same subject.
func (fs findings) failAbout(subject, fix, format string, args ...any) findings {
	fs = fs.fail(fix, format, args...)
	fs[len(fs)-1].subject = subject
	return fs
}

func (fs findings) any(is func(Finding) bool) bool { return slices.ContainsFunc(fs, is) }

func isOK(f Finding) bool            { return f.Status == OK }
func needsSecondLook(f Finding) bool { return f.subject != "" }
