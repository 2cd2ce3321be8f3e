//go:build browser

package browser

import (
	"strings"
	"testing"
)

// The show piece: everything is broken once, and the verification stays green.
func TestBrowserDemo(t *testing.T) {
	page, stop := startDemo(t)
	tab := Open(t)
	tab.Scheme("light")
	tab.Resize(1280, 1000)
	tab.Go("http://" + page + "/")
	sentence := `document.querySelector("#sentence").textContent`
	verdict := `document.querySelector("#verify").dataset.is`
	upToDate := sentence + `.startsWith("Up to date: rows appear")`
	tab.Wait("rows", upToDate)
	tab.Wait("a verification", verdict+` === "ok"`)
	press := func(action, done string) {
		t.Helper()
		tab.Eval(`document.querySelector("[data-action=` + action + `]").click()`)
		tab.Wait(action, `document.querySelector("#acted").textContent.includes("`+done+`")`)
	}

	t.Run("a checkout is explained", func(t *testing.T) {
		tab.Wait("a row", `document.querySelector("#latest tbody a")`)
		id := Eval[string](tab, `document.querySelector("#latest tbody a").textContent`)
		tab.Eval(`location.hash = "#rows"`)
		tab.Eval(`document.querySelector("#checkout").value = "` + id +
			`"; document.querySelector("#search button").click()`)
		tab.Wait("the explanation", `document.querySelector("#explanation-body .badge")?.textContent === "right"`)
		tab.Wait("the winner",
			`document.querySelector("#explanation-body tr.winner") || /no `+
				`click/.test(document.querySelector("#explanation-body").textContent)`)
		tab.Shot("demo-explanation")
		tab.Eval(`location.hash = "#overview"`)
	})
	t.Run("poison", func(t *testing.T) {
		press("poison", "poisoned records were sent")
		tab.Wait("dead letters", `Number(document.querySelector("#letters-count").textContent) === 18`)
		tab.Eval(`location.hash = "#dead-letters"`)
		tab.Wait("the list", `document.querySelectorAll("#letters tbody tr").length === 18`)
		tab.Eval(`location.hash = [...document.querySelectorAll("#letters tbody tr")].find((r) => ` +
			`r.textContent.includes("<script>")).querySelector("a").hash`)
		tab.Wait("a payload as text", `document.querySelector("#payload")?.textContent.startsWith("<script>")`)
		tab.Eval(`location.hash = "#overview"`)
	})
	t.Run("late clicks", func(t *testing.T) {
		tab.Wait("a row old enough",
			`Number(document.querySelector("#totals dd").textContent.split(" ")[0]) > 12 || `+
				`document.querySelector("#totals dd").textContent.includes("min")`)
		press("late-clicks", "clicks were sent late")
		tab.Wait("corrections",
			`[...document.querySelectorAll("#totals div")].find((d) => d.firstChild.textContent === `+
				`"Corrected").lastChild.textContent !== "0"`)
	})
	t.Run("Postgres crashes", func(t *testing.T) {
		press("restart-postgres", "was back after")
		tab.Wait("rows again", upToDate)
	})
	t.Run("Kafka is cut off", func(t *testing.T) {
		press("cut-kafka", "Kafka dropped every connection")
		tab.Wait("rows again", upToDate)
	})
	t.Run("the pipeline freezes", func(t *testing.T) {
		tab.Eval(`document.querySelector("[data-action=freeze]").click()`)
		tab.Wait("it is said", `document.querySelector("#standing").dataset.state === "stuck"`)
		tab.Shot("demo-frozen")
		tab.Wait("rows again", upToDate)
	})
	checked := Eval[string](tab, `document.querySelector("#verify-text").textContent`)
	rows, _, _ := strings.Cut(checked, ",")
	tab.Wait("a verification after it all",
		verdict+` === "ok" && !document.querySelector("#verify-text").textContent.includes("cannot verify") && `+
			`!document.querySelector("#verify-text").textContent.startsWith(`+"`"+rows+"`)")
	if is := Eval[string](tab, verdict); is != "ok" {
		t.Errorf("verified: %s", Eval[string](tab, `document.querySelector("#verify-text").textContent`))
	}
	tab.Shot("demo-overview")
	for _, c := range tab.Complaints() {
		t.Errorf("the page complains: %s", c)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
