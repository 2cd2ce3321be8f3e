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
	brokerDownFor = 5 * time.Second
	frozenFor     = 15 * time.Second
	lateClicks    = 25
)

// actions break things, each in a way that real ones break.
func (d *demo) actions(job *pipeline.Pipeline) []web.Action {
	plain := func(do func(context.Context) (string, error)) func(context.Context, int64) (string, error) {
		return func(ctx context.Context, _ int64) (string, error) {
			d.broken.Store(time.Now().Unix())
			return do(ctx)
		}
	}
	return []web.Action{
		{Name: "cut-kafka", Title: "Cut off Kafka", About: fmt.Sprintf("The broker drops every connection for %.0f s.", brokerDownFor.Seconds()), Do: plain(d.cutKafka)},
		{Name: "restart-postgres", Title: "Crash Postgres", About: "Ended at once, as by a power cut, and started again: it recovers.", Do: plain(d.crashPostgres)},
		{Name: "freeze", Title: "Freeze the pipeline", About: fmt.Sprintf("It stands still for %.0f s while events go on coming.", frozenFor.Seconds()), Do: plain(func(ctx context.Context) (string, error) {
			if err := job.Freeze(ctx, frozenFor); err != nil {
				return "", err
			}
			return fmt.Sprintf("The pipeline stood still for %.0f s", frozenFor.Seconds()), nil
		})},
		{Name: "poison", Title: "Send poison", About: "Records that are broken, hostile or too large: each becomes a dead letter.", Do: plain(d.sendPoison)},
		{Name: "late-clicks", Title: "Send late clicks", About: fmt.Sprintf("%d earlier clicks for rows that are there: each row moves to its new first click.", lateClicks), Do: plain(d.sendLateClicks)},
	}
}

// cutKafka lets every request fail with its connection, as a network does that cuts off what it does not like. An error of a control
// function closes the connection that the request came by. The first request of a connection passes: without it clients suspect TLS.
func (d *demo) cutKafka(ctx context.Context) (string, error) {
	ends := time.Now().Add(brokerDownFor)
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
	case <-time.After(brokerDownFor):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return fmt.Sprintf("Kafka dropped every connection for %.0f s", brokerDownFor.Seconds()), nil
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
	if err := d.postgres.Restart(context.WithoutCancel(ctx)); err != nil { // whatever stops the demo finds a server to stop
		return "", err
	}
	return fmt.Sprintf("Postgres crashed and was back after %.1f s", time.Since(began).Seconds()), nil
}

// hostile is what somebody may send: each is no event.
func hostile() []string {
	return []string{
		`<script>document.title = "owned"</script>`,
		`{"checkout_id": "<img src=x onerror=alert(1)>", "user_id": "1; DROP TABLE commerce.users", "product_id": "p", "datetime_occured": "now"}`,
		`{"checkout_id": "cut off", "user_id": 7, "prod`,
		`["an", "array"]`,
		"",
		"{\"checkout_id\": \"\u202egnp.exe\", \"user_id\": 3, \"product_id\": \"p\", \"datetime_occured\": \"2026-02-30 25:61:00\"}",
		"{\"checkout_id\": \"bad bytes \xff\xfe\", \"user_id\": 3, \"product_id\": \"p\", \"datetime_occured\": \"2026-01-01 00:00:00\"}",
		`{"checkout_id": "from the future", "user_id": 3, "product_id": "p", "datetime_occured": "2999-01-01 00:00:00"}`,
		`{"checkout_id": "priceless", "user_id": 3, "product_id": "p", "total_amount": "NaN", "datetime_occured": "2026-01-01 00:00:00"}`,
	}
}

func (d *demo) sendPoison(ctx context.Context) (string, error) {
	var records []*kgo.Record
	for _, value := range hostile() {
		records = append(records, &kgo.Record{Topic: checkoutsTopic, Value: []byte(value)}, &kgo.Record{Topic: clicksTopic, Value: []byte(value)})
	}
	if err := d.send(ctx, records); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d poisoned records were sent: look at the dead letters", len(records)), nil
}

// sendLateClicks makes an earlier click for each of some young rows. The row says product and name; the user is looked up by it.
func (d *demo) sendLateClicks(ctx context.Context) (string, error) {
	rows, err := d.pool.Query(ctx, `SELECT u.id, a.product_id, coalesce(a.click_time, a.checkout_time)
		FROM (SELECT * FROM commerce.attributed_checkouts WHERE checkout_time BETWEEN (now() AT TIME ZONE 'UTC') - interval '5 minutes'
			AND (now() AT TIME ZONE 'UTC') - interval '3 seconds' ORDER BY checkout_time DESC LIMIT 400) a
		JOIN commerce.users u ON u.username = a.user_name WHERE a.product_id IS NOT NULL ORDER BY random() LIMIT $1`, lateClicks)
	if err != nil {
		return "", fmt.Errorf("look for young rows: %w", err)
	}
	defer rows.Close()
	var records []*kgo.Record
	for rows.Next() {
		var user int32
		var product string
		var first time.Time
		if err := rows.Scan(&user, &product, &first); err != nil {
			return "", fmt.Errorf("read a young row: %w", err)
		}
		earlier := first.Add(-time.Duration(1+rand.IntN(30)) * time.Second)
		records = append(records, &kgo.Record{Topic: clicksTopic, Value: fmt.Appendf(nil, `{"click_id": "%s", "user_id": %d, "product_id": %q, "datetime_occured": "%s"}`,
			uuid.NewString(), user, product, earlier.UTC().Format("2006-01-02 15:04:05.000"))})
	}
	if err := rows.Err(); err != nil {
		return "", fmt.Errorf("read young rows: %w", err)
	}
	if len(records) == 0 {
		return "", errors.New("there are no young rows to be late for yet")
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
