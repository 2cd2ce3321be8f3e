package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// minFree is the least part of a disk in per cent that is not worth a warning.
const minFree = 10

// disk is a file system as df shows it, in bytes.
type disk struct{ free, total int64 }

func (k *kafka) logDirs(ctx context.Context) (all []kadm.DescribedLogDir, err error) {
	set := kadm.TopicsSet{} // the answer has every directory, whichever partitions are named
	for _, topic := range k.cfg.topics() {
		set.Add(topic, 0)
	}
	dirs, err := k.admin.DescribeAllLogDirs(ctx, set)
	dirs.Each(func(d kadm.DescribedLogDir) {
		all = append(all, d)
		err = errors.Join(err, d.Err)
	})
	return all, err
}

func kafkaDisk(f *facts) (found findings) {
	visible := 0
	for _, d := range f.dirs {
		if d.Err != nil || d.UsableBytes < 0 || d.TotalBytes <= 0 {
			continue
		}
		visible++
		if d.UsableBytes < d.TotalBytes/100*minFree {
			found = found.warn("free or add disk, or shorten the retention of other topics",
				"broker %d has %s of %s free in %s", d.Broker, size(d.UsableBytes), size(d.TotalBytes), d.Dir)
		}
	}
	err := f.errs["log directories"]
	switch {
	case found != nil:
		return found
	case visible > 0:
		return found.ok("more than %d %% free in %d log directories", minFree, visible)
	case errors.Is(err, kerr.UnknownTopicOrPartition): // the request names topics
		return found.warn("", "free disk is not visible before both topics exist")
	case err != nil:
		return found.warn("", "free disk is not visible: %s", rootCause(err))
	}
	return found.warn("", "free disk is not visible: the brokers do not tell (Kafka 3.3 and later do)")
}

func postgresDisk(f *facts) (found findings) {
	s := f.server
	used := ""
	if s.Size >= 0 {
		used = "; the database takes " + size(s.Size)
	}
	err := f.onThisMachine()
	var d disk
	if err == nil {
		d, err = f.cfg.diskOf(s.Directory)
	}
	switch {
	case err != nil:
		return found.warn("df on the server", "free disk is not visible: %s%s", rootCause(err), used)
	case d.free < d.total/100*minFree:
		return found.warn("free or add disk", "%s of %s free in %s%s", size(d.free), size(d.total), s.Directory, used)
	}
	return found.ok("%s of %s free%s", size(d.free), size(d.total), used)
}

// onThisMachine is an error unless the server's data directory is one of this machine. The path
// alone proves nothing: the server may run in a container or behind a tunnel. The third line of the
// lock file in the directory says when the server was started.
// https://www.postgresql.org/docs/current/storage-file-layout.html
func (f *facts) onThisMachine() error {
	s := f.server
	if s.Directory == "" || !s.Local {
		return errors.New("the server does not tell, and runs elsewhere or under another user")
	}
	content, err := f.cfg.readFile(filepath.Join(s.Directory, "postmaster.pid"))
	if err != nil {
		return errors.New("the data directory cannot be seen from here")
	}
	lines := bytes.Split(content, []byte("\n"))
	if len(lines) < 3 {
		return errors.New("the data directory cannot be told from another's")
	}
	started, err := strconv.ParseInt(string(bytes.TrimSpace(lines[2])), 10, 64)
	if err != nil || s.Started.Sub(time.Unix(started, 0)).Abs() > 2*time.Second {
		return errors.New("the data directory of that name is another server's")
	}
	return nil
}

// size writes bytes for people: 20 B, 5.0 MiB.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, prefix := float64(n)/unit, 0
	for v >= unit && prefix < 5 {
		v, prefix = v/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[prefix])
}
