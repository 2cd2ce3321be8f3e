package cli

import (
	"strings"
	"testing"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// Behind a pooler run ends at once and doctor fails, both with a line that names the pooler.
func TestPoolerIsNamed(t *testing.T) {
	dsn, brokers := pgtest.New(t), kafkatest.Fake(t, 1, "clicks", "checkouts")
	for _, strict := range []bool{true, false} {
		vars := map[string]string{
			"DATABASE_URL":  pgtest.Pooler(t, dsn, strict),
			"KAFKA_BROKERS": strings.Join(brokers, ","),
		}
		out, log, err := invoke(t.Context(), vars, "run", "--until-caught-up", "--listen", "127.0.0.1:0")
		if err == nil || !strings.Contains(err.Error(), "connection pooler") ||
			!strings.Contains(err.Error(), "address of Postgres itself") {
			t.Errorf("strict %v: %v\n%s%s", strict, err, out, log)
		}
		if out, _, err := invoke(t.Context(), vars, "doctor"); err == nil ||
			!strings.Contains(out, "is a connection pooler") {
			t.Errorf("strict %v: %v\n%s", strict, err, out)
		}
	}
}
