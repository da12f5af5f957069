package gameday

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"seatrial/verifier/verdict"
)

// notesTheRunbooks: wrong diagnoses and a page that no runbook allows are told, and nobody fails for them.
func (p *played) notesTheRunbooks(t *testing.T) {
	t.Helper()
	s := p.scenario
	if len(s.Diagnoses) != 3 {
		t.Fatalf("diagnoses %+v", s.Diagnoses)
	}
	for _, d := range s.Diagnoses {
		if !d.Noted || d.Status != verdict.Pass || d.Asked < 20 {
			t.Errorf("%+v, want it asked all the time and noted", d)
		}
	}
	if doubted := s.Diagnoses[1]; doubted.True != doubted.Asked || doubted.Reason == "" {
		t.Errorf("%+v, want it true all the time, and said", doubted)
	}
	for _, a := range s.Alerts {
		if a.Status != verdict.Pass {
			t.Errorf("alert %s: %v %s", a.Name, a.Status, a.Reason)
		}
	}
}

func TestACrewMayBeQuickerThanTheAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, rules, &world{silent: true}, t.Context(), line{15 * time.Second, "mitigated"})
		p.tookBack(t)
		if a := p.scenario.Alerts[0]; a.Status != verdict.Inconclusive || !strings.Contains(a.Reason, "the fault ended before its 15s were up") {
			t.Errorf("%v: %s", a.Status, a.Reason)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := play(t, rules, &world{silent: true}, t.Context(), line{45 * time.Second, "mitigated"})
		if a := p.scenario.Alerts[0]; a.Status != verdict.Fail || !strings.Contains(a.Reason, "did not fire within 15s") {
			t.Errorf("%v: %s", a.Status, a.Reason)
		}
	})
}
