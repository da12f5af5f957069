package trial

import (
	"slices"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
)

// serviceWatch learns from one walk over the History how well clients were
// served: latencies, and when service first deviated after the injection.
type serviceWatch struct {
	start     time.Time
	injected  time.Duration // offset of the injection, negative without one
	threshold time.Duration // a slower answer is no good one
	least     float64       // share of good answers in a second that is service

	planned, sent []int32   // latencies of accepted requests in microseconds, a sample
	stride, seen  int       // every stride-th accepted request is sampled
	seconds       []quality // by the second of the planned time

	after, bad int           // requests planned since the injection, and those of them not accepted
	last       time.Duration // planned time of the last of them

	late   time.Duration // the most by which one was sent after its planned time
	lateAt time.Duration // when that was planned
}

// quality is one second of service.
type quality struct{ good, all int32 }

// maxSamples bounds the memory for percentiles: 10,000,000 Ops must be judged
// within 1 GiB. Beyond it every second sample is dropped and half are taken.
const maxSamples = 1 << 18

func newServiceWatch(plan *evidence.Plan, rec *evidence.Record, start time.Time) *serviceWatch {
	w := &serviceWatch{start: start, injected: -1, threshold: time.Second, least: 0.99, stride: 1}
	if !rec.InjectAt.IsZero() {
		w.injected = rec.InjectAt.Sub(start)
	}
	for _, o := range plan.Objectives {
		if o.Name == slo.Latency {
			w.threshold = min(w.threshold, time.Duration(o.Within))
		}
	}
	return w
}

func (w *serviceWatch) see(op *history.Op) {
	if late := op.Sent - op.Planned; late > w.late {
		w.late, w.lateAt = late, op.Planned
	}
	latency := op.End - op.Planned
	good := op.Outcome == history.Accepted && latency <= w.threshold
	if second := int(op.Planned / time.Second); second >= 0 && second < 1<<20 {
		for len(w.seconds) <= second {
			w.seconds = append(w.seconds, quality{})
		}
		w.seconds[second].all++
		if good {
			w.seconds[second].good++
		}
	}
	if w.injected >= 0 && op.Planned >= w.injected {
		w.after++
		w.last = max(w.last, op.Planned)
		if op.Outcome != history.Accepted {
			w.bad++
		}
	}
	if op.Outcome != history.Accepted {
		return
	}
	if w.seen++; w.seen%w.stride != 0 {
		return
	}
	w.planned = append(w.planned, int32(latency.Microseconds()))
	w.sent = append(w.sent, int32((op.End - op.Sent).Microseconds()))
	if len(w.planned) == maxSamples {
		w.planned, w.sent = everySecond(w.planned), everySecond(w.sent)
		w.stride *= 2
	}
}

func everySecond(all []int32) []int32 {
	for i := range len(all) / 2 {
		all[i] = all[2*i]
	}
	return all[:len(all)/2]
}

// deviatedAt is the start of the first second after the injection in which too
// few answers were good; zero when there was none.
func (w *serviceWatch) deviatedAt() time.Time {
	if w.injected < 0 {
		return time.Time{}
	}
	for i := int(w.injected / time.Second); i < len(w.seconds); i++ {
		q := w.seconds[i]
		if q.all > 0 && float64(q.good) < w.least*float64(q.all) {
			return w.start.Add(max(w.injected, time.Duration(i)*time.Second))
		}
	}
	return time.Time{}
}

// budgetCost is the share of a 30-day error budget that was spent from the
// injection to the end of the load, by the requests that were not accepted.
func (w *serviceWatch) budgetCost(objective float64) float64 {
	if w.after == 0 {
		return 0
	}
	return slo.BudgetSpent(float64(w.bad)/float64(w.after), w.last-w.injected, objective)
}

func (w *serviceWatch) latency() evidence.Latency {
	slices.Sort(w.planned)
	slices.Sort(w.sent)
	return evidence.Latency{
		PlannedP50: quantile(w.planned, 0.5), PlannedP99: quantile(w.planned, 0.99),
		SentP50: quantile(w.sent, 0.5), SentP99: quantile(w.sent, 0.99),
	}
}

// quantile returns the q-quantile of sorted microseconds, in seconds; 0 of none.
func quantile(sorted []int32, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]) / 1e6
}
