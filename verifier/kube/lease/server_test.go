package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"seatrial/verifier/kube/bench"
	"seatrial/verifier/kube/lease"
)

func TestMain(m *testing.M) { bench.Main(m) }

// TestOnARealServer: one of two that begin at once wins, the other one is told, and
// the API server accepts what is written.
func TestOnARealServer(t *testing.T) {
	b := bench.Start(t)
	ns := b.Namespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	type result struct {
		held *lease.Held
		err  error
	}
	results := make(chan result)
	for _, run := range []string{"run-a", "run-b"} {
		go func() {
			h, err := lease.Hold(ctx, b.Client, ns, run)
			results <- result{h, err}
		}()
	}
	var winner *lease.Held
	for range 2 {
		switch r := <-results; {
		case r.err == nil && winner == nil:
			winner = r.held
		case r.err == nil:
			t.Error("both hold the lease")
		case !errors.Is(r.err, lease.ErrHeld):
			t.Errorf("who did not win: %v", r.err)
		}
	}
	if winner == nil {
		t.Fatal("nobody won")
	}
	if err := winner.Release(ctx); err != nil {
		t.Fatalf("release: %v", err)
	}
	again, err := lease.Hold(ctx, b.Client, ns, "run-c")
	if err != nil {
		t.Fatalf("hold what was released: %v", err)
	}
	if err := again.Release(ctx); err != nil {
		t.Errorf("release: %v", err)
	}
}
