package queue

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"seatrial/services/fixture"
	"seatrial/services/task"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t testing.TB, n *fixture.NATS, pod string) *Queue {
	t.Helper()
	q, err := Open(Config{URLs: n.URLs(), Replicas: 3}, pod, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := q.Persist(ctx, q.Ensure); err != nil {
		t.Fatal(err)
	}
	return q
}

// TestExperiment is temporary.
func TestExperiment(t *testing.T) {
	if os.Getenv("EXPERIMENT") == "" {
		t.Skip()
	}
	n := fixture.StartNATS(t)
	q := open(t, n, "t")
	ctx := t.Context()
	raw := func(name string, par int, d time.Duration, f func(i int64) error) {
		var i atomic.Int64
		var wg sync.WaitGroup
		start := time.Now()
		for range par {
			wg.Go(func() {
				for time.Since(start) < d {
					if err := f(i.Add(1)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%s: %.0f/s", name, float64(i.Load())/time.Since(start).Seconds())
	}
	payload := []byte(fmt.Sprintf("%0256d", 1))
	mode := os.Getenv("EXPERIMENT")
	pub := func(name string) {
		raw(name, 32, 5*time.Second, func(i int64) error {
			_, err := q.js.Publish(ctx, fmt.Sprintf("task.%s-%d", name[:1], i), payload)
			return err
		})
		raw(name+" with id", 32, 5*time.Second, func(i int64) error {
			c, cancel := context.WithTimeout(ctx, 4*time.Second)
			defer cancel()
			return q.Accept(c, task.Task{ID: fmt.Sprintf("%s2-%d", name[:1], i), Payload: payload})
		})
	}
	pub("bare")
	if mode == "mem" {
		_ = q.js.DeleteConsumer(ctx, Stream, Consumer)
		s, _ := q.js.Stream(ctx, Stream)
		_, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: Consumer, FilterSubject: "task.>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 2048, MemoryStorage: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	var got atomic.Int64
	for w := range 2 {
		qw := open2(t, n, fmt.Sprint("w", w))
		go qw.Consume(ctx, func(d Delivery) { got.Add(1); _ = d.Ack() })
	}
	fixture.Eventually(t, 60*time.Second, "drain", func() error {
		if b, err := q.Backlog(ctx); err != nil || b > 0 {
			return fmt.Errorf("backlog %d %v", b, err)
		}
		return nil
	})
	t.Logf("drained %d", got.Load())
	pub("consumed")
	b, _ := q.Backlog(ctx)
	t.Log("backlog", b)
}

func open2(t testing.TB, n *fixture.NATS, pod string) *Queue {
	q, err := Open(Config{URLs: n.URLs(), Replicas: 3}, pod, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}
