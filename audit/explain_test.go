package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// live appends values stamped at the given minute, as a producer does that sends events as they
// happen.
func (w *world) live(topic string, partition int32, minutes float64, values ...string) int64 {
	w.t.Helper()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Value: []byte(v), Timestamp: noon.Add(time.Duration(minutes * float64(time.Minute)))}
	}
	return kafkatest.ProduceRecords(w.t, w.brokers, topic, partition, records...)
}

func (w *world) explain(id string) *Explanation {
	w.t.Helper()
	e, err := Explain(w.t.Context(), w.cfg, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (e *Explanation) text(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if _, err := e.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// roles shows the clicks as "role id@partition/offset".
func (e *Explanation) roles() string {
	var list []string
	for _, c := range e.Clicks {
		list = append(list, fmt.Sprintf("%s %s@%d/%d", c.Role, c.ClickID, c.Partition, c.Offset))
	}
	return strings.Join(list, ", ")
}

// judged compares verdict and roles, and demands texts in what is printed.
func (w *world) judged(e *Explanation, verdict Verdict, roles string, says ...string) {
	w.t.Helper()
	text := e.text(w.t.(*testing.T))
	if e.Verdict != verdict {
		w.t.Errorf("verdict %s, want %s", e.Verdict, verdict)
	}
	if got := e.roles(); got != roles {
		w.t.Errorf("clicks: %s\nwant:   %s", got, roles)
	}
	for _, want := range says {
		if !strings.Contains(text, want) {
			w.t.Errorf("does not say %q", want)
		}
	}
	if w.t.Failed() {
		w.t.Log(text)
	}
}

// shop is a live world: user 1's clicks on p at 10:50 (early), 11:10 (a, and b at the same time),
// 11:30 (c, twice), 12:05 (after), and checkout k at 12:00 with its row; other users' and products'
// clicks between.
func shop(t *testing.T) *world {
	w := newWorld(t)
	w.live("clicks", 0, -70, clickOf("early", 1, "p", -70), clickOf("other", 2, "p", -55))
	w.live("clicks", 1, -50, clickOf("b", 1, "p", -50), clickOf("elsewhere", 1, "q", -50))
	w.live("clicks", 0, -50, clickOf("a", 1, "p", -50))
	w.live("clicks", 1, -30, clickOf("c", 1, "p", -30), clickOf("c", 1, "p", -30))
	w.live("checkouts", 0, 0, checkoutOf("k", 1, "p", 0))
	w.live("clicks", 0, 5, clickOf("after", 1, "p", 5))
	w.exec(`INSERT INTO commerce.users VALUES (1, 'ann', 'x')`)
	w.row("k", "ann", "p", 0, "a", -50)
	w.begun([2]int64{9, 9}, [2]int64{9, 9})
	w.exec(`UPDATE firstclick.offsets SET committed_at = $1::text::timestamp AT TIME ZONE 'UTC'`, at(5))
	w.exec(`UPDATE firstclick.progress
		SET watermark = $1::text::timestamp AT TIME ZONE 'UTC',
		final_before = $2::text::timestamp AT TIME ZONE 'UTC'`, at(5), at(-10.25))
	return w
}

const shopRoles = "before early@0/0, winner a@0/2, runner_up b@1/0, candidate c@1/2, duplicate c@1/3, after after@0/3"

func TestExplainWinner(t *testing.T) {
	w := shop(t)
	e := w.explain("k")
	w.judged(e, VerdictRight, shopRoles,
		"The row is right: click a is the earliest in the window.",
		"the one with the least click_id by bytes", "In the window: 4 clicks, 1 of them there before",
		"a wins with 2026-11-23 11:10:00, 50m0s before the checkout.",
		"Runner-up is b, at the same microsecond: decided by the id, a is less by bytes.",
		"ann, as user 1 is called in commerce.users",
		"written between 2026-11-23 12:00:00, when the checkout came to Kafka, and 2026-11-23 12:05:00, when its "+
			"shard last said",
		"not final: the watermark is at 2026-11-23 12:05:00; final once it has passed 2026-11-23 12:15:15",
		"source    checkouts-0 offset 0, recorded 2026-11-23 12:00:00, user 1",
		"[the row's]", "T-50m0s", "T+5m0s",
	)
	if e.Join == nil || e.Join.UserID != 1 || !e.Join.To.Equal(noon) || !e.Join.From.Equal(noon.Add(-time.Hour)) {
		t.Errorf("join %+v", e.Join)
	}
	if e.When.Final || e.When.CommittedAt != nil || e.When.CorrectedAfter != nil {
		t.Errorf("when %+v", e.When)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back Explanation
	if err := json.Unmarshal(raw, &back); err != nil || back.roles() != e.roles() || back.Verdict != e.Verdict ||
		*back.Row.ClickID != "a" {
		t.Errorf("by JSON: %s, %v", raw, err)
	}
}

func TestExplainRunnerUpByTime(t *testing.T) {
	w := shop(t)
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'early', click_time = $1::text::timestamp`, at(-50))
	w.judged(w.explain("k"), VerdictWrong, shopRoles,
		"WRONG: the row has click early at 2026-11-23 11:10:00, and should have click a at 2026-11-23 11:10:00. No "+
			"click in the window is the row's.")

	w.live("checkouts", 1, 25, checkoutOf("k2", 1, "p", 25))
	w.row("k2", "ann", "p", 25, "c", -30)
	w.judged(w.explain("k2"), VerdictRight,
		"before a@0/2, before b@1/0, winner c@1/2, duplicate c@1/3, runner_up after@0/3",
		"Runner-up is after, 35m0s later.")
}

// The window's ends belong to it, a microsecond beyond does not.
func TestExplainEndsOfTheWindow(t *testing.T) {
	const micro = 1.0 / 60e6
	w := newWorld(t)
	w.exec(`INSERT INTO commerce.users VALUES (1, 'ann', 'x'), (2, 'bob', 'x'), (3, 'cyd', 'x')`)
	w.live("clicks", 0, -60, clickOf("x1", 1, "p", -60-micro), clickOf("a1", 1, "p", -60))
	w.live("clicks", 0, 0, clickOf("z1", 1, "p", 0))
	w.live("clicks", 0, 0, clickOf("x2", 2, "p", -60-micro), clickOf("y2", 2, "p", micro))
	w.live("clicks", 0, 0, clickOf("a3", 3, "p", 0))
	w.live("checkouts", 0, 0, checkoutOf("k1", 1, "p", 0), checkoutOf("k2", 2, "p", 0), checkoutOf("k3", 3, "p", 0))
	w.row("k1", "ann", "p", 0, "a1", -60)
	w.row("k2", "bob", "p", 0, "", 0)
	w.row("k3", "cyd", "p", 0, "a3", 0)
	w.begun([2]int64{9, 9}, [2]int64{9, 9})
	w.judged(w.explain("k1"), VerdictRight, "before x1@0/0, winner a1@0/1, runner_up z1@0/2",
		"a1 wins with 2026-11-23 11:00:00, 1h0m0s before the checkout: exactly at the window's beginning, which "+
			"belongs to it.")
	w.judged(w.explain("k2"), VerdictRight, "before x2@0/3, after y2@0/4",
		"The row is right: no click is in the window.", "So click_id and click_time are NULL.",
		"The last one before the window, x2, is 1µs too early.",
		"The first one after the checkout, y2, is 1µs too late.")
	w.judged(w.explain("k3"), VerdictRight, "winner a3@0/5", "at the very instant of the checkout",
		"no other click is in the window")
}

func TestExplainTimeline(t *testing.T) {
	w := shop(t)
	e := w.explain("k")
	lines := e.Timeline(78)
	if len(lines) != 4 {
		t.Fatalf("%q", lines)
	}
	left, right := strings.IndexByte(lines[1], '+'), strings.IndexByte(lines[1], 'K')
	scaled := left + (right-left)/6 // ten of sixty minutes
	if lines[0][scaled] != 'W' || lines[0][left+(right-left)/2] != '*' || lines[0][left-2] != 'o' ||
		lines[0][right+2] != 'o' {
		t.Errorf("drawn:\n%s", strings.Join(lines, "\n"))
	}
	if lines[2][left] != '|' || lines[2][right] != '|' || !strings.Contains(lines[2], " 1h0m0s ") {
		t.Errorf("the window does not stand below its ends:\n%s", strings.Join(lines, "\n"))
	}
	if !strings.Contains(lines[3], "11:00:00") || !strings.Contains(lines[3], "12:00:00") {
		t.Errorf("no times: %q", lines[3])
	}
	for width := range 200 {
		for _, line := range e.Timeline(width) {
			if len(line) > max(width, narrow) {
				t.Errorf("width %d: %q has %d", width, line, len(line))
			}
		}
	}
}

func TestExplainLateClick(t *testing.T) {
	w := shop(t)
	w.live("clicks", 1, 40, clickOf("late", 1, "p", -58)) // long after what is read at first
	w.late("click", 1, 4, "late", 1, "p", -58)
	roles := "before early@0/0, winner late@1/4, runner_up a@0/2, candidate b@1/0, candidate c@1/2, duplicate " +
		"c@1/3, after after@0/3"
	e := w.explain("k")
	w.judged(e, VerdictLate, roles, "came after the row was final: `firstclick repair` mends it",
		"[in firstclick.late]",
		"The row has click a at 2026-11-23 11:10:00: late at clicks-1 offset 4 came too late", "not repaired")
	if len(e.Late) != 1 || e.Late[0].RepairedAt != nil {
		t.Errorf("late %+v", e.Late)
	}
	if r, err := Repair(t.Context(), w.cfg); err != nil || r.Moved != 1 {
		t.Fatalf("repair: %+v, %v", r, err)
	}
	w.judged(w.explain("k"), VerdictRight, roles, "`firstclick repair` looked at it",
		"its click came to Kafka 2026-11-23 12:40:00, 40m0s after the checkout")

	w.live("checkouts", 1, 0, checkoutOf("k2", 1, "p", 0))
	w.row("k2", "ann", "p", 0, "", 0)
	w.late("checkout", 1, 0, "k2", 1, "p", 0)
	w.judged(w.explain("k2"), VerdictLate, roles, "The checkout came when clicks that it needed could be gone")
}

func TestExplainCorrected(t *testing.T) {
	w := shop(t)
	w.live("clicks", 1, 6, clickOf("offline", 1, "p", -59))
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'offline', click_time = $1::text::timestamp`, at(-59))
	e := w.explain("k")
	w.judged(e, VerdictRight, strings.Replace(strings.Replace(strings.Replace(shopRoles, "runner_up b", "candidate b",
		1), "winner a", "runner_up a", 1), "runner_up a", "winner offline@1/4, runner_up a", 1),
		"its click came to Kafka 2026-11-23 12:06:00, 6m0s after the checkout: unless firstclick was that far "+
			"behind, the row was first written without it and corrected")
	if e.When.CorrectedAfter == nil {
		t.Error("no time of correction")
	}
	w.exec(`UPDATE firstclick.progress SET final_before = $1::text::timestamp AT TIME ZONE 'UTC'`, at(0))
	if e := w.explain("k"); e.When.Final {
		t.Error("final, although final_before is its own time")
	}
	w.exec(`UPDATE firstclick.progress SET final_before = final_before + interval '1 microsecond'`)
	if e := w.explain("k"); !e.When.Final || !strings.Contains(e.text(t), "final: click columns of rows before") {
		t.Error("not final")
	}
}

func TestExplainPending(t *testing.T) {
	w := shop(t)
	w.live("clicks", 1, 7, clickOf("pending", 1, "p", -59))
	w.live("checkouts", 1, 7, checkoutOf("k2", 1, "p", 6))
	w.read([2]int64{9, 4}, [2]int64{9, 0})
	roles := "before early@0/0, winner pending@1/4, runner_up a@0/2, candidate b@1/0, candidate c@1/2, duplicate " +
		"c@1/3, after after@0/3"
	w.judged(w.explain("k"), VerdictPending, roles,
		"The row will move to click pending at 2026-11-23 11:01:00, which firstclick has not read so far, and no "+
			"instance of the group is running.",
		"clicks-1 offset 4 has not been read so far", "[not read yet]")
	e := w.explain("k2")
	w.judged(e, VerdictPending,
		"before early@0/0, before pending@1/4, winner a@0/2, runner_up b@1/0, candidate c@1/2, duplicate c@1/3, "+
			"candidate after@0/3",
		"Not written yet: firstclick has not read the checkout so far", "no row")
	w.exec(`INSERT INTO firstclick.instances (instance, group_id, host, pid, version) VALUES ('i', 'g', 'h', 1, 'v')`)
	if e := w.explain("k2"); strings.Contains(e.Summary, "no instance") {
		t.Error(e.Summary)
	}
	w.read([2]int64{9, 9}, [2]int64{9, 1})
	w.judged(w.explain("k2"), VerdictMissing, e.roles(), "WRONG: firstclick has read past the checkout")
}

func TestExplainRecordsOfOneID(t *testing.T) {
	w := shop(t)
	w.live("checkouts", 0, 1, checkoutOf("k", 1, "p", 0))                                       // again
	w.live("checkouts", 1, 1, checkoutOf("k", 1, "p", 0, `,"payment_method":"gold\u001b[31m"`)) // other content
	w.dead("checkouts", 1, 0, reasonConflict, "open")
	e := w.explain("k")
	w.judged(e, VerdictRight, shopRoles, "source    checkouts-0 offset 0", "duplicate checkouts-0 offset 1",
		"conflict  checkouts-1 offset 0",
		`payment_method is "gold\x1b[31m" here, NULL there`, "dead letters\n", "conflict  checkouts-1 offset 0, open")
	if len(e.Records) != 3 || len(e.DeadLetters) != 1 {
		t.Errorf("%+v, %+v", e.Records, e.DeadLetters)
	}
	if strings.ContainsRune(e.text(t), 0x1b) {
		t.Error("escape sequences reach the terminal")
	}
}

func TestExplainDeadLetters(t *testing.T) {
	w := shop(t)
	w.live("checkouts", 1, 1, checkoutOf("future", 1, "p", 60),
		`{"checkout_id":"broken","user_id":1,"product_id":"p"}`,
		`{"checkout_id":"cut`,
		checkoutOf("cut 2", 1, "p", 0),
		checkoutOf("refused", 1, "p", 0))
	for offset, reason := range []string{reasonFuture, reasonTime, reasonJSON, "", reasonRefused} {
		if reason != "" {
			w.dead("checkouts", 1, int64(offset), reason, "open")
		}
	}
	w.exec(`UPDATE firstclick.dead_letters SET payload = '{"checkout_id":"cut', detail = 'unexpected end'
		WHERE reason = 'json'`)
	for id, says := range map[string][]string{
		"future":  {"future at checkouts-1 offset 0 (open)", "rejected  checkouts-1 offset 0"},
		"broken":  {"time at checkouts-1 offset 1 (open)"},
		"cut":     {"json at checkouts-1 offset 2 (open)", `"unexpected end"`},
		"refused": {"refused at checkouts-1 offset 4 (open)", "refused   checkouts-1 offset 4"},
	} {
		w.judged(w.explain(id), VerdictDeadLetter, "", append(says,
			"No row: what came under this checkout_id became a dead letter", "no row")...)
	}
	// Retried, a dead letter is a new record.
	w.exec(`UPDATE firstclick.dead_letters SET status = 'retried', resolved_at = now(), payload = convert_to($1, 'UTF8')
		WHERE reason = 'refused'`, checkoutOf("refused", 1, "p", 0))
	w.live("checkouts", 1, 90, checkoutOf("refused", 1, "p", 0))
	w.read([2]int64{9, 9}, [2]int64{9, 5})
	w.judged(w.explain("refused"), VerdictPending, shopRoles, "source    checkouts-1 offset 5",
		"refused   checkouts-1 offset 4", ", retried, written")
	w.row("refused", "ann", "p", 0, "a", -50)
	w.read([2]int64{9, 9}, [2]int64{9, 6})
	w.judged(w.explain("refused"), VerdictRight, shopRoles,
		"source    checkouts-1 offset 5, recorded 2026-11-23 13:30:00")
	// A click that is a dead letter does not count.
	w.live("clicks", 0, -80, clickOf("ahead", 1, "p", -55))
	w.dead("clicks", 0, 4, reasonFuture, "open")
	w.judged(w.explain("k"), VerdictRight, strings.Replace(shopRoles, "winner", "rejected ahead@0/4, winner", 1),
		"1 of them a dead letter", "[dead letter, future]")
}
