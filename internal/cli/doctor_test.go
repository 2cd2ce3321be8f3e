package cli

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"firstclick/doctor"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

func TestDoctor(t *testing.T) {
	vars := map[string]string{
		"DATABASE_URL":  pgtest.New(t),
		"KAFKA_BROKERS": strings.Join(kafkatest.Fake(t, 1, "clicks", "checkouts"), ","),
	}
	out, _, err := invoke(t.Context(), vars, "doctor")
	if err != nil || !strings.Contains(out, " 0 fail") || !strings.Contains(out, "ok    kafka") {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = invoke(t.Context(), vars, "doctor", "--json", "--kafka", "127.0.0.1:1")
	var report doctor.Report
	if jsonErr := json.Unmarshal([]byte(out), &report); jsonErr != nil || report.Failed != 1 || report.OK() {
		t.Errorf("got %q, %v", out, jsonErr)
	}
	var usage *UsageError
	if !errors.Is(err, errUnwell) || errors.As(err, &usage) { // exit code 1
		t.Errorf("got %v", err)
	}
}
