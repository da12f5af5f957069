package queue

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Rhythm of the write probe.
const (
	probeEvery  = 500 * time.Millisecond // while Tasks can be accepted
	probeSooner = 250 * time.Millisecond // while they cannot
	probeWait   = time.Second            // for one acknowledgement
	// proofLasts is for how long one stored message proves that the next one
	// will be stored too: long enough to ride over the election of a leader.
	proofLasts = 2 * time.Second
	// leaveAfter is for how long nothing could be stored before the fault is
	// looked for in the server at hand, and leaveEvery how long each of the
	// others is given.
	leaveAfter = 3 * time.Second
	leaveEvery = 3 * time.Second
)

// Gate knows whether a Task can really be accepted, because something was
// really stored a moment ago. Asking JetStream for information is no proof:
// it answers while a majority is lost.
type Gate struct {
	log    *slog.Logger
	stored atomic.Int64 // when something was last stored, Unix nanoseconds
}

// NewGate returns a Gate that is shut until something was stored. It logs when
// that changes.
func NewGate(log *slog.Logger) *Gate { return &Gate{log: log} }

// Passed notes that something was stored just now.
func (g *Gate) Passed() { g.stored.Store(time.Now().UnixNano()) }

// Open reports whether the last proof is fresh.
func (g *Gate) Open() bool { return g.age() < proofLasts }

func (g *Gate) age() time.Duration { return time.Since(time.Unix(0, g.stored.Load())) }

// Watch probes until ctx ends, unless Tasks prove the same meanwhile. While
// nothing can be stored it calls elsewhere now and then: a server that is cut
// off from its peers goes on to serve its clients, and looks well to them.
func (g *Gate) Watch(ctx context.Context, probe func(context.Context) error, elsewhere func()) {
	left := time.Now()
	for wasOpen := false; ; {
		if g.age() >= probeEvery {
			one, cancel := context.WithTimeout(ctx, probeWait)
			if probe(one) == nil {
				g.Passed()
			}
			cancel()
		}
		if g.age() > leaveAfter && time.Since(left) > leaveEvery {
			elsewhere()
			left = time.Now()
		}
		open, wait := g.Open(), probeEvery
		if !open {
			wait = probeSooner
		}
		if open != wasOpen {
			g.log.Info("tasks can be accepted", "now", open)
			wasOpen = open
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
