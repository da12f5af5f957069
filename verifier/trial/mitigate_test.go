package trial_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// diagnosis is the query of the runbook that a crew works by.
const diagnosis = "diagnosis"

// crew is an operator whose commands take a while and then mend, fail or do nothing.
type crew struct {
	cannot   error
	err      error
	takes    time.Duration
	nothing  bool // the commands succeed and change nothing
	selfHeal bool // nothing is left to mend when they begin
	onDo     func()

	did    []string
	mended bool
}

func (c *crew) Able(context.Context) error { return c.cannot }

func (c *crew) Do(ctx context.Context, command string) (string, error) {
	c.did = append(c.did, command)
	if c.onDo != nil {
		c.onDo()
	}
	select {
	case <-ctx.Done():
		return "waiting for pods\n", ctx.Err()
	case <-time.After(c.takes):
	}
	c.mended = c.err == nil && !c.nothing
	return "first\nworker-0 refused\n", c.err
}

// join lets a trial end its fault window with the crew's mitigation; without a crew, nothing.
func (c *crew) join(t *trial.Trial) {
	if c == nil {
		return
	}
	t.Operator = c
	t.Plan.Mitigation = &evidence.MitigationPlan{
		Runbook: "WorkerDown", Within: seconds(4), Commands: []evidence.CommandPlan{{Line: 61, Command: "replace them"}},
	}
	t.Plan.Runbooks = []evidence.RunbookPlan{{
		Name: "WorkerDown", DetectWithin: seconds(5), RecoverWithin: seconds(30),
		Steps: []evidence.StepPlan{{Query: "q", Expect: "> 0", Holds: diagnosis}},
	}}
}

// harmful says whether the runbook's diagnosis is true.
func (w *world) harmful() bool {
	return w.inForce() && (w.crew == nil || !w.crew.mended && !w.crew.selfHeal)
}

func TestMitigations(t *testing.T) {
	for name, c := range map[string]struct {
		crew   crew
		status verdict.Status
		reason string
		check  func(*evidence.Mitigation) bool
	}{
		"it restores the service": {crew{takes: time.Second}, verdict.Pass, "", func(m *evidence.Mitigation) bool {
			return m.Restored >= 1 && m.Restored < 2 && m.Waited > 4 && len(m.Commands) == 1 && m.Commands[0].Seconds >= 1
		}},
		"it does nothing": {crew{nothing: true}, verdict.Fail, "did not restore the service within 4s: the diagnosis of WorkerDown is true", func(m *evidence.Mitigation) bool {
			return m.Restored == -1
		}},
		"it fails": {crew{err: errors.New("exit status 1")}, verdict.Fail, "runbooks/WorkerDown.md:61 failed: exit status 1: worker-0 refused", func(m *evidence.Mitigation) bool {
			return m.Restored == -1 && m.Commands[0].Error != ""
		}},
		"it takes too long": {crew{takes: time.Minute}, verdict.Fail, "runbooks/WorkerDown.md:61 failed: context deadline exceeded: waiting for pods", func(m *evidence.Mitigation) bool {
			return m.Commands[0].Seconds >= 4 && m.Commands[0].Seconds < 5
		}},
		"doing nothing had restored it": {crew{selfHeal: true}, verdict.Inconclusive, "nothing was left for the mitigation of WorkerDown to restore", func(m *evidence.Mitigation) bool {
			return len(m.Commands) == 1 // it is carried out all the same: the trial takes its course
		}},
		"it cannot be carried out here": {crew{cannot: errors.New("it needs kubectl")}, verdict.Inconclusive, "the mitigation of WorkerDown cannot be carried out here: it needs kubectl", func(m *evidence.Mitigation) bool {
			return m.Waited == -1 && strings.Contains(m.Reason, "not reached")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := world{crew: &c.crew}
				s := play(t, t.Context(), &w)
				if s.Status != c.status || !strings.Contains(s.Reason, c.reason) {
					t.Errorf("%v: %s\nwant %v: …%s…", s.Status, s.Reason, c.status, c.reason)
				}
				if m := s.Mitigation; m == nil || !c.check(m) {
					t.Errorf("%s", asJSON(m))
				}
				if w.inForce() {
					t.Error("the fault was never recovered")
				}
			})
		})
	}
}

// TestAnInterruptedMitigationProvesNothing: neither that it works nor that it does not.
func TestAnInterruptedMitigationProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := world{crew: &crew{onDo: cancel, takes: time.Second}}
		s := play(t, ctx, &w)
		if s.Status != verdict.Inconclusive || s.Mitigation.Status != verdict.Inconclusive || !strings.Contains(s.Mitigation.Reason, "interrupted") {
			t.Errorf("%v: %s\n%s", s.Status, s.Reason, asJSON(s.Mitigation))
		}
		if !w.isRecovered() {
			t.Error("the fault was never recovered")
		}
	})
}

// TestNothingIsMitigatedWithoutAPlan: the commands are a scenario's to ask for.
func TestNothingIsMitigatedWithoutAPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if s := play(t, t.Context(), &world{}); s.Mitigation != nil || s.Status != verdict.Pass {
			t.Errorf("%v: %s, %s", s.Status, s.Reason, asJSON(s.Mitigation))
		}
	})
}

func asJSON(v any) string {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
