// Package queue is the ledger of accepted Tasks: one JetStream stream that
// syncs to several servers before it acknowledges, a stream of dead letters,
// and the durable consumer that hands Tasks to workers.
//
// It must not know HTTP, the store or what a Task's work is.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"seatrial/services/task"
)

// Names on the wire of NATS.
const (
	Stream     = "TASKS"      // Tasks that are accepted and not yet recorded
	DeadStream = "TASKS_DEAD" // Tasks that were given up, with the reason as a header
	Consumer   = "workers"    // the durable consumer of Stream

	taskSubject  = "task."
	deadSubject  = "dead."
	probeSubject = "probe."

	// ReasonHeader of a dead letter says why it was given up.
	ReasonHeader = "Task-Reason"
)

// MaxAge is how long an accepted Task waits to be done before the stream drops
// it; what records Tasks must remember them for much longer.
const MaxAge = 24 * time.Hour

// ackWait is how long the server waits for an acknowledgement before it
// delivers again: what a killed worker held is done elsewhere after this time.
// The consumer's own BackOff is not used. With it the server would add the
// difference between a later step and the first to every delay that a worker
// asks for (it counts the delay from the first step, and the deadline from the
// later one), and the delays that grow are the worker's to choose.
const ackWait = 5 * time.Second

// Config is how to reach NATS.
type Config struct {
	URLs     []string `env:"NATS_URLS" default:"nats://127.0.0.1:4222" what:"NATS servers, comma-separated; any of them will do"`
	Replicas int      `env:"NATS_REPLICAS" default:"3" what:"on how many servers a task is stored before it is accepted (1, 3 or 5)"`
}

// Problems implements config.Problems.
func (c Config) Problems() []string {
	var out []string
	if len(c.URLs) == 0 {
		out = append(out, "SEATRIAL_NATS_URLS: want at least one URL")
	}
	for _, u := range c.URLs {
		if !strings.HasPrefix(u, "nats://") && !strings.HasPrefix(u, "tls://") {
			out = append(out, fmt.Sprintf("SEATRIAL_NATS_URLS: want nats://host:port or tls://host:port, got %q", u))
		}
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		out = append(out, fmt.Sprintf("SEATRIAL_NATS_REPLICAS: want 1, 3 or 5, got %d", c.Replicas))
	}
	return out
}

// Queue is one connection to NATS. Its methods may be called at the same time.
type Queue struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	config Config
	pod    string
	log    *slog.Logger

	stream    atomic.Pointer[streamHandle]
	consumer  atomic.Pointer[consumerHandle]
	consuming atomic.Bool

	group    group
	together atomic.Bool // the stream allows batches
}

type (
	streamHandle   struct{ jetstream.Stream }
	consumerHandle struct{ jetstream.Consumer }
)

// ErrNotReady is returned while the streams have not been found yet.
var ErrNotReady = errors.New("the stream was not found yet")

// Open starts to connect, and keeps at it: it succeeds while NATS is down.
// pod names this instance in server lists and in its probes.
func Open(c Config, pod string, log *slog.Logger) (*Queue, error) {
	q := &Queue{config: c, pod: token(pod), log: log}
	conn, err := nats.Connect(strings.Join(c.URLs, ","), q.options(pod)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(c.URLs, ","), err)
	}
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	q.conn, q.js = conn, js
	q.group.publish = q.storeTogether
	return q, nil
}

func (q *Queue) options(pod string) []nats.Option {
	note := func(what string) nats.ConnHandler {
		return func(c *nats.Conn) { q.log.Info(what, "server", c.ConnectedUrlRedacted()) }
	}
	return []nats.Option{
		nats.Name(pod),
		nats.Timeout(time.Second),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		// Without a buffer a publish fails at once while there is no connection.
		// With one it would be sent after its caller was told that it was not.
		nats.ReconnectBufSize(-1),
		// A partition leaves a connection that neither fails nor answers: give it
		// up after the second unanswered ping, and do not block in a write.
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(2 * time.Second),
		nats.ConnectHandler(note("connected to NATS")),
		nats.ReconnectHandler(note("reconnected to NATS")),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				q.log.Warn("lost NATS", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { q.log.Warn("NATS", "error", err) }),
	}
}

// Consuming reports whether deliveries can arrive right now.
func (q *Queue) Consuming() bool { return q.consuming.Load() && q.conn.IsConnected() }

// Ping makes one round trip to the connected server.
func (q *Queue) Ping(ctx context.Context) error {
	if !q.conn.IsConnected() {
		return nats.ErrDisconnected
	}
	return q.conn.FlushWithContext(ctx)
}

// Close gives the connection up. Unsent acknowledgements are flushed first.
func (q *Queue) Close() {
	_ = q.conn.FlushTimeout(time.Second)
	q.conn.Close()
}

// Ensure creates the streams and the consumer, or brings them up to this
// configuration. It is safe to repeat and to run in several instances at once,
// although the servers then leave some of the requests unanswered: see Persist.
func (q *Queue) Ensure(ctx context.Context) error {
	stream, err := q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        Stream,
		Description: "tasks that are accepted and not yet done",
		Subjects:    []string{taskSubject + ">", probeSubject + ">"},
		Retention:   jetstream.WorkQueuePolicy,
		Storage:     jetstream.FileStorage,
		Replicas:    q.config.Replicas,
		MaxAge:      MaxAge,
		MaxMsgSize:  task.MaxPayload + 1024,
		// Of each probe only the last stays. A task's subject is its own, so of
		// a repeated id that is still waiting the later copy stays.
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardOld,
		Duplicates:        2 * time.Minute,
		// An older server would ignore this, or refuse what it does not know.
		AllowAtomicPublish: knowsBatches(q.conn.ConnectedServerVersion()),
	})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", Stream, err)
	}
	_, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        DeadStream,
		Description: "tasks that were given up",
		Subjects:    []string{deadSubject + ">"},
		Storage:     jetstream.FileStorage,
		Replicas:    q.config.Replicas,
		MaxAge:      7 * MaxAge,
		Duplicates:  2 * time.Minute,
	})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", DeadStream, err)
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       Consumer,
		FilterSubject: taskSubject + ">",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1, // whether to give up is the worker's to decide
		MaxAckPending: 2048,
		MaxWaiting:    128,
	})
	if err != nil {
		return fmt.Errorf("create consumer %s: %w", Consumer, err)
	}
	q.stream.Store(&streamHandle{stream})
	q.consumer.Store(&consumerHandle{consumer})
	q.together.Store(stream.CachedInfo().Config.AllowAtomicPublish)
	return nil
}

// Find looks the stream and the consumer up without creating them.
func (q *Queue) Find(ctx context.Context) error {
	stream, err := q.js.Stream(ctx, Stream)
	if err != nil {
		return fmt.Errorf("find stream %s: %w", Stream, err)
	}
	consumer, err := stream.Consumer(ctx, Consumer)
	if err != nil {
		return fmt.Errorf("find consumer %s: %w", Consumer, err)
	}
	q.stream.Store(&streamHandle{stream})
	q.consumer.Store(&consumerHandle{consumer})
	return nil
}

// Persist repeats do (Ensure or Find) until it succeeds or ctx ends.
func (q *Queue) Persist(ctx context.Context, do func(context.Context) error) error {
	// A request that arrives during an election, or while another one for the
	// same new stream is in progress, gets no answer at all: so the first
	// attempts are short. A slow cluster gets more time later.
	left := time.Now()
	for patience := 500 * time.Millisecond; ; patience = min(2*patience, 5*time.Second) {
		if time.Since(left) > leaveAfter {
			q.Elsewhere()
			left = time.Now()
		}
		attempt, cancel := context.WithTimeout(ctx, patience)
		err := do(attempt)
		cancel()
		if err == nil {
			return nil
		}
		q.log.Info("the queue is not there yet", "error", err)
		if !pause(ctx, 150*time.Millisecond) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// Elsewhere leaves the connected server for another one. A server that is cut
// off from its peers can neither store nor deliver, and its clients cannot see
// why. It does nothing while there is no connection: the next one is chosen
// anyway.
func (q *Queue) Elsewhere() {
	if q.conn.IsConnected() {
		q.log.Info("nothing goes through this server, so try another one", "server", q.conn.ConnectedUrlRedacted())
		_ = q.conn.ForceReconnect() // fails only once the connection is closed for good
	}
}

// token makes a name safe as one token of a subject.
func token(name string) string {
	out := []byte(name)
	for i := range out {
		if !task.ValidID(string(out[i])) {
			out[i] = '-'
		}
	}
	return string(out)
}
