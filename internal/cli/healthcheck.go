package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthAtMost is how much of a health answer is read, in bytes. It has a line per check.
const healthAtMost = 64 << 10

func (c *command) healthcheck() *cobra.Command {
	var listen string
	var live bool
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Check the instance on this machine, for containers",
		Long: `Requests /readyz from the instance that listens on --listen of this machine. Exit code 0: it is ready; 1:
it is not, and the error says why. It needs no shell and no curl, so that an image may hold nothing but
firstclick.`,
		Example: `  firstclick healthcheck
  firstclick healthcheck --live         # only whether the process answers
  LISTEN=:9000 firstclick healthcheck   # the variable that run is given`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, err := ownAddress(listen)
			if err != nil {
				return usagef(cmd, "--listen: %v", err)
			}
			path := "/readyz"
			if live {
				path = "/livez"
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			answer, err := getHealth(ctx, "http://"+address+path)
			if err == nil {
				fmt.Fprintln(c.Out, answer)
			}
			return err
		},
	}
	fs := cmd.Flags()
	define(fs, &listen, "listen", "LISTEN", "host:port", ":8081", parseListen,
		"where the instance listens: the value that run has")
	defineSwitch(fs, &live, "live", "", "request /livez: the process answers, even without Kafka and Postgres")
	define(fs, &within, "timeout", "", "duration", "5s", parseDuration(time.Millisecond),
		"how long the answer may take")
	return cmd
}

// ownAddress returns the address at which this machine reaches an instance with that --listen. It
// uses no name: an image that holds nothing but firstclick may not resolve localhost.
func ownAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", errors.New("port 0 is picked by the instance: give the one that its log names")
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// getHealth returns the answer of an instance in one line; an error if it is not well.
func getHealth(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", address, err)
	}
	// No proxy of the environment: the instance is on this machine.
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		var unreachable *url.Error
		if errors.As(err, &unreachable) {
			err = unreachable.Err
		}
		return "", fmt.Errorf("no answer from %s: %w", address, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, healthAtMost))
	if err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", address, err)
	}
	line := strings.Join(strings.FieldsFunc(string(body), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", address, answer.Status, line)
	}
	return line, nil
}
