package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"seatrial/services/queue"
	"seatrial/services/store"
	"seatrial/services/task"
)

// fakeQueue delivers again what is given back, after the delay asked for, and
// what is not answered in time, as the server does.
type fakeQueue struct {
	mu      sync.Mutex
	pending []*delivery
	letters map[string]string // id to reason
	buryErr error
	settled chan struct{} // closed when nothing is pending any more
}

type delivery struct {
	q          *fakeQueue
	task       task.Task
	deliveries int
	due        time.Time
	end        string // "" while it is open
	progress   int
}

const fakeAckWait = 5 * time.Second

func (d *delivery) Ack() error                         { return d.finish("ack") }
func (d *delivery) TermWithReason(reason string) error { return d.finish("term " + reason) }
func (d *delivery) NakWithDelay(after time.Duration) error {
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	d.due = time.Now().Add(after)
	return nil
}

func (d *delivery) InProgress() error {
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	d.progress++
	d.due = time.Now().Add(fakeAckWait)
	return nil
}

func (d *delivery) finish(end string) error {
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	if d.end == "" {
		d.end = end
	}
	for _, p := range d.q.pending {
		if p.end == "" {
			return nil
		}
	}
	select {
	case <-d.q.settled:
	default:
		close(d.q.settled)
	}
	return nil
}

func newFakeQueue(payloads ...string) *fakeQueue {
	q := &fakeQueue{letters: map[string]string{}, settled: make(chan struct{})}
	for i, p := range payloads {
		q.pending = append(q.pending, &delivery{q: q, task: task.Task{ID: fmt.Sprint("t-", i), Payload: json.RawMessage(p)}})
	}
	return q
}

func (q *fakeQueue) Consuming() bool { return true }

func (q *fakeQueue) Consume(ctx context.Context, handle func(queue.Delivery)) error {
	at := time.Now()
	for {
		for _, d := range q.due() {
			handle(queue.NewDelivery(d.task, at, d.deliveries, d))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (q *fakeQueue) due() []*delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*delivery
	for _, d := range q.pending {
		if d.end == "" && !time.Now().Before(d.due) {
			d.deliveries++
			d.due = time.Now().Add(fakeAckWait)
			out = append(out, d)
		}
	}
	return out
}

func (q *fakeQueue) Bury(_ context.Context, t task.Task, reason string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.buryErr != nil {
		err := q.buryErr
		q.buryErr = nil // the next time it works
		return err
	}
	q.letters[t.ID] = reason
	return nil
}

// fakeStore records once, like the real one, unless it is told to fail.
type fakeStore struct {
	mu       sync.Mutex
	records  map[string]task.Report
	groups   []int
	down     error
	lostAck  bool // records, and then says that it did not
	suspects int
}

func (s *fakeStore) Record(_ context.Context, reports []task.Report) []store.Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]store.Recorded, len(reports))
	if s.down == nil {
		s.groups = append(s.groups, len(reports))
	}
	for i, r := range reports {
		if s.down != nil {
			out[i].Err = s.down
			continue
		}
		_, out[i].Repeated = s.records[r.ID]
		if !out[i].Repeated {
			s.records[r.ID] = r
		}
		if s.lostAck {
			out[i] = store.Recorded{Err: store.ErrUnreplicated}
		}
	}
	s.lostAck = false
	return out
}

func (s *fakeStore) Writable(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *fakeStore) Suspect() { s.mu.Lock(); s.suspects++; s.mu.Unlock() }

func (s *fakeStore) set(err error) { s.mu.Lock(); s.down = err; s.mu.Unlock() }

var config = Config{Concurrency: 4, Kind: "hash", Rounds: 1, Time: time.Millisecond, MaxDeliveries: 5, RetryDelay: time.Second, DrainDeadline: 3 * time.Second}

func newTestWorker(q Queue, s Store, work Work) (*Worker, *prometheus.Registry) {
	r := prometheus.NewPedanticRegistry()
	return New(config, "worker-0", q, s, work, r, slog.New(slog.NewTextHandler(io.Discard, nil))), r
}

// run lets w work until everything is settled, and then stops it.
func run(t *testing.T, w *Worker, q *fakeQueue) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-q.settled:
	case <-time.After(10 * time.Minute):
		t.Error("not settled")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func count(t *testing.T, w *Worker, kind string) float64 {
	t.Helper()
	return testutil.ToFloat64(w.metrics.errors.WithLabelValues(kind))
}

func TestDoneOnceThenAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakeQueue(`1`, `{"a":2}`, `[3]`), &fakeStore{records: map[string]task.Report{}}
		w, _ := newTestWorker(q, s, hashWork(1))
		run(t, w, q)
		for _, d := range q.pending {
			r := s.records[d.task.ID]
			if d.end != "ack" || r.State != task.Done || len(r.Result) != 16 || r.Worker != "worker-0" || r.Deliveries != 1 {
				t.Errorf("%s: %s, %+v", d.task.ID, d.end, r)
			}
		}
		if testutil.ToFloat64(w.metrics.processed) != 3 || w.held.count() != 0 {
			t.Errorf("%v processed, %d held", testutil.ToFloat64(w.metrics.processed), w.held.count())
		}
	})
}

func TestFailuresEndAsDeadLetters(t *testing.T) {
	bomb := func(_ context.Context, p json.RawMessage) (string, error) {
		if string(p) == `"panic"` {
			panic("boom")
		}
		return "ok", nil
	}
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakeQueue(`{"poison":true}`, `"panic"`, `1`), &fakeStore{records: map[string]task.Report{}}
		q.buryErr = errors.New("no server") // once: the task must not be given up without its letter
		w, _ := newTestWorker(q, s, bomb)
		run(t, w, q)
		if q.pending[2].end != "ack" {
			t.Errorf("the good one: %s", q.pending[2].end)
		}
		for i, reason := range []string{"the payload is poison", "the work panicked: boom"} {
			d := q.pending[i]
			if q.letters[d.task.ID] != reason || d.end != "term "+reason || s.records[d.task.ID].State != task.Dead {
				t.Errorf("%s: letter %q, %s, %+v", d.task.ID, q.letters[d.task.ID], d.end, s.records[d.task.ID])
			}
			if d.deliveries < 5 || d.deliveries > 6 {
				t.Errorf("%s: %d deliveries", d.task.ID, d.deliveries)
			}
		}
		if count(t, w, "work") < 5 || count(t, w, "panic") < 5 || count(t, w, "dead_letter") != 1 || testutil.ToFloat64(w.metrics.dead) != 2 {
			t.Errorf("work %v, panic %v, dead_letter %v, dead %v", count(t, w, "work"), count(t, w, "panic"), count(t, w, "dead_letter"), testutil.ToFloat64(w.metrics.dead))
		}
	})
}

// TestStoreOutage: nothing is acknowledged without a record, the worker does
// not work meanwhile, and no outage, however long, makes a dead letter.
func TestStoreOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakeQueue(`1`, `2`, `3`), &fakeStore{records: map[string]task.Report{}, lostAck: true}
		var mu sync.Mutex
		works := 0
		w, _ := newTestWorker(q, s, func(context.Context, json.RawMessage) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			works++
			return "ok", nil
		})
		go func() {
			time.Sleep(500 * time.Millisecond)
			s.set(fmt.Errorf("record: %w", store.ErrUnreplicated))
			time.Sleep(3 * time.Minute)
			if w.Ready() == nil {
				t.Error("ready while nothing can be recorded")
			}
			s.set(nil)
		}()
		run(t, w, q)
		for _, d := range q.pending {
			if d.end != "ack" || s.records[d.task.ID].State != task.Done {
				t.Errorf("%s: %s, %+v", d.task.ID, d.end, s.records[d.task.ID])
			}
		}
		if works > 30 {
			t.Errorf("%d times worked during the outage", works)
		}
		if count(t, w, "unreplicated") == 0 || s.suspects == 0 {
			t.Errorf("unreplicated %v, suspects %d", count(t, w, "unreplicated"), s.suspects)
		}
	})
}

func TestLongWorkAsksForTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakeQueue(`1`), &fakeStore{records: map[string]task.Report{}}
		w, _ := newTestWorker(q, s, sleepWork(time.Minute))
		run(t, w, q)
		if d := q.pending[0]; d.deliveries != 1 || d.progress < 10 || d.end != "ack" {
			t.Errorf("%d deliveries, %d times asked, %s", d.deliveries, d.progress, d.end)
		}
	})
}

// TestDrain: what is held is finished; what takes longer than the deadline is
// given back, and the worker says so.
func TestDrain(t *testing.T) {
	for name, tc := range map[string]struct {
		takes time.Duration
		end   string
		err   string
	}{
		"in time":  {takes: time.Second, end: "ack"},
		"too late": {takes: time.Hour, end: "", err: "work was left undone after 3s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newFakeQueue(`1`), &fakeStore{records: map[string]task.Report{}}
				w, _ := newTestWorker(q, s, sleepWork(tc.takes))
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(100*time.Millisecond, cancel)
				began := time.Now()
				err := w.Run(ctx)
				if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took > 4*time.Second || q.pending[0].end != tc.end {
					t.Errorf("took %s, ended %q", took, q.pending[0].end)
				}
			})
		})
	}
}

func TestWorks(t *testing.T) {
	c := Config{Rounds: 3, Time: time.Millisecond}
	results := map[string]bool{}
	for kind, of := range works {
		first, err := of(c)(t.Context(), json.RawMessage(`{"a":1}`))
		again, err2 := of(c)(t.Context(), json.RawMessage(`{"a":1}`))
		if err != nil || err2 != nil || first != again || len(first) != 16 {
			t.Errorf("%s: %q, %q, %v, %v", kind, first, again, err, err2)
		}
		results[first] = true
	}
	if len(results) != 2 { // three rounds of hashing differ from one
		t.Errorf("%v", results)
	}
}

func TestGrowing(t *testing.T) {
	for deliveries, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: maxDelay, 1000: maxDelay} {
		if got := growing(time.Second, deliveries); got < want || got > want+want/4 {
			t.Errorf("after %d: %s, want about %s", deliveries, got, want)
		}
	}
}

func TestConfigProblems(t *testing.T) {
	if got := (Config{Kind: "dance"}).Problems(); len(got) != 7 {
		t.Errorf("want seven problems, got %q", got)
	}
	if got := config.Problems(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}
