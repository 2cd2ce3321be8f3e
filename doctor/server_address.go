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
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/internal/pgsession"
)

// reach tries every host of the connection string by itself.
func (p *postgres) reach(ctx context.Context, configured error) (found findings) {
	if configured != nil {
		return found.fail("", "the connection string cannot be used")
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.reachWithin)
	defer cancel()
	return reachAll(perHost(p.config), func(host *pgx.ConnConfig) findings { return probeServer(ctx, host) })
}

// perHost splits a connection string into one configuration for each host. Each keeps the host's
// ways to connect (with TLS, without).
func perHost(config *pgx.ConnConfig) (hosts []*pgx.ConnConfig) {
	ways := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}},
		config.Fallbacks...)
	byAddress := map[string]*pgx.ConnConfig{}
	for _, way := range ways {
		address := addressOf(way.Host, way.Port)
		if host := byAddress[address]; host != nil {
			host.Fallbacks = append(host.Fallbacks, way)
			continue
		}
		host := config.Copy()
		host.Host, host.Port, host.TLSConfig, host.Fallbacks = way.Host, way.Port, way.TLSConfig, nil
		host.ValidateConnect = nil // a standby answers too; which host is wanted is another question
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

func probeServer(ctx context.Context, config *pgx.ConnConfig) (found findings) {
	address := addressOf(config.Host, config.Port)
	began := time.Now()
	conn, err := pgsession.Open(ctx, config)
	if err != nil {
		return diagnoseServer(config, address, err)
	}
	defer closeSoon(ctx, conn.Close)
	took := time.Since(began).Round(time.Millisecond)
	var standby, encrypted bool
	err = conn.QueryRow(ctx, `SELECT pg_is_in_recovery(),
		coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)`).Scan(&standby, &encrypted)
	if err != nil {
		return found.fail("", "%s takes connections but does not answer: %s", address, rootCause(err))
	}
	role, way := "the primary", "without TLS"
	if standby {
		role = "a standby"
	}
	if encrypted {
		way = "with TLS"
	}
	return found.ok("%s answers in %s, %s, as %s in database %s; it is %s",
		address, took, way, config.User, config.Database, role)
}

// diagnoseServer says why a host does not let us in.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func diagnoseServer(config *pgx.ConnConfig, address string, err error) (found findings) {
	var pooler *pgsession.PoolerError
	var answer *pgconn.PgError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &pooler):
		return found.fail("give --database the address of Postgres itself",
			"%s is a connection pooler (%s): run cannot work through it", address, pooler.Seen)
	case errors.As(err, &answer):
		return found.fail(fixRefusal(config, answer), "%s refuses us: %s", address, rootCause(err))
	case errors.As(err, &authority):
		return found.fail("sslrootcert=FILE in --database",
			"%s: its certificate is signed by an authority that is not known here", address)
	case errors.As(err, &host):
		return found.fail("give --database a host that is in the certificate", "%s: %s", address, oneLine(host.Error()))
	case strings.Contains(err.Error(), "refused TLS") &&
		!slices.ContainsFunc(config.Fallbacks, func(way *pgconn.FallbackConfig) bool { return way.TLSConfig == nil }):
		return found.fail("ssl = on at the server, or sslmode=disable in --database", "%s speaks no TLS", address)
	}
	return found.fail("start Postgres, or give its address: --database postgres://USER@HOST:PORT/DATABASE",
		"%s cannot be reached: %s", address, rootCause(err))
}

func fixRefusal(config *pgx.ConnConfig, answer *pgconn.PgError) string {
	switch answer.Code {
	case "28P01": // invalid_password
		return "the password: PGPASSWORD_FILE, PGPASSWORD or in --database"
	case "28000": // invalid_authorization_specification
		fix := "a line for this host, user and database in pg_hba.conf, then SELECT pg_reload_conf()"
		if strings.Contains(answer.Message, "no encryption") || strings.Contains(answer.Message, "SSL off") {
			fix = "sslmode=require in --database; or " + fix
		}
		return fix
	case "3D000": // invalid_catalog_name
		return "CREATE DATABASE " + quoted(config.Database) + "; or another one in --database"
	case "53300": // too_many_connections
		return "end sessions, or raise the limit that Postgres names: max_connections, " +
			"or the CONNECTION LIMIT of the role or of the database"
	case "57P03": // cannot_connect_now
		return "wait: it is starting, stopping or recovering"
	}
	return ""
}

// closeSoon closes a session to which nothing was written. It does not wait long for the server.
func closeSoon(ctx context.Context, closeConn func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = closeConn(ctx)
}
