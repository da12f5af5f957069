package coverage

import (
	"slices"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Proof is what the trials on one testbed came to.
type Proof struct {
	At     time.Time // of the newest trial that proved it; zero where none did
	Latest time.Time // of the newest trial at all; zero where there was none
	Words  string    // what came of the newest, where that proved nothing
}

// proofOf looks for trials of the plan as it is now: one that injected something
// else, or expected another alert, proves nothing of it.
func proofOf(p *evidence.Plan, alert, testbed string, trials []evidence.Scenario) Proof {
	var proof Proof
	for i := range trials {
		t := &trials[i]
		if t.Name != p.Name || t.Target != testbed || !samePlan(p, t) {
			continue
		}
		if !t.Started.Before(proof.Latest) {
			proof.Latest, proof.Words = t.Started, outcome(t, alert)
		}
		if passed(t, alert) && t.Started.After(proof.At) {
			proof.At = t.Started
		}
	}
	return proof
}

func samePlan(p *evidence.Plan, t *evidence.Scenario) bool {
	var expected []string
	for _, a := range t.Alerts {
		if a.Expected {
			expected = append(expected, a.Name)
		}
	}
	return sameSet(p.Experiments, t.Experiments) && sameSet(p.AlertNames(), expected)
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// outcome says why a trial proves nothing, "" if it does.
func outcome(t *evidence.Scenario, alert string) string {
	switch {
	case passed(t, alert):
		return ""
	case t.Unable:
		return "cannot be injected here"
	case t.Status == verdict.Pass:
		return "passed, its diagnosis not asked"
	}
	return t.Status.String()
}

// newer is the proof of two that is the more recent one.
func newer(a, b Proof) Proof {
	switch {
	case b.At.After(a.At):
		return b
	case a.At.IsZero() && b.Latest.After(a.Latest):
		return b
	}
	return a
}

// String is a cell of the page.
func (p Proof) String() string {
	switch {
	case p.Latest.IsZero():
		return "never tried"
	case p.At.IsZero():
		return "never: " + p.Words + ", " + minute(p.Latest)
	case p.Words != "":
		return minute(p.At) + "; since then " + p.Words
	}
	return minute(p.At)
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }
