package testbed

import "github.com/prometheus/procfs"

const ticksPerSecond = 100 // of /proc/PID/stat, on every architecture that Go runs on

// CPU is the processor time of a process in seconds; 0 where the system does not say.
func CPU(pid int) float64 {
	stat, ok := statOf(pid)
	if !ok {
		return 0
	}
	return stat.CPUTime()
}

// FamilyCPU is the processor time of a process, of its children, and of those that have ended.
func FamilyCPU(pid int) float64 {
	own, ok := statOf(pid)
	processes, err := procfs.AllProcs()
	if !ok || err != nil {
		return 0
	}
	total := own.CPUTime() + float64(own.CUTime+own.CSTime)/ticksPerSecond
	for _, p := range processes {
		if stat, ok := statOf(p.PID); ok && stat.PPID == pid {
			total += stat.CPUTime()
		}
	}
	return total
}

func statOf(pid int) (procfs.ProcStat, bool) {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, false
	}
	stat, err := process.Stat()
	return stat, err == nil
}

// Memory is what a process has resident, now and at most so far, in bytes; 0 where the system does
// not say. VmHWM and not ru_maxrss: the latter also counts what the parent held at the start.
func Memory(pid int) (now, peak float64) {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0
	}
	status, err := process.NewStatus()
	if err != nil {
		return 0, 0
	}
	return float64(status.VmRSS), float64(status.VmHWM)
}

// Processor is the name of the processor; empty where the system does not say.
func Processor() string {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return ""
	}
	processors, err := fs.CPUInfo()
	if err != nil || len(processors) == 0 {
		return ""
	}
	return processors[0].ModelName
}
