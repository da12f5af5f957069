package worker

import (
	"context"
	"sync"
	"time"

	"seatrial/services/queue"
)

const (
	keepEvery = time.Second
	keepAfter = 2 * time.Second // well before the first acknowledgement deadline
)

// held knows the deliveries that are in this worker's hands, and asks for more
// time for those that take long.
type held struct {
	mu    sync.Mutex
	since map[key]entry
}

// key tells deliveries apart: the same Task may be held twice.
type key struct {
	id         string
	acceptedAt int64
	deliveries int
}

type entry struct {
	delivery queue.Delivery
	asked    time.Time // taken, or asked for more time
}

func newHeld() *held { return &held{since: map[key]entry{}} }

func keyOf(d queue.Delivery) key { return key{d.Task.ID, d.AcceptedAt.UnixNano(), d.Deliveries} }

func (h *held) add(d queue.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since[keyOf(d)] = entry{d, time.Now()}
}

func (h *held) drop(d queue.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.since, keyOf(d))
}

func (h *held) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.since)
}

// keep asks for more time until ctx ends, but not while wanted is false: what
// cannot be recorded here may be recorded by another worker.
func (h *held) keep(ctx context.Context, wanted func() bool) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if wanted() {
			for _, d := range h.slow(time.Now()) {
				_ = d.Progress()
			}
		}
	}
}

func (h *held) slow(now time.Time) []queue.Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []queue.Delivery
	for k, e := range h.since {
		if now.Sub(e.asked) >= keepAfter {
			out = append(out, e.delivery)
			h.since[k] = entry{e.delivery, now}
		}
	}
	return out
}
