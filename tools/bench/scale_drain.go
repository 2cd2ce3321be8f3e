package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"firstclick/internal/datagen"
)

// people makes sure that users 0 to n exist.
func (p *place) people(ctx context.Context, n int64) error {
	return p.Exec(ctx, fmt.Sprintf(`INSERT INTO commerce.users SELECT i, 'user.number' || i, 'x'
		FROM generate_series(coalesce((SELECT max(id) + 1 FROM commerce.users), 0), %d) i`, n), `ANALYZE
			commerce.users`)
}

// lay makes a workload with topics and an answer of its own.
func (s *scale) lay(ctx context.Context, name string, change change) (*place, error) {
	p := *s.p
	p.topics = newTopics(name, s.opts.partitions)
	p.answers = `bench."` + name + `"`
	cfg := datagen.Config{
		Count: s.opts.scale.events, Seed: s.opts.seed, EventRate: float64(s.opts.scale.events) / 6000,
		Partitions: int32(s.opts.partitions), Users: liveUsers, Compression: s.opts.compression,
	}
	if change != nil {
		change(&cfg)
	}
	load, err := p.produce(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &p, p.expect(ctx, &load)
}

// compare lays a workload and drains it in turn with the plain one.
func (s *scale) compare(ctx context.Context, dimension, topic, variant string, flags []string,
	change change) (err error) {
	if s.base == nil {
		if s.base, err = s.lay(ctx, "plain", nil); err != nil {
			return err
		}
	}
	p := s.base
	if change != nil {
		if p, err = s.lay(ctx, dimension+"-"+topic, change); err != nil {
			return err
		}
	}
	return s.against(ctx, dimension, variant, p, s.base, flags)
}

// variants compares workloads. The first is the plain one itself: its ratio shows the noise.
func (s *scale) variants(ctx context.Context, dimension string, flags []string, changes map[string]change) error {
	if err := s.compare(ctx, dimension, "", "the plain workload, against itself", flags, nil); err != nil {
		return err
	}
	for i, name := range slices.Sorted(maps.Keys(changes)) {
		if err := s.compare(ctx, dimension, strconv.Itoa(i), name, flags, changes[name]); err != nil {
			return err
		}
	}
	return nil
}

// numbers compares workloads that differ by a number, for a list of them in ascending order.
func (s *scale) numbers(ctx context.Context, dimension, list string, prepare func(context.Context, int64) error,
	change func(*datagen.Config, int64),
) error {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("%q: want a positive number", text)
		}
		if prepare != nil {
			if err := prepare(ctx, n); err != nil {
				return err
			}
		}
		with := func(c *datagen.Config) { change(c, n) }
		if err := s.compare(ctx, dimension, text, text+" "+dimension, nil, with); err != nil {
			return err
		}
	}
	return nil
}

// against compares paces, in records a second.
func (s *scale) against(ctx context.Context, dimension, name string, p, base *place, flags []string) error {
	var ratios, paces, cpu, peaks []float64
	for range s.opts.rounds {
		s.rounds++
		plain, err := base.drain(ctx, s.rounds, flags...)
		if err != nil {
			return err
		}
		s.rounds++
		f, err := p.drain(ctx, s.rounds, flags...)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		pace := float64(p.expected.Records) / f.Wall
		ratios = append(ratios, pace/(float64(base.expected.Records)/plain.Wall))
		paces, cpu, peaks = append(paces, pace), append(cpu, f.CPU/float64(p.expected.Records)*1e6), append(peaks,
			f.Peak)
	}
	s.add(ScaleResult{Dimension: dimension, Variant: name, Ratio: median(ratios), Pairs: ratios,
		Figures: map[string]float64{
			"records/s": median(paces), "CPU s per million": median(cpu), "peak MiB": median(peaks),
		}})
	return nil
}

// table drains workloads into an empty table and then into one that holds many rows, each workload
// once into each.
func (s *scale) table(ctx context.Context) error {
	var loads []*place
	for i := range s.opts.rounds {
		p, err := s.lay(ctx, "table-"+strconv.Itoa(i), func(c *datagen.Config) { c.Seed = s.opts.seed + uint64(i) })
		if err != nil {
			return err
		}
		loads = append(loads, p)
	}
	drainAll := func() (walls []float64, err error) {
		for _, p := range loads {
			if err := p.Exec(ctx, `CHECKPOINT`); err != nil {
				return nil, err
			}
			s.rounds++
			f, err := p.drainInto(ctx, p.topics.group+"-"+strconv.Itoa(s.rounds), "localhost:0")
			if err != nil {
				return nil, err
			}
			walls = append(walls, f.Wall)
		}
		return walls, nil
	}
	if err := s.p.empty(ctx); err != nil {
		return err
	}
	before, err := drainAll()
	if err != nil {
		return err
	}
	if err := s.p.empty(ctx); err != nil {
		return err
	}
	s.log.Say("writing %d rows, and then their index", s.opts.scale.tableRows)
	if err := s.p.Exec(ctx, fillTable(s.opts.scale.tableRows)...); err != nil {
		return err
	}
	after, err := drainAll()
	if err != nil {
		return err
	}
	var ratios []float64
	for i := range after {
		ratios = append(ratios, before[i]/after[i])
	}
	s.add(ScaleResult{Dimension: scaleTable, Variant: fmt.Sprintf("%d rows stand already", s.opts.scale.tableRows),
		Ratio: median(ratios), Pairs: ratios,
		Figures: map[string]float64{"s, empty": median(before), "s, full": median(after)}})
	return s.p.empty(ctx)
}

// fillTable writes rows of the usual width. The index is made afterwards, by sorting: row by row
// into random places would take hours.
func fillTable(rows int64) []string {
	const table = "commerce.attributed_checkouts"
	return []string{
		`ALTER TABLE ` + table + ` DROP CONSTRAINT attributed_checkouts_pkey`,
		fmt.Sprintf(`INSERT INTO %s (%s) SELECT gen_random_uuid(), 'user.number' || i %% 100, gen_random_uuid(),
			gen_random_uuid(), 'JCB 16 digit', 896.92,
			E'148 Eric Track\nNew Stephanie, NC 00575', E'15430 Natalie Common Apt. 718\nEast Donna, OH 22144',
			'Mozilla/5.0 (Macintosh; PPC Mac OS X 10_11_5) AppleWebKit/531.0 (KHTML, like Gecko) Chrome/30.0.819.0
				Safari/531.0',
			'168.135.111.71', now()::timestamp, now()::timestamp FROM generate_series(1, %d) i`, table, columns, rows),
		`SET maintenance_work_mem = '1GB'; ALTER TABLE ` + table + ` ADD PRIMARY KEY (checkout_id)`,
		`CHECKPOINT`,
	}
}
