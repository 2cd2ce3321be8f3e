package demo

import (
	"fmt"
	"net"
	"strconv"
)

const query = "SELECT checkout_id, click_id, checkout_time, click_time, user_name " +
	"FROM commerce.attributed_checkouts ORDER BY checkout_time DESC LIMIT 5;"

// greet prints where everything is, and lines to paste.
func (d *demo) greet() {
	kafkaPort, url := d.kafkaPort(), databaseURL(d.postgres.Port)
	page := d.web.Addr().String()
	if ip := d.web.Addr().IP; ip.IsLoopback() || ip.IsUnspecified() {
		page = "localhost:" + strconv.Itoa(d.web.Addr().Port)
	}
	verify := d.cfg.Program + " verify" // without flags that have their default
	if kafkaPort != DefaultKafkaPort {
		verify += " --kafka localhost:" + strconv.Itoa(kafkaPort)
	}
	if d.postgres.Port != DefaultDatabasePort {
		verify += " --database " + url
	}
	taken := func(port, wanted int) string {
		if wanted == 0 || port == wanted {
			return ""
		}
		return fmt.Sprintf(" (%d is taken)", wanted)
	}
	fmt.Fprintf(d.out, `
  Kafka     localhost:%d%s
  Postgres  localhost:%d%s, version %s
  Page      http://%s%s
  Metrics   http://%s/metrics

  To look for yourself, paste into another terminal:

    pgcli %s
    psql %s

    %s

  To recompute the answer from Kafka by other code and compare:

    %s

`, kafkaPort, taken(kafkaPort, d.cfg.KafkaPort),
		d.postgres.Port, taken(d.postgres.Port, d.cfg.DatabasePort), d.postgres.Version(),
		page, taken(d.web.Addr().Port, portOf(d.cfg.Listen)), page, url, url, query, verify)
}

func (d *demo) kafkaPort() int { return portOf(d.broker.ListenAddrs()[0]) }

// portOf returns the port of an address that a server has taken or that was parsed before.
func portOf(address string) int {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	return port
}
