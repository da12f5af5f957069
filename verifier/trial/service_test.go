package trial

import (
	"math"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// watched walks a load of 100 requests a second; served says how each ends.
func watched(injectAt time.Duration, seconds int, served func(at time.Duration) (history.Outcome, time.Duration)) *serviceWatch {
	rec := &evidence.Record{}
	if injectAt >= 0 {
		rec.InjectAt = start.Add(injectAt)
	}
	plan := &evidence.Plan{Objectives: []evidence.ObjectivePlan{{Name: slo.Latency, Within: evidence.Duration(500 * time.Millisecond)}}}
	w := newServiceWatch(plan, rec, start)
	for n := range 100 * seconds {
		at := time.Duration(n) * 10 * time.Millisecond
		outcome, latency := served(at)
		w.see(&history.Op{Task: uint64(n), Planned: at, Sent: at + time.Millisecond, End: at + latency, Outcome: outcome})
	}
	return w
}

func well(time.Duration) (history.Outcome, time.Duration) {
	return history.Accepted, 5 * time.Millisecond
}

// from serves well until a moment.
func from(moment time.Duration, outcome history.Outcome, latency time.Duration) func(time.Duration) (history.Outcome, time.Duration) {
	return func(at time.Duration) (history.Outcome, time.Duration) {
		if at >= moment {
			return outcome, latency
		}
		return well(at)
	}
}

func TestDeviation(t *testing.T) {
	second := time.Second
	for name, c := range map[string]struct {
		inject time.Duration
		served func(time.Duration) (history.Outcome, time.Duration)
		want   time.Duration // negative: none
	}{
		"served well":              {5 * second, well, -1},
		"refused":                  {5 * second, from(7*second, history.Refused, 0), 7 * second},
		"unknown":                  {5 * second, from(7*second, history.Unknown, 6*second), 7 * second},
		"slow":                     {5 * second, from(7*second, history.Accepted, 501*time.Millisecond), 7 * second},
		"as slow as promised":      {5 * second, from(7*second, history.Accepted, 500*time.Millisecond), -1},
		"bad before the injection": {8 * second, from(2*second, history.Refused, 0), 8 * second},
		"no fault":                 {-1, from(2*second, history.Refused, 0), -1},
	} {
		t.Run(name, func(t *testing.T) {
			got := watched(c.inject, 10, c.served).deviatedAt()
			if c.want < 0 && !got.IsZero() || c.want >= 0 && got.Sub(start) != c.want {
				t.Errorf("deviated at %v, want %v", got.Sub(start), c.want)
			}
		})
	}
}

func TestBudgetCostCountsFromTheInjection(t *testing.T) {
	w := watched(5*time.Second, 10, from(7500*time.Millisecond, history.Refused, 0))
	// Half of the five seconds after it: 2.5 s of outage against 25,920 s a month.
	want := 2.5 / 25920
	if got := w.budgetCost(0.99); math.Abs(got-want) > 0.01*want {
		t.Errorf("cost %v, want %v", got, want)
	}
	if got := watched(-1, 10, from(0, history.Refused, 0)).budgetCost(0.99); got != 0 {
		t.Errorf("without a fault: %v", got)
	}
}

func TestLatenciesAreFromThePlanAndFromTheSend(t *testing.T) {
	l := watched(-1, 10, from(9800*time.Millisecond, history.Accepted, 400*time.Millisecond)).latency()
	if l.PlannedP50 != 0.005 || l.SentP50 != 0.004 || l.PlannedP99 != 0.4 {
		t.Errorf("%+v", l)
	}
}

func TestManyOpsAreSampledInBoundedMemory(t *testing.T) {
	w := newServiceWatch(&evidence.Plan{}, &evidence.Record{}, start)
	for n := range 3 * maxSamples {
		latency := time.Duration(n%1000+1) * time.Millisecond
		w.see(&history.Op{Task: uint64(n), End: latency, Outcome: history.Accepted})
	}
	if len(w.planned) > maxSamples {
		t.Errorf("%d samples kept", len(w.planned))
	}
	if got := w.latency().PlannedP50; math.Abs(got-0.5) > 0.01 {
		t.Errorf("p50 %v, want 0.5", got)
	}
}
