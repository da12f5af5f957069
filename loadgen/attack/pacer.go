package attack

import "time"

// Vegeta sleeps for what its pacer answers, as precisely as time.Sleep, and
// cannot be woken. The pacer therefore waits itself and answers when a hit is due.
// Stop ends waits longer than longWait; the others are left to the alarm.
const longWait = 50 * time.Millisecond

// grace is how long after the profile's end hits that are late may still be
// sent. A load that is further behind has failed to hold its rate; going on would
// only move it into the next window of a trial.
const grace = time.Second

// pacer is the attack's profile on the attack's own clock, so that planned and
// sent times share one origin.
type pacer struct{ *Attack }

// Pace implements vegeta.Pacer. Only Vegeta's one scheduling goroutine calls it.
func (p pacer) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	for {
		elapsed := time.Since(p.start)
		wait, last := p.cfg.Profile.Pace(elapsed, hits)
		switch {
		case p.stopping.Load():
			return p.ended(elapsed)
		case last:
			return p.ended(max(elapsed, p.cfg.Profile.Duration()))
		case elapsed > p.cfg.Profile.Duration()+grace:
			return p.ended(elapsed)
		case wait <= 0:
			return 0, false
		case wait <= longWait:
			p.alarm.sleep(wait)
			continue
		}
		p.sleep.Reset(wait - longWait/2)
		select {
		case <-p.sleep.C:
		case <-p.stop:
		}
	}
}

func (p pacer) ended(at time.Duration) (time.Duration, bool) {
	p.endAt(at)
	return 0, true
}

// Rate implements vegeta.Pacer.
func (p pacer) Rate(elapsed time.Duration) float64 { return p.cfg.Profile.Rate(elapsed) }
