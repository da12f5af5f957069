package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"seatrial/services/fixture"
	"seatrial/services/task"
)

func open(t testing.TB, v *fixture.Valkey) *Store {
	t.Helper()
	s := Open(Config{Sentinels: v.Addresses(), Master: fixture.MasterName, Replicas: 1}, "test-0", slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	fixture.Eventually(t, 10*time.Second, "writable", func() error { return s.Writable(within(t, 3*time.Second)) })
	return s
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func done(id string) task.Report {
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)
	return task.Report{ID: id, State: task.Done, Result: "r", Worker: "w", AcceptedAt: at, DoneAt: at.Add(time.Second), Deliveries: 1}
}

func TestStoreOnRealServers(t *testing.T) {
	v := fixture.StartValkey(t)
	s := open(t, v)
	t.Run("a task is recorded once", func(t *testing.T) { recordedOnce(t, s) })
	t.Run("export", func(t *testing.T) { export(t, s) })
	t.Run("without replicas nothing counts", func(t *testing.T) { unreplicated(t, v, s) })
	t.Run("a frozen primary is left", func(t *testing.T) { failover(t, v, s) })
}

func recordedOnce(t *testing.T, s *Store) {
	dead := task.Report{ID: "x-2", State: task.Dead, Result: "poison", Worker: "w", Deliveries: 5}
	for i, got := range s.Record(within(t, 3*time.Second), []task.Report{done("x-1"), dead, done("x-1")}) {
		if got.Err != nil || got.Repeated != (i == 2) {
			t.Errorf("record %d: %+v", i, got)
		}
	}
	if got := s.Record(within(t, 3*time.Second), []task.Report{done("x-1")}); got[0].Err != nil || !got[0].Repeated {
		t.Errorf("again: %+v", got[0])
	}
	want := done("x-1")
	want.Effects = 1
	if r, ok, err := s.Get(within(t, 3*time.Second), "x-1"); err != nil || !ok || r != want {
		t.Errorf("got %+v, %v, %v", r, ok, err)
	}
	if _, ok, err := s.Get(within(t, 3*time.Second), "x-3"); err != nil || ok {
		t.Errorf("an unknown task: %v, %v", ok, err)
	}
	keys, processed, err := s.Counts(within(t, 3*time.Second))
	if err != nil || processed != 1 || keys < 4 {
		t.Errorf("counts: %d keys, %d processed, %v", keys, processed, err)
	}
	if err := s.Ping(within(t, time.Second)); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func export(t *testing.T, s *Store) {
	var many []task.Report
	for i := range 2500 {
		many = append(many, done(fmt.Sprintf("e-%d", i)))
	}
	for _, r := range s.Record(within(t, 10*time.Second), many) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	count := map[string]int{}
	err := s.Export(within(t, 10*time.Second), "e-", func(r task.Report) error {
		count[r.ID]++
		if r.Effects != 1 || r.State != task.Done {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if err != nil || len(count) != len(many) {
		t.Fatalf("%d tasks, %v", len(count), err)
	}
	stop := errors.New("stop")
	if err := s.Export(within(t, 10*time.Second), "", func(task.Report) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// unreplicated freezes both replicas: they stay connected and acknowledge
// nothing, which only the count that WAIT returns can tell.
func unreplicated(t *testing.T, v *fixture.Valkey, s *Store) {
	freeze := func(sig syscall.Signal) {
		v.Servers[1].Signal(sig)
		v.Servers[2].Signal(sig)
	}
	freeze(syscall.SIGSTOP)
	got := s.Record(within(t, 3*time.Second), []task.Report{done("u-1")})
	freeze(syscall.SIGCONT)
	if kind := Kind(got[0].Err); got[0].Err == nil || kind != "unreplicated" && kind != "noreplicas" {
		t.Fatalf("recorded without a replica: %+v (%s)", got[0], kind)
	}
	fixture.Eventually(t, 20*time.Second, "recorded again", func() error {
		return s.Record(within(t, 3*time.Second), []task.Report{done("u-1")})[0].Err
	})
	if r, _, err := s.Get(within(t, 3*time.Second), "u-1"); err != nil || r.Effects != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// failover freezes the primary, which to its clients is a partition: nothing
// fails, nothing answers.
func failover(t *testing.T, v *fixture.Valkey, s *Store) {
	old := v.Primary(t)
	old.Signal(syscall.SIGSTOP)
	began, n := time.Now(), 0
	fixture.Eventually(t, 20*time.Second, "recorded at the new primary", func() error {
		n++
		err := s.Record(within(t, 2*time.Second), []task.Report{done("f-1")})[0].Err
		if err != nil {
			s.Suspect()
		}
		return err
	})
	t.Logf("recorded again after %s and %d attempts", time.Since(began).Round(time.Millisecond), n)
	old.Signal(syscall.SIGCONT)
	if now := s.primary.Load().addr; now == old.Addr {
		t.Errorf("still at %s", now)
	}
	if r, ok, err := s.Get(within(t, 3*time.Second), "e-1"); err != nil || !ok || r.Effects != 1 {
		t.Errorf("an earlier record is lost: %+v, %v, %v", r, ok, err)
	}
}
