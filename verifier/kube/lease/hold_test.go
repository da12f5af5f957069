package lease

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordination "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const namespace = "seatrial-verifier"

// store is an API server in memory, whose time is the test's. While down is set it
// does not answer.
func store(t *testing.T) (client.Client, *atomic.Bool) {
	t.Helper()
	s := runtime.NewScheme()
	if err := coordination.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	down := &atomic.Bool{}
	hang := func(ctx context.Context) error {
		if !down.Load() {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(s).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return errors.Join(hang(ctx), c.Get(ctx, key, obj, opts...))
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			if err := hang(ctx); err != nil {
				return err
			}
			return c.Update(ctx, obj, opts...)
		},
	})
	return c, down
}

// read is the Lease as it is.
func read(t *testing.T, c client.Client) *coordination.Lease {
	t.Helper()
	l := &coordination.Lease{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: Name}, l); err != nil {
		t.Fatal(err)
	}
	return l
}

func hold(t *testing.T, c client.Client, run string) *Held {
	t.Helper()
	h, err := Hold(t.Context(), c, namespace, run)
	if err != nil {
		t.Fatalf("hold: %v", err)
	}
	return h
}

func release(t *testing.T, h *Held) {
	t.Helper()
	if err := h.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
}

func TestHeldIsRenewedAndRefusedToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := store(t)
		first := hold(t, c, "first")
		time.Sleep(time.Minute)
		if err := first.Context().Err(); err != nil {
			t.Fatalf("lost while nothing happened: %v", context.Cause(first.Context()))
		}
		begun := time.Now()
		_, err := Hold(t.Context(), c, namespace, "second")
		if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "held by first until 20") {
			t.Errorf("a second holder: want an error that names the first and its time, got %v", err)
		}
		if waited := time.Since(begun); waited > RenewEvery+lookEvery {
			t.Errorf("it took %s to see that the lease is live", waited)
		}
		release(t, first)
		if first.Context().Err() == nil {
			t.Error("the context lives on after the release")
		}
		release(t, first) // again
		begun = time.Now()
		second := hold(t, c, "second")
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("a released lease was waited for %s", waited)
		}
		release(t, second)
	})
}

func TestDeadHoldersLeaseIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := store(t)
		ctx, kill := context.WithCancel(t.Context())
		if _, err := Hold(ctx, c, namespace, "dead"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		kill() // it renews no more, and releases nothing
		begun := time.Now()
		heir := hold(t, c, "heir")
		if waited := time.Since(begun); waited < Duration || waited > Duration+2*lookEvery {
			t.Errorf("taken over after %s, want %s", waited, Duration)
		}
		if l := read(t, c); *l.Spec.HolderIdentity != "heir" || *l.Spec.LeaseTransitions != 2 {
			t.Errorf("the lease after the takeover: %+v", l.Spec)
		}
		release(t, heir)
	})
}

func TestOneOfManyWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := store(t)
		results := make(chan error)
		var winner atomic.Pointer[Held]
		for _, run := range []string{"a", "b", "c", "d", "e"} {
			go func() {
				h, err := Hold(t.Context(), c, namespace, run)
				if err == nil && !winner.CompareAndSwap(nil, h) {
					t.Error("two hold the lease")
				}
				results <- err
			}()
		}
		won := 0
		for range 5 {
			if err := <-results; err == nil {
				won++
			} else if !errors.Is(err, ErrHeld) {
				t.Errorf("who did not win: %v", err)
			}
		}
		if won != 1 {
			t.Fatalf("%d won", won)
		}
		release(t, winner.Load())
	})
}

func TestLostWhenTheServerIsAwayTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, down := store(t)
		h := hold(t, c, "run")
		time.Sleep(10*RenewEvery + time.Millisecond)
		down.Store(true)
		time.Sleep(5 * time.Second)
		down.Store(false) // a hiccup
		time.Sleep(time.Minute)
		if h.Context().Err() != nil {
			t.Fatalf("a hiccup of 5 s lost the lease: %v", context.Cause(h.Context()))
		}
		down.Store(true)
		away := time.Now()
		<-h.Context().Done()
		if lasted := time.Since(away); lasted > GiveUpAfter {
			t.Errorf("held on for %s without an API server", lasted)
		}
		if err := context.Cause(h.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("cause: %v, want ErrLost", err)
		}
		release(t, h) // does not ask the server that is away
	})
}

func TestLostWhenAnotherTookIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := store(t)
		h := hold(t, c, "run")
		l := read(t, c)
		l.Spec.HolderIdentity, l.Spec.LeaseTransitions = new("thief"), new(int32(9))
		if err := c.Update(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		<-h.Context().Done()
		if err := context.Cause(h.Context()); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "held by thief") {
			t.Errorf("cause: %v, want ErrLost with the name of the thief", err)
		}
		release(t, h)
		if l := read(t, c); *l.Spec.HolderIdentity != "thief" {
			t.Errorf("the release of a lost lease changed its holder to %q", *l.Spec.HolderIdentity)
		}
	})
}

func TestALabelDoesNotLoseIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := store(t)
		h := hold(t, c, "run")
		l := read(t, c)
		l.Labels = map[string]string{"looked": "at"}
		if err := c.Update(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if h.Context().Err() != nil {
			t.Errorf("lost: %v", context.Cause(h.Context()))
		}
		if read(t, c).Labels["looked"] != "at" {
			t.Error("the label was written over")
		}
		release(t, h)
		if holder := *read(t, c).Spec.HolderIdentity; holder != "" {
			t.Errorf("released, and held by %q", holder)
		}
	})
}

func TestARunNeedsAName(t *testing.T) {
	c, _ := store(t)
	if _, err := Hold(t.Context(), c, namespace, ""); err == nil {
		t.Error("a run without a name holds the lease")
	}
}
