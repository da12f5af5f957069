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

// disturb takes a failure back when the machine stood still or was starved meanwhile: what was too slow
// then proves nothing about the system. What has proven nothing for that reason, or may
// have, is disturbed too, unless the testbed cannot inject the fault at all. A promise about tasks that was broken stays
// broken, for no machine is so slow that a task is lost or done twice.
func disturb(s *evidence.Scenario, lateAt, stolenAt time.Time) {
	var why string
	switch {
	case s.Status == verdict.Pass || s.Unable || brokePromise(s):
		return
	case s.Late >= tooLate.Seconds():
		why = fmt.Sprintf("the machine stood still: the load generator sent %.1f s late at %s", s.Late, clock(lateAt))
	case s.Stolen >= tooMuch:
		why = fmt.Sprintf("the machine was starved: until %s its host gave %.0f %% of ten seconds' processor time to others", clock(stolenAt), 100*s.Stolen)
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
