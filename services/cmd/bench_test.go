package cmd_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publishers is how many clients work at the same time in the benchmarks.
const publishers = 32

// BenchmarkAccept compares tasks accepted over HTTP with bare publishes to the
// same stream, by as many clients, while the workers do both.
//
//	go test -run '^$' -bench Accept -benchtime 10000x ./services/cmd
func BenchmarkAccept(b *testing.B) {
	s := start(b)
	payload := fmt.Sprintf(`{"n":"%0240d"}`, 1)
	conn, err := nats.Connect(strings.Join(s.nats.URLs(), ","))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("publish", func(b *testing.B) {
		together(b, func(_ int, id string) error {
			_, err := js.Publish(b.Context(), "task."+id, []byte(payload), jetstream.WithMsgID(id))
			return err
		})
	})
	s.drainBacklog(b)
	b.Run("task", func(b *testing.B) {
		together(b, func(i int, id string) error {
			body := fmt.Sprintf(`{"payload":%s,"id":%q}`, payload, id)
			resp, err := client.Post("http://"+s.apis[i%2].Addr+"/task", "application/json", strings.NewReader(body))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusAccepted {
				return fmt.Errorf("status %d", resp.StatusCode)
			}
			return nil
		})
	})
	s.drainBacklog(b)
}

// together runs do b.N times by all publishers, each time with a new id.
func together(b *testing.B, do func(i int, id string) error) {
	var next atomic.Int64
	var all sync.WaitGroup
	run := time.Now().UnixNano()
	b.ResetTimer()
	for range publishers {
		all.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				if err := do(i, fmt.Sprintf("b%d-%d", run, i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

func (s *system) drainBacklog(b *testing.B) {
	began := time.Now()
	for {
		_, body, err := get(s.apis[0], "/stats")
		if err == nil && strings.Contains(body, `"queue_backlog_length":0,`) {
			b.Logf("the backlog was done after %s: %s", time.Since(began).Round(time.Millisecond), body)
			return
		}
		if time.Since(began) > time.Minute {
			b.Fatalf("backlog: %s, %v", body, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
