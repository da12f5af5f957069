package trial

import (
	"fmt"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// tooBusy is the share of its processors that a machine may need before there is a fault. A fault adds to it: connections
// are made anew, a backlog is worked off, a server reads its data.
const tooBusy = 0.92

// watchBusy counts how busy this machine's processors are until it is stopped, and then notes it; nothing where nobody
// can tell.
func (r *run) watchBusy() (stop func()) {
	if r.Processors == nil {
		return func() {}
	}
	began, err := r.Processors()
	return func() {
		now, err2 := r.Processors()
		if err == nil && err2 == nil {
			idle, _ := now.Since(began)
			r.rec.Busy = 1 - idle
		}
	}
}

// hint tells whoever reads why a trial did not pass that its machine had no room for a fault. It excuses nothing: a
// system may need that much because it is slow.
func hint(s *evidence.Scenario, busy float64) {
	if s.Status == verdict.Pass || s.Unable || busy < tooBusy {
		return
	}
	s.Reason += fmt.Sprintf("; this machine's processors were %.0f %% busy before there was a fault: --load-scale 0.5 halves the load", 100*busy)
}
