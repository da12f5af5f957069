package worker

import (
	"context"
	"math/rand/v2"
	"time"

	"seatrial/services/store"
	"seatrial/services/task"
)

const (
	// groupLimit bounds how many Tasks share one round trip to the store.
	groupLimit = 64
	// groupPause is how long a group may come together when the one before it
	// had more than one Task: fewer groups cost the store and the queue less.
	groupPause = time.Millisecond
	// recordWait is how long that round trip may take, replication included.
	recordWait = 3 * time.Second
	// maxDelay bounds what growing returns.
	maxDelay = 10 * time.Second
)

// recordAll records whatever is finished, as much at once as there is: the
// slower the store, the larger the groups.
func (w *Worker) recordAll(ctx context.Context, finished <-chan outcome) {
	group := make([]outcome, 0, groupLimit)
	for first := range finished {
		if len(group) > 1 {
			time.Sleep(groupPause)
		}
		group = append(group[:0], first)
	fill:
		for len(group) < groupLimit {
			select {
			case o, ok := <-finished:
				if !ok {
					break fill
				}
				group = append(group, o)
			default:
				break fill
			}
		}
		w.record(ctx, group)
	}
}

func (w *Worker) record(ctx context.Context, group []outcome) {
	reports := make([]task.Report, len(group))
	for i, o := range group {
		reports[i] = o.report
	}
	one, cancel := context.WithTimeout(ctx, recordWait)
	defer cancel()
	var failed error
	for i, answer := range w.store.Record(one, reports) {
		if answer.Err != nil {
			failed = answer.Err
			w.metrics.fail(store.Kind(answer.Err))
			w.giveBack(group[i].delivery, w.delay(group[i].delivery.Deliveries))
			continue
		}
		w.finish(group[i], answer.Repeated)
	}
	if failed != nil {
		w.store.Suspect()
		if w.gate.shut() {
			w.log.Warn("pause: the store takes no records", "error", failed)
		}
	}
}

// finish acknowledges what is recorded. A lost acknowledgement costs one more
// delivery, which the record makes harmless.
func (w *Worker) finish(o outcome, repeated bool) {
	w.held.drop(o.delivery)
	var err error
	if o.report.State == task.Dead {
		err = o.delivery.Terminate(o.report.Result)
	} else {
		err = o.delivery.Ack()
	}
	if err != nil {
		w.metrics.fail("ack")
	}
	w.metrics.finished(o.report, repeated)
}

// growing doubles base with every delivery after the first, up to maxDelay,
// and spreads it so that Tasks that failed together do not return together.
func growing(base time.Duration, deliveries int) time.Duration {
	d := base
	for i := 1; i < deliveries && d < maxDelay; i++ {
		d *= 2
	}
	d = min(d, maxDelay)
	return d + rand.N(d/4+1)
}
