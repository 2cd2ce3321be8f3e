//go:build browser

package browser

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgtest"
	"firstclick/internal/webtest"
	"firstclick/web"
)

func TestBrowser(t *testing.T) {
	dsn := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	webtest.Furnish(t, conn)
	write := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	// An id that is a name of the language; a place where every object would get its members.
	write(`INSERT INTO commerce.attributed_checkouts (checkout_id, user_name, checkout_time) VALUES ('__proto__', ` +
		`'polluted', '2026-11-23 08:00:00')`)
	verify := func(cfg *web.PageConfig) {
		cfg.Latest = func() []string { return []string{"__proto__", "k1", webtest.HostileName} }
		cfg.Verify = func(context.Context) (web.Verdict, error) {
			return web.Verdict{OK: true, Text: "Verified: all 2 rows"}, nil
		}
		cfg.Actions = []web.Action{
			{Name: "poke", Title: "Poke it", About: "Nothing happens.",
				Do: func(context.Context, int64) (string, error) { return "It was poked", nil }},
			{Name: "drop-letter", Title: "Put aside", About: "Marks it.", Letter: true,
				Do: func(context.Context, int64) (string, error) { return "It was put aside", nil }},
		}
	}
	s := begin(t, "127.0.0.1:0", dsn, verify)
	tab := Open(t)
	tab.Scheme("light")
	quiet := func(t *testing.T) {
		t.Helper()
		for _, c := range tab.Complaints() {
			t.Errorf("the page complains: %s", c)
		}
		if title := Eval[string](tab, "document.title"); strings.Contains(title, "owned") {
			t.Fatal("a hostile text was run")
		}
	}

	t.Run("loads and moves", func(t *testing.T) {
		tab.Go(s.base)
		tab.Wait("the sentence",
			`document.querySelector("#sentence").textContent.startsWith("Up to date: rows appear 6 ms")`)
		tab.Wait("the verdict", `document.querySelector("#verify-text").textContent.startsWith("Verified: all 2 rows")`)
		tab.Wait("the graph",
			`/^60\.\d|^60\/s|^[1-9]/.test(document.querySelector("[data-edge=postgres] .edge-rate").textContent)`)
		rows := Eval[string](tab, `document.querySelector("#totals").textContent`)
		tab.Wait("other numbers", `document.querySelector("#totals").textContent !== `+quoted(rows))
		tab.Wait("the charts", `document.querySelectorAll("#charts canvas").length === 8`)
		tab.Wait("hostile rows as text", `document.querySelector("#latest").textContent.includes("<img src=x")`)
		if n := Eval[int](tab, `document.querySelectorAll("main img, main script").length`); n != 0 {
			t.Errorf("%d elements came from texts", n)
		}
		quiet(t)
	})
	t.Run("takes in what changed", func(t *testing.T) {
		rows := func(has string) string {
			return `[...document.querySelectorAll("#latest tbody tr")].map((r) => r.children[0].textContent + "=" + ` +
				`r.children[1].textContent).join() === ` + quoted(has)
		}
		tab.Wait("all rows", rows(webtest.HostileName+"="+webtest.HostileName+",k1=Ada,__proto__=polluted"))
		if Eval[bool](tab, `"user_name" in {} || "checkout_id" in {}`) {
			t.Error("a row's id has given every object its members")
		}
		write(`UPDATE commerce.attributed_checkouts SET user_name = NULL WHERE checkout_id = 'k1'`)
		tab.Wait("a name that went",
			rows(webtest.HostileName+"="+webtest.HostileName+",k1=not known yet,__proto__=polluted"))
		write(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = '__proto__'`)
		write(`UPDATE commerce.attributed_checkouts SET user_name = 'Ada' WHERE checkout_id = 'k1'`)
		tab.Wait("a row that went", rows(webtest.HostileName+"="+webtest.HostileName+",k1=Ada"))
		if dots := Eval[int](tab, `document.querySelectorAll("#charts canvas").length`); dots != 8 {
			t.Errorf("%d charts", dots)
		}
		quiet(t)
	})
	t.Run("a hostile payload is text", func(t *testing.T) {
		tab.Go(s.base + "/#dead-letters/1")
		tab.Wait("the payload", `document.querySelector("#payload")?.textContent.startsWith("<script>document.title")`)
		if n := Eval[int](tab, `document.querySelectorAll("#payload *").length`); n != 0 {
			t.Errorf("%d elements in the payload", n)
		}
		tab.Wait("the list", `document.querySelectorAll("#letters tbody tr").length === 2`)
		tab.Eval(`[...document.querySelectorAll("#letter button")].find((b) => b.textContent === "Put aside").click()`)
		tab.Wait("the action", `document.querySelector("#letter-result").textContent === "It was put aside"`)
		tab.Shot("dead-letter")
		quiet(t)
	})
	t.Run("the policy keeps markup out", func(t *testing.T) {
		blocked := Eval[bool](tab,
			`(() => { try { document.body.innerHTML = "<b>x</b>"; return false } catch { return true } })()`)
		if !blocked {
			t.Error("innerHTML took a text")
		}
		tab.Complaints() // of exactly this
	})
	t.Run("keyboard only", func(t *testing.T) {
		tab.Go("about:blank")
		tab.Go(s.base + "/")
		tab.Wait("the page", `document.querySelector("#link").dataset.on === "yes"`)
		focus := func() string { return Eval[string](tab, `document.activeElement.textContent.trim()`) }
		tab.Key(kb.Tab)
		if got := focus(); got != "Skip to the content" {
			t.Errorf("first stop is %q", got)
		}
		tab.Key(kb.Tab)
		tab.Key(kb.Tab)
		if got := focus(); got != "Rows" {
			t.Errorf("third stop is %q", got)
		}
		tab.Key(kb.Enter)
		tab.Wait("the rows", `!document.querySelector("#view-rows").hidden`)
		for i := 0; Eval[string](tab, `document.activeElement.id`) != "checkout"; i++ {
			if i > 12 {
				t.Fatal("the search is out of reach")
			}
			tab.Key(kb.Tab)
		}
		tab.Key("k1" + kb.Enter)
		tab.Wait("the explanation",
			`document.querySelector("#explanation-body").textContent.includes("The first click of k1 is c1")`)
		quiet(t)
	})
	t.Run("comes back after a restart", func(t *testing.T) {
		tab.Go(s.base + "/#overview")
		tab.Wait("live", `document.querySelector("#link").dataset.on === "yes"`)
		address := s.address
		s.stop()
		tab.Wait("it is noticed", `document.querySelector("#standing").dataset.state === "gone"`)
		s = begin(t, address, dsn, verify)
		tab.Wait("live again",
			`document.querySelector("#link").dataset.on === "yes" && `+
				`document.querySelector("#standing").dataset.state === "ok"`)
		tab.Complaints() // of connections refused
		tab.Eval(`document.querySelector("[data-action=poke]").click()`)
		tab.Wait("an action with the new start's token",
			`document.querySelector("#acted").textContent.includes("It was poked")`)
		quiet(t)
		defer s.stop()
		t.Run("looks", func(t *testing.T) { looks(t, s) })
	})
}

// looks goes through every view in both themes, on a desk and on a phone.
func looks(t *testing.T, s *stage) {
	tab := Open(t)
	tab.Audited()
	for _, scheme := range []string{"light", "dark"} {
		tab.Scheme(scheme)
		for _, width := range []int64{1280, 390} {
			tab.Resize(width, 844)
			for _, view := range []string{"overview", "rows/k1", "partitions", "dead-letters/1", "users",
				"configuration"} {
				where := strings.Join([]string{scheme, view, map[int64]string{1280: "desk", 390: "phone"}[width]}, " ")
				tab.Go("about:blank")
				tab.Go(s.base + "/#" + view)
				tab.Wait(where,
					`document.querySelector("#link").dataset.on === "yes" && `+
						`document.querySelectorAll(".view:not([hidden]) :is(td, dd)").length > 0`)
				if name, _, deep := strings.Cut(view, "/"); deep {
					tab.Wait(where+" in full",
						`document.querySelector("#`+map[string]string{"rows": "explanation-body .summary",
							"dead-letters": "payload"}[name]+`")`)
				}
				if over := Eval[int](tab, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
					t.Errorf("%s: %d px too wide", where, over)
				}
				tab.Axe(where)
				tab.Shot(strings.NewReplacer(" ", "-", "/", "-").Replace(where))
			}
		}
		back := Eval[string](tab, `getComputedStyle(document.body).backgroundColor`)
		tab.Eval(`document.querySelector("#theme").click()`)
		if now := Eval[string](tab, `getComputedStyle(document.body).backgroundColor`); now == back {
			t.Errorf("%s: the button changes nothing, it stays %s", scheme, now)
		}
		tab.Eval(`localStorage.clear()`)
	}
}

func quoted(text string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`", "$", "\\$").Replace(text) + "`"
}
