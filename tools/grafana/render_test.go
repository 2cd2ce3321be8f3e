package grafana_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstclick/tools/grafana"
)

// dashboards is where Grafana reads them.
const dashboards = "../../grafana/dashboards"

var update = flag.Bool("update", false, "write the dashboards anew")

// The files are what the code says.
func TestFilesAreRendered(t *testing.T) {
	boards, err := grafana.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for _, board := range boards {
		want, err := board.Render()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dashboards, board.File)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what is rendered: go test -C tools ./grafana -update", file)
		}
	}
	files, err := os.ReadDir(dashboards)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(boards) {
		t.Errorf("%d files of %d dashboards", len(files), len(boards))
	}
}

// units are those of Grafana's own list that are used here (@grafana/data,
// valueFormats/categories.ts).
var units = map[string]bool{"s": true, "short": true, "bytes": true, "Bps": true, "cps": true, "rowsps": true,
	"percentunit": true}

func TestEveryPanelSaysWhatItShows(t *testing.T) {
	boards, err := grafana.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for _, board := range boards {
		name := board.File
		for _, row := range board.Rows {
			for _, p := range row.Panels {
				if p.Title == "" || len(p.Description) < 20 || !units[p.Unit] || len(p.Steps) < 2 ||
					len(p.Queries) == 0 || p.Width <= 0 || p.Width > 24 {
					t.Errorf("%s: panel %q of %q lacks title, description, unit, thresholds, queries or width", name,
						p.Title, row.Title)
				}
				for i := 2; i < len(p.Steps); i++ {
					if p.Steps[i].From <= p.Steps[i-1].From {
						t.Errorf("%s: panel %q: thresholds must rise", name, p.Title)
					}
				}
				for _, q := range p.Queries {
					if !strings.Contains(q.Expr, "$instance") {
						t.Errorf("%s: panel %q: %s is not narrowed down to the instances chosen", name, p.Title, q.Expr)
					}
				}
			}
		}
	}
}
