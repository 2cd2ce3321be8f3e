package cli

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// parseMemory takes a size from 64 MiB on (below it not one fetch of a partition fits beside the
// runtime), or "half", which is 0 here: see [memoryLimit].
func parseMemory(text string) (int64, error) {
	if text == "half" {
		return 0, nil
	}
	const hint = "write 512MiB, 2GB, a number of bytes, or half"
	bytes, ok := bytesOf(text)
	if !ok {
		return 0, fmt.Errorf("%q is not an amount of memory; %s", text, hint)
	}
	if bytes >= 64<<20 && bytes < math.MaxInt64 {
		return int64(bytes), nil
	}
	return 0, fmt.Errorf("%q is not between 64MiB and 8EiB; %s", text, hint)
}

// parseBytes takes a size from 1 byte on.
func parseBytes(text string) (int64, error) {
	if bytes, ok := bytesOf(text); ok && bytes >= 1 && bytes < math.MaxInt64 {
		return int64(bytes), nil
	}
	return 0, fmt.Errorf("%q is not a number of bytes; write 64MiB, 1GB, or a number from 1 on", text)
}

// bytesOf reads a number with a binary (512MiB) or decimal (2GB) unit, or none.
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

// memoryLimit returns the given limit in bytes; for 0, half of what the process may use, or 1 GiB
// if that is unknown.
func memoryLimit(given int64, root fs.FS) int64 {
	if given > 0 {
		return given
	}
	if total := memoryAvailable(root); total > 0 {
		return total / 2
	}
	return 1 << 30
}

// memoryAvailable returns the least of the machine's memory and the limits of the process' cgroup
// and its parents, v1 or v2, in bytes; 0 if nothing is known. It reads /proc and /sys below root.
//
// Sources: cgroups(7); https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max);
// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (memory.limit_in_bytes).
func memoryAvailable(root fs.FS) int64 {
	var total int64
	if content, err := fs.ReadFile(root, "proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(content), "MemTotal: %d kB", &kib); err == nil { // the first line
			total = kib << 10
		}
	}
	for _, name := range cgroupFiles(root) {
		content, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		// No limit is "max" in v2, and in v1 a number near 2^63: above any machine's memory.
		limit, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		if err == nil && limit > 0 && (total == 0 || limit < total) {
			total = limit
		}
	}
	return total
}

// cgroupFiles names the files that may hold a limit: those of the process' cgroup and of all its
// parents. Inside a container its cgroup is often mounted as the root, so the root is among them.
func cgroupFiles(root fs.FS) []string {
	content, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var files []string
	for line := range strings.Lines(string(content)) { // hierarchy:controllers:path
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
