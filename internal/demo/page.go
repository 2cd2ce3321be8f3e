package demo

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"firstclick/audit"
	"firstclick/pipeline"
	"firstclick/web"
)

// mount puts the page on the server: with everything that may be broken, where only this machine reaches it.
func (d *demo) mount(job *pipeline.Pipeline) error {
	auditing := audit.Config{Kafka: d.kafka(), Database: d.postgres.DSN(database), ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic}
	config := web.PageConfig{
		Stats: job.Stats, Latest: job.Latest, Instance: job.Instance(), Demo: true,
		Database: d.postgres.DSN(database), Version: d.cfg.Version, Settings: d.settings(), Logger: d.logger,
		Explain: func(ctx context.Context, id string) (any, error) { return audit.Explain(ctx, auditing, id) },
		Verify:  func(ctx context.Context) (web.Verdict, error) { return verified(ctx, auditing) },
	}
	if d.web.Addr().IP.IsLoopback() {
		config.Actions = d.actions(job)
		if d.cfg.LetterActions != nil {
			config.Actions = append(config.Actions, d.cfg.LetterActions(d.postgres.DSN(database), d.kafka())...)
		}
	}
	page, err := web.NewPage(config)
	if err != nil {
		return err
	}
	d.web.Mount(page)
	return nil
}

func (d *demo) settings() []web.Setting {
	return []web.Setting{
		{Name: "kafka", Value: "localhost:" + strconv.Itoa(d.kafkaPort()) + ", in this process"},
		{Name: "postgres", Value: fmt.Sprintf("localhost:%d, version %s", d.postgres.Port, d.postgres.Version())},
		{Name: "--dir", Value: d.cfg.Dir},
		{Name: "--rate", Value: strconv.FormatFloat(d.cfg.Rate, 'f', -1, 64) + " events/s"},
		{Name: "--listen", Value: d.web.Addr().String()},
		{Name: "records are kept", Value: keepRecords.String()},
		{Name: "rows are kept", Value: keepRows.String()},
		{Name: "memory limit", Value: fmt.Sprintf("%d MiB", memoryLimit>>20)},
	}
}

// verified is a verification in one line. It may not hold up the demo: it gets a minute.
func verified(ctx context.Context, cfg audit.Config) (web.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := audit.Verify(ctx, cfg)
	if err != nil {
		return web.Verdict{}, err
	}
	v := web.Verdict{OK: r.OK(), Rows: r.Rows}
	if !v.OK {
		v.Text = fmt.Sprintf("NOT as it should be: %d missing, %d extra, %d different, %d without a name, %d dead letters amiss; run firstclick verify",
			r.Missing, r.Extra, r.Different, r.Unfilled, r.DeadLettersMissing+r.DeadLettersReason+r.DeadLettersUnexplained)
		return v, nil
	}
	if old := r.Rows - r.Judged; old > 0 {
		v.Text = fmt.Sprintf("Verified: %s rows are what Kafka's records say, 0 missing, 0 twice; %s wait, or are older than the records", thousands(r.Judged), thousands(old))
		return v, nil
	}
	v.Text = fmt.Sprintf("Verified: all %s rows are what Kafka's records say, 0 missing, 0 twice", thousands(r.Rows))
	return v, nil
}

func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
