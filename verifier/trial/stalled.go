package trial

import (
	"context"
	"time"

	"seatrial/verifier/evidence"
)

// flushEvery is how often the disk is asked. A stall is seen whole, however short: whoever asks waits for its end.
const flushEvery = 200 * time.Millisecond

// watchDisk has a few bytes flushed again and again until it is stopped, and then notes the
// longest that it took; nothing where nobody can tell.
func (r *run) watchDisk(ctx context.Context) (stop func()) {
	if r.Flush == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan evidence.Stalled)
	go func() {
		var worst evidence.Stalled
		for {
			began := time.Now()
			err := r.Flush()
			if took := time.Since(began).Seconds(); err == nil && took > worst.Seconds {
				worst = evidence.Stalled{Seconds: took, At: began}
			}
			select {
			case <-ctx.Done():
				done <- worst
				return
			case <-time.After(flushEvery):
			}
		}
	}()
	return func() { cancel(); r.rec.Stalled = <-done }
}
