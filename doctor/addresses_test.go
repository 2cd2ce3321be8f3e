package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// certificate is a self-signed one for a name, and the file that holds it.
func certificate(t *testing.T, name string, addresses ...net.IP) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: addresses, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	}, file
}

func TestBrokersAreGuessed(t *testing.T) {
	server, ca := certificate(t, "elsewhere.example")
	encrypted := kafkatest.FakeCluster(t, kfake.TLS(server)).ListenAddrs()[0]
	unknown, _ := certificate(t, "localhost", net.IPv4(127, 0, 0, 1))
	private := kafkatest.FakeCluster(t, kfake.TLS(unknown)).ListenAddrs()[0]
	plain := kafkatest.FakeCluster(t).ListenAddrs()[0]
	user := kfake.Superuser("SCRAM-SHA-256", "shop", "right-hush")
	sasl := kafkatest.FakeCluster(t, kfake.EnableSASL(), user).ListenAddrs()[0]
	for name, c := range map[string]struct {
		address string
		config  kafkaconn.Config
		status  Status
		says    []string
	}{
		"TLS, asked without": {encrypted, kafkaconn.Config{}, Fail, []string{"speaks TLS", "--kafka-tls"}},
		"unknown authority":  {private, kafkaconn.Config{TLS: true}, Fail, []string{"authority", "--kafka-ca"}},
		"name not in certificate": {encrypted, kafkaconn.Config{TLS: true, CAFile: ca}, Fail,
			[]string{"certificate", "--kafka a name"}},
		"no TLS, asked with": {plain, kafkaconn.Config{TLS: true, CAFile: ca}, Fail,
			[]string{"speaks no TLS", "leave out --kafka-tls"}},
		"SASL, asked without": {sasl, kafkaconn.Config{}, Fail,
			[]string{"wants SASL", "--kafka-sasl scram-sha-512", "KAFKA_PASSWORD_FILE"}},
		"SASL, wrong password": {sasl, kafkaconn.Config{SASL: "scram-sha-256", User: "shop",
			Password: "wrong-hush"}, Fail, []string{"refuses the user shop"}},
		"SASL, right": {sasl, kafkaconn.Config{SASL: "scram-sha-256", User: "shop",
			Password: "right-hush"}, OK, []string{"SASL scram-sha-256 as shop"}},
		"nobody": {"127.0.0.1:1", kafkaconn.Config{}, Fail,
			[]string{"connection refused", "start Kafka"}},
		"host that does not exist": {"kafka.invalid:9092", kafkaconn.Config{}, Fail, []string{"kafka.invalid"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Report{}
			r.add("kafka", probeBroker(t.Context(), c.config, c.address))
			want(t, r, "kafka", c.status, c.says...)
			silentAbout(t, r, "-hush")
		})
	}
}

func TestServersAreGuessed(t *testing.T) {
	good, err := url.Parse(pgtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(u *url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	for name, c := range map[string]struct {
		dsn    string
		status Status
		says   []string
	}{
		"no such database": {with(func(u *url.URL) { u.Path = "/nowhere" }), Fail,
			[]string{"3D000", `CREATE DATABASE "nowhere"`}},
		"no such role": {with(func(u *url.URL) { u.User = url.UserPassword("stranger", "the-hush") }), Fail,
			[]string{"refuses us"}},
		"nobody": {with(func(u *url.URL) { u.Host = "127.0.0.1:1" }), Fail,
			[]string{"127.0.0.1:1", "connection refused"}},
		"no TLS": {with(func(u *url.URL) { u.RawQuery = "sslmode=require" }), Fail,
			[]string{"speaks no TLS", "sslmode=disable"}},
		"one of two": {with(func(u *url.URL) { u.Host = "127.0.0.1:1," + u.Host }), Warn,
			[]string{"127.0.0.1:1"}},
		"standby not told": {with(func(*url.URL) {}), OK, []string{"the primary", good.Host}},
	} {
		t.Run(name, func(t *testing.T) {
			config := configFor(nil, c.dsn)
			config.reachWithin = reachWithin
			p, err := newPostgres(config)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			r := &Report{}
			r.add("postgres", p.reach(t.Context(), nil))
			want(t, r, "postgres", c.status, c.says...)
			silentAbout(t, r, "the-hush")
		})
	}
}
