package pipeline_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/doctor"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
)

// The doctor finds nothing wrong beside an instance that reads and writes, however often it runs.
// FIRSTCLICK_DOCTOR_RUNS=200 runs longer.
func TestDoctorBesideABusyInstance(t *testing.T) {
	runs := 10
	if text := os.Getenv("FIRSTCLICK_DOCTOR_RUNS"); text != "" {
		var err error
		if runs, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	brokers := kafkatest.Fake(t, 4, "clicks", "checkouts")
	dsn, _ := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	cfg.Group = "busy"
	p := begin(t, cfg)
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerLinger(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	producing, stop := context.WithCancel(t.Context())
	produced := make(chan error, 1)
	var n atomic.Int64
	go func() {
		for producing.Err() == nil {
			id, at := fmt.Sprint(n.Add(1)), stamp(time.Now(), 0)
			if err := cl.ProduceSync(context.WithoutCancel(producing),
				&kgo.Record{Topic: "clicks", Value: []byte(click("c"+id, 1, id, at))},
				&kgo.Record{Topic: "checkouts", Value: []byte(checkout("k"+id, 1, id, "1",
					at))}).FirstErr(); err != nil {
				produced <- err
				return
			}
		}
		produced <- nil
	}()
	eventually(t, "it is ready", func() bool { return ready(p) })
	for range runs {
		r := doctor.Run(t.Context(), doctor.Config{
			Kafka: kafkaconn.Config{Brokers: brokers}, Database: dsn, ClicksTopic: "clicks",
			CheckoutsTopic: "checkouts", Group: "busy",
			Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second, Zone: time.UTC,
		})
		for _, f := range r.Findings {
			if f.Status == doctor.Fail || f.Status != doctor.OK && (f.Check == "offsets" || f.Check == "group") {
				t.Errorf("%+v", f)
			}
		}
	}
	stop()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d runs beside %d checkouts", runs, n.Load())
}
