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
	var longest evidence.Stalled
	end := again(ctx, flushEvery, func(context.Context) {
		began := time.Now()
		err := r.Flush()
		if took := time.Since(began).Seconds(); err == nil && took > longest.Seconds {
			longest = evidence.Stalled{Seconds: took, At: began}
		}
	})
	return func() { end(); r.rec.Stalled = longest }
}
