package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// reach tries every host of the connection string by itself.
func (p *postgres) reach(ctx context.Context, configured error) []Finding {
	if configured != nil {
		return fail("", "the connection string cannot be used")
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.reachWithin)
	defer cancel()
	hosts := hostsOf(p.config)
	findings := make([]Finding, len(hosts))
	var group sync.WaitGroup
	for i, host := range hosts {
		group.Go(func() { findings[i] = probeServer(ctx, host)[0] })
	}
	group.Wait()
	if reached(findings) {
		for i := range findings {
			if findings[i].Status == Fail {
				findings[i].Status = Warn
			}
		}
	}
	return findings
}

// hostsOf splits a connection string into one configuration a host, each with the host's ways of connecting (with TLS, without).
func hostsOf(config *pgx.ConnConfig) []*pgx.ConnConfig {
	ways := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	byAddress := map[string]*pgx.ConnConfig{}
	var hosts []*pgx.ConnConfig
	for _, way := range ways {
		address := addressOf(way.Host, way.Port)
		if host := byAddress[address]; host != nil {
			host.Fallbacks = append(host.Fallbacks, way)
			continue
		}
		host := config.Copy()
		host.Host, host.Port, host.TLSConfig, host.Fallbacks = way.Host, way.Port, way.TLSConfig, nil
		host.ValidateConnect = nil // a standby answers too; which one is wanted is another question
		byAddress[address] = host
		hosts = append(hosts, host)
	}
	return hosts
}

func addressOf(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return fmt.Sprintf("%s/.s.PGSQL.%d", host, port)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func probeServer(ctx context.Context, config *pgx.ConnConfig) []Finding {
	address := addressOf(config.Host, config.Port)
	began := time.Now()
	conn, err := pgsession.Open(ctx, config)
	if err != nil {
		return diagnoseServer(config, address, err)
	}
	defer closeConn(ctx, conn)
	took := time.Since(began)
	var standby, encrypted bool
	err = conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)`).Scan(&standby, &encrypted)
	if err != nil {
		return fail("", "%s takes connections but does not answer: %s", address, plainly(err))
	}
	role, how := "the primary", "without TLS"
	if standby {
		role = "a standby"
	}
	if encrypted {
		how = "with TLS"
	}
	return ok("%s answers in %s, %s, as %s in database %s; it is %s", address, took.Round(time.Millisecond), how, config.User, config.Database, role)
}

// diagnoseServer says why a host does not let us in. https://www.postgresql.org/docs/current/errcodes-appendix.html
func diagnoseServer(config *pgx.ConnConfig, address string, err error) []Finding {
	var pooler *pgsession.PoolerError
	if errors.As(err, &pooler) {
		return fail("give --database the address of Postgres itself", "%s is a connection pooler (%s): run cannot work through it", address, pooler.Seen)
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		fix := ""
		switch answer.Code {
		case "28P01":
			fix = "the password: PGPASSWORD_FILE, PGPASSWORD or in --database"
		case "28000":
			fix = "a line for this host, user and database in pg_hba.conf, then SELECT pg_reload_conf()"
			if strings.Contains(answer.Message, "no encryption") || strings.Contains(answer.Message, "SSL off") {
				fix = "sslmode=require in --database; or " + fix
			}
		case "3D000":
			fix = "CREATE DATABASE " + pgx.Identifier{config.Database}.Sanitize() + "; or another one in --database"
		case "53300":
			fix = "end sessions, or raise the limit that Postgres names: max_connections, or the CONNECTION LIMIT of the role or of the database"
		case "57P03":
			fix = "wait: it is starting, stopping or recovering"
		}
		return fail(fix, "%s refuses us: %s", address, plainly(err))
	}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &authority):
		return fail("sslrootcert=FILE in --database", "%s: its certificate is signed by an authority that is not known here", address)
	case errors.As(err, &host):
		return fail("give --database a host that stands in the certificate", "%s: %s", address, oneLine(host.Error()))
	case strings.Contains(err.Error(), "refused TLS") && !slices.ContainsFunc(config.Fallbacks, func(way *pgconn.FallbackConfig) bool { return way.TLSConfig == nil }):
		return fail("ssl = on at the server, or sslmode=disable in --database", "%s speaks no TLS", address)
	}
	return fail("start Postgres, or give its address: --database postgres://USER@HOST:PORT/DATABASE", "%s cannot be reached: %s", address, plainly(err))
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing was written
}
