package demo

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"firstclick/audit"
	"firstclick/internal/progress"
	"firstclick/pipeline"
	"firstclick/web"
)

// mount adds the page to the server. The page may act only if nobody but this machine reaches it.
func (d *demo) mount(job *pipeline.Pipeline) error {
	auditing := audit.Config{
		Kafka: d.kafka(), Database: d.postgres.DSN(database), ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic,
	}
	config := web.PageConfig{
		Stats: job.Stats, Latest: job.Latest, Instance: job.Instance(), Demo: true,
		Database: d.postgres.DSN(database), Version: d.cfg.Version, Logger: d.logger,
		Settings: []web.Setting{
			{Name: "kafka", Value: "localhost:" + strconv.Itoa(d.kafkaPort()) + ", in this process"},
			{Name: "postgres", Value: fmt.Sprintf("localhost:%d, version %s", d.postgres.Port, d.postgres.Version())},
			{Name: "--dir", Value: d.cfg.Dir},
			{Name: "--rate", Value: strconv.FormatFloat(d.cfg.Rate, 'f', -1, 64) + " events/s"},
			{Name: "--listen", Value: d.web.Addr().String()},
			{Name: "records are kept", Value: keepRecords.String()},
			{Name: "rows are kept", Value: keepRows.String()},
			{Name: "memory limit", Value: fmt.Sprintf("%d MiB", memoryLimit>>20)},
		},
		Explain: func(ctx context.Context, id string) (any, error) { return audit.Explain(ctx, auditing, id) },
		Verify:  func(ctx context.Context) (web.Verdict, error) { return verdict(ctx, auditing) },
	}
	if d.web.Addr().IP.IsLoopback() {
		config.Actions = d.faults(job)
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

// verdict verifies and returns the result in one line, within a minute.
func verdict(ctx context.Context, cfg audit.Config) (web.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := audit.Verify(ctx, cfg)
	if err != nil {
		return web.Verdict{}, err
	}
	v := web.Verdict{OK: r.OK(), Rows: r.Rows}
	if !v.OK {
		v.Text = fmt.Sprintf("NOT as it should be: %d missing, %d extra, %d different, %d without a name, "+
			"%d wrong dead letters; run firstclick verify", r.Missing, r.Extra, r.Different, r.Unfilled,
			r.DeadLettersMissing+r.DeadLettersReason+r.DeadLettersUnexplained)
		return v, nil
	}
	if old := r.Rows - r.Judged; old > 0 {
		v.Text = fmt.Sprintf("Verified: %s rows are what Kafka's records say, 0 missing, 0 twice; "+
			"%s wait, or are older than the records", progress.Grouped(r.Judged), progress.Grouped(old))
		return v, nil
	}
	v.Text = fmt.Sprintf("Verified: all %s rows are what Kafka's records say, 0 missing, 0 twice",
		progress.Grouped(r.Rows))
	return v, nil
}
