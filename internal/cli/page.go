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

// looking is what the page's flags say.
type looking struct {
	authFile string
	auth     *web.Auth // what stands there
	actions  bool
	hosts    []string
}

func (l *looking) flags(fs *pflag.FlagSet) {
	define(fs, &l.authFile, "listen-auth-file", "LISTEN_AUTH_FILE", "file", "", parseText,
		"who may look at --listen: a line each, name:password or a token; /livez, /readyz and /healthz stay open")
	hostsFlag(fs, &l.hosts)
	defineSwitch(fs, &l.actions, "ui-actions", "UI_ACTIONS", "let the page act: send dead letters again, put them aside")
}

func hostsFlag(fs *pflag.FlagSet, target *[]string) {
	define(fs, target, "listen-hosts", "LISTEN_HOSTS", "name,...", "", parseHosts,
		"names by which --listen is asked for, such as that of a proxy; without --listen-auth-file only addresses, localhost and these are answered to")
}

// readAuth reads the file, if there is one.
func (l *looking) readAuth(cmd *cobra.Command) (err error) {
	if l.authFile == "" {
		return nil
	}
	if l.auth, err = web.ReadAuth(l.authFile); err != nil {
		return usagef(cmd, "--listen-auth-file: %v", err)
	}
	return nil
}

// checkActions refuses a page that acts for whoever reaches it.
func (l *looking) checkActions(cmd *cobra.Command, listen string) error {
	if l.actions && l.authFile == "" && !loopback(listen) {
		return usagef(cmd, "--ui-actions lets everybody who reaches %s act: add --listen-auth-file, or --listen localhost:8081", listen)
	}
	return nil
}

func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// shownSettings are the flags as they stand, wherever they come from, without anything secret.
func shownSettings(fs *pflag.FlagSet) []web.Setting {
	var settings []web.Setting
	fs.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		settings = append(settings, web.Setting{Name: "--" + flag.Name, Value: shown(flag), Given: flag.Changed})
	})
	return settings
}

// page makes the page of a job.
func (c *command) page(r running, job *pipeline.Pipeline, logger *slog.Logger) (*web.Page, error) {
	config := web.PageConfig{
		Stats: job.Stats, Latest: job.Latest,
		Database: r.database, Group: r.meaning.group, Version: thisBuild().version, Instance: job.Instance(),
		Settings: r.settings, Logger: logger,
		Explain: func(ctx context.Context, id string) (any, error) {
			return audit.Explain(ctx, audit.Config{
				Kafka: r.kafka, Database: r.database, ClicksTopic: r.topics.clicks, CheckoutsTopic: r.topics.checkouts, Group: r.meaning.group, Logger: logger,
			}, id)
		},
	}
	if r.looking.actions {
		config.Actions = letterActions(r.database, r.meaning.group, r.kafka)
	}
	return web.NewPage(config)
}

// letterActions are what the page can do with a dead letter.
func letterActions(database, group string, kafka kafkaconn.Config) []web.Action {
	one := func(id int64) deadletters.Filter { return deadletters.Filter{IDs: []int64{id}, Group: group} }
	with := func(do func(ctx context.Context, store *deadletters.Store, id int64) (string, error)) func(context.Context, int64) (string, error) {
		return func(ctx context.Context, id int64) (text string, err error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			store, err := deadletters.Connect(ctx, database)
			if err != nil {
				return "", err
			}
			defer func() { err = errors.Join(err, store.Close(ctx)) }()
			return do(ctx, store, id)
		}
	}
	return []web.Action{
		{Name: "retry-letter", Title: "Send again", About: "Produces the record once more to its topic.", Letter: true,
			Do: with(func(ctx context.Context, store *deadletters.Store, id int64) (string, error) {
				done, err := store.Retry(ctx, deadletters.Retry{Kafka: kafka, Filter: one(id)})
				if err == nil && done.Sent == 0 {
					err = fmt.Errorf("dead letter %d is not open any more", id)
				}
				return fmt.Sprintf("dead letter %d: %d sent again", id, done.Sent), err
			})},
		{Name: "drop-letter", Title: "Put aside", About: "Marks the dead letter as dropped. It stays in the table.", Letter: true,
			Do: with(func(ctx context.Context, store *deadletters.Store, id int64) (string, error) {
				n, err := store.Drop(ctx, one(id))
				if err == nil && n == 0 {
					err = fmt.Errorf("dead letter %d is not open any more", id)
				}
				return fmt.Sprintf("dead letter %d: %d put aside", id, n), err
			})},
	}
}
