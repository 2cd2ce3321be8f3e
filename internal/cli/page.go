package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/audit"
	"firstclick/deadletters"
	"firstclick/internal/kafkaconn"
	"firstclick/pipeline"
	"firstclick/web"
)

// pageFlags are the flags of run that are about the page.
type pageFlags struct {
	listen   string
	hosts    []string
	authFile string
	auth     *web.Auth // the content of authFile
	actions  bool
	profiles bool
}

func (p *pageFlags) flags(fs *pflag.FlagSet) {
	listenFlags(fs, &p.listen, ":8081", &p.hosts)
	define(fs, &p.authFile, "listen-auth-file", "LISTEN_AUTH_FILE", "file", "", parseText,
		"who may see the page: a line each, name:password or a token; /livez, /readyz and /healthz stay open")
	defineSwitch(fs, &p.actions, "ui-actions", "UI_ACTIONS",
		"allow the page to send dead letters again and to drop them")
	defineSwitch(fs, &p.profiles, "pprof", "PPROF", "serve /debug/pprof to everyone who may see the page")
}

func listenFlags(fs *pflag.FlagSet, listen *string, def string, hosts *[]string) {
	define(fs, listen, "listen", "LISTEN", "host:port", def, parseListen,
		"where the page, /livez and /metrics are served; port 0 picks one")
	define(fs, hosts, "listen-hosts", "LISTEN_HOSTS", "name,...", "", parseHosts,
		"names of the address --listen, such as that of a proxy; "+
			"without --listen-auth-file a request must use one of these, localhost or an address")
}

// check reads the file of --listen-auth-file. It refuses actions for everybody who reaches the
// page.
func (p *pageFlags) check(cmd *cobra.Command) (err error) {
	host, _, _ := net.SplitHostPort(p.listen) // parseListen has checked it
	ip := net.ParseIP(host)
	if loopback := host == "localhost" || ip != nil && ip.IsLoopback(); p.actions && p.authFile == "" && !loopback {
		return usagef(cmd, "--ui-actions lets everybody who reaches %s act: "+
			"add --listen-auth-file, or --listen localhost:8081", p.listen)
	}
	if p.authFile != "" {
		if p.auth, err = web.ReadAuth(p.authFile); err != nil {
			return usagef(cmd, "--listen-auth-file: %v", err)
		}
	}
	return nil
}

// newPage makes the page of a job, which shows the flags.
func (r *runFlags) newPage(job *pipeline.Pipeline, fs *pflag.FlagSet, logger *slog.Logger) (*web.Page, error) {
	var settings []web.Setting
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			settings = append(settings, web.Setting{Name: "--" + f.Name, Value: shownValue(f), Given: f.Changed})
		}
	})
	config := web.PageConfig{
		Stats: job.Stats, Latest: job.Latest, Database: r.database, Group: r.group,
		Version: thisBuild().version, Instance: job.Instance(), Settings: settings, Logger: logger,
		Explain: func(ctx context.Context, id string) (any, error) {
			return audit.Explain(ctx, audit.Config{
				Kafka: r.kafka, Database: r.database, ClicksTopic: r.clicksTopic, CheckoutsTopic: r.checkoutsTopic,
				Group: r.group, Logger: logger,
			}, id)
		},
	}
	if r.page.actions {
		config.Actions = letterActions(r.database, r.group, r.kafka)
	}
	return web.NewPage(config)
}

// letterActions are what the page can do with a dead letter.
func letterActions(database, group string, kafka kafkaconn.Config) []web.Action {
	action := func(name, title, about, done string,
		do func(context.Context, *deadletters.Store, deadletters.Filter) (int64, error),
	) web.Action {
		run := func(ctx context.Context, id int64) (text string, err error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			store, err := deadletters.Connect(ctx, database)
			if err != nil {
				return "", err
			}
			defer func() { err = errors.Join(err, store.Close(ctx)) }()
			n, err := do(ctx, store, deadletters.Filter{IDs: []int64{id}, Group: group})
			if err == nil && n == 0 {
				err = fmt.Errorf("dead letter %d is not open any more", id)
			}
			return fmt.Sprintf("dead letter %d: %d %s", id, n, done), err
		}
		return web.Action{Name: name, Title: title, About: about, Letter: true, Do: run}
	}
	return []web.Action{
		action("retry-letter", "Send again", "Produces the record once more to its topic.", "sent again",
			func(ctx context.Context, store *deadletters.Store, f deadletters.Filter) (int64, error) {
				done, err := store.Retry(ctx, deadletters.Retry{Kafka: kafka, Filter: f})
				return done.Sent, err
			}),
		action("drop-letter", "Put aside", "Marks the dead letter as dropped. It stays in the table.", "put aside",
			func(ctx context.Context, store *deadletters.Store, f deadletters.Filter) (int64, error) {
				return store.Drop(ctx, f)
			}),
	}
}
