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

// disturb takes a failure back when the machine stood still meanwhile: what was too slow
// then proves nothing about the system. What has proven nothing for that reason, or may
// have, is disturbed too, unless the testbed cannot inject the fault at all. A promise about tasks that was broken stays
// broken, for no machine is so slow that a task is lost or done twice.
func disturb(s *evidence.Scenario, at time.Time) {
	late := time.Duration(s.Late * float64(time.Second))
	if s.Status == verdict.Pass || late < tooLate || s.Unable || brokePromise(s) {
		return
	}
	s.Status, s.Disturbed = verdict.Inconclusive, true
	s.Reason = fmt.Sprintf("the machine stood still: the load generator sent %.1f s late at %s. Seen meanwhile: %s",
		late.Seconds(), at.UTC().Format("15:04:05"), s.Reason)
}

// brokePromise says whether a guarantee failed that knows no clock.
func brokePromise(s *evidence.Scenario) bool {
	for _, g := range s.Guarantees {
		if g.Status == verdict.Fail && g.Name != evidence.DoneWithin {
			return true
		}
	}
	return false
}
