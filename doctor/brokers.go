package doctor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafka gathers facts from the brokers.
type kafka struct {
	cfg    Config
	opts   []kgo.Opt
	client *kgo.Client
	admin  *kadm.Client
}

func newKafka(cfg Config) (*kafka, error) {
	k := &kafka{cfg: cfg}
	opts, err := cfg.Kafka.Opts()
	if err != nil {
		return k, err
	}
	k.opts = append(opts,
		kgo.RetryTimeout(cfg.factsWithin), kgo.DialTimeout(2*time.Second), kgo.RequestTimeoutOverhead(2*time.Second))
	k.client, err = kgo.NewClient(k.opts...)
	if err != nil {
		return k, fmt.Errorf("make a Kafka client: %w", err)
	}
	k.admin = kadm.NewClient(k.client)
	return k, nil
}

func (k *kafka) close() {
	if k.client != nil {
		k.client.Close()
	}
}

func (k *kafka) versions(ctx context.Context) (map[int32]string, error) {
	brokers, err := k.admin.ApiVersions(ctx)
	versions := map[int32]string{}
	for id, b := range brokers {
		if b.Err == nil {
			versions[id] = b.VersionGuess()
		} else {
			err = b.Err
		}
	}
	if len(versions) > 0 {
		return versions, nil
	}
	return nil, err
}

func kafkaVersion(f *facts) (found findings) {
	versions := slices.Compact(slices.Sorted(maps.Values(f.versions)))
	text := strings.Join(versions, ", ")
	for _, v := range versions {
		var major, minor int
		_, err := fmt.Sscanf(strings.TrimPrefix(v, "at least "), "v%d.%d", &major, &minor)
		if err == nil && (major < 2 || major == 2 && minor < 8) {
			return found.warn("upgrade Kafka to 2.8 or later",
				"%s: topics have no ids there, so that one that is deleted and made again is not noticed", text)
		}
	}
	return found.ok("%s by what %d of %d brokers can do", text, len(f.versions), len(f.metadata.Brokers))
}

// advertised tries every broker at the address that it gives itself: clients connect there, not to
// the address that they began with.
func (k *kafka) advertised(ctx context.Context) (map[string]error, error) {
	metadata, err := k.admin.BrokerMetadata(ctx)
	if err != nil {
		return nil, err
	}
	advertised := map[string]error{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, b := range metadata.Brokers {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := k.client.Broker(int(b.NodeID)).Request(ctx, kmsg.NewPtrApiVersionsRequest())
			mu.Lock()
			defer mu.Unlock()
			advertised[net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))] = err
		})
	}
	group.Wait()
	return advertised, nil
}

// advertisedAddresses finds the commonest mistake: an address that only the brokers' own network
// has.
func advertisedAddresses(f *facts) (found findings) {
	addresses := slices.Sorted(maps.Keys(f.advertised))
	for _, address := range addresses {
		if err := f.advertised[address]; err != nil {
			found = found.fail("advertised.listeners of that broker must be an address that is reached from here",
				"a broker says that it is %s, which cannot be reached: %s", address, rootCause(err))
		}
	}
	return found.orOK("%d, all reached at the addresses that they give: %s",
		len(addresses), strings.Join(addresses, ", "))
}

// command is a command line of Kafka's own tools.
func (f *facts) command(tool, rest string) string {
	return tool + " --bootstrap-server " + f.cfg.Kafka.Brokers[0] + " " + rest
}

func (f *facts) grantACL(rest string) string {
	user := f.cfg.Kafka.User
	if user == "" {
		user = "ANONYMOUS"
	}
	return f.command("kafka-acls.sh", "--add --allow-principal User:"+user+" "+rest)
}
