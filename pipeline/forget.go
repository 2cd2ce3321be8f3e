package pipeline

import (
	"context"
	"time"
)

// forgetEvery is how often old dead letters are looked for.
const forgetEvery = 10 * time.Minute

// forgetLetters deletes dead letters that are older than the configuration keeps them. What fails is tried the next time: nobody's rows depend on it.
func (s *session) forgetLetters(ctx context.Context) error {
	if s.cfg.Retention == 0 {
		return nil
	}
	t := time.NewTicker(forgetEvery)
	defer t.Stop()
	for {
		n, err := s.p.sink.ForgetLetters(ctx, s.cfg.Group, s.cfg.Retention)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.log.Warn("old dead letters are not deleted; the role needs: GRANT DELETE ON firstclick.dead_letters", "cause", err)
		case n > 0:
			s.log.Info("old dead letters deleted", "letters", n, "older_than_seconds", s.cfg.Retention.Seconds())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
