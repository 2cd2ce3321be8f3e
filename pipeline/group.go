package pipeline

import (
	"context"
	"fmt"

	"firstclick/pipeline/ending"
	"firstclick/pipeline/ingest"
	"firstclick/pipeline/sink"
)

// storedGroup reads where the group began, or stores it for a new one, by --start. Another topic,
// window, lateness or zone than the stored one is refused: rows of two meanings would stand side by
// side.
func (p *Pipeline) storedGroup(ctx context.Context, kafka *ingest.Kafka) (*sink.Progress, error) {
	cfg := &p.cfg
	want := sink.Progress{
		Group: cfg.Group, ClicksTopic: cfg.ClicksTopic, CheckoutsTopic: cfg.CheckoutsTopic,
		ClicksTopicID: kafka.Clicks.ID, CheckoutsTopicID: kafka.Checkouts.ID,
		Window: cfg.Window, Lateness: cfg.Lateness, OutOfOrder: cfg.OutOfOrder, MaxSkew: cfg.MaxSkew,
		Zone:  cfg.Zone.String(),
		Start: cfg.Start,
	}
	got, ok, err := p.sink.Progress(ctx, cfg.Group)
	if err == nil && !ok { // only then is Kafka requested: some partition may have no leader
		if want.ClicksStart, want.CheckoutsStart, err = kafka.StartOffsets(ctx); err != nil {
			return nil, err
		}
		got, err = p.sink.EnsureProgress(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("read the group's progress: %w", err)
	}
	for _, d := range []struct {
		flag      string
		got, want any
	}{
		{"--clicks-topic", got.ClicksTopic, want.ClicksTopic},
		{"--checkouts-topic", got.CheckoutsTopic, want.CheckoutsTopic},
		{"--window", got.Window, want.Window}, {"--lateness", got.Lateness, want.Lateness},
		{"--out-of-order", got.OutOfOrder, want.OutOfOrder},
		{"--max-future-skew", got.MaxSkew, want.MaxSkew}, {"--time-zone", got.Zone, want.Zone},
	} {
		if d.got != d.want {
			return nil, ending.Configf("group %q was begun with %s %v, not %v: run with the stored "+
				"value, or begin anew under another --group",
				cfg.Group, d.flag, d.got, d.want)
		}
	}
	for _, d := range []struct {
		topic     string
		got, want [16]byte
	}{{got.ClicksTopic, got.ClicksTopicID, want.ClicksTopicID},
		{got.CheckoutsTopic, got.CheckoutsTopicID, want.CheckoutsTopicID}} {
		if none := [16]byte{}; d.got != d.want && d.got != none && d.want != none {
			return nil, ending.Gapf(d.topic, 0, "the topic was deleted and made again (topic id %x, "+
				"stored %x): its offsets mean other records now", d.want, d.got)
		}
	}
	got.ClicksTopicID, got.CheckoutsTopicID = want.ClicksTopicID, want.CheckoutsTopicID // an older broker gave none
	return &got, nil
}
