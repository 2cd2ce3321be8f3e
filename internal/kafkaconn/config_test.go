package kafkaconn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
)

// certificate writes a self-signed certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
}

func ping(t *testing.T, c kafkaconn.Config) error {
	t.Helper()
	opts, err := c.Opts()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(opts, kgo.RequestRetries(0))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.Ping(t.Context())
}

func TestConnectsByTLSAndSASL(t *testing.T) {
	certFile, keyFile := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(ca)
	for mechanism, name := range map[string]string{kafkaconn.Plain: "PLAIN", kafkaconn.ScramSHA256: "SCRAM-SHA-256", kafkaconn.ScramSHA512: "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(name, "shop", "secret"),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			config := kafkaconn.Config{Brokers: cluster.ListenAddrs(), TLS: true, CAFile: certFile, CertFile: certFile, KeyFile: keyFile,
				SASL: mechanism, User: "shop", Password: "secret"}
			if err := ping(t, config); err != nil {
				t.Errorf("right: %v", err)
			}
			config.Password = "wrong"
			if err := ping(t, config); err == nil {
				t.Error("a wrong password was taken")
			} else if strings.Contains(err.Error(), "wrong") {
				t.Errorf("the error quotes the password: %v", err)
			}
			config.Password, config.CAFile = "secret", ""
			if err := ping(t, config); err == nil {
				t.Error("an unknown authority was taken")
			}
		})
	}
}

func TestCombinationsThatMakeNoSense(t *testing.T) {
	certFile, keyFile := certificate(t)
	brokers := []string{"127.0.0.1:9093"}
	for name, test := range map[string]struct {
		config kafkaconn.Config
		says   string
	}{
		"no broker":            {kafkaconn.Config{}, "no broker"},
		"certificates, no TLS": {kafkaconn.Config{Brokers: brokers, CAFile: certFile}, "--kafka-tls"},
		"certificate, no key":  {kafkaconn.Config{Brokers: brokers, TLS: true, CertFile: certFile}, "--kafka-key"},
		"key, no certificate":  {kafkaconn.Config{Brokers: brokers, TLS: true, KeyFile: keyFile}, "--kafka-cert"},
		"swapped":              {kafkaconn.Config{Brokers: brokers, TLS: true, CertFile: keyFile, KeyFile: certFile}, "certificate"},
		"no such file":         {kafkaconn.Config{Brokers: brokers, TLS: true, CAFile: certFile + ".not"}, "no such file"},
		"no certificate in it": {kafkaconn.Config{Brokers: brokers, TLS: true, CAFile: keyFile}, "no certificate"},
		"user, no mechanism":   {kafkaconn.Config{Brokers: brokers, User: "shop"}, "--kafka-sasl"},
		"mechanism, no user":   {kafkaconn.Config{Brokers: brokers, SASL: kafkaconn.Plain, Password: "hush"}, "--kafka-user"},
		"unknown mechanism":    {kafkaconn.Config{Brokers: brokers, SASL: "gssapi", User: "shop", Password: "hush"}, "scram-sha-256"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.config.Opts()
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want something about %q", err, test.says)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}
