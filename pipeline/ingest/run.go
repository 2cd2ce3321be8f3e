package ingest

import "time"

// Run is what outlives an attempt: it is kept from New of a pipeline to its end.
type Run struct {
	Refusals   *Refusals
	Membership *Membership
	Metrics    *Metrics
	reading    *reading
}

// NewRun begins a run of an instance. The user may be refused by Kafka for at most refusedFor.
func NewRun(id identity, instance string, refusedFor time.Duration, metrics *Metrics) *Run {
	return &Run{
		Refusals:   &Refusals{limit: refusedFor, clients: map[string]refusal{}},
		Membership: &Membership{identity: id, instance: instance},
		Metrics:    metrics,
		reading:    &reading{},
	}
}
