package pipeline

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"firstclick/internal/metrics"
	"firstclick/pipeline/engine"
	"firstclick/pipeline/ingest"
	"firstclick/pipeline/sink"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// ours has all metrics of a pipeline with a number of partitions.
func ours(t testing.TB, partitions int) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewRegistry()
	f := metrics.NewFactory(r, "shop")
	in := ingest.NewMetrics(f, "clicks", "checkouts")
	engine.NewMetrics(f, "clicks", "checkouts")
	newRunMetrics(f)
	sink.NewMetrics(f.Wrapped())
	registerState(f, busy{partitions}.Stats, busy{partitions}.Health)
	for p := range int32(partitions) {
		for _, topic := range []string{"clicks", "checkouts"} {
			in.Polled(topic, p, 1, 2, time.Now().UnixMicro())
			in.Starts(topic, make([]int64, partitions))
		}
	}
	return r
}

func gather(t *testing.T, partitions int) []*dto.MetricFamily {
	t.Helper()
	families, err := ours(t, partitions).Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// labelsOf are the labels of a family and the values that each has.
func labelsOf(f *dto.MetricFamily) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			if all[l.GetName()] == nil {
				all[l.GetName()] = map[string]bool{}
			}
			all[l.GetName()][l.GetValue()] = true
		}
	}
	return all
}

// The partitions and lists in the code bound the number of series. What a record holds makes no
// series.
func TestLabelsAreBounded(t *testing.T) {
	known := []string{"group", "topic", "partition", "reason", "effect", "outcome", "path", "cause", "owner", "check",
		"event"}
	series := func(partitions int) (n int) {
		for _, f := range gather(t, partitions) {
			n += len(f.Metric)
			for name, values := range labelsOf(f) {
				if !slices.Contains(known, name) {
					t.Errorf("%s has the label %s", f.GetName(), name)
				}
				if name != "partition" && len(values) > 16 {
					t.Errorf("%s: %d values of %s", f.GetName(), len(values), name)
				}
			}
		}
		return n
	}
	one, many := series(1), series(65)
	if each := float64(many-one) / 64; each > 26 {
		t.Errorf("%.1f series for each partition", each)
	}
	if one > 200 {
		t.Errorf("%d series with one partition", one)
	}
}

var named = regexp.MustCompile(`^firstclick_[a-z][a-z_]*[a-z]$`)

// Names follow https://prometheus.io/docs/practices/naming/, and help texts name the unit.
func TestNamesAndHelp(t *testing.T) {
	for _, f := range gather(t, 1) {
		name, help := f.GetName(), f.GetHelp()
		counts := f.GetType() == dto.MetricType_COUNTER
		if !named.MatchString(name) || counts != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: a %v of that name", name, f.GetType())
		}
		if len(help) < 15 || !strings.HasSuffix(help, ".") {
			t.Errorf("%s: help %q", name, help)
		}
		for suffix, unit := range map[string]string{"_seconds": "econds", "_bytes": "ytes", "_offset": "ffset",
			"_records": "ecords", "_timestamp_seconds": "since the epoch"} {
			if strings.HasSuffix(strings.TrimSuffix(name, "_total"), suffix) && !strings.Contains(help, unit) &&
				!(suffix == "_seconds" && strings.Contains(help, "since the epoch")) {
				t.Errorf("%s: help does not name its unit: %q", name, help)
			}
		}
	}
}

// docs/metrics.md is rendered from the code: go test ./pipeline -run Documented -update
func TestDocumented(t *testing.T) {
	var page bytes.Buffer
	page.WriteString("# Metrics\n\n" +
		"`/metrics` shows these of firstclick itself, each with the label `group`. " +
		"`go test ./pipeline -run Documented -update`\n" +
		"renders this page from the code. " +
		"`/metrics` also has `firstclick_build_info`, the metrics of the Kafka clients\n" +
		"(`firstclick_kafka_*`), of Go (`go_*`) and of the process (`process_*`). " +
		"Histograms are both classic and native.\n\n" +
		"| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range gather(t, 2) {
		var labels []string
		for name := range labelsOf(f) {
			if name != "group" {
				labels = append(labels, "`"+name+"`")
			}
		}
		slices.Sort(labels)
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n",
			f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	const file = "../docs/metrics.md"
	if *update {
		if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, page.Bytes()) {
		t.Errorf("%s is not what is rendered: go test ./pipeline -run Documented -update", file)
	}
}
