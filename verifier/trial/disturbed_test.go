package trial

import (
	"strings"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

func TestWhatAMachineThatStoodStillExcuses(t *testing.T) {
	late := []evidence.Guarantee{{Name: "everything accepted is done within 10s after recovery", Status: verdict.Fail, Count: 586}}
	for name, c := range map[string]struct {
		status    verdict.Status
		late      float64
		ledger    evidence.Scenario
		want      verdict.Status
		disturbed bool
	}{
		"a failure on a machine that kept up": {verdict.Fail, 0.9, evidence.Scenario{}, verdict.Fail, false},
		"a failure on one that stood still":   {verdict.Fail, 6.2, evidence.Scenario{}, verdict.Inconclusive, true},
		"tasks that were done too late":       {verdict.Fail, 6.2, evidence.Scenario{Guarantees: late}, verdict.Inconclusive, true},
		"a lost task":                         {verdict.Fail, 6.2, evidence.Scenario{Lost: 1}, verdict.Fail, false},
		"a task that was done twice":          {verdict.Fail, 6.2, evidence.Scenario{Duplicated: 1}, verdict.Fail, false},
		"a task that nobody asked for":        {verdict.Fail, 6.2, evidence.Scenario{Phantoms: 1}, verdict.Fail, false},
		"a refused task that was done":        {verdict.Fail, 6.2, evidence.Scenario{RefusedButDone: 1}, verdict.Fail, false},
		"a pass against all odds":             {verdict.Pass, 6.2, evidence.Scenario{}, verdict.Pass, false},
		"open on one that stood still":        {verdict.Inconclusive, 6.2, evidence.Scenario{}, verdict.Inconclusive, true},
		"open on a machine that kept up":      {verdict.Inconclusive, 0.9, evidence.Scenario{}, verdict.Inconclusive, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.ledger
			s.Status, s.Late, s.Reason = c.status, c.late, "an alert paged"
			disturb(&s, worst{late: time.Date(2026, 1, 1, 7, 21, 42, 0, time.UTC)})
			if s.Status != c.want || s.Disturbed != c.disturbed {
				t.Errorf("%v, disturbed %v: %s", s.Status, s.Disturbed, s.Reason)
			}
			if told := strings.Contains(s.Reason, "6.2 s late at 07:21:42. Seen meanwhile: an alert paged"); told != c.disturbed {
				t.Errorf("the reason is %q", s.Reason)
			}
		})
	}
}

func TestAStarvedMachineIsNoWitnessEither(t *testing.T) {
	for share, disturbed := range map[float64]bool{0: false, 0.24: false, 0.25: true, 0.99: true} {
		s := evidence.Scenario{Status: verdict.Fail, Late: 0.6, Stolen: share, Reason: "an alert paged"}
		disturb(&s, worst{stolen: time.Date(2026, 1, 1, 7, 21, 42, 0, time.UTC)})
		if s.Disturbed != disturbed || disturbed != strings.Contains(s.Reason, "until 07:21:42 its host gave") {
			t.Errorf("%v stolen: disturbed %v: %s", share, s.Disturbed, s.Reason)
		}
	}
}

func TestADiskThatStoodStillIsNoWitnessEither(t *testing.T) {
	for stalled, disturbed := range map[float64]bool{0: false, 0.49: false, 0.5: true, 2.1: true} {
		s := evidence.Scenario{Status: verdict.Fail, Late: 0.6, Stolen: 0.2, Stalled: stalled, Reason: "tasks were refused"}
		disturb(&s, worst{stalled: time.Date(2026, 1, 1, 7, 21, 42, 0, time.UTC)})
		if s.Disturbed != disturbed || disturbed != strings.Contains(s.Reason, "the disk stood still: from 07:21:42 it took") {
			t.Errorf("%v s stalled: disturbed %v: %s", stalled, s.Disturbed, s.Reason)
		}
	}
	s := evidence.Scenario{Status: verdict.Fail, Stalled: 9, Lost: 1, Reason: "a task was lost"}
	if disturb(&s, worst{}); s.Disturbed {
		t.Error("a disk that stood still excuses a lost task")
	}
}

func TestAFaultThatCannotBeInjectedIsNotTheMachines(t *testing.T) {
	s := evidence.Scenario{Status: verdict.Inconclusive, Late: 6.2, Unable: true, Reason: "no netem"}
	if disturb(&s, worst{time.Now(), time.Now(), time.Now()}); s.Disturbed || s.Reason != "no netem" {
		t.Errorf("disturbed %v: %s", s.Disturbed, s.Reason)
	}
}

func TestHowLateALoadWasSent(t *testing.T) {
	w := newServiceWatch(&evidence.Plan{}, &evidence.Record{}, time.Unix(0, 0))
	for i, late := range []time.Duration{0, 3 * time.Millisecond, 2 * time.Second, time.Second} {
		planned := time.Duration(i) * time.Second
		w.see(&history.Op{Planned: planned, Sent: planned + late, End: planned + late + time.Millisecond})
	}
	if w.late != 2*time.Second || w.lateAt != 2*time.Second {
		t.Errorf("%v late at %v", w.late, w.lateAt)
	}
}
