package confusion

import (
	"reflect"
	"strings"
	"testing"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// The runbook of these tests: two experiments are its first cause, one of them and a
// third its second, a fourth the third, and none the last.
var queueDown = evidence.RunbookPlan{Name: "QueueDown", Causes: []evidence.CausePlan{
	{Name: "killed", Injected: []string{"kill", "drain"}},
	{Name: "full", Injected: []string{"drain", "fill"}},
	{Name: "cut off", Injected: []string{"cut"}},
	{Name: "by hand"},
}}

// told is a diagnosis that was true at 8 of 9 moments, and its causes at as many as given,
// in their order; fewer than there are leaves the last ones out of the record.
func told(times ...int) evidence.SeenDiagnosis {
	s := saw("QueueDown", 1, 2, 3, 4, 5, 6, 7, 8)
	for i, n := range times {
		s.Causes = append(s.Causes, evidence.SeenCause{Name: queueDown.Causes[i].Name, True: s.True[:n]})
	}
	return s
}

func TestCausesOfOneRunbook(t *testing.T) {
	refused := told(5, 0, 0, 0)
	refused.Causes[2] = evidence.SeenCause{Name: "cut off", True: []int64{7}, Reason: `cause "cut off": connection refused`}
	neverTrue := saw("QueueDown")
	neverTrue.Causes = told(0, 0, 0, 0).Causes
	type answer struct {
		role   string
		status verdict.Status
		says   string
	}
	const pass, fail, open = verdict.Pass, verdict.Fail, verdict.Inconclusive
	right, quiet, nobodys := answer{Must, pass, ""}, answer{Not, pass, ""}, answer{May, pass, ""}
	for name, c := range map[string]struct {
		experiments []string
		seen        evidence.SeenDiagnosis
		unheld      bool
		want        [4]answer
	}{
		"the right one":     {[]string{"cut"}, told(0, 0, 8, 0), false, [4]answer{quiet, quiet, right, nobodys}},
		"at one moment":     {[]string{"cut"}, told(0, 0, 1, 0), false, [4]answer{quiet, quiet, right, nobodys}},
		"another, for less": {[]string{"cut"}, told(2, 0, 3, 0), false, [4]answer{quiet, quiet, right, nobodys}},
		"another, as often": {[]string{"cut"}, told(3, 0, 3, 0), false, [4]answer{
			{Not, fail, `QueueDown names the wrong cause: "killed" was true at 3 moments, "cut off" at 3`}, quiet, right, nobodys}},
		"what no experiment is may be true": {[]string{"cut"}, told(0, 0, 3, 8), false, [4]answer{quiet, quiet, right, nobodys}},
		"never true": {[]string{"cut"}, told(0, 0, 0, 0), false, [4]answer{quiet, quiet,
			{Must, fail, `QueueDown does not name its cause "cut off": it was false at each of the 8 moments`}, nobodys}},
		"never true, and another is": {[]string{"cut"}, told(1, 0, 0, 0), false, [4]answer{
			{Not, fail, `"killed" was true at 1 moments, "cut off" at 0`}, quiet, {Must, fail, "does not name"}, nobodys}},
		"two causes, one experiment": {[]string{"drain"}, told(2, 5, 4, 0), false, [4]answer{right, right, quiet, nobodys}},
		"two causes, one experiment, one never true": {[]string{"drain"}, told(0, 5, 5, 0), false, [4]answer{
			{Must, fail, `"killed"`}, right, {Not, fail, `"cut off" was true at 5 moments, "killed" or "full" at 5`}, nobodys}},
		"two experiments":                         {[]string{"fill", "cut"}, told(2, 4, 3, 0), false, [4]answer{quiet, right, right, nobodys}},
		"two experiments, one of another runbook": {[]string{"slow", "cut"}, told(0, 0, 3, 0), false, [4]answer{quiet, quiet, right, nobodys}},
		"an experiment that no cause is":          {[]string{"slow"}, told(0, 0, 0, 4), false, [4]answer{quiet, quiet, quiet, nobodys}},
		"an experiment that no cause is, and one is true": {[]string{"slow"}, told(0, 0, 1, 4), false, [4]answer{quiet, quiet,
			{Not, fail, `"cut off" was true at 1 moments, and no cause names what was injected`}, nobodys}},
		"not in the record": {[]string{"cut"}, told(), false, [4]answer{{Not, open, "cannot judge the cause: the record says nothing of it"},
			{Not, open, ""}, {Must, open, "says nothing"}, {May, pass, "says nothing"}}},
		"one could not be asked": {[]string{"kill"}, refused, false, [4]answer{right, quiet, {Not, open, "connection refused"}, nobodys}},
		"the diagnosis failed already": {[]string{"cut"}, neverTrue, false, [4]answer{quiet, quiet,
			{Must, open, "its runbook's diagnosis was never true"}, nobodys}},
		"the fault was not proven": {[]string{"cut"}, told(8, 8, 0, 8), true, [4]answer{{Not, open, "diagnosis is unknown"},
			{Not, open, ""}, {Must, open, "diagnosis is unknown"}, {May, pass, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			plan := []evidence.RunbookPlan{queueDown}
			row := Judge(plan, []string{"QueueDown"}, []evidence.SeenDiagnosis{c.seen}, !c.unheld)
			Causes(row, plan, c.experiments, []evidence.SeenDiagnosis{c.seen})
			if len(row[0].Causes) != len(c.want) {
				t.Fatalf("%+v", row[0].Causes)
			}
			for i, want := range c.want {
				have := row[0].Causes[i]
				if have.Name != queueDown.Causes[i].Name || have.Role != want.role || have.Status != want.status || !strings.Contains(have.Reason, want.says) {
					t.Errorf("%+v, want %+v", have, want)
				}
				if have.Status != pass && have.Reason == "" {
					t.Errorf("%s: no reason", have.Name)
				}
				if have.Asked == 0 && have.True > 0 {
					t.Errorf("%s was true %d times, and never asked", have.Name, have.True)
				}
			}
		})
	}
}

func TestRunbooksWithoutCauses(t *testing.T) {
	plan := []evidence.RunbookPlan{queueDown, {Name: "APIDown", AlsoTrue: []string{"QueueDown"}, Causes: queueDown.Causes}, {Name: "QueueSlow"}}
	seen := []evidence.SeenDiagnosis{told(3, 0, 0, 0), saw("APIDown", 1), saw("QueueSlow", 1)}
	row := Judge(plan, []string{"QueueDown", "QueueSlow", "NoBook"}, seen, true)
	Causes(row, plan, []string{"kill"}, seen)
	for i, want := range []int{4, 0, 0, 0} {
		if len(row[i].Causes) != want {
			t.Errorf("%s has %d causes, want %d", row[i].Runbook, len(row[i].Causes), want)
		}
	}
}

// TestCausesOfARunbookThatIsTrueBesideOthers: they are noted, however often they were true.
func TestCausesOfARunbookThatIsTrueBesideOthers(t *testing.T) {
	plan := []evidence.RunbookPlan{{Name: "APIDown"}, {Name: "QueueDown", AlsoTrue: []string{"APIDown"}, Causes: queueDown.Causes}}
	judged := func(plan []evidence.RunbookPlan, seen evidence.SeenDiagnosis, experiments ...string) evidence.Scenario {
		all := []evidence.SeenDiagnosis{saw("APIDown", 1), seen}
		s := evidence.Scenario{Name: "The API is down", Diagnoses: Judge(plan, []string{"APIDown"}, all, true)}
		Causes(s.Diagnoses, plan, experiments, all)
		return s
	}
	s := judged(plan, told(5, 0, 2, 1), "cut")
	got := s.Diagnoses[1].Causes
	if len(got) != 4 || got[0].Role != Not || got[0].True != 5 || got[2].Role != Must || got[2].True != 2 || got[3].Role != May {
		t.Errorf("%+v", got)
	}
	if v := evidence.WorstOf(&s); v.Status != verdict.Pass {
		t.Errorf("what is noted was judged: %+v", v)
	}
	if c := Confusion([]evidence.Scenario{s}); c.Causes != 0 || len(c.Wrong) > 0 {
		t.Errorf("what is noted was counted: %+v", c)
	}
	undeclared := []evidence.RunbookPlan{plan[0], queueDown}
	healed := told(0, 0, 2, 0)
	healed.True, healed.AskedAfter, healed.After = nil, 3, healed.True[:2]
	s = judged(undeclared, healed, "cut")
	if d := s.Diagnoses[1]; d.Role != Not || d.Status != verdict.Pass || d.After != 2 || len(d.Causes) != 4 || d.Causes[2].True != 2 || d.Causes[2].Asked != 12 {
		t.Errorf("true when the fault was gone: %+v", d)
	}
	if c := Confusion([]evidence.Scenario{s}); c.Cells[0][1] != False || c.Causes != 0 {
		t.Errorf("what was true when the fault was gone is in the matrix: %+v", c)
	}
	for name, s := range map[string]evidence.Scenario{
		"names nothing of this trial": judged(plan, told(5, 0, 2, 1), "slow"),
		"was not asked":               judged(plan, saw("QueueDown", 1), "cut"),
		"was never true":              judged(plan, saw("QueueDown"), "cut"),
		"declares nothing":            judged(undeclared, told(5, 0, 2, 1), "cut"),
	} {
		if got := s.Diagnoses[1].Causes; len(got) > 0 {
			t.Errorf("a runbook that %s: %+v", name, got)
		}
	}
}

func TestAWrongCauseFailsItsScenario(t *testing.T) {
	plan := []evidence.RunbookPlan{queueDown}
	scenario := func(seen evidence.SeenDiagnosis) evidence.Scenario {
		s := evidence.Scenario{Name: "The queue is cut off", Diagnoses: Judge(plan, []string{"QueueDown"}, []evidence.SeenDiagnosis{seen}, true)}
		Causes(s.Diagnoses, plan, []string{"cut"}, []evidence.SeenDiagnosis{seen})
		return s
	}
	right, wrong := scenario(told(1, 0, 2, 8)), scenario(told(1, 0, 0, 8))
	if v := evidence.WorstOf(&right); v.Status != verdict.Pass {
		t.Errorf("%+v", v)
	}
	if v := evidence.WorstOf(&wrong); v.Status != verdict.Fail || !strings.Contains(v.Reason, "wrong cause") {
		t.Errorf("%+v", v)
	}
	got := Confusion([]evidence.Scenario{right, wrong})
	want := []string{
		`QueueDown names the wrong cause, "killed", during "The queue is cut off"`,
		`QueueDown does not name its cause, "cut off", during "The queue is cut off"`,
	}
	if !reflect.DeepEqual(got.Wrong, want) {
		t.Errorf("%q", got.Wrong)
	}
	if got.Causes != 6 {
		t.Errorf("%d causes were judged, want 3 of 4 in each scenario", got.Causes)
	}
}
