// Package store keeps what became of Tasks in Valkey: a record of each Task
// that was done or given up, its effect, and the count of all effects.
//
// It must not know HTTP, the queue or what a Task's work is. The queue is the
// ledger; what is recorded here is the effect of it, and a record counts only
// when a replica has it too.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"
)

// Keys in Valkey.
const (
	recordKey    = "task:"           // + id: a hash
	effectKey    = "effect:"         // + id: how often the Task's effect was applied
	processedKey = "tasks:processed" // effects of all Tasks
	fenceKey     = "fence:"          // + pod: last proof that writes are replicated
)

// replicaWait is how long a write waits for its replicas, on the server's side.
const replicaWait = time.Second

// Config is how to reach Valkey.
type Config struct {
	Sentinels        []string `env:"VALKEY_SENTINELS" default:"127.0.0.1:26379" what:"sentinels as host:port, comma-separated; all of them are asked"`
	Master           string   `env:"VALKEY_MASTER" default:"seatrial" what:"what the sentinels call the primary"`
	Replicas         int      `env:"VALKEY_REPLICAS" default:"1" what:"how many replicas must have a record before it counts"`
	Password         string   `env:"VALKEY_PASSWORD" default:"" what:"password of the Valkey servers"`
	SentinelPassword string   `env:"VALKEY_SENTINEL_PASSWORD" default:"" what:"password of the sentinels"`
}

// Problems implements config.Problems.
func (c Config) Problems() []string {
	var out []string
	if len(c.Sentinels) == 0 {
		out = append(out, "SEATRIAL_VALKEY_SENTINELS: want at least one host:port")
	}
	for _, s := range c.Sentinels {
		if _, _, err := net.SplitHostPort(s); err != nil {
			out = append(out, fmt.Sprintf("SEATRIAL_VALKEY_SENTINELS: want host:port, got %q", s))
		}
	}
	if c.Master == "" || strings.ContainsAny(c.Master, " \r\n") {
		out = append(out, fmt.Sprintf("SEATRIAL_VALKEY_MASTER: want a name, got %q", c.Master))
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		out = append(out, fmt.Sprintf("SEATRIAL_VALKEY_REPLICAS: want 0 to 5, got %d", c.Replicas))
	}
	return out
}

// What Valkey answers that is not Valkey's own error.
var (
	// ErrNoPrimary: no sentinel has named a primary that could be reached yet.
	ErrNoPrimary = errors.New("no primary is known")
	// ErrUnreplicated: written, but fewer replicas than wanted have it.
	ErrUnreplicated = errors.New("too few replicas have the write")
)

// Store follows the primary. Its methods may be called at the same time.
type Store struct {
	config    Config
	pod       string
	log       *slog.Logger
	primary   atomic.Pointer[primary]
	sentinels []*sentinel
	suspect   chan struct{}
	epoch     int64 // the latest configuration seen; Run's own
	raw       rawPing
}

type primary struct {
	addr   string
	client valkey.Client
}

// Open returns a Store that knows no primary until Run has found it.
func Open(c Config, pod string, log *slog.Logger) *Store {
	s := &Store{config: c, pod: pod, log: log, suspect: make(chan struct{}, 1)}
	for _, addr := range c.Sentinels {
		s.sentinels = append(s.sentinels, &sentinel{addr: addr, password: c.SentinelPassword, master: c.Master})
	}
	return s
}

func dial(addr, name, password string) (valkey.Client, error) {
	return valkey.NewClient(valkey.ClientOption{
		InitAddress:       []string{addr},
		ForceSingleClient: true,
		DisableCache:      true,
		DisableRetry:      true, // whoever calls knows whether and when to try again
		Password:          password,
		ClientName:        name,
		ConnWriteTimeout:  2 * time.Second,
		Dialer:            net.Dialer{Timeout: time.Second, KeepAlive: time.Second},
		BlockingPoolSize:  16,
	})
}

// Suspect makes Run ask the sentinels at once: something went wrong with the
// primary that may be its replacement.
func (s *Store) Suspect() {
	select {
	case s.suspect <- struct{}{}:
	default:
	}
}

func (s *Store) client() (valkey.Client, error) {
	p := s.primary.Load()
	if p == nil {
		return nil, ErrNoPrimary
	}
	return p.client, nil
}

// Writable proves that the primary takes writes and replicates them. An old
// primary that lost its replicas does not pass.
func (s *Store) Writable(ctx context.Context) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	return s.fence(ctx, c.B(), c.DoMulti)
}

type doMulti func(context.Context, ...valkey.Completed) []valkey.ValkeyResult

func (s *Store) fence(ctx context.Context, b valkey.Builder, do doMulti) error {
	out := do(ctx,
		b.Set().Key(fenceKey+s.pod).Value(time.Now().UTC().Format(time.RFC3339)).Px(10*time.Second).Build(),
		b.Wait().Numreplicas(int64(s.config.Replicas)).Timeout(replicaWait.Milliseconds()).Build())
	if err := out[0].Error(); err != nil {
		return fmt.Errorf("write to the primary: %w", err)
	}
	return s.replicated(out[1])
}

// replicated judges the answer of WAIT.
func (s *Store) replicated(r valkey.ValkeyResult) error {
	n, err := r.AsInt64()
	if err != nil {
		return fmt.Errorf("wait for replicas: %w", err)
	}
	if n < int64(s.config.Replicas) {
		return fmt.Errorf("%w: %d of %d", ErrUnreplicated, n, s.config.Replicas)
	}
	return nil
}

// Kinds are all answers of Kind, for metrics that start at 0.
var Kinds = []string{"readonly", "noreplicas", "masterdown", "loading", "unreplicated", "timeout", "connection", "valkey"}

// Kind names the sort of an error of this package in one word.
func Kind(err error) string {
	var answer *valkey.ValkeyError
	if errors.As(err, &answer) {
		word, _, _ := strings.Cut(answer.Error(), " ")
		switch word {
		case "READONLY", "NOREPLICAS", "MASTERDOWN", "LOADING":
			return strings.ToLower(word)
		}
		return "valkey"
	}
	var timeout net.Error
	switch {
	case errors.Is(err, ErrUnreplicated):
		return "unreplicated"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "connection"
}
