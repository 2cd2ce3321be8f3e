package cli

import (
	"testing"
	"testing/fstest"
)

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"half": 0, "536870912": 536870912, "512MiB": 512 << 20, "2GB": 2e9, "2g": 2e9, "1.5GiB": 3 << 29,
		"100 MB": 100e6, "1TiB": 1 << 40, "70000KiB": 70000 << 10,
	} {
		if got, err := parseMemory(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1GB", "5PB", "1GiBB", "NaN", "Inf", "1e30", "9000000TiB", "1MB"} {
		if got, err := parseMemory(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	const machine = "MemTotal:       16777216 kB\nMemFree:        1 kB\n" // 16 GiB
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, row := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"machine":       {fstest.MapFS{"proc/meminfo": file(machine)}, 8 << 30},
		"nothing known": {fstest.MapFS{}, 1 << 30},
		"cgroup v2": {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/app\n"),
			"sys/fs/cgroup/app/memory.max": file("1073741824\n")}, 512 << 20},
		"v2 without a limit": {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/app\n"),
			"sys/fs/cgroup/app/memory.max": file("max\n")}, 8 << 30},
		"v2 parent's": {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/pod/app\n"),
			"sys/fs/cgroup/pod/app/memory.max": file("4294967296\n"),
			"sys/fs/cgroup/pod/memory.max":     file("2147483648\n")}, 1 << 30},
		"v2 in a container": {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/../x\n"),
			"sys/fs/cgroup/memory.max": file("1073741824")}, 512 << 20},
		"cgroup v1": {fstest.MapFS{"proc/meminfo": file(machine),
			"proc/self/cgroup":                           file("9:name=systemd:/\n4:cpu,memory:/docker/1\n0::/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("2147483648\n")}, 1 << 30},
		"v1 without a limit": {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("4:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 8 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			if got := memoryLimit(0, row.files); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
			if got := memoryLimit(123, row.files); got != 123 {
				t.Errorf("asked for 123, got %d", got)
			}
		})
	}
}
