package coverage

import (
	"slices"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// name looks for trials that named the cause although the runbook's alert was not expected, and
// keeps the experiments of which neither is true.
func (c *CauseRow) name(s *Sources, m *Matrix) {
	c.Named = make([]time.Time, len(Testbeds))
	for _, experiment := range c.Injected {
		if m.injects(experiment, c.Runbook) {
			continue
		}
		ever := false
		for i, testbed := range Testbeds {
			at := s.named(c, experiment, testbed)
			ever = ever || !at.IsZero()
			if at.After(c.Named[i]) {
				c.Named[i] = at
			}
		}
		if !ever {
			c.unnamed = append(c.unnamed, experiment)
		}
	}
}

// named returns when the newest trial of a plan as it is now began that injected the experiment
// on the testbed and named the cause; zero if none did.
func (s *Sources) named(c *CauseRow, experiment, testbed string) (newest time.Time) {
	for i := range s.Trials {
		t := &s.Trials[i]
		if t.Target == testbed && t.Status == verdict.Pass && t.Started.After(newest) &&
			slices.Contains(t.Experiments, experiment) && s.current(t) && told(t, c) {
			newest = t.Started
		}
	}
	return newest
}

// current says whether the trial is of a plan as it is now.
func (s *Sources) current(t *evidence.Scenario) bool {
	return slices.ContainsFunc(s.Plans, func(p evidence.Plan) bool { return p.Name == t.Name && samePlan(&p, t) })
}

// told says whether a reader of the runbook, whose diagnosis was true beside those of the
// expected alerts or after the fault, was more often sent to the cause than to any that was not injected.
func told(t *evidence.Scenario, c *CauseRow) bool {
	i := slices.IndexFunc(t.Diagnoses, func(d evidence.Diagnosis) bool {
		return d.Runbook == c.Runbook && (d.Role == "may" || d.After > 0) && !d.Noted
	})
	if i < 0 {
		return false
	}
	right, wrong := 0, 0
	for _, seen := range t.Diagnoses[i].Causes {
		switch {
		case seen.Role == "must" && seen.Name == c.Name:
			right = seen.True
		case seen.Role == "not":
			wrong = max(wrong, seen.True)
		}
	}
	return right > wrong
}
