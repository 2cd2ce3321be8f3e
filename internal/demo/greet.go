package demo

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

const query = "SELECT checkout_id, click_id, checkout_time, click_time, user_name FROM commerce.attributed_checkouts ORDER BY checkout_time DESC LIMIT 5;"

// greet says where everything is and what to paste.
func (d *demo) greet() {
	var b strings.Builder
	kafkaPort := d.kafkaPort()
	url := databaseURL(d.postgres.Port)
	fmt.Fprintf(&b, "\n  Kafka     localhost:%d%s\n", kafkaPort, instead(kafkaPort, d.cfg.KafkaPort))
	fmt.Fprintf(&b, "  Postgres  localhost:%d%s, version %s\n", d.postgres.Port, instead(d.postgres.Port, d.cfg.DatabasePort), d.postgres.Version())
	fmt.Fprintf(&b, "  Page      http://%s%s\n", d.webAddress(), instead(d.web.Addr().Port, portOf(d.cfg.Listen)))
	fmt.Fprintf(&b, "  Metrics   http://%s/metrics\n", d.webAddress())
	fmt.Fprintf(&b, "\n  To look for yourself, paste into another terminal:\n\n")
	fmt.Fprintf(&b, "    pgcli %s\n    psql %s\n\n    %s\n\n", url, url, query)
	fmt.Fprintf(&b, "  To have the answer recomputed from Kafka by other code and compared:\n\n    %s\n\n", d.verifyLine(kafkaPort, url))
	fmt.Fprint(d.out, b.String())
}

func (d *demo) kafkaPort() int { return portOf(d.broker.ListenAddrs()[0]) }

// verifyLine leaves out what is the default anyway.
func (d *demo) verifyLine(kafkaPort int, url string) string {
	line := d.cfg.Program + " verify"
	if kafkaPort != DefaultKafkaPort {
		line += " --kafka localhost:" + strconv.Itoa(kafkaPort)
	}
	if d.postgres.Port != DefaultDatabasePort {
		line += " --database " + url
	}
	return line
}

func (d *demo) webAddress() string {
	addr := d.web.Addr()
	if addr.IP.IsLoopback() || addr.IP.IsUnspecified() {
		return "localhost:" + strconv.Itoa(addr.Port)
	}
	return addr.String()
}

func instead(port, wanted int) string {
	if wanted == 0 || port == wanted {
		return ""
	}
	return fmt.Sprintf(" (%d is taken)", wanted)
}

func portOf(address string) int {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return port
}
