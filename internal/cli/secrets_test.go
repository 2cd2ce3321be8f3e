package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// Whatever a secret is written like, in the variable or in the flag of whichever command: it is a usage error, and nothing of it is quoted.
func TestNoCommandQuotesASecret(t *testing.T) {
	const secret = "hush-hush"
	kafka := []string{
		"SASL_SSL://app:" + secret + "@b:9093", "app:" + secret + "@b:9093", "b:9092,app:" + secret + "@b:9092", "b:9092,SASL_PLAINTEXT://" + secret + "@b",
		"app:" + secret, "b:9092:" + secret, "b:9092;password=" + secret, "b:9092 password=" + secret, `"` + secret + `"`, secret + "@b", "kafka://" + secret + ":x",
		"b:9092/" + secret, "[" + secret, "\ufeffapp:" + secret + "@b:1", "b:9092?sasl.password=" + secret,
	}
	database := []string{
		"postgres://app:" + secret + "@[db/shop", "postgresql+psycopg://app:" + secret + "@db/shop", "jdbc:postgresql://db/shop?password=" + secret,
		"'postgres://app:" + secret + "@db/shop'", "\ufeffpostgres://app:" + secret + "@db/shop", "postgres://app:" + secret + "@db:port/shop",
		"host=db passwort=" + secret, "host=db port=x password=" + secret, "postgres://app:" + secret + "%zz@db/shop", "postgres://app:p@ss:" + secret + "@db:x/shop",
	}
	commands := map[string][]string{
		"run": nil, "doctor": nil, "verify": nil, "repair": nil, "generate": nil, "explain": {"k"}, "compare": {"--table", "a.b"}, "whatif": {"--into", "a.b"},
	}
	for command, more := range commands {
		for _, c := range []struct {
			flag, variable string
			values         []string
		}{{"--kafka", "KAFKA_BROKERS", kafka}, {"--database", "DATABASE_URL", database}} {
			for _, value := range c.values {
				for _, by := range []string{"flag", "variable"} {
					args, vars := append([]string{command}, more...), map[string]string{}
					if by == "flag" {
						args = append(args, c.flag, value)
					} else {
						vars[c.variable] = value
					}
					ctx, cancel := context.WithCancel(t.Context())
					cancel() // should it be taken for right, nobody is to be asked
					out, log, err := invoke(ctx, vars, args...)
					var usage *UsageError
					if !errors.As(err, &usage) {
						t.Errorf("%s, %s %q: %v, want a usage error", command, by, value, err)
						continue
					}
					if strings.Contains(out+log+err.Error(), secret) {
						t.Errorf("%s, %s %q: quoted: %s", command, by, value, err)
					}
				}
			}
		}
	}
	for _, args := range [][]string{
		{"run", "--kafka-password", secret}, {"run", "--kafka-sasl", "plain", "--kafka-password", secret}, {"doctor", "--kafka-user", "u", "--kafka-password", secret},
		{"verify", "--kafka-sasl", "md5", "--kafka-user", "u", "--kafka-password", secret},
	} {
		if _, log, err := invoke(t.Context(), nil, args...); err == nil || strings.Contains(log+err.Error(), secret) {
			t.Errorf("%s: %v", slices.DeleteFunc(args, func(s string) bool { return s == secret }), err)
		}
	}
}
