package vnet

import (
	"math"
	"testing"
	"time"
)

func roll(seed int64, fault string, source uint32, imp Impairment, n int) []decision {
	d := newDice(seed, fault, source, &imp)
	out := make([]decision, n)
	for i := range out {
		out[i] = d.next()
	}
	return out
}

var everything = Impairment{
	Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, DelayCorrelation: 0.25,
	Loss: 0.1, Duplicate: 0.05, Corrupt: 0.02, Reorder: 0.25, ReorderCorrelation: 0.5,
}

func TestDiceDependOnSeedFaultAndSourceOnly(t *testing.T) {
	const n = 2000
	want := roll(7, "a", 1, everything, n)
	same := roll(7, "a", 1, everything, n)
	for i := range want {
		if want[i] != same[i] {
			t.Fatalf("packet %d: %+v, then %+v", i, want[i], same[i])
		}
	}
	for _, other := range []struct {
		name   string
		seed   int64
		fault  string
		source uint32
	}{{"seed", 8, "a", 1}, {"fault", 7, "b", 1}, {"source", 7, "a", 2}} {
		got := roll(other.seed, other.fault, other.source, everything, n)
		equal := 0
		for i := range got {
			if got[i].delay == want[i].delay {
				equal++
			}
		}
		// Only packets sent ahead, a sixteenth of which coincide, agree.
		if equal > n/4 {
			t.Errorf("another %s: %d of %d delays are the same", other.name, equal, n)
		}
	}
}

// One kind of decision must not shift another's: adding loss to a fault leaves
// the delays of its packets as they were.
func TestDiceLanesAreIndependent(t *testing.T) {
	jitter := Impairment{Delay: time.Second, Jitter: time.Second}
	lossy := jitter
	lossy.Loss, lossy.Duplicate = 0.5, 0.5
	a, b := roll(1, "f", 1, jitter, 500), roll(1, "f", 1, lossy, 500)
	for i := range a {
		if a[i].delay != b[i].delay {
			t.Fatalf("packet %d: delay %v without loss, %v with", i, a[i].delay, b[i].delay)
		}
	}
}

func TestDiceShares(t *testing.T) {
	const n = 200_000
	for _, tc := range []struct {
		name  string
		imp   Impairment
		hit   func(decision) bool
		share float64
	}{
		{"loss 0", Impairment{Delay: 1}, func(d decision) bool { return d.lose }, 0},
		{"loss 0.1", Impairment{Loss: 0.1}, func(d decision) bool { return d.lose }, 0.1},
		{"loss 0.001", Impairment{Loss: 0.001}, func(d decision) bool { return d.lose }, 0.001},
		{"loss 1", Impairment{Loss: 1}, func(d decision) bool { return d.lose }, 1},
		{"duplicate", Impairment{Duplicate: 0.3}, func(d decision) bool { return d.duplicate }, 0.3},
		{"corrupt", Impairment{Corrupt: 0.05}, func(d decision) bool { return d.corrupt }, 0.05},
		{"reorder", Impairment{Delay: 1, Reorder: 0.25}, func(d decision) bool { return d.ahead }, 0.25},
		// A candidate only after two others: on average 2 + 1/0.5 packets apart.
		{"reorder, gap 3", Impairment{Delay: 1, Reorder: 0.5, ReorderGap: 3}, func(d decision) bool { return d.ahead }, 0.25},
		{"reorder, gap 5, always", Impairment{Delay: 1, Reorder: 1, ReorderGap: 5}, func(d decision) bool { return d.ahead }, 0.2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hits := 0
			for _, d := range roll(42, tc.name, 1, tc.imp, n) {
				if tc.hit(d) {
					hits++
				}
			}
			got := float64(hits) / n
			// Five standard deviations.
			if slack := 5 * math.Sqrt(tc.share*(1-tc.share)/n); math.Abs(got-tc.share) > slack+1e-9 {
				t.Errorf("share %.4f, want %.4f ± %.4f", got, tc.share, slack)
			}
		})
	}
}

// Of packets drawn with correlation c, each resembles the one before: the
// autocorrelation of the delays at a distance of one is c.
func TestDiceCorrelation(t *testing.T) {
	const n = 100_000
	for _, c := range []float64{0, 0.25, 0.5, 0.9} {
		imp := Impairment{Delay: time.Second, Jitter: time.Second, DelayCorrelation: c}
		var values []float64
		mean := 0.0
		for _, d := range roll(3, "c", 1, imp, n) {
			values = append(values, d.delay.Seconds())
			mean += d.delay.Seconds() / n
		}
		var same, next float64
		for i, v := range values {
			same += (v - mean) * (v - mean)
			if i > 0 {
				next += (v - mean) * (values[i-1] - mean)
			}
		}
		if got := next / same; math.Abs(got-c) > 0.02 {
			t.Errorf("correlation %v: autocorrelation %.3f", c, got)
		}
		if math.Abs(mean-1) > 0.02 {
			t.Errorf("correlation %v: mean delay %.3f s, want 1", c, mean)
		}
	}
}

// Correlated losses come in runs.
func TestDiceCorrelatedLossIsBursty(t *testing.T) {
	runs := func(c float64) float64 {
		lost, starts, before := 0, 0, false
		for _, d := range roll(5, "burst", 1, Impairment{Loss: 0.5, LossCorrelation: c}, 100_000) {
			if d.lose {
				lost++
				if !before {
					starts++
				}
			}
			before = d.lose
		}
		return float64(lost) / float64(starts)
	}
	alone, together := runs(0), runs(0.8)
	if math.Abs(alone-2) > 0.1 { // a fair coin
		t.Errorf("without correlation a run of losses has %.2f packets, want 2", alone)
	}
	if together < 1.5*alone {
		t.Errorf("with correlation a run of losses has %.2f packets, without %.2f", together, alone)
	}
}

func TestDiceDelayRange(t *testing.T) {
	for _, tc := range []struct{ delay, jitter, least, most time.Duration }{
		{50, 0, 50, 50},
		{50, 10, 40, 60},
		{5, 10, 0, 15}, // never negative
	} {
		imp := Impairment{Delay: tc.delay * time.Millisecond, Jitter: tc.jitter * time.Millisecond}
		least, most := time.Hour, time.Duration(0)
		for _, d := range roll(1, "r", 1, imp, 20_000) {
			least, most = min(least, d.delay), max(most, d.delay)
		}
		slack := 100 * time.Microsecond
		if least < tc.least*time.Millisecond || least > tc.least*time.Millisecond+slack ||
			most > tc.most*time.Millisecond || most < tc.most*time.Millisecond-slack {
			t.Errorf("%v ± %v ms: from %v to %v", int(tc.delay), int(tc.jitter), least, most)
		}
	}
}

func TestDiceReorderedPacketsAreNotDelayed(t *testing.T) {
	for i, d := range roll(1, "r", 1, everything, 1000) {
		if d.ahead && d.delay != 0 {
			t.Fatalf("packet %d is ahead of its turn, but %v late", i, d.delay)
		}
	}
}

func BenchmarkDice(b *testing.B) {
	d := newDice(1, "b", 1, &everything)
	for b.Loop() {
		d.next()
	}
}
