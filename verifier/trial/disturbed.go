package trial

import (
	"fmt"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// tooLate is by how much a load generator may lag its own plan. One that has a
// processor is late by milliseconds; by seconds, only when the machine stood still, and
// then every server on it did so too.
const tooLate = time.Second

// tooMuch is the share of processor time that a machine's host may give to others. With a
// quarter gone for ten seconds, what is left for a burst is a fraction of what it had.
const tooMuch = 0.25

// tooStill is for how long a disk may keep a flush that takes it a millisecond. Servers that flush before they answer,
// NATS with each task, have answered nobody for as long.
const tooStill = 500 * time.Millisecond

// worst says when a machine was at its worst.
type worst struct{ late, stolen, stalled time.Time }

// disturb takes a failure back when the machine or its disk stood still, or it was starved meanwhile: what was too slow
// then proves nothing about the system. What has proven nothing for that reason, or may
// have, is disturbed too, unless the testbed cannot inject the fault at all. A promise about tasks that was broken stays
// broken, for no machine is so slow that a task is lost or done twice.
func disturb(s *evidence.Scenario, at worst) {
	var why string
	switch {
	case s.Status == verdict.Pass || s.Unable || brokePromise(s):
		return
	case s.Late >= tooLate.Seconds():
		why = fmt.Sprintf("the machine stood still: the load generator sent %.1f s late at %s", s.Late, clock(at.late))
	case s.Stolen >= tooMuch:
		why = fmt.Sprintf("the machine was starved: until %s its host gave %.0f %% of ten seconds' processor time to others", clock(at.stolen), 100*s.Stolen)
	case s.Stalled >= tooStill.Seconds():
		why = fmt.Sprintf("the disk stood still: from %s it took %.1f s to flush a few bytes", clock(at.stalled), s.Stalled)
	default:
		return
	}
	s.Status, s.Disturbed = verdict.Inconclusive, true
	s.Reason = why + ". Seen meanwhile: " + s.Reason
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// brokePromise says whether the ledger shows what no clock excuses.
func brokePromise(s *evidence.Scenario) bool {
	return s.Lost+s.Duplicated+s.RefusedButDone+s.Phantoms > 0
}
