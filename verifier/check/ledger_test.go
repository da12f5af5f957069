package check_test

import (
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/check"
	"seatrial/verifier/verdict"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestSummary(t *testing.T) {
	const tasks = `
		1: accepted 1s, accepted 1s, done 1s
		2: accepted 1s
		3: accepted 1s, done twice 1s
		4: accepted 1s, dead
		5: refused 1s
		6: refused 1s, done 1s
		7: unknown 1s
		8: unknown 1s, done 1s
		9: unknown 1s, done 3 times 1s
		10: done 1s
		foreign x`
	want := check.Summary{Ops: 10, Accepted: 4, Refused: 2, Unknown: 3, Completed: 2, Lost: 2,
		Duplicated: 2, RefusedButDone: 1, UnknownDone: 2, Dead: 1, Phantoms: 2}
	if got := story(t, tasks).Summary(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	want.Lost = 1
	if got := story(t, tasks+"\npoison expected").Summary(); got != want {
		t.Errorf("with poison expected: got  %+v\nwant %+v", got, want)
	}
	if got := story(t, tasks+"\nheld cut").Summary(); got != want {
		t.Errorf("with half the system's answer, only the dead letter is lost: got  %+v\nwant %+v", got, want)
	}
}

func TestAnOpWithoutAnOutcomeIsAnError(t *testing.T) {
	err := check.NewLedger(header).Op(&history.Op{Task: 7})
	if err == nil || !strings.Contains(err.Error(), "judge t-7: no such outcome") {
		t.Errorf("got %v", err)
	}
}

func TestHeldThatSaysNothingIsAnError(t *testing.T) {
	err := check.NewLedger(header).Hold(check.Held{Task: 7})
	if err == nil || !strings.Contains(err.Error(), "judge t-7: held, but neither done nor dead") {
		t.Errorf("got %v", err)
	}
}

// A store that is scanned while it lives names some tasks twice; that is no
// double effect.
func TestHeldTwiceKeepsTheWorse(t *testing.T) {
	l := story(t, `1: accepted 1s`)
	for _, h := range []check.Held{
		{Task: 1, Effects: 1, DoneAt: 2 * time.Second},
		{Task: 1, Effects: 1, DoneAt: 9 * time.Second},
		{Task: 1, Effects: 1, DoneAt: 3 * time.Second},
		{Task: 1, Dead: true},
	} {
		if err := l.Hold(h); err != nil {
			t.Fatal(err)
		}
	}
	if f := check.ExactlyOnce(l); f.Verdict.Status != verdict.Pass {
		t.Error(f.Verdict.Reason)
	}
	if f := check.DoneWithin(l, time.Second, 5*time.Second); f.Count != 1 {
		t.Errorf("the later time was forgotten: %s", f.Verdict.Reason)
	}
	if s := l.Summary(); s.Dead != 1 || s.Completed != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestNilCutsSayNothing(t *testing.T) {
	l := story(t, `1: accepted 1s, done 1s`)
	l.HistoryCut(nil)
	l.HeldCut(nil)
	if f := check.ExactlyOnce(l); f.Verdict.Status != verdict.Pass {
		t.Error(f.Verdict.Reason)
	}
}

func TestAbsurdNumbersCostNoMoreThanTheirCount(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l := check.NewLedger(header)
	const n = 50_000
	for i := range uint64(n) {
		task := i * (math.MaxUint64 / n)
		if err := l.Op(&history.Op{Task: task, Outcome: history.Accepted}); err != nil {
			t.Fatal(err)
		}
		if i%1000 != 7 {
			if err := l.Hold(check.Held{Task: task, Effects: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 256<<20 {
		t.Errorf("%d sparse tasks took %d MiB", n, got>>20)
	}
	f := check.ExactlyOnce(l)
	if f.Count != n/1000 {
		t.Errorf("%d lost, want %d: %s", f.Count, n/1000, f.Verdict.Reason)
	}
	if s := l.Summary(); s.Accepted != n || s.Completed != n-n/1000 || s.Phantoms != 0 {
		t.Errorf("got %+v", s)
	}
	// Whether a task lives in a page or in the map, it is listed by its number.
	const between = 5*(math.MaxUint64/n) + 3
	if err := l.Op(&history.Op{Task: between, Outcome: history.Accepted}); err != nil {
		t.Fatal(err)
	}
	if f := check.ExactlyOnce(l); f.Tasks[0] != header.ID(between) || f.Tasks[1] != header.ID(7*(math.MaxUint64/n)) {
		t.Errorf("listed as %v", f.Tasks)
	}
	// Neighbours of what is there, and the last number of all.
	for _, task := range []uint64{1, math.MaxUint64/n + 1, math.MaxUint64} {
		if err := l.Op(&history.Op{Task: task, Outcome: history.Unknown}); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Summary(); s.Unknown != 3 || s.Accepted != n+1 {
		t.Errorf("got %+v", s)
	}
}

func TestAbsurdTimesDoNotWrapAround(t *testing.T) {
	l := check.NewLedger(header)
	_ = l.Op(&history.Op{Task: 1, Outcome: history.Accepted, End: math.MaxInt64})
	_ = l.Hold(check.Held{Task: 1, Effects: 1, DoneAt: math.MinInt64 + 1})
	_ = l.Op(&history.Op{Task: 2, Outcome: history.Accepted, End: math.MinInt64})
	_ = l.Hold(check.Held{Task: 2, Effects: 1, DoneAt: math.MaxInt64})
	_ = l.Op(&history.Op{Task: 3, Outcome: history.Accepted, End: time.Second})
	_ = l.Hold(check.Held{Task: 3, Effects: 1, DoneAt: math.MinInt64 + 1})
	f := check.DoneWithin(l, time.Second, time.Hour)
	if strings.Join(f.Tasks, " ") != "t-2" {
		t.Errorf("got %v: %s", f.Tasks, f.Verdict.Reason)
	}
}
