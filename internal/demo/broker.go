package demo

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// startBroker runs Kafka in this process, with its data in dir.
func startBroker(dir string, port int, logger *slog.Logger) (*kfake.Cluster, error) {
	cluster, err := kfake.NewCluster(
		kfake.Ports(port),
		kfake.ClusterID("firstclick-demo"),
		kfake.DataDir(filepath.Join(dir, "kafka")),
		kfake.SyncWrites(),
		kfake.SeedTopics(partitions, clicksTopic, checkoutsTopic),
		kfake.WithLogger(brokerLog{logger}),
		kfake.BrokerConfigs(map[string]string{
			"log.retention.ms":  "-1",                       // see deleteRecords
			"log.segment.bytes": strconv.Itoa(segmentBytes), // a file is removed once all its records are deleted
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("start Kafka on port %d: %w", port, err)
	}
	return cluster, nil
}

// brokerLog logs the broker's warnings and errors at their level. Its other lines are about single
// requests.
type brokerLog struct{ logger *slog.Logger }

func (l brokerLog) Logf(level kfake.LogLevel, format string, args ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	switch level {
	case kfake.LogLevelError:
		l.logger.Error("broker", "message", text)
	case kfake.LogLevelWarn:
		l.logger.Warn("broker", "message", text)
	default:
		l.logger.Debug("broker", "message", text)
	}
}
