package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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

func TestQueueOnRealServers(t *testing.T) {
	n := fixture.StartNATS(t)
	q := open(t, n, "api-0")
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := q.Ensure(ctx); err != nil {
		t.Errorf("ensure again: %v", err)
	}
	accept := func(id string) {
		t.Helper()
		if err := q.Accept(ctx, task.Task{ID: id, Payload: []byte(`{"n":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	accept("a")
	accept("a") // the servers know the id
	accept("b")
	for range 3 {
		if err := q.Probe(ctx); err != nil {
			t.Errorf("probe: %v", err)
		}
	}
	if backlog, err := q.Backlog(ctx); err != nil || backlog != 2 {
		t.Errorf("backlog %d, %v: want the two tasks and no probe", backlog, err)
	}
	if since, ok, err := q.Waiting(ctx, "a"); err != nil || !ok || time.Since(since) > time.Minute {
		t.Errorf("waiting: %s, %v, %v", since, ok, err)
	}
	if _, ok, err := q.Waiting(ctx, "c"); err != nil || ok {
		t.Errorf("nobody waits: %v, %v", ok, err)
	}
	if err := q.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	fixture.Eventually(t, 10*time.Second, "three replicas", func() error {
		s, err := q.State(ctx)
		if err == nil && (!s.Leader || s.Replicas != 3 || s.Backlog != 2) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	deliveriesEnd(ctx, t, q)
	if err := q.Bury(ctx, task.Task{ID: "d", Payload: []byte("1")}, "poison\r\nX: y"); err != nil {
		t.Error(err)
	}
	dead, err := q.js.Stream(ctx, DeadStream)
	if err != nil {
		t.Fatal(err)
	}
	if letter, err := dead.GetLastMsgForSubject(ctx, "dead.d"); err != nil || letter.Header.Get(ReasonHeader) != "poison  X: y" {
		t.Errorf("letter %v, %v", letter, err)
	}
}

// deliveriesEnd gives task a back three times, with delays that are kept, and
// terminates b. Nothing then waits, and Consume ends with its context.
func deliveriesEnd(ctx context.Context, t *testing.T, q *Queue) {
	t.Helper()
	consuming, stop := context.WithCancel(ctx)
	began, ended := time.Now(), make(chan error, 1)
	var mu sync.Mutex
	seen := map[string]int{}
	go func() {
		ended <- q.Consume(consuming, func(d Delivery) {
			mu.Lock()
			defer mu.Unlock()
			seen[d.Task.ID] = d.Deliveries
			switch {
			case d.Task.ID == "b":
				_ = d.Terminate("enough")
			case d.Deliveries < 4:
				_ = d.Progress()
				_ = d.Later(100 * time.Millisecond)
			default:
				_ = d.Ack()
			}
		})
	}()
	fixture.Eventually(t, 20*time.Second, "no backlog", func() error {
		backlog, err := q.Backlog(ctx)
		if err == nil && backlog != 0 {
			err = fmt.Errorf("backlog %d", backlog)
		}
		return err
	})
	// The server's own back-off would have made this 20 seconds and more.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("three delays of 100ms took %s", took)
	}
	if !q.Consuming() {
		t.Error("not consuming")
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) || q.Consuming() {
		t.Errorf("consume: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if seen["a"] != 4 || seen["b"] != 1 {
		t.Errorf("deliveries: %v", seen)
	}
}

// BenchmarkAccept measures what one acknowledged message costs this process;
// the servers are the same for all ways.
func BenchmarkAccept(b *testing.B) {
	n := fixture.StartNATS(b)
	q := open(b, n, "bench")
	payload := []byte(fmt.Sprintf("%0256d", 1))
	for name, publish := range map[string]func(ctx context.Context, id string) error{
		"Accept": func(ctx context.Context, id string) error {
			return q.Accept(ctx, task.Task{ID: id, Payload: payload})
		},
		"PublishMsg": func(ctx context.Context, id string) error {
			_, err := q.js.PublishMsg(ctx, &nats.Msg{Subject: "task." + id, Data: payload, Header: nats.Header{nats.MsgIdHdr: {id}}})
			return err
		},
		"PublishMsgAsync": func(ctx context.Context, id string) error {
			f, err := q.js.PublishMsgAsync(&nats.Msg{Subject: "task." + id, Data: payload, Header: nats.Header{nats.MsgIdHdr: {id}}})
			if err != nil {
				return err
			}
			select {
			case <-f.Ok():
				return nil
			case err := <-f.Err():
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			var next atomic.Int64
			var all sync.WaitGroup
			run, before := time.Now().UnixNano(), cpu()
			b.ReportAllocs()
			for range 32 {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
						if err := publish(ctx, fmt.Sprintf("b%d-%d", run, i)); err != nil {
							b.Error(err)
						}
						cancel()
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
