package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"seatrial/services/fixture"
	"seatrial/services/task"
)

func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		var mu sync.Mutex
		failing := errors.New("no")
		g := &group{publish: func(ctx context.Context, tasks []task.Task) error {
			mu.Lock()
			sizes = append(sizes, len(tasks))
			mu.Unlock()
			if tasks[0].ID == "hangs" {
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(10 * time.Millisecond)
			if tasks[0].ID == "fails" {
				return failing
			}
			return nil
		}}
		var all sync.WaitGroup
		join := func(n int, id string, payload int, want error) {
			for range n {
				all.Go(func() {
					if err := g.join(t.Context(), task.Task{ID: id, Payload: make([]byte, payload)}); !errors.Is(err, want) {
						t.Errorf("%s: got %v, want %v", id, err, want)
					}
				})
			}
			synctest.Wait()
		}
		check := func(when string, want ...int) {
			t.Helper()
			all.Wait()
			if !slices.Equal(sizes, want) {
				t.Errorf("%s: groups of %v, want %v", when, sizes, want)
			}
			sizes = nil
			time.Sleep(time.Second)
		}
		join(1, "a", 10, nil)
		check("alone", 1)
		join(1, "a", 10, nil)
		join(100, "b", 10, nil)
		check("more than a group", 1, groupTasks, 100-groupTasks)
		join(1, "a", 10, nil)
		join(5, "b", groupBytes/2, nil)
		check("large payloads", 1, 2, 2, 1)
		join(1, "fails", 10, failing)
		join(3, "b", 10, nil)
		check("after a failure", 1, 3)
		began := time.Now()
		join(1, "hangs", 10, context.DeadlineExceeded)
		join(3, "b", 10, nil)
		check("behind one that hangs", 1, 3)
		if took := time.Since(began) - time.Second; took > attempt+groupPatience {
			t.Errorf("one that hangs took %s", took)
		}
	})
}

// TestGroupOfOneThatLeft: who gives up waiting is told so, and the others are served.
func TestGroupOfOneThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stored atomic.Int64
		g := &group{publish: func(_ context.Context, tasks []task.Task) error {
			time.Sleep(50 * time.Millisecond)
			stored.Add(int64(len(tasks)))
			return nil
		}}
		go func() { _ = g.join(t.Context(), task.Task{ID: "first"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := g.join(ctx, task.Task{ID: "second"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Second)
		if stored.Load() != 2 {
			t.Errorf("%d stored", stored.Load())
		}
	})
}

// tasksOf returns a Task for each id.
func tasksOf(ids ...string) []task.Task {
	var out []task.Task
	for _, id := range ids {
		out = append(out, task.Task{ID: id, Payload: json.RawMessage(`1`)})
	}
	return out
}

// acceptAll accepts all ids at once, with 10 s each, and returns what failed.
func acceptAll(ctx context.Context, q *Queue, ids []string) map[string]error {
	failed := map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, t := range tasksOf(ids...) {
		all.Go(func() {
			one, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			if err := q.Accept(one, t); err != nil {
				mu.Lock()
				failed[t.ID] = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failed
}

func names(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return out
}

func TestBatchesOnRealServers(t *testing.T) {
	n := fixture.StartNATS(t)
	q := open(t, n, "api-0")
	ctx := t.Context()
	if !knowsBatches(q.conn.ConnectedServerVersion()) {
		t.Skipf("nats-server %s knows no batches", q.conn.ConnectedServerVersion())
	}
	if !q.together.Load() {
		t.Fatal("the stream allows no batches")
	}
	count := func(want int, when string) {
		t.Helper()
		fixture.Eventually(t, 10*time.Second, when, func() error { // the consumer hears of them later
			got, err := q.Backlog(ctx)
			if err == nil && got != want {
				err = fmt.Errorf("%d tasks, want %d", got, want)
			}
			return err
		})
	}
	fixture.Eventually(t, 10*time.Second, "a batch is stored", func() error { // each server learns a moment later that a stream listens
		return q.storeTogether(ctx, tasksOf(names("a", groupTasks)...))
	})
	count(groupTasks, "a batch")
	for when, ids := range map[string][]string{
		"an id that is known":     {"b-0", "a-7", "b-1"},
		"an id that is repeated":  {"b-0", "b-1", "b-0"},
		"the first one is known":  {"a-0", "b-0"},
		"the last one is known":   {"b-0", "a-0"},
		"all of them are known":   {"a-0", "a-1"},
		"the last one comes back": {"b-0", "b-0"},
	} {
		var refused *jetstream.APIError
		if err := q.storeTogether(ctx, tasksOf(ids...)); !errors.As(err, &refused) || neverStored(err) {
			t.Errorf("%s: %v", when, err)
		}
		count(groupTasks, when)
	}
	// All are accepted, and each is there once, whatever it shares its group with.
	ids := slices.Concat(names("a", 20), names("b", 20), names("b", 20))
	if failed := acceptAll(ctx, q, ids); len(failed) > 0 {
		t.Errorf("with known and repeated ids: %v", failed)
	}
	count(groupTasks+20, "with known and repeated ids")
	withoutBatches(ctx, t, q)
	count(groupTasks+20+100, "without batches")
}

// withoutBatches takes what the stream allows away, as an older release of this
// service would.
func withoutBatches(ctx context.Context, t *testing.T, q *Queue) {
	t.Helper()
	config := q.stream.Load().CachedInfo().Config
	config.AllowAtomicPublish = false
	if _, err := q.js.UpdateStream(ctx, config); err != nil {
		t.Fatal(err)
	}
	if failed := acceptAll(ctx, q, names("c", 100)); len(failed) > 0 {
		t.Errorf("without batches: %v", failed)
	}
	if q.together.Load() {
		t.Error("the stream allows no batches, and they are tried still")
	}
}

// TestBatchMeetsAnOlderServer: it stores each message and acknowledges only
// what asks for it. That is no acknowledgement of the others.
func TestBatchMeetsAnOlderServer(t *testing.T) {
	n := fixture.StartNATS(t)
	q, err := Open(Config{URLs: n.URLs(), Replicas: 3}, "api-0", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var mu sync.Mutex
	seen := map[string]int{}
	_, err = q.conn.Subscribe(taskSubject+">", func(m *nats.Msg) {
		id := strings.TrimPrefix(m.Subject, taskSubject)
		mu.Lock()
		seen[id]++
		answer := fmt.Sprintf(`{"stream":"TASKS","seq":%d}`, len(seen))
		if id == "deaf" {
			answer = "" // and so its acknowledgement gets lost
		}
		mu.Unlock()
		if m.Reply != "" && answer != "" {
			_ = m.Respond([]byte(answer))
		}
	})
	if err != nil || q.conn.Flush() != nil {
		t.Fatal(err)
	}
	if err := q.storeTogether(t.Context(), tasksOf("a", "b", "c")); err == nil || neverStored(err) {
		t.Errorf("an acknowledgement of one in three gave %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := q.storeTogether(ctx, tasksOf("x", "deaf")); err == nil || neverStored(err) {
		t.Errorf("no acknowledgement gave %v", err)
	}
	q.together.Store(true)
	ids := names("d", 50)
	if failed := acceptAll(t.Context(), q, ids); len(failed) > 0 {
		t.Errorf("not accepted: %v", failed)
	}
	if q.together.Load() {
		t.Error("batches are tried still")
	}
	q.conn.Close()
	if err := q.storeTogether(t.Context(), tasksOf("x", "y")); err == nil {
		t.Error("stored without a connection")
	}
}

// TestBatchesWhileLeadersDie kills the stream's leader while groups are on
// their way: what was accepted is there, what was refused is not.
func TestBatchesWhileLeadersDie(t *testing.T) {
	n := fixture.StartNATS(t)
	q := open(t, n, "api-0")
	var accepted, refused sync.Map
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for c := range 48 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("k-%d-%d", c, i)
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				switch err := q.Accept(ctx, tasksOf(id)[0]); {
				case err == nil:
					accepted.Store(id, true)
				case errors.Is(err, task.ErrRefused):
					refused.Store(id, true)
				}
				cancel()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for range 2 {
		time.Sleep(700 * time.Millisecond)
		victim := leaderOf(t, q)
		n.Servers[victim].Kill()
		time.Sleep(1500 * time.Millisecond)
		n.Servers[victim].Start()
		n.WaitHealthy(t, victim)
	}
	close(stop)
	clients.Wait()
	stored := stream(t, q)
	total := 0
	accepted.Range(func(id, _ any) bool {
		total++
		if !stored[taskSubject+id.(string)] {
			t.Errorf("%s was accepted and is lost", id)
		}
		return true
	})
	refused.Range(func(id, _ any) bool {
		if stored[taskSubject+id.(string)] {
			t.Errorf("%s was refused and is there", id)
		}
		return true
	})
	if total < 100 {
		t.Errorf("only %d accepted", total)
	}
	t.Logf("%d accepted, %d stored", total, len(stored))
}

// leaderOf returns the index of the server that leads the stream.
func leaderOf(t *testing.T, q *Queue) (index int) {
	t.Helper()
	fixture.Eventually(t, 20*time.Second, "a leader of the stream", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := q.js.Stream(ctx, Stream)
		if err != nil {
			return err
		}
		_, err = fmt.Sscanf(s.CachedInfo().Cluster.Leader, "nats-%d", &index)
		return err
	})
	return index
}

// stream returns the subjects that the stream holds.
func stream(t *testing.T, q *Queue) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	fixture.Eventually(t, 20*time.Second, "the stream's subjects", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s, err := q.js.Stream(ctx, Stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(taskSubject+">"))
		if err == nil {
			for subject := range info.State.Subjects {
				out[subject] = true
			}
		}
		return err
	})
	return out
}

func TestKnowsBatches(t *testing.T) {
	for version, want := range map[string]bool{
		"2.10.22": false, "2.11.9": false, "2.12.0": true, "2.12.0-RC.1": true, "2.15.2": true, "3.0.0": true, "10.0": true, "": false, "v2": false,
	} {
		if got := knowsBatches(version); got != want {
			t.Errorf("knowsBatches(%q) = %v", version, got)
		}
	}
}
