package cli

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// parseMemory takes bytes (536870912), binary (512MiB) and decimal (2GB) units, or "half", which is 0 here and resolved by
// memoryLimit.
func parseMemory(text string) (int64, error) {
	if text == "half" {
		return 0, nil
	}
	const hint = "write 512MiB, 2GB, a number of bytes, or half"
	bytes, ok := bytesOf(text)
	if !ok {
		return 0, fmt.Errorf("%q is not an amount of memory; %s", text, hint)
	}
	// Below that not even one partition's fetch fits beside the runtime.
	const least = 64 << 20
	if bytes >= least && bytes < math.MaxInt64 {
		return int64(bytes), nil
	}
	return 0, fmt.Errorf("%q is not between 64MiB and 8EiB; %s", text, hint)
}

// parseBytes takes bytes and their units, from 1 on.
func parseBytes(text string) (int64, error) {
	if bytes, ok := bytesOf(text); ok && bytes >= 1 && bytes < math.MaxInt64 {
		return int64(bytes), nil
	}
	return 0, fmt.Errorf("%q is not a number of bytes; write 64MiB, 1GB, or a number from 1 on", text)
}

// bytesOf reads a number with a unit.
func bytesOf(text string) (bytes float64, ok bool) {
	digits := strings.TrimRight(text, "BbIiKkMmGgTt ")
	factors := map[string]float64{
		"": 1, "b": 1,
		"k": 1e3, "kb": 1e3, "kib": 1 << 10,
		"m": 1e6, "mb": 1e6, "mib": 1 << 20,
		"g": 1e9, "gb": 1e9, "gib": 1 << 30,
		"t": 1e12, "tb": 1e12, "tib": 1 << 40,
	}
	factor, known := factors[strings.ToLower(strings.TrimSpace(text[len(digits):]))]
	n, err := strconv.ParseFloat(digits, 64)
	return n * factor, known && err == nil
}

// memoryLimit is the limit in bytes: as asked, or, for 0, half of what the process may use at most.
func memoryLimit(asked int64, root fs.FS) int64 {
	if asked > 0 {
		return asked
	}
	const whenUnknown = 1 << 30
	if total := memoryAvailable(root); total > 0 {
		return total / 2
	}
	return whenUnknown
}

// memoryAvailable is the least of the machine's memory and the limits of the cgroup and those above it, v1 or v2; 0 where
// nothing is known. The root is that of the file system, for /proc and /sys.
//
// Sources: cgroups(7); https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max);
// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (memory.limit_in_bytes).
func memoryAvailable(root fs.FS) int64 {
	total := machineMemory(root)
	for _, name := range cgroupFiles(root) {
		content, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		// "max" in v2; in v1 no limit is a number near 2^63, which is above any machine's memory.
		limit, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		if err == nil && limit > 0 && (total == 0 || limit < total) {
			total = limit
		}
	}
	return total
}

func machineMemory(root fs.FS) int64 {
	content, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// cgroupFiles names the files that may hold a limit: those of our own cgroup and of all above it, since the least holds.
// Inside a container our own cgroup is often mounted as the root, so the root is always among them.
func cgroupFiles(root fs.FS) []string {
	content, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var files []string
	for line := range strings.Lines(string(content)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		var base, file string
		switch {
		case parts[0] == "0" && parts[1] == "":
			base, file = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+parts[1]+",", ",memory,"):
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for at := path.Clean("/" + parts[2]); ; at = path.Dir(at) {
			files = append(files, path.Join(base, at, file))
			if at == "/" {
				break
			}
		}
	}
	return files
}
