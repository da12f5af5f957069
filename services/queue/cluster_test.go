package queue

import (
	"context"
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
