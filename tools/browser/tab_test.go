//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Patience is how long a page may take to show what is waited for.
const Patience = time.Minute

// Tab is a browser with one page open.
type Tab struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// Open starts a browser with a fresh profile. It ends with the test.
func Open(t testing.TB) *Tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is missing (apt-get install chromium): %v", err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(Patience),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true))
	root, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	// The library complains of messages that it does not know yet.
	ctx, cancel := chromedp.NewContext(root, chromedp.WithErrorf(func(string, ...any) {}))
	tab := &Tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close the browser: %v", err)
		}
		cancel()
		stop()
	})
	chromedp.ListenTarget(ctx, tab.hear)
	tab.do(cdplog.Enable())
	tab.Resize(1280, 900)
	return tab
}

func (tab *Tab) hear(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning || e.Type == runtime.APITypeAssert {
			var parts []string
			for _, a := range e.Args {
				parts = append(parts, string(a.Value)+a.Description)
			}
			complaint = "console: " + strings.Join(parts, " ")
		}
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.LevelError || e.Entry.Level == cdplog.LevelWarning {
			complaint = fmt.Sprintf("log: %s %s", e.Entry.Text, e.Entry.URL)
		}
	}
	if complaint != "" {
		tab.mu.Lock()
		tab.complaints = append(tab.complaints, complaint)
		tab.mu.Unlock()
	}
}

// Complaints returns what the page and the browser complained of since the last call.
func (tab *Tab) Complaints() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	c := tab.complaints
	tab.complaints = nil
	return c
}

func (tab *Tab) do(actions ...chromedp.Action) {
	tab.t.Helper()
	if err := chromedp.Run(tab.ctx, actions...); err != nil {
		tab.t.Fatalf("drive the browser: %v", err)
	}
}

// Resize makes the page as large as a window or a phone of that size, in CSS pixels.
func (tab *Tab) Resize(width, height int64) {
	tab.t.Helper()
	tab.do(emulation.SetDeviceMetricsOverride(width, height, 1, width < 600))
}

// Scheme lets the system prefer dark or light.
func (tab *Tab) Scheme(scheme string) {
	tab.t.Helper()
	tab.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}))
}

// Go opens an address, and waits until the page is loaded.
func (tab *Tab) Go(url string) {
	tab.t.Helper()
	tab.do(chromedp.Navigate(url))
}

// Eval returns the value of a JavaScript expression.
func Eval[T any](tab *Tab, expression string) (value T) {
	tab.t.Helper()
	tab.do(chromedp.Evaluate(expression, &value))
	return value
}

// Wait waits until a JavaScript expression is true.
func (tab *Tab) Wait(what, expression string) {
	tab.t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(Patience)
	for {
		var is bool
		if err := chromedp.Run(tab.ctx, chromedp.Evaluate("Boolean("+expression+")", &is)); err == nil && is {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			tab.Shot("failed")
			tab.t.Fatalf("waited %v for: %s (%s)", Patience, what, expression)
		}
	}
}

// Key presses keys as a keyboard does, like "\t" or "\r"; see the constants of package kb.
func (tab *Tab) Key(keys string) {
	tab.t.Helper()
	tab.do(chromedp.KeyEvent(keys))
}

// Shot takes a picture of the whole page, into the directory that FIRSTCLICK_SHOTS names, if any.
func (tab *Tab) Shot(name string) {
	tab.t.Helper()
	dir := os.Getenv("FIRSTCLICK_SHOTS")
	if dir == "" {
		return
	}
	var picture []byte
	if err := chromedp.Run(tab.ctx, chromedp.FullScreenshot(&picture, 100)); err != nil {
		tab.t.Errorf("take a picture: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600); err != nil {
		tab.t.Errorf("keep a picture: %v", err)
	}
}

// Axe fails the test for everything serious or critical that axe-core finds on the page.
func (tab *Tab) Axe(where string) {
	tab.t.Helper()
	path := os.Getenv("FIRSTCLICK_AXE")
	if path == "" {
		tab.t.Fatal("FIRSTCLICK_AXE names no axe.min.js: .ci/browser fetches it")
	}
	code, err := os.ReadFile(path)
	if err != nil {
		tab.t.Fatalf("read axe-core: %v", err)
	}
	var text string
	tab.do(chromedp.Evaluate(string(code)+"\n;0", nil), chromedp.Evaluate(`
		axe.run(document, {resultTypes: ["violations"]}).then((r) => JSON.stringify(
			r.violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => ({
				id: v.id, help: v.help,
				nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 160) + " " + n.failureSummary)}))))`,
		&text, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var found []struct {
		ID    string   `json:"id"`
		Help  string   `json:"help"`
		Nodes []string `json:"nodes"`
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		tab.t.Fatalf("read what axe-core found: %v", err)
	}
	for _, f := range found {
		tab.t.Errorf("%s: %s: %s\n%s", where, f.ID, f.Help, strings.Join(f.Nodes, "\n"))
	}
}

// Audited lets axe-core examine the page, whose own policy would keep its script out. Call it
// before Go.
func (tab *Tab) Audited() {
	tab.t.Helper()
	tab.do(page.SetBypassCSP(true))
}

// Eval runs JavaScript whose value nobody needs.
func (tab *Tab) Eval(expression string) {
	tab.t.Helper()
	tab.do(chromedp.Evaluate(expression+"\n;0", nil))
}
