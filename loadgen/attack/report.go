package attack

import (
	"time"

	"seatrial/loadgen/history"
)

// Outcomes counts Ops.
type Outcomes struct {
	Accepted uint64 `json:"accepted"`
	Refused  uint64 `json:"refused"`
	Unknown  uint64 `json:"unknown"`
}

// Total is the number of Ops.
func (o Outcomes) Total() uint64 { return o.Accepted + o.Refused + o.Unknown }

// Progress is an attack as it runs.
type Progress struct {
	Started      time.Time `json:"started"`
	Asked        uint64    `json:"asked"` // hits planned so far
	Sent         uint64    `json:"sent"`
	Outcomes     Outcomes  `json:"outcomes"`
	AskedRate    float64   `json:"asked_rate"`    // hits per second, so far
	AchievedRate float64   `json:"achieved_rate"` // hits sent per second, so far
}

// InFlight is how many hits wait for their answer.
func (p Progress) InFlight() uint64 { return p.Sent - min(p.Sent, p.Outcomes.Total()) }

// Progress returns how far the attack is.
func (a *Attack) Progress() Progress {
	// Outcomes before sent, so that no answer is counted before its hit.
	p := Progress{Started: a.start, Outcomes: Outcomes{
		Accepted: a.outcomes[history.Accepted].Load(),
		Refused:  a.outcomes[history.Refused].Load(),
		Unknown:  a.outcomes[history.Unknown].Load(),
	}}
	p.Sent = a.sent.Load()
	elapsed := a.elapsed()
	p.Asked = a.cfg.Profile.HitsBy(elapsed)
	if seconds := elapsed.Seconds(); seconds > 0 {
		p.AskedRate = float64(p.Asked) / min(seconds, max(a.cfg.Profile.Duration().Seconds(), 1e-9))
		p.AchievedRate = float64(p.Sent) / seconds
	}
	return p
}

// elapsed is how long the attack has been sending.
func (a *Attack) elapsed() time.Duration {
	if end := a.end.Load(); end != 0 {
		return time.Duration(end)
	}
	return time.Since(a.start)
}

// Report is what an attack achieved. Rates are hits per second; times are seconds.
type Report struct {
	Started time.Time `json:"started"`
	Stopped bool      `json:"stopped"` // ended before its profile did
	Seconds float64   `json:"seconds"` // how long it sent

	Asked        uint64  `json:"asked"` // hits planned until it ended
	Sent         uint64  `json:"sent"`
	AskedRate    float64 `json:"asked_rate"`
	AchievedRate float64 `json:"achieved_rate"`
	// Achieved is AchievedRate / AskedRate. It is a mean: Vegeta catches up in bursts,
	// so a load that stalled shows in Lag and not here.
	Achieved float64 `json:"achieved"`
	// Lag is how long after their planned times hits were sent.
	Lag Quantiles `json:"lag_seconds"`

	Outcomes Outcomes `json:"outcomes"`
	// FromPlan is the time from the planned send time to the answer: what a user
	// would have waited. FromSend starts at the real send time, as Vegeta's reports do.
	FromPlan Quantiles `json:"from_plan_seconds"`
	FromSend Quantiles `json:"from_send_seconds"`

	Causes map[string]uint64 `json:"causes,omitempty"` // of Ops without an answer
}

// Held says whether the load was what was asked: at least share of the asked
// rate, and no hit sent more than lag after its plan.
func (r Report) Held(share float64, lag time.Duration) bool {
	return r.Achieved >= share && r.Lag.Max <= lag.Seconds()
}

// tally adds up Ops; only the collecting goroutine touches it.
type tally struct {
	lag, fromPlan, fromSend Latencies
	outcomes                [history.Unknown + 1]uint64
	causes                  map[string]uint64
	lastSent                time.Duration
}

func (t *tally) add(op *history.Op) {
	t.lag.Add(op.Sent - op.Planned)
	t.fromPlan.Add(op.End - op.Planned)
	t.fromSend.Add(op.End - op.Sent)
	t.outcomes[op.Outcome]++
	t.lastSent = max(t.lastSent, op.Sent)
	if op.Cause != "" {
		if t.causes == nil {
			t.causes = map[string]uint64{}
		}
		t.causes[op.Cause]++
	}
}

func (a *Attack) summary(t *tally) Report {
	length := a.cfg.Profile.Duration()
	end := time.Duration(a.end.Load())
	r := Report{
		Started:  a.start,
		Asked:    a.cfg.Profile.HitsBy(end),
		Sent:     a.sent.Load(),
		Lag:      t.lag.Quantiles(),
		FromPlan: t.fromPlan.Quantiles(),
		FromSend: t.fromSend.Quantiles(),
		Outcomes: Outcomes{t.outcomes[history.Accepted], t.outcomes[history.Refused], t.outcomes[history.Unknown]},
		Causes:   t.causes,
	}
	r.Stopped = a.stopping.Load() && end < length
	// A plan covers its duration, or what of it there was until it was stopped;
	// sending may have taken longer.
	planned := min(end, length)
	sending := max(planned, t.lastSent)
	r.Seconds = sending.Seconds()
	if planned > 0 {
		r.AskedRate = float64(r.Asked) / planned.Seconds()
		r.AchievedRate = float64(r.Sent) / sending.Seconds()
	}
	if r.AskedRate > 0 {
		r.Achieved = r.AchievedRate / r.AskedRate
	}
	return r
}
