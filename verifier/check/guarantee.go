package check

import (
	"fmt"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/verdict"
)

// The Guarantees, in the words that users read.
const (
	ExactlyOnceWords = "an accepted task is done exactly once"
	RefusedWords     = "a refused task is never done"
	UnknownWords     = "an unknown task is done at most once"
	PhantomWords     = "nothing is done that nobody asked for"
)

// DoneWithinWords is the Guarantee that DoneWithin judges, in words.
func DoneWithinWords(bound time.Duration) string {
	return fmt.Sprintf("everything accepted is done within %v after recovery", bound)
}

// Finding is what a Guarantee came to.
type Finding struct {
	Name    string // the Guarantee in words
	Verdict verdict.Verdict
	Count   int      // tasks that broke it, as far as that is proven
	Tasks   []string // ids of the first of them by number, at most 20
}

// ExactlyOnce judges "an accepted task is done exactly once". It is broken by a
// task that is lost and by one that is done twice.
func ExactlyOnce(l *Ledger) Finding {
	lost, twice := breach{what: "lost"}, breach{}
	for n, t := range l.tasks.all() {
		if t.bits&opAccepted == 0 {
			continue
		}
		if l.lost(t) {
			lost.task(l, n)
		}
		twice.repeated(l, n, t)
	}
	return l.find(ExactlyOnceWords, l.missing(), lost, twice)
}

// RefusedNeverDone judges "a refused task is never done".
func RefusedNeverDone(l *Ledger) Finding {
	done := breach{what: "done although refused"}
	for n, t := range l.tasks.all() {
		if t.outcome() == history.Refused && t.effects > 0 && l.historyCut == nil {
			done.task(l, n) // a missing Op might have been the accepted one
		}
	}
	return l.find(RefusedWords, l.missing(), done)
}

// UnknownAtMostOnce judges "an unknown task is done at most once".
func UnknownAtMostOnce(l *Ledger) Finding {
	twice := breach{}
	for n, t := range l.tasks.all() {
		if t.outcome() == history.Unknown {
			twice.repeated(l, n, t)
		}
	}
	return l.find(UnknownWords, l.missing(), twice)
}

// DoneWithin judges "everything accepted is done within bound after recovery".
// recovered is when the fault was removed, as an offset from Header.Start, and
// negative when that was not seen. A task that was accepted later than that has
// bound from its own acceptance on. A lost task breaks it too.
func DoneWithin(l *Ledger, recovered, bound time.Duration) Finding {
	words := DoneWithinWords(bound)
	if recovered < 0 {
		return l.find(words, fmt.Errorf("recovery was not seen"))
	}
	late, never := breach{what: "done too late"}, breach{what: "not done at all"}
	untimed := 0
	for n, t := range l.tasks.all() {
		switch {
		case t.bits&opAccepted == 0:
		case l.lost(t):
			never.task(l, n)
		case t.effects == 0:
		case t.doneAt == Untimed:
			untimed++
		case after(t.doneAt, max(recovered, t.acceptedAt), bound):
			late.task(l, n)
		}
	}
	why := l.missing()
	if why == nil && untimed > 0 {
		why = fmt.Errorf("the system does not say when it did %s", count(untimed, "accepted task"))
	}
	return l.find(words, why, late, never)
}

// after says whether at is more than bound after start, whatever nonsense the
// times may be.
func after(at, start, bound time.Duration) bool { return at > start && at-start > bound }

// NoPhantoms judges "nothing is done that nobody asked for".
func NoPhantoms(l *Ledger) Finding {
	strays := breach{what: "held that no request named"}
	if l.historyCut == nil {
		for n, t := range l.tasks.all() {
			if t.outcome() == 0 {
				strays.task(l, n)
			}
		}
	}
	// An id that the load generator cannot have dealt is nobody's, however
	// much of the History is missing.
	strays.count += l.strays
	strays.ids = append(strays.ids, l.foreign...)
	return l.find(PhantomWords, l.missing(), strays)
}

// missing is why the Ledger is not whole, or nil.
func (l *Ledger) missing() error {
	switch {
	case l.historyCut != nil:
		return fmt.Errorf("the History is cut: %w", l.historyCut)
	case l.heldCut != nil:
		return fmt.Errorf("what the system holds is not known in full: %w", l.heldCut)
	}
	return nil
}

// find joins what was proven, what cannot be known and how much traffic there
// was: a proof stands alone, and no pass without both of the others.
func (l *Ledger) find(words string, why error, breaches ...breach) Finding {
	f := Finding{Name: words}
	for _, b := range breaches {
		f.Count += b.count
		f.Tasks = append(f.Tasks, b.ids...)
	}
	f.Tasks = f.Tasks[:min(len(f.Tasks), maxIDs)]

	s, want := l.Summary(), max(l.MinAccepted, 1)
	switch {
	case f.Count > 0:
		f.Verdict = verdict.Failed("broke %q: %s", words, sentence(breaches))
	case why != nil:
		f.Verdict = verdict.Unsure("cannot judge %q: %v", words, why)
	case s.Accepted < want:
		f.Verdict = verdict.Unsure("cannot judge %q: only %s, want at least %d", words, count(s.Accepted, "accepted task"), want)
	default:
		f.Verdict = verdict.Passed("%s: held for %d accepted, %d refused and %d unknown tasks",
			words, s.Accepted, s.Refused, s.Unknown)
	}
	return f
}
