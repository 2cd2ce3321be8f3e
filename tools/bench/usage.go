package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Load is how many cores each took, on average.
type Load struct {
	Firstclick float64 `json:"firstclick"`
	Kafka      float64 `json:"kafka"`
	Postgres   float64 `json:"postgres"`
	Bench      float64 `json:"bench"` // load and watcher
}

// usage adds up the processor time of everybody who takes part.
type usage struct {
	at   time.Time
	used Load // seconds
}

func (p *place) usage(instances ...*instance) usage {
	u := usage{at: time.Now()}
	for _, i := range instances {
		u.used.Firstclick += cpuOf(i.pid())
	}
	u.used.Kafka = cpuOf(p.kafka.PID())
	u.used.Postgres = cpuOfFamily(p.postgres.PID())
	u.used.Bench = ownCPU()
	return u
}

// since is the load between two measurements.
func (u usage) since(before usage) Load {
	wall := u.at.Sub(before.at).Seconds()
	return Load{
		Firstclick: (u.used.Firstclick - before.used.Firstclick) / wall, Kafka: (u.used.Kafka - before.used.Kafka) / wall,
		Postgres: (u.used.Postgres - before.used.Postgres) / wall, Bench: (u.used.Bench - before.used.Bench) / wall,
	}
}

// ticksPerSecond is the unit of /proc/PID/stat on every architecture that Go runs on.
const ticksPerSecond = 100

// cpuOf is the processor time of a process in seconds, 0 where the system does not tell.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func cpuOf(pid int) float64 {
	fields := statOf(strconv.Itoa(pid))
	if len(fields) < 13 {
		return 0
	}
	return ticks(fields[11]) + ticks(fields[12])
}

// cpuOfFamily is that of a process, its children, and those of its children that have ended.
func cpuOfFamily(pid int) float64 {
	fields := statOf(strconv.Itoa(pid))
	if len(fields) < 15 {
		return 0
	}
	total := ticks(fields[11]) + ticks(fields[12]) + ticks(fields[13]) + ticks(fields[14])
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	parent := strconv.Itoa(pid)
	for _, dir := range all {
		if fields := statOf(filepath.Base(dir)); len(fields) >= 13 && fields[1] == parent {
			total += ticks(fields[11]) + ticks(fields[12])
		}
	}
	return total
}

// statOf gives the fields behind the program's name: state, parent and so on.
func statOf(pid string) []string {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil
	}
	text := string(data)
	return strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
}

func ticks(field string) float64 {
	n, err := strconv.ParseFloat(field, 64)
	if err != nil {
		return 0
	}
	return n / ticksPerSecond
}
