package sink

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestFatalErrorsSayWhatToRun(t *testing.T) {
	cases := []struct{ name, damage, want string }{
		{"table missing", `DROP TABLE commerce.attributed_checkouts`, "firstclick migrate"},
		{"offsets missing", `DROP TABLE firstclick.offsets`, "firstclick migrate"},
		{"column missing", `ALTER TABLE commerce.attributed_checkouts DROP COLUMN user_agent`,
			"ADD COLUMN user_agent varchar"},
		{"no key", `ALTER TABLE commerce.attributed_checkouts DROP CONSTRAINT attributed_checkouts_pkey`,
			"ADD PRIMARY KEY"},
		{"other type", `ALTER TABLE commerce.attributed_checkouts ALTER total_amount TYPE double precision`,
			"total_amount is double precision"},
		{"another type", `ALTER TABLE commerce.attributed_checkouts ALTER ip_address TYPE inet USING NULL`,
			"ip_address is inet"},
		{"NOT NULL", `ALTER TABLE commerce.attributed_checkouts ALTER click_id SET NOT NULL`,
			"ALTER COLUMN click_id DROP NOT NULL"},
		{"unknown NOT NULL", `ALTER TABLE commerce.attributed_checkouts ADD extra int NOT NULL`,
			`ALTER COLUMN "extra" DROP NOT NULL`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.exec(c.damage)
			_, err := b.sink.Claim(t.Context(), testGroup, checkouts, 0, State{Position: noPosition()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatal(err)
			}
		})
	}
	t.Run("privilege", func(t *testing.T) {
		b := newBench(t)
		batch := b.claim(b.sink, 0)
		name := "reader" + strings.ReplaceAll(b.db.Config().Database, "-", "_")
		b.exec(`CREATE ROLE ` + pgx.Identifier{name}.Sanitize() +
			` LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA commerce TO ` + pgx.Identifier{name}.Sanitize())
		t.Cleanup(func() {
			_, _ = b.db.Exec(context.Background(),
				`DROP OWNED BY `+pgx.Identifier{name}.Sanitize()+`; DROP ROLE `+pgx.Identifier{name}.Sanitize())
		})
		cfg := b.db.Config()
		s := b.open("postgres://"+name+":x@"+cfg.Host+":"+strconv.Itoa(int(cfg.Port))+"/"+cfg.Database, "firstclick-r",
			b.names)
		_, err := s.Commit(t.Context(), []*Batch{batch})
		if err == nil || !strings.Contains(err.Error(), "firstclick doctor") {
			t.Fatal(err)
		}
	})
}
