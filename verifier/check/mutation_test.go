package check_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/check"
	"seatrial/verifier/verdict"
)

const (
	recovered = 40 * time.Second
	bound     = 10 * time.Second
)

// world is a History and what the system holds, before they are joined.
type world struct {
	ops     []history.Op
	held    map[uint64]check.Held
	foreign []string
}

// good is a trial as it should be: most tasks are accepted and done once within
// the bound, some refused, some unknown, some repeated on purpose.
func good(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{held: map[uint64]check.Held{}}
	for n := range uint64(400) {
		end := time.Duration(rng.IntN(60_000)) * time.Millisecond
		outcome := []history.Outcome{history.Accepted, history.Accepted, history.Accepted, history.Refused, history.Unknown}[rng.IntN(5)]
		w.ops = append(w.ops, history.Op{Task: n, End: end, Outcome: outcome})
		if rng.IntN(10) == 0 {
			w.ops = append(w.ops, history.Op{Task: n, End: end + time.Second, Outcome: outcome})
		}
		if outcome == history.Accepted || outcome == history.Unknown && rng.IntN(2) == 0 {
			delay := time.Duration(rng.Int64N(int64(bound)))
			w.held[n] = check.Held{Task: n, Effects: 1, DoneAt: max(recovered, end) + delay}
		}
	}
	rng.Shuffle(len(w.ops), func(i, j int) { w.ops[i], w.ops[j] = w.ops[j], w.ops[i] })
	return w
}

func (w *world) ledger(t *testing.T) *check.Ledger {
	t.Helper()
	l := check.NewLedger(header)
	for i := range w.ops {
		if err := l.Op(&w.ops[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range w.held {
		if err := l.Hold(h); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range w.foreign {
		l.HoldForeign(id)
	}
	return l
}

// any returns a task with the given outcome, done or not.
func (w *world) any(rng *rand.Rand, outcome history.Outcome, done bool) uint64 {
	var all []uint64
	for _, op := range w.ops {
		if _, is := w.held[op.Task]; op.Outcome == outcome && is == done {
			all = append(all, op.Task)
		}
	}
	slices.Sort(all)
	return all[rng.IntN(len(all))]
}

// change edits what is held of a task.
func (w *world) change(n uint64, edit func(*check.Held)) {
	h := w.held[n]
	h.Task = n
	edit(&h)
	w.held[n] = h
}

// guarantees by a short name.
var guarantees = map[string]func(*check.Ledger) check.Finding{
	"accepted": check.ExactlyOnce,
	"refused":  check.RefusedNeverDone,
	"unknown":  check.UnknownAtMostOnce,
	"within":   func(l *check.Ledger) check.Finding { return check.DoneWithin(l, recovered, bound) },
	"phantoms": check.NoPhantoms,
}

// mutation breaks a good world in one way. Exactly the named guarantees see it.
type mutation struct {
	name   string
	seenBy string
	do     func(w *world, rng *rand.Rand) uint64 // returns the task
}

func twice(h *check.Held) { h.Effects = 2 }

var mutations = []mutation{
	{"drop the effect of an accepted task", "accepted within", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		delete(w.held, n)
		return n
	}},
	{"bury an accepted task instead of doing it", "accepted within", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		w.held[n] = check.Held{Task: n, Dead: true}
		return n
	}},
	{"do an accepted task twice", "accepted", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		w.change(n, twice)
		return n
	}},
	{"do a refused task", "refused", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Refused, false)
		w.held[n] = check.Held{Task: n, Effects: 1, DoneAt: recovered}
		return n
	}},
	{"do an unknown task twice", "unknown", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Unknown, true)
		w.change(n, twice)
		return n
	}},
	{"delay an accepted task", "within", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		w.change(n, func(h *check.Held) { h.DoneAt += bound + time.Minute })
		return n
	}},
	{"do a task that nobody asked for", "phantoms", func(w *world, rng *rand.Rand) uint64 {
		n := uint64(100_000 + rng.IntN(1000))
		w.held[n] = check.Held{Task: n, Effects: 1}
		return n
	}},
	{"forget the requests of an accepted task that was done", "phantoms", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		w.ops = slices.DeleteFunc(w.ops, func(op history.Op) bool { return op.Task == n })
		return n
	}},
	{"call an unknown task that was not done accepted", "accepted within", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Unknown, false)
		w.ops = append(w.ops, history.Op{Task: n, Outcome: history.Accepted})
		return n
	}},
	{"call an accepted task refused", "refused", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		for i := range w.ops {
			if w.ops[i].Task == n {
				w.ops[i].Outcome = history.Refused
			}
		}
		return n
	}},
}

// harmless changes must be seen by nobody.
var harmless = []mutation{
	{"do an unknown task that was not done", "", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Unknown, false)
		w.held[n] = check.Held{Task: n, Effects: 1, DoneAt: 9 * time.Hour}
		return n
	}},
	{"repeat an accepted task, refused this time", "", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		w.ops = append(w.ops, history.Op{Task: n, End: 9 * time.Hour, Outcome: history.Refused})
		return n
	}},
	{"repeat a refused task, unknown this time, and do it", "", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Refused, false)
		w.ops = append(w.ops, history.Op{Task: n, Outcome: history.Unknown})
		w.held[n] = check.Held{Task: n, Effects: 1}
		return n
	}},
	{"do an accepted task earlier", "", func(w *world, rng *rand.Rand) uint64 {
		n := w.any(rng, history.Accepted, true)
		w.change(n, func(h *check.Held) { h.DoneAt = 0 })
		return n
	}},
}

func TestEveryBreakIsSeenByExactlyTheRightGuarantees(t *testing.T) {
	for _, m := range slices.Concat(mutations, harmless) {
		t.Run(m.name, func(t *testing.T) {
			for seed := range uint64(40) {
				w := good(seed)
				if s := seers(t, w, ""); s != "" {
					t.Fatalf("seed %d: an unbroken world fails %s", seed, s)
				}
				n := m.do(w, rand.New(rand.NewPCG(seed, 2)))
				if got := seers(t, w, header.ID(n)); got != m.seenBy {
					t.Fatalf("seed %d, task %d: seen by %q, want %q", seed, n, got, m.seenBy)
				}
			}
		})
	}
}

// seers names the guarantees that are broken, each by just the one task.
func seers(t *testing.T, w *world, task string) string {
	t.Helper()
	l := w.ledger(t)
	var seen []string
	for _, name := range slices.Sorted(maps.Keys(guarantees)) {
		f := guarantees[name](l)
		switch {
		case f.Verdict.Status == verdict.Pass:
		case f.Verdict.Status == verdict.Fail && f.Count == 1 && slices.Equal(f.Tasks, []string{task}):
			seen = append(seen, name)
		default:
			t.Fatalf("%s: %v, tasks %v, want only %q", name, f.Verdict, f.Tasks, task)
		}
	}
	return strings.Join(seen, " ")
}

// naive is the judge as one would write it first: lists and loops.
func naive(w *world) map[string][]string {
	broken := map[string][]string{}
	blame := func(name string, n uint64) { broken[name] = append(broken[name], header.ID(n)) }
	for n := range uint64(200) {
		var accepted, refused, unknown int
		first := time.Duration(1 << 62)
		for _, op := range w.ops {
			if op.Task != n {
				continue
			}
			switch op.Outcome {
			case history.Accepted:
				accepted++
				first = min(first, op.End)
			case history.Refused:
				refused++
			case history.Unknown:
				unknown++
			}
		}
		h, isHeld := w.held[n]
		switch {
		case accepted > 0:
			if h.Effects != 1 {
				blame("accepted", n)
			}
			if h.Effects == 0 || h.DoneAt > max(first, recovered)+bound {
				blame("within", n)
			}
		case unknown > 0 && h.Effects > 1:
			blame("unknown", n)
		case unknown == 0 && refused > 0 && h.Effects > 0:
			blame("refused", n)
		case accepted+refused+unknown == 0 && isHeld:
			blame("phantoms", n)
		}
	}
	return broken
}

// chaos is a world in which anything may have happened.
func chaos(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 3))
	w := &world{held: map[uint64]check.Held{}, ops: []history.Op{{Outcome: history.Accepted}}}
	for range 250 {
		w.ops = append(w.ops, history.Op{Task: rng.Uint64N(200), Outcome: history.Outcome(1 + rng.IntN(3)),
			End: time.Duration(rng.IntN(80)) * time.Second})
	}
	for range 150 {
		n := rng.Uint64N(200)
		w.held[n] = check.Held{Task: n, Effects: uint32(1 + rng.IntN(8)/7), DoneAt: time.Duration(rng.IntN(100)) * time.Second}
	}
	return w
}

func TestAgreesWithTheNaiveJudge(t *testing.T) {
	for seed := range uint64(200) {
		w := chaos(seed)
		l, want := w.ledger(t), naive(w)
		for name, guarantee := range guarantees {
			f := guarantee(l)
			got := slices.Sorted(slices.Values(f.Tasks))
			theirs := want[name]
			if f.Count != len(theirs) {
				t.Fatalf("seed %d, %s: %d tasks, the naive judge has %d", seed, name, f.Count, len(theirs))
			}
			for _, id := range got {
				if !slices.Contains(theirs, id) {
					t.Fatalf("seed %d, %s: blames %s, the naive judge does not", seed, name, id)
				}
			}
			if (len(theirs) > 0) != (f.Verdict.Status == verdict.Fail) {
				t.Fatalf("seed %d, %s: %v", seed, name, f.Verdict)
			}
		}
	}
}

func ExampleExactlyOnce() {
	l := check.NewLedger(history.Header{Prefix: "t"})
	for n := range uint64(3) {
		_ = l.Op(&history.Op{Task: n, Outcome: history.Accepted, End: time.Second})
	}
	_ = l.Hold(check.Held{Task: 0, Effects: 1, DoneAt: 2 * time.Second})
	_ = l.Hold(check.Held{Task: 1, Effects: 2, DoneAt: 2 * time.Second})
	fmt.Println(check.ExactlyOnce(l).Verdict.Reason)
	// Output:
	// broke "an accepted task is done exactly once": 1 task lost (t-2), 1 task done twice (t-1)
}
