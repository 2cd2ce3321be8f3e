package audit

import (
	"strings"
	"testing"
	"time"
)

func TestVerifyRefusesOtherSettings(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	w := base(t)
	for want, change := range map[string]func(c *Config){
		"window":       func(c *Config) { c.Window = 2 * time.Hour },
		"lateness":     func(c *Config) { c.Lateness = time.Minute },
		"out-of-order": func(c *Config) { c.OutOfOrder = time.Minute },
		"time zone":    func(c *Config) { c.Zone = berlin },
		"clicks topic": func(c *Config) { c.ClicksTopic = "other" },
	} {
		cfg := w.cfg
		change(&cfg)
		if _, err := Verify(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	same := w.cfg
	same.Window, same.Lateness, same.OutOfOrder = time.Hour, 15*time.Minute, 15*time.Second
	same.Zone, same.ClicksTopic = time.UTC, "clicks"
	r, err := Verify(t.Context(), same)
	if err != nil {
		t.Fatal(err)
	}
	w.expect(r, nil)
	w.exec(`DROP TABLE commerce.attributed_checkouts`)
	if _, err := Verify(t.Context(), w.cfg); err == nil || !strings.Contains(err.Error(), "firstclick migrate") {
		t.Errorf("no table: %v", err)
	}
}

// The window, and the zone of times without one, are those that the group was begun with.
func TestVerifyByTheGroupsWindowAndZone(t *testing.T) {
	w := base(t)
	w.exec(`UPDATE firstclick.progress SET window_length = '45 minutes', time_zone = 'Europe/Berlin'`)
	w.exec(`UPDATE commerce.attributed_checkouts
		SET checkout_time = checkout_time - interval '1 hour', click_time = click_time - interval '1 hour'`)
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'b', click_time = $1::text::timestamp
		WHERE checkout_id = 'k1'`, at(-100))
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
		WHERE checkout_id IN ('k2', 'k4')`)
	w.expect(w.verify(), nil)
}
