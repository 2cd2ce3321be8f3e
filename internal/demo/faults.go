package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/pipeline"
	"firstclick/web"
)

const (
	kafkaDownFor = 5 * time.Second
	frozenFor    = 15 * time.Second
	lateClicks   = 25
)

// faults are what the page can break.
func (d *demo) faults(job *pipeline.Pipeline) []web.Action {
	fault := func(name, title, about string, do func(context.Context) (string, error)) web.Action {
		run := func(ctx context.Context, _ int64) (string, error) {
			d.faultAt.Store(time.Now().Unix())
			return do(ctx)
		}
		return web.Action{Name: name, Title: title, About: about, Do: run}
	}
	freeze := func(ctx context.Context) (string, error) {
		return fmt.Sprintf("The pipeline stood still for %.0f s", frozenFor.Seconds()), job.Freeze(ctx, frozenFor)
	}
	return []web.Action{
		fault("cut-kafka", "Cut off Kafka",
			fmt.Sprintf("The broker drops every connection for %.0f s.", kafkaDownFor.Seconds()), d.cutKafka),
		fault("restart-postgres", "Crash Postgres",
			"Ended at once, as by a power cut, and started again: it recovers.", d.crashPostgres),
		fault("freeze", "Freeze the pipeline",
			fmt.Sprintf("It stands still for %.0f s while events go on coming.", frozenFor.Seconds()), freeze),
		fault("poison", "Send poison",
			"Records that are broken, hostile or too large: each becomes a dead letter.", d.sendPoison),
		fault("late-clicks", "Send late clicks",
			fmt.Sprintf("%d earlier clicks for existing rows: each row moves to its new first click.", lateClicks),
			d.sendLateClicks),
	}
}

// cutKafka lets every request fail and closes its connection: kfake does so for an error of a
// control function. The first request of a connection succeeds; else clients suspect TLS.
func (d *demo) cutKafka(ctx context.Context) (string, error) {
	ends := time.Now().Add(kafkaDownFor)
	d.broker.Control(func(request kmsg.Request) (kmsg.Response, error, bool) {
		if time.Now().After(ends) {
			d.broker.DropControl()
			return nil, nil, false
		}
		if _, first := request.(*kmsg.ApiVersionsRequest); first {
			return nil, nil, false
		}
		d.broker.KeepControl()
		return nil, errors.New("cut off"), true
	})
	select {
	case <-time.After(kafkaDownFor):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return fmt.Sprintf("Kafka dropped every connection for %.0f s", kafkaDownFor.Seconds()), nil
}

func (d *demo) crashPostgres(ctx context.Context) (string, error) {
	d.crashing.Lock()
	defer d.crashing.Unlock()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	began := time.Now()
	if err := d.postgres.Kill(); err != nil {
		return "", err
	}
	if err := d.postgres.Restart(context.WithoutCancel(ctx)); err != nil { // the demo's end stops a server
		return "", err
	}
	return fmt.Sprintf("Postgres crashed and was back after %.1f s", time.Since(began).Seconds()), nil
}

// hostile returns values that are no events.
func hostile() []string {
	return []string{
		`<script>document.title = "owned"</script>`,
		`{"checkout_id": "<img src=x onerror=alert(1)>", "user_id": "1; DROP TABLE commerce.users", "product_id": "p",
			"datetime_occured": "now"}`,
		`{"checkout_id": "cut off", "user_id": 7, "prod`,
		`["an", "array"]`,
		"",
		"{\"checkout_id\": \"\u202egnp.exe\", \"user_id\": 3, \"product_id\": \"p\", " +
			"\"datetime_occured\": \"2026-02-30 25:61:00\"}",
		"{\"checkout_id\": \"bad bytes \xff\xfe\", \"user_id\": 3, \"product_id\": \"p\", " +
			"\"datetime_occured\": \"2026-01-01 00:00:00\"}",
		`{"checkout_id": "from the future", "user_id": 3, "product_id": "p",
			"datetime_occured": "2999-01-01 00:00:00"}`,
		`{"checkout_id": "priceless", "user_id": 3, "product_id": "p", "total_amount": "NaN",
			"datetime_occured": "2026-01-01 00:00:00"}`,
	}
}

func (d *demo) sendPoison(ctx context.Context) (string, error) {
	var records []*kgo.Record
	for _, value := range hostile() {
		for _, topic := range []string{checkoutsTopic, clicksTopic} {
			records = append(records, &kgo.Record{Topic: topic, Value: []byte(value)})
		}
	}
	if err := d.send(ctx, records); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d poisoned records were sent: look at the dead letters", len(records)), nil
}

// sendLateClicks sends an earlier click for some recent rows. A row has no user id: it is looked up
// by the name.
func (d *demo) sendLateClicks(ctx context.Context) (string, error) {
	rows, err := d.pool.Query(ctx, `SELECT u.id, a.product_id, coalesce(a.click_time, a.checkout_time)
		FROM (SELECT * FROM commerce.attributed_checkouts
			WHERE checkout_time BETWEEN (now() AT TIME ZONE 'UTC') - interval '5 minutes'
				AND (now() AT TIME ZONE 'UTC') - interval '3 seconds'
			ORDER BY checkout_time DESC LIMIT 400) a
		JOIN commerce.users u ON u.username = a.user_name
		WHERE a.product_id IS NOT NULL ORDER BY random() LIMIT $1`, lateClicks)
	if err != nil {
		return "", fmt.Errorf("look for recent rows: %w", err)
	}
	defer rows.Close()
	var records []*kgo.Record
	for rows.Next() {
		var user int32
		var product string
		var first time.Time
		if err := rows.Scan(&user, &product, &first); err != nil {
			return "", fmt.Errorf("read a recent row: %w", err)
		}
		earlier := first.Add(-time.Duration(1+rand.IntN(30)) * time.Second)
		value := fmt.Appendf(nil, `{"click_id": "%s", "user_id": %d, "product_id": %q, "datetime_occured": "%s"}`,
			uuid.NewString(), user, product, earlier.UTC().Format("2006-01-02 15:04:05.000"))
		records = append(records, &kgo.Record{Topic: clicksTopic, Value: value})
	}
	if err := rows.Err(); err != nil {
		return "", fmt.Errorf("read recent rows: %w", err)
	}
	if len(records) == 0 {
		return "", errors.New("there are no recent rows yet")
	}
	if err := d.send(ctx, records); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d clicks were sent late: their rows have moved", len(records)), nil
}

func (d *demo) send(ctx context.Context, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	opts, err := d.kafka().Opts()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))...)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer client.Close()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("send to Kafka: %w", err)
	}
	return nil
}
