package trial_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// always is what a diagnosis `vector(1)` with `Expected: > 0` is asked for.
const always = "vector(1) > 0"

func book(name, holds string) evidence.RunbookPlan {
	return evidence.RunbookPlan{
		Name: name, DetectWithin: seconds(5), RecoverWithin: seconds(30), Steps: []evidence.StepPlan{{Expect: "> 0", Holds: holds}},
	}
}

// TestAWrongDiagnosisFailsTheTrial: nothing else is wrong in these trials.
func TestAWrongDiagnosisFailsTheTrial(t *testing.T) {
	right := book("WorkerDown", diagnosis)
	declared := book("Doubted", always)
	declared.AlsoTrue = []string{"WorkerDown"}
	named := func(injected string) evidence.RunbookPlan {
		b := book("WorkerDown", diagnosis)
		b.Causes = []evidence.CausePlan{{Name: "the cause", Injected: []string{injected}, Steps: []evidence.StepPlan{{Expect: "> 0", Holds: always}}}}
		return b
	}
	for name, c := range map[string]struct {
		books  []evidence.RunbookPlan
		status verdict.Status
		reason string
	}{
		"the right one alone is true":      {[]evidence.RunbookPlan{right, book("Other", "never")}, verdict.Pass, ""},
		"another one is always true":       {[]evidence.RunbookPlan{right, book("Doubted", always)}, verdict.Fail, "the diagnosis of Doubted was true at "},
		"another one, and declares it":     {[]evidence.RunbookPlan{right, declared}, verdict.Pass, ""},
		"the right one is never true":      {[]evidence.RunbookPlan{book("WorkerDown", "never")}, verdict.Fail, "the diagnosis of WorkerDown was false at each of "},
		"the right cause is named":         {[]evidence.RunbookPlan{named("worker-down")}, verdict.Pass, ""},
		"a cause is named that it was not": {[]evidence.RunbookPlan{named("worker-kill")}, verdict.Fail, `the runbook WorkerDown names the wrong cause: "the cause"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := play(t, t.Context(), &world{books: c.books})
				if s.Status != c.status || !strings.HasPrefix(s.Reason, c.reason) {
					t.Errorf("%v: %s\nwant %v: %s…", s.Status, s.Reason, c.status, c.reason)
				}
			})
		})
	}
}
