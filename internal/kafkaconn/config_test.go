package kafkaconn_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "hunter2-s3cret"

// authority is the test's own certificate authority, in files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		nil, nil)
	a.file = a.write(t, "ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pair makes a certificate for 127.0.0.1, for servers and clients.
func (a *authority) pair(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	cert, key := sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return a.write(t, name+".pem", "CERTIFICATE", cert.Raw), a.write(t, name+".key", "EC PRIVATE KEY", der)
}

func sign(t *testing.T, cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate,
	*ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.Subject = pkix.Name{CommonName: "firstclick test"}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, parentKey = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// ping connects with the options and returns the error.
func ping(t *testing.T, config kafkaconn.Config) error {
	t.Helper()
	opts, err := config.Opts()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(opts, kgo.RetryTimeout(time.Second), kgo.RequestRetries(1))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return client.Ping(ctx)
}

func TestConnects(t *testing.T) {
	a := newAuthority(t)
	certFile, keyFile := a.pair(t, "broker")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	clientCert, clientKey := a.pair(t, "client")
	stranger := newAuthority(t)

	open := kafkatest.Fake(t, 1, "clicks")
	secured := func(mechanism string, encryption *tls.Config) []string {
		opts := []kfake.Opt{kfake.SeedTopics(1, "clicks")}
		if encryption != nil {
			opts = append(opts, kfake.TLS(encryption))
		}
		if mechanism != "" {
			opts = append(opts, kfake.EnableSASL(), kfake.Superuser(mechanism, "ada", secret))
		}
		return kafkatest.FakeCluster(t, opts...).ListenAddrs()
	}
	server := &tls.Config{Certificates: []tls.Certificate{pair}}
	mutual := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients,
		ClientAuth: tls.RequireAndVerifyClientCert}
	encrypted, both := secured("", server), secured("SCRAM-SHA-512", mutual)
	plain, scram256 := secured("PLAIN", nil), secured("SCRAM-SHA-256", server)

	for name, c := range map[string]struct {
		config kafkaconn.Config
		ok     bool
	}{
		"nothing":         {kafkaconn.Config{Brokers: open}, true},
		"tls":             {kafkaconn.Config{Brokers: encrypted, TLS: true, CAFile: a.file}, true},
		"tls, unknown CA": {kafkaconn.Config{Brokers: encrypted, TLS: true, CAFile: stranger.file}, false},
		"tls, system CAs": {kafkaconn.Config{Brokers: encrypted, TLS: true}, false},
		"plain":           {kafkaconn.Config{Brokers: plain, SASL: "plain", User: "ada", Password: secret}, true},
		"plain, wrong password": {kafkaconn.Config{Brokers: plain, SASL: "plain", User: "ada", Password: "other-" +
			secret}, false},
		"scram-sha-256 and tls": {kafkaconn.Config{Brokers: scram256, TLS: true, CAFile: a.file, SASL: "scram-sha-256",
			User: "ada", Password: secret}, true},
		"scram, wrong password": {kafkaconn.Config{Brokers: scram256, TLS: true, CAFile: a.file, SASL: "scram-sha-256",
			User: "ada", Password: "other-" + secret}, false},
		"everything": {kafkaconn.Config{Brokers: both, TLS: true, CAFile: a.file, CertFile: clientCert,
			KeyFile: clientKey,
			SASL:    "scram-sha-512", User: "ada", Password: secret}, true},
		"no client certificate": {kafkaconn.Config{Brokers: both, TLS: true, CAFile: a.file, SASL: "scram-sha-512",
			User: "ada", Password: secret}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := ping(t, c.config)
			if c.ok != (err == nil) {
				t.Errorf("connected: %v, want %v: %v", err == nil, c.ok, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the error shows the password")
			}
		})
	}
}

func TestClientID(t *testing.T) {
	opts, err := kafkaconn.Config{Brokers: []string{"kafka:9092"}}.Opts()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if id := client.OptValue(kgo.ClientID); fmt.Sprint(id) != "firstclick" {
		t.Errorf("client id %v", id)
	}
}

func TestWrongCombinations(t *testing.T) {
	a := newAuthority(t)
	certFile, keyFile := a.pair(t, "one")
	_, otherKey := a.pair(t, "other")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	brokers := []string{"kafka:9092"}
	for name, c := range map[string]struct {
		config kafkaconn.Config
		want   string
	}{
		"no brokers": {kafkaconn.Config{}, "--kafka: no broker given"},
		"empty broker": {kafkaconn.Config{Brokers: []string{"a:1", ""}},
			"--kafka: broker address 2 of 2 is empty"},
		"protocol":          {kafkaconn.Config{Brokers: []string{"SASL_SSL://a:1"}}, "without a protocol"},
		"user and password": {kafkaconn.Config{Brokers: []string{"app:" + secret + "@a:1"}}, "without a user"},
		"URL with a password": {kafkaconn.Config{Brokers: []string{"SASL_SSL://app:" + secret + "@a:1"}},
			"without a protocol"},
		"password for a port": {kafkaconn.Config{Brokers: []string{"app:" + secret}}, "port from 1 to 65535"},
		"more colons": {kafkaconn.Config{Brokers: []string{"a:1", "a:1:" + secret}},
			"broker address 2 of 2: too many colons"},
		"properties":     {kafkaconn.Config{Brokers: []string{"a:1;password=" + secret}}, "want host:port"},
		"space":          {kafkaconn.Config{Brokers: []string{"a:1 b:2"}}, "want host:port"},
		"port word":      {kafkaconn.Config{Brokers: []string{"a:kafka"}}, "port from 1 to 65535"},
		"port 0":         {kafkaconn.Config{Brokers: []string{"a:0"}}, "port from 1 to 65535"},
		"port too large": {kafkaconn.Config{Brokers: []string{"a:65536"}}, "port from 1 to 65535"},
		"no host":        {kafkaconn.Config{Brokers: []string{":9092"}}, "want host:port"},
		"bare IPv6":      {kafkaconn.Config{Brokers: []string{"::1:9092"}}, "too many colons"},
		"ca without tls": {kafkaconn.Config{Brokers: brokers, CAFile: a.file}, "--kafka-ca: needs --kafka-tls"},
		"cert without tls": {kafkaconn.Config{Brokers: brokers, CertFile: certFile, KeyFile: keyFile},
			"--kafka-cert: needs --kafka-tls"},
		"key without tls": {kafkaconn.Config{Brokers: brokers, KeyFile: keyFile},
			"--kafka-key: needs --kafka-tls"},
		"cert without key": {kafkaconn.Config{Brokers: brokers, TLS: true, CertFile: certFile},
			"--kafka-cert: needs --kafka-key"},
		"key without cert": {kafkaconn.Config{Brokers: brokers, TLS: true, KeyFile: keyFile},
			"--kafka-key: needs --kafka-cert"},
		"key of another": {kafkaconn.Config{Brokers: brokers, TLS: true, CertFile: certFile, KeyFile: otherKey},
			"does not match"},
		"ca missing": {kafkaconn.Config{Brokers: brokers, TLS: true, CAFile: "/nowhere/ca.pem"},
			"no such file"},
		"ca empty": {kafkaconn.Config{Brokers: brokers, TLS: true, CAFile: empty},
			"--kafka-ca: no certificate in"},
		"unknown mechanism": {kafkaconn.Config{Brokers: brokers, SASL: "kerberos", User: "u", Password: secret},
			`--kafka-sasl: unknown mechanism "kerberos", want plain`},
		"mechanism in capitals": {kafkaconn.Config{Brokers: brokers, SASL: "SCRAM-SHA-256", User: "u",
			Password: secret}, "unknown mechanism"},
		"sasl without user": {kafkaconn.Config{Brokers: brokers, SASL: "plain", Password: secret},
			"needs --kafka-user"},
		"sasl without password": {kafkaconn.Config{Brokers: brokers, SASL: "plain", User: "u"},
			"needs --kafka-password"},
		"user without sasl": {kafkaconn.Config{Brokers: brokers, User: "u", Password: secret},
			"--kafka-user: needs --kafka-sasl"},
		"password alone": {kafkaconn.Config{Brokers: brokers, Password: secret},
			"--kafka-password: needs --kafka-user"},
	} {
		t.Run(name, func(t *testing.T) {
			opts, err := c.config.Opts()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			var typed *kafkaconn.ConfigError
			if !errors.As(err, &typed) {
				t.Errorf("error is a %T", err)
			}
			if opts != nil {
				t.Error("options beside an error")
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the error shows the password")
			}
		})
	}
}

func TestAddressesThatAreRight(t *testing.T) {
	config := kafkaconn.Config{Brokers: []string{"kafka", "kafka:9092", "127.0.0.1:1", "[::1]:65535"}}
	if _, err := config.Opts(); err != nil {
		t.Error(err)
	}
}

func TestPasswordIsNeverShown(t *testing.T) {
	config := kafkaconn.Config{Brokers: []string{"kafka:9092"}, TLS: true, SASL: "plain", User: "ada", Password: secret}
	nested := struct {
		Kafka kafkaconn.Config
		List  []kafkaconn.Config
	}{config, []kafkaconn.Config{config}}
	var shown bytes.Buffer
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&shown, format+"\n", config)
		fmt.Fprintf(&shown, format+"\n", &config)
		fmt.Fprintf(&shown, format+"\n", nested)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&shown, nil), slog.NewJSONHandler(&shown, nil)} {
		slog.New(handler).Info("connecting", "kafka", config, "pointer", &config, "nested", nested)
	}
	if err := json.NewEncoder(&shown).Encode(nested); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(shown.String(), secret) {
		t.Errorf("shows the password:\n%s", shown.String())
	}
	if want := "kafka:9092 tls sasl=plain user=ada password=<redacted>"; config.String() != want {
		t.Errorf("%q, want %q", config.String(), want)
	}
}
