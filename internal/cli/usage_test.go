package cli

import (
	"errors"
	"strings"
	"testing"
)

// A mistake of the user is one line that says what is allowed, and quotes no secret.
func TestUsageErrors(t *testing.T) {
	type vars = map[string]string
	for name, row := range map[string]struct {
		vars vars
		args string
		says []string
	}{
		"unknown command": {nil, "start", []string{`unknown command "start"`,
			"compare, completion, dead-letters, demo, doctor, explain, generate, healthcheck, help, man, migrate, " +
				"repair, run, verify, version, whatif"}},
		"nearly a command":   {nil, "verfy", []string{"did you mean verify?"}},
		"unknown flag":       {nil, "version --frobnicate", []string{"unknown flag --frobnicate", "--log-level"}},
		"nearly a flag":      {nil, "run --kafak x:1", []string{"unknown flag --kafak", "did you mean --kafka?"}},
		"unknown short flag": {nil, "run -x", []string{"unknown flag -x", "--window"}},
		"flag without value": {nil, "run --window", []string{"--window needs a value"}},
		"argument":           {nil, "run now", []string{`"now"`, "no arguments"}},
		"duration":           {nil, "run --window 1hour", []string{"--window", `"1hour"`, "90m"}},
		"duration of zero":   {nil, "run --window 0s", []string{"--window", "the least is 1s"}},
		"negative duration":  {nil, "run --lateness -1m", []string{"--lateness"}},
		"start":              {nil, "run --start yesterday", []string{"--start", "earliest", "latest", "RFC 3339"}},
		"cache of zero":      {nil, "run --users-cache 0", []string{"--users-cache", "from 1"}},
		"memory":             {nil, "run --memory-limit lots", []string{"--memory-limit", "512MiB", "half"}},
		"too little memory":  {nil, "run --memory-limit 1KiB", []string{"--memory-limit", "64MiB"}},
		"zone":               {nil, "run --time-zone Mars/Base", []string{"--time-zone", "Europe/Berlin"}},
		"local zone":         {nil, "run --time-zone Local", []string{"--time-zone", "UTC"}},
		"listen":             {nil, "run --listen 8081", []string{"--listen", ":8081"}},
		"listen port":        {nil, "run --listen :99999", []string{"--listen", "65535"}},
		"brokers":            {nil, "run --kafka a:b", []string{"--kafka", "port from 1 to 65535"}},
		"no broker":          {nil, "run --kafka ,", []string{"--kafka", "host:port"}},
		"topic":              {nil, "run --clicks-topic a/b", []string{"--clicks-topic", `"a/b"`}},
		"one topic for both": {nil, "run --clicks-topic x --checkouts-topic x", []string{"must differ"}},
		"sasl": {nil, "run --kafka-sasl md5",
			[]string{"--kafka-sasl", "plain, scram-sha-256, scram-sha-512"}},
		"sasl without user":   {nil, "run --kafka-sasl plain --kafka-password hush", []string{"--kafka-user"}},
		"certificate, no TLS": {nil, "run --kafka-ca ca.pem", []string{"--kafka-tls"}},
		"database": {nil, "run --database postgres://u:hush@[h/d",
			[]string{"--database", "postgres://user:password@host"}},
		"log format": {nil, "version --log-format xml", []string{"--log-format", "text, json"}},
		"log level": {nil, "version --log-level loud",
			[]string{"--log-level", "debug, info, warn, error"}},
		"share":                {nil, "generate --late 5", []string{"--late", "0 to 1"}},
		"rate":                 {nil, "generate --rate -1", []string{"--rate", "0 or more"}},
		"count":                {nil, "generate --count 1.5", []string{"--count", "whole number"}},
		"seed":                 {nil, "generate --seed x", []string{"--seed", "random"}},
		"start time":           {nil, "generate --start-time noon", []string{"--start-time", "RFC 3339"}},
		"aborted transactions": {nil, "generate --aborted 0.1", []string{"--transactional"}},
		"a start too early": {nil, "generate --start-time 1970-01-01T00:00:00+01:00",
			[]string{"--start-time", "1970 to 9999"}},
		"who may look": {nil, "run --listen-auth-file no/such/file",
			[]string{"--listen-auth-file", "no such file"}},
		"renames, no database": {nil, "generate --renames 1 --no-database", []string{"--renames"}},
		"examples":             {nil, "verify --examples -1", []string{"--examples"}},
		"explain without id":   {nil, "explain", []string{"one checkout_id"}},
		"explain two":          {nil, "explain a b", []string{"one checkout_id", "given 2"}},
		"demo rate":            {nil, "demo --rate 0", []string{"--rate", "above 0"}},
		"demo port":            {nil, "demo --kafka-port 70000", []string{"--kafka-port", "65535"}},
		"dead letter's id":     {nil, "dead-letters show x", []string{`"x"`, "ID"}},
		"no dead letter's id":  {nil, "dead-letters show", []string{"one ID"}},
		"retry of nothing":     {nil, "dead-letters retry", []string{"IDs", "--reason", "--all"}},
		"reason that none has": {nil, "dead-letters list --reason jsno",
			[]string{"jsno", "one of empty", "conflict"}},
		"drop of both":         {nil, "dead-letters drop 1 --topic clicks", []string{"not both"}},
		"retry of all and one": {nil, "dead-letters retry 1 --all", []string{"not both"}},
		"edit of two":          {nil, "dead-letters retry 1 2 --edit -", []string{"--edit", "one ID"}},
		"edit of no file":      {nil, "dead-letters retry 1 --edit no/such/file", []string{"--edit", "no such file"}},
		"since":                {nil, "dead-letters list --since lately", []string{"--since", "RFC 3339", "2h"}},
		"since the future":     {nil, "dead-letters list --since -2h", []string{"--since", "how long ago"}},
		"status": {nil, "dead-letters list --status new",
			[]string{"--status", "open, retried, dropped, any"}},
		"below dead-letters":    {nil, "dead-letters lst", []string{"did you mean list?"}},
		"raw JSON":              {nil, "dead-letters show 1 --raw --json", []string{"--raw and --json"}},
		"compare with nothing":  {nil, "compare", []string{"--table"}},
		"compare, no time":      {nil, "compare --table a.b --since soon", []string{"--since", "RFC 3339"}},
		"compare, odd times":    {nil, "compare --table a.b --since 1h --until 2h", []string{"--since", "--until"}},
		"whatif into nothing":   {nil, "whatif", []string{"--into"}},
		"whatif, no such model": {nil, "whatif --into a.b --model best", []string{"--model", "first, last, linear"}},
		"whatif into the table": {nil, "whatif --into commerce.attributed_checkouts --replace",
			[]string{"--into", "not for this"}},
		"variable":              {vars{"WINDOW": "soon"}, "run", []string{"WINDOW: ", `"soon"`, "90m"}},
		"variable of a switch":  {vars{"KAFKA_TLS": "perhaps"}, "run", []string{"KAFKA_TLS", "true", "false"}},
		"variable of the level": {vars{"LOG_LEVEL": "x"}, "version", []string{"LOG_LEVEL", "debug"}},
		"database by variable": {vars{"DATABASE_URL": "postgres://u:hush@[h/d"}, "migrate",
			[]string{"DATABASE_URL: "}},
		"variable and file": {vars{"KAFKA_PASSWORD": "hush", "KAFKA_PASSWORD_FILE": "f"}, "run",
			[]string{"KAFKA_PASSWORD_FILE", "both"}},
		"file that is not there": {vars{"DATABASE_URL_FILE": "no/such/file"}, "migrate",
			[]string{"DATABASE_URL_FILE", "no such file"}},
		"PG password twice": {vars{"PGPASSWORD": "hush", "PGPASSWORD_FILE": "f"}, "migrate",
			[]string{"PGPASSWORD_FILE", "both"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := invoke(t.Context(), row.vars, strings.Fields(row.args)...)
			var usage *UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a usage error", err)
			}
			text := err.Error()
			for _, want := range row.says {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %q", text, want)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("more than a line: %q", text)
			}
			if strings.Contains(text, "hush") {
				t.Errorf("quotes a password: %q", text)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	out, _, err := invoke(t.Context(), nil, "version")
	if err != nil || !strings.HasPrefix(out, "firstclick ") || !strings.Contains(out, "commit ") ||
		!strings.Contains(out, "go1.") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestHelpOfAll(t *testing.T) {
	out, _, err := invoke(t.Context(), nil)
	if err != nil || !strings.Contains(out, "firstclick demo") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestLogFormat(t *testing.T) {
	for flag, want := range map[string]string{"auto": `"msg":"hello"`, "json": `"msg":"hello"`, "text": "msg=hello"} {
		var log strings.Builder
		c := &command{Streams: Streams{Err: &log}, logFormat: flag}
		c.logger().Info("hello")
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s: %q", flag, log.String())
		}
	}
}
