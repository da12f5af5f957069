// Package check is the judge: it holds the Guarantees that a system promises
// against a History joined with what the system says it holds, and finds who
// is right.
//
// It is pure. It imports the History's words and the verdict's, and must never
// know a network, a file, a clock or a testbed: what it cannot be told, it
// cannot judge, and old Evidence is judged offline exactly as new.
package check

import (
	"fmt"
	"math"
	"time"

	"seatrial/loadgen/history"
)

// Untimed is the DoneAt of a task that was done nobody knows when. It is what
// time.Time.Sub yields for a zero time, so a missing time is never mistaken for
// an early one.
const Untimed = time.Duration(math.MinInt64)

// Held is what the system says about one task.
type Held struct {
	Task    uint64        // the task's number, as in the History
	Effects uint32        // how often the task took effect; 1 is what everybody hopes for
	DoneAt  time.Duration // when it first took effect, as an offset from Header.Start, or Untimed
	Dead    bool          // the system gave it up and put it aside as a dead letter
}

// Ledger joins the Ops of a History with what the system holds, task by task.
// Feed it with Op and Hold in any order, then ask the Guarantees. It needs some
// 24 bytes a task while task numbers are dense, more while they are not; Ops
// before Holds is the thriftier order.
//
// A Ledger is not safe for concurrent use.
type Ledger struct {
	// MinAccepted is how many accepted tasks it takes before anything passes.
	// Values below 1 mean 1: nothing passes on no traffic at all.
	MinAccepted int
	// PoisonExpected says that the load held tasks that cannot be done, so an
	// accepted task that ended as a dead letter is not lost.
	PoisonExpected bool

	header  history.Header
	tasks   tasks
	ops     int
	foreign []string // ids without a task number, the first of them
	strays  int      // how many ids without a task number there were

	historyCut error
	heldCut    error
}

// NewLedger opens an empty Ledger for the History that h opens.
func NewLedger(h history.Header) *Ledger { return &Ledger{header: h} }

// Op enters one request. Several Ops may name one task: it counts as accepted
// if any of them was accepted, as refused only if all of them were, else as
// unknown. An Op without an outcome is an error.
func (l *Ledger) Op(op *history.Op) error {
	bit, ok := outcomeBit(op.Outcome)
	if !ok {
		return fmt.Errorf("judge %s: no such outcome: %v", l.header.ID(op.Task), op.Outcome)
	}
	t := l.tasks.at(op.Task)
	if bit == opAccepted && (t.bits&opAccepted == 0 || op.End < t.acceptedAt) {
		t.acceptedAt = op.End // the first promise is the one that starts the clock
	}
	t.bits |= bit
	l.ops++
	return nil
}

// Hold enters what the system holds of one task. A system that is read while it
// lives may name a task twice: the larger count of effects and the later time
// stand, so nothing bad that was seen is forgotten.
func (l *Ledger) Hold(h Held) error {
	if h.Effects == 0 && !h.Dead {
		return fmt.Errorf("judge %s: held, but neither done nor dead", l.header.ID(h.Task))
	}
	t := l.tasks.at(h.Task)
	if t.effects == 0 || h.Effects > 0 && h.DoneAt > t.doneAt {
		t.doneAt = h.DoneAt
	}
	t.effects = max(t.effects, h.Effects)
	t.bits |= held
	if h.Dead {
		t.bits |= dead
	}
	return nil
}

// HoldForeign enters an effect under an id that is no task number of this
// History at all.
func (l *Ledger) HoldForeign(id string) {
	l.strays++
	if len(l.foreign) < maxIDs {
		l.foreign = append(l.foreign, id)
	}
}

// HistoryCut says that Ops are missing from the History, and why. What was read
// still proves a loss or a double; a task without an Op proves nothing any more.
// A nil error says nothing.
func (l *Ledger) HistoryCut(why error) {
	if l.historyCut == nil {
		l.historyCut = why
	}
}

// HeldCut says that the system did not tell all it holds, and why: it could not
// be read, its answer was cut, or it was asked before it had finished. What it
// told still proves a double; a task it did not name is not lost any more, just
// not known. A nil error says nothing.
func (l *Ledger) HeldCut(why error) {
	if l.heldCut == nil {
		l.heldCut = why
	}
}

// Summary counts a Ledger. Ops are requests, all others are tasks.
type Summary struct {
	Ops      int
	Accepted int // = Completed + Lost + the dead that were expected, if the system told all it holds
	Refused  int
	Unknown  int

	Completed      int // accepted and done at least once
	Lost           int // accepted and not done; 0 while the system did not tell all it holds
	Duplicated     int // accepted or unknown, and done more than once
	RefusedButDone int
	UnknownDone    int // unknown, and done
	Dead           int // put aside as dead letters
	Phantoms       int // held without an Op that asked for them
}

// Summary counts what the Ledger holds.
func (l *Ledger) Summary() Summary {
	s := Summary{Ops: l.ops, Phantoms: l.strays}
	for _, t := range l.tasks.all() {
		l.count(&s, t)
	}
	return s
}

func (l *Ledger) count(s *Summary, t *task) {
	switch t.outcome() {
	case history.Accepted:
		s.Accepted++
		add(&s.Completed, t.effects > 0)
		add(&s.Lost, l.lost(t))
		add(&s.Duplicated, t.effects > 1)
	case history.Refused:
		s.Refused++
		add(&s.RefusedButDone, t.effects > 0)
	case history.Unknown:
		s.Unknown++
		add(&s.UnknownDone, t.effects > 0)
		add(&s.Duplicated, t.effects > 1)
	default:
		s.Phantoms++
	}
	add(&s.Dead, t.bits&dead != 0)
}

func add(n *int, when bool) {
	if when {
		*n++
	}
}

// absent says whether an accepted task is not done although it should be.
func (l *Ledger) absent(t *task) bool {
	excused := l.PoisonExpected && t.bits&dead != 0
	return t.effects == 0 && !excused
}

// lost says whether an accepted task is known not to be done. A dead letter is
// known whatever else is missing: the system itself named it.
func (l *Ledger) lost(t *task) bool {
	return l.absent(t) && (l.heldCut == nil || t.bits&dead != 0)
}
