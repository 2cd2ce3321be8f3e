package main

import (
	"fmt"
	"slices"
	"strings"
)

// Workload is what every phase works on, and the answer.
type Workload struct {
	Compression string  `json:"compression"` // of the topics' batches; "" in reports before there was a choice: snappy
	Seed        uint64  `json:"seed"`
	EventRate   float64 `json:"event_rate_per_second"` // of event time
	Partitions  int     `json:"partitions"`
	Clicks      int64   `json:"clicks"`
	Checkouts   int64   `json:"checkouts"`
	Records     int64   `json:"records"`     // with the duplicates
	Bytes       int64   `json:"value_bytes"` // of the records' values
	Rows        int64   `json:"rows"`
	Attributed  int64   `json:"attributed"`
	Digest      string  `json:"digest"` // of checkout_id, click_id, click_time over all rows
}

func (w Workload) compression() string {
	if w.Compression == "" {
		return "snappy"
	}
	return w.Compression
}

// Events is the number of records.
func (w Workload) Events() int64 { return w.Clicks + w.Checkouts }

// Figures is what one phase took.
type Figures struct {
	Wall float64 `json:"wall_seconds"`
	CPU  float64 `json:"cpu_seconds,omitempty"` // zero: not measured, the work is another process's
	Peak float64 `json:"peak_mib,omitempty"`    // resident memory; zero: not measured

	Postgres float64 `json:"postgres_cpu_seconds,omitempty"`
}

// String is for a line of progress.
func (f Figures) String() string {
	text := fmt.Sprintf("%7.2f s", f.Wall)
	if f.CPU > 0 {
		text += fmt.Sprintf("  %6.2f CPU s", f.CPU)
	}
	if f.Peak > 0 {
		text += fmt.Sprintf("  %6.0f MiB", f.Peak)
	}
	return text
}

// Round is the figures of each phase in one round.
type Round map[string]Figures

// Report is what a run of the bench found.
type Report struct {
	Machine
	Workload Workload `json:"workload"`
	Rounds   []Round  `json:"rounds"`

	Medians       Round   `json:"medians"`
	CopyFloor     float64 `json:"copy_again_to_copy,omitempty"` // the same phase twice a round: what is off 1 is noise
	PaceToCopy    float64 `json:"drain_pace_to_copy,omitempty"`
	PaceToCopyTwo float64 `json:"drain_pace_to_copy_2,omitempty"`
	PaceToSorted  float64 `json:"drain_pace_to_copy_sorted,omitempty"`
	DrainToCopy   float64 `json:"drain_to_copy,omitempty"`
	DrainToSorted float64 `json:"drain_to_copy_sorted,omitempty"`
	DrainToRead   float64 `json:"drain_to_read,omitempty"`
	EventsPerSec  float64 `json:"drain_events_per_second,omitempty"`
	CPUPerMillion float64 `json:"drain_cpu_seconds_per_million_events,omitempty"`
	PeakMiB       float64 `json:"drain_peak_mib,omitempty"` // the greatest of all rounds
}

// finish computes medians and ratios.
func (r *Report) finish() {
	r.Medians = Round{}
	for _, name := range phaseNames() {
		var wall, cpu, peak, postgres []float64
		for _, round := range r.Rounds {
			if f, ok := round[name]; ok {
				wall, cpu = append(wall, f.Wall), append(cpu, f.CPU)
				peak, postgres = append(peak, f.Peak), append(postgres, f.Postgres)
			}
		}
		if len(wall) > 0 {
			r.Medians[name] = Figures{Wall: median(wall), CPU: median(cpu), Peak: median(peak),
				Postgres: median(postgres)}
		}
		if name == phaseDrain && len(peak) > 0 {
			r.PeakMiB = slices.Max(peak)
		}
	}
	if again, ok := r.Medians[phaseCopyAgain]; ok && r.Medians[phaseCopy].Wall > 0 {
		r.CopyFloor = again.Wall / r.Medians[phaseCopy].Wall
	}
	drain, ok := r.Medians[phaseDrain]
	if !ok {
		return
	}
	pace := func(name string) float64 { return r.Medians[name].Wall / drain.Wall }
	r.PaceToCopy, r.PaceToCopyTwo, r.PaceToSorted = pace(phaseCopy), pace(phaseCopyTwo), pace(phaseCopySorted)
	ratio := func(name string) float64 {
		if f, ok := r.Medians[name]; ok && f.Wall > 0 {
			return drain.Wall / f.Wall
		}
		return 0
	}
	r.DrainToCopy, r.DrainToSorted, r.DrainToRead = ratio(phaseCopy), ratio(phaseCopySorted), ratio(phaseRead)
	r.EventsPerSec = float64(r.Workload.Events()) / drain.Wall
	r.CPUPerMillion = drain.CPU / float64(r.Workload.Events()) * 1e6
}

// median of values; of an even number the mean of the middle two. There has to be at least one.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	w := r.Workload
	fmt.Fprintf(&b, "%d clicks and %d checkouts (%d rows, %d with a click; %.0f MB of JSON) ",
		w.Clicks, w.Checkouts, w.Rows, w.Attributed, float64(w.Bytes)/1e6)
	fmt.Fprintf(&b, "over %d+%d partitions, compression %s, seed %d. ",
		w.Partitions, w.Partitions, w.compression(), w.Seed)
	fmt.Fprintf(&b, "%d rounds on %d cores (%s), %s, Postgres %s, fsync %s.\n\n",
		len(r.Rounds), r.Cores, r.CPU, r.Go, r.Postgres["server_version"], r.Postgres["fsync"])

	b.WriteString("| phase | median s |")
	for i := range r.Rounds {
		fmt.Fprintf(&b, " round %d |", i+1)
	}
	b.WriteString(" CPU s | Postgres CPU s | peak MiB |\n|---|--:|" + strings.Repeat("--:|", len(r.Rounds)+3) + "\n")
	for _, name := range phaseNames() {
		f, ok := r.Medians[name]
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "| %s | **%.2f** |", name, f.Wall)
		for _, round := range r.Rounds {
			fmt.Fprintf(&b, " %.2f |", round[name].Wall)
		}
		fmt.Fprintf(&b, " %s | %s | %s |\n", number(f.CPU, "%.2f"), number(f.Postgres, "%.2f"), number(f.Peak, "%.0f"))
	}
	if _, ok := r.Medians[phaseDrain]; ok {
		fmt.Fprintf(&b, "\n| drain | |\n|---|--:|\n| events per second | %.0f |\n", r.EventsPerSec)
		for _, line := range []struct {
			name  string
			value float64
		}{
			{"pace to that of bare COPY", r.PaceToCopy},
			{"pace to that of bare COPY by two connections", r.PaceToCopyTwo},
			{"pace to that of bare COPY, sorted", r.PaceToSorted},
			{"COPY again to COPY (noise)", r.CopyFloor},
			{"time / bare COPY", r.DrainToCopy},
			{"time / bare COPY, sorted", r.DrainToSorted},
			{"time / bare read", r.DrainToRead},
			{"CPU seconds per million events", r.CPUPerMillion},
		} {
			fmt.Fprintf(&b, "| %s | %s |\n", line.name, number(line.value, "%.2f"))
		}
		fmt.Fprintf(&b, "| peak memory, MiB | %s |\n", number(r.PeakMiB, "%.0f"))
	}
	return b.String()
}

// number formats what was measured, and leaves out what was not.
func number(value float64, format string) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(format, value)
}
