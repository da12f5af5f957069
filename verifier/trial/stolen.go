package trial

import (
	"context"
	"time"

	"seatrial/verifier/evidence"
)

// Processors tells how many seconds this machine's processors have had since it started.
type Processors func() (ProcessorTime, error)

// ProcessorTime is seconds of all of a machine's processors together: Idle with nothing to do, Stolen by its own host
// while it wanted them, and All.
type ProcessorTime struct{ Idle, Stolen, All float64 }

// Since returns which shares of the time after then, 0 to 1, were idle and stolen. No time at all is idle.
func (p ProcessorTime) Since(then ProcessorTime) (idle, stolen float64) {
	all := p.All - then.All
	if all <= 0 {
		return 1, 0
	}
	return (p.Idle - then.Idle) / all, (p.Stolen - then.Stolen) / all
}

// stolenOver is the time over which theft is averaged: less is noise, more hides what
// makes an election or a failover fail.
const stolenOver = 10 * time.Second

// theft finds the ten seconds in which most was stolen.
type theft struct {
	seen  []counted // of the last ten seconds, and the one before
	worst evidence.Stolen
}

type counted struct {
	at time.Time
	ProcessorTime
}

// see takes what the processors' counters say at a moment; moments come in order.
func (t *theft) see(now counted) {
	t.seen = append(t.seen, now)
	for len(t.seen) > 1 && now.at.Sub(t.seen[1].at) >= stolenOver {
		t.seen = t.seen[1:]
	}
	then := t.seen[0]
	if now.at.Sub(then.at) < stolenOver {
		return
	}
	if _, share := now.Since(then.ProcessorTime); share > t.worst.Share {
		t.worst = evidence.Stolen{Share: share, At: now.at}
	}
}

// watchTheft reads the counters each second until it is stopped, and then notes the worst
// that there was; nothing where nobody can tell.
func (r *run) watchTheft(ctx context.Context) (stop func()) {
	if r.Processors == nil {
		return func() {}
	}
	var t theft
	end := again(ctx, time.Second, func(context.Context) {
		if spent, err := r.Processors(); err == nil {
			t.see(counted{time.Now(), spent})
		}
	})
	return func() { end(); r.rec.Stolen = t.worst }
}
