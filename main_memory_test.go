//go:build linux && !race

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// The race detector needs several times as much memory: these bounds are for the program as
// shipped.

// peakMemory returns the largest resident memory of a process in bytes.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	text, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kib, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// A compressed batch of any size on either topic: the process stays within 1.25 times its memory
// limit, and writes what comes after the batch.
func TestMemoryUnderCompressedBatches(t *testing.T) {
	const limit = 256 << 20
	made := func(b *kmsg.RecordBatch, err error) *kmsg.RecordBatch {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, attack := range map[string]struct {
		batch      *kmsg.RecordBatch
		times      int
		partitions int32
	}{
		"a gigabyte of zstd":     {made(kafkatest.Bomb(kgo.CodecZstd, 1<<30)), 3, 2},
		"gzip":                   {made(kafkatest.Bomb(kgo.CodecGzip, 1<<30)), 1, 2},
		"lz4":                    {made(kafkatest.Bomb(kgo.CodecLz4, 1<<30)), 1, 2},
		"snappy":                 {made(kafkatest.Bomb(kgo.CodecSnappy, 130<<20)), 1, 2},
		"just below the limit":   {made(kafkatest.Bomb(kgo.CodecZstd, 23<<20)), 20, 2},
		"gzip, below the limit":  {made(kafkatest.Bomb(kgo.CodecGzip, 23<<20)), 20, 2},
		"a million records":      {made(kafkatest.Grains(kgo.CodecZstd, 1_000_000, "")), 3, 2},
		"as many as are allowed": {made(kafkatest.Grains(kgo.CodecZstd, 140_000, "")), 1, 1},
		"that are broken":        {made(kafkatest.Grains(kgo.CodecZstd, 130_000, "{\"click_id\":")), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			brokers := kafkatest.FakeCluster(
				t,
				kfake.SeedTopics(2, "clicks", "checkouts"),
				kfake.BrokerConfigs(map[string]string{"message.max.bytes": "16777216"}),
			).ListenAddrs()
			dsn := pgtest.New(t)
			conn, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			for range attack.times {
				for _, topic := range []string{"clicks", "checkouts"} {
					for p := range attack.partitions {
						if _, err := kafkatest.ProduceBatch(t.Context(), brokers, topic, p, attack.batch); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			at := time.Now().UTC().Format("2006-01-02 15:04:05")
			for p := range int32(2) {
				kafkatest.Produce(
					t,
					brokers,
					"clicks",
					p,
					fmt.Appendf(
						nil,
						`{"click_id":"c%d","user_id":1,"product_id":"%[1]d","datetime_occured":%q}`,
						p,
						at,
					),
				)
				kafkatest.Produce(
					t,
					brokers,
					"checkouts",
					p,
					fmt.Appendf(
						nil,
						`{"checkout_id":"k%d","user_id":1,"product_id":"%[1]d","datetime_occured":%q}`,
						p,
						at,
					),
				)
			}
			cmd := command(
				t,
				asMain,
				"run",
				"--kafka",
				strings.Join(brokers, ","),
				"--database",
				dsn,
				"--memory-limit",
				"256MiB",
				"--listen",
				"127.0.0.1:0",
			)
			var log strings.Builder
			cmd.Stderr = &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ticker := time.NewTicker(50 * time.Millisecond)
			defer ticker.Stop()
			deadline := time.Now().Add(time.Minute)
			for rows := 0; rows < 2; <-ticker.C {
				if time.Now().After(deadline) {
					_ = cmd.Process.Kill()
					_ = cmd.Wait() // killed
					t.Fatalf("no rows: %s", log.String())
				}
				if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM commerce.attributed_checkouts
					WHERE click_id IS NOT NULL`).Scan(&rows); err != nil {
					t.Fatal(err, log.String())
				}
			}
			peak := peakMemory(t, cmd.Process.Pid)
			if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
				t.Fatal(err, log.String())
			}
			t.Logf("at most %d MiB", peak>>20)
			if most := int64(limit / 4 * 5); peak > most {
				t.Errorf("at most %d MiB of memory were taken, want %d", peak>>20, most>>20)
			}
		})
	}
}
