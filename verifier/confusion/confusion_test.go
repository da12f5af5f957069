package confusion

import (
	"reflect"
	"strings"
	"testing"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// The runbooks of these tests. QueueSlow may be true while the queue is down.
var books = []evidence.RunbookPlan{
	{Name: "QueueDown"}, {Name: "QueueSlow", AlsoTrue: []string{"QueueDown", "DiskSlow"}}, {Name: "APIDown"},
}

// saw is a diagnosis that was asked for 9 seconds and true in some.
func saw(runbook string, trueAt ...int64) evidence.SeenDiagnosis {
	return evidence.SeenDiagnosis{Runbook: runbook, Asked: 9, True: trueAt}
}

func TestOneRow(t *testing.T) {
	all := func(s ...evidence.SeenDiagnosis) []evidence.SeenDiagnosis { return s }
	refused := evidence.SeenDiagnosis{Runbook: "APIDown", Asked: 4, True: []int64{7}, Reason: "diagnosis of APIDown: connection refused"}
	type answer struct {
		role   string
		status verdict.Status
		says   string
	}
	const pass, fail, open = verdict.Pass, verdict.Fail, verdict.Inconclusive
	for name, c := range map[string]struct {
		expected []string
		seen     []evidence.SeenDiagnosis
		unheld   bool
		want     [3]answer
	}{
		"each as it should be": {[]string{"QueueDown"}, all(saw("QueueDown", 3, 4), saw("QueueSlow"), saw("APIDown")), false,
			[3]answer{{Must, pass, ""}, {May, pass, ""}, {Not, pass, ""}}},
		"true beside its own, and declared": {[]string{"QueueDown"}, all(saw("QueueDown", 3), saw("QueueSlow", 3), saw("APIDown")), false,
			[3]answer{{Must, pass, ""}, {May, pass, ""}, {Not, pass, ""}}},
		"true beside its own, and not declared": {[]string{"QueueDown"}, all(saw("QueueDown", 3), saw("QueueSlow"), saw("APIDown", 3, 4)), false,
			[3]answer{{Must, pass, ""}, {May, pass, ""}, {Not, fail, "of APIDown was true at 2 of 9 moments, and its runbook does not declare it under also_true for QueueDown"}}},
		"false during its own fault": {[]string{"QueueDown"}, all(saw("QueueDown"), saw("QueueSlow"), saw("APIDown")), false,
			[3]answer{{Must, fail, "of QueueDown was false at each of 9 moments of its own fault"}, {May, pass, ""}, {Not, pass, ""}}},
		"declared the other way round": {[]string{"QueueSlow"}, all(saw("QueueDown", 3), saw("QueueSlow", 3), saw("APIDown")), false,
			[3]answer{{Not, fail, "for QueueSlow"}, {Must, pass, ""}, {Not, pass, ""}}},
		"two faults, both its own": {[]string{"QueueDown", "APIDown"}, all(saw("QueueDown", 3), saw("QueueSlow", 3), saw("APIDown", 5)), false,
			[3]answer{{Must, pass, ""}, {May, pass, ""}, {Must, pass, ""}}},
		"its own fault is not merely declared": {[]string{"QueueSlow", "QueueDown"}, all(saw("QueueDown", 3), saw("QueueSlow"), saw("APIDown")), false,
			[3]answer{{Must, pass, ""}, {Must, fail, "false at each"}, {Not, pass, ""}}},
		"no fault, nothing true": {nil, all(saw("QueueDown"), saw("QueueSlow"), saw("APIDown")), false,
			[3]answer{{Not, pass, ""}, {Not, pass, ""}, {Not, pass, ""}}},
		"no fault, something true": {nil, all(saw("QueueDown"), saw("QueueSlow", 3), saw("APIDown")), false,
			[3]answer{{Not, pass, ""}, {Not, fail, "QueueSlow was true at 1 of 9 moments, and no alert's fault was there"}, {Not, pass, ""}}},
		"not in the record": {[]string{"QueueDown"}, nil, false,
			[3]answer{{Must, open, "cannot judge the runbook's diagnosis: the record says nothing of it"}, {May, pass, "cannot judge"}, {Not, open, "says nothing of it"}}},
		"no moment asked for": {[]string{"QueueDown"}, all(evidence.SeenDiagnosis{Runbook: "QueueDown"}, saw("QueueSlow"), saw("APIDown")), false,
			[3]answer{{Must, open, "no moment was asked for"}, {May, pass, ""}, {Not, pass, ""}}},
		"half an answer is none": {[]string{"QueueDown"}, all(saw("QueueDown", 3), saw("QueueSlow"), refused), false,
			[3]answer{{Must, pass, ""}, {May, pass, ""}, {Not, open, "connection refused"}}},
		"the fault was not proven": {[]string{"QueueDown"}, all(saw("QueueDown", 3), saw("QueueSlow", 3), saw("APIDown", 3)), true,
			[3]answer{{Must, open, "not proven to be in force"}, {May, pass, "not proven"}, {Not, open, "not proven"}}},
		"the fault was not proven, nor anything true": {[]string{"QueueDown"}, all(saw("QueueDown"), saw("QueueSlow"), saw("APIDown")), true,
			[3]answer{{Must, open, "not proven to be in force"}, {May, pass, ""}, {Not, open, "not proven"}}},
	} {
		t.Run(name, func(t *testing.T) {
			row := Judge(books, c.expected, c.seen, !c.unheld)
			if len(row) != len(books) {
				t.Fatalf("%d cells, want %d", len(row), len(books))
			}
			for i, want := range c.want {
				d := row[i]
				if d.Runbook != books[i].Name || d.Role != want.role || d.Status != want.status || !strings.Contains(d.Reason, want.says) {
					t.Errorf("%+v, want %+v", d, want)
				}
				if (d.Reason == "") != (d.Status == pass && d.Asked > 0) {
					t.Errorf("%s: a reason is for what did not pass or was not asked, have %q", d.Runbook, d.Reason)
				}
				if d.Status == open && (d.Asked != 0 || d.True != 0) {
					t.Errorf("%s: %d of %d, though nothing is known", d.Runbook, d.True, d.Asked)
				}
			}
		})
	}
}

func TestAnExpectedAlertWithoutARunbookIsUntested(t *testing.T) {
	row := Judge(books, []string{"DiskFull"}, []evidence.SeenDiagnosis{saw("QueueDown"), saw("QueueSlow"), saw("APIDown")}, true)
	last := row[len(row)-1]
	if len(row) != 4 || last.Runbook != "DiskFull" || last.Role != Must || last.Status != verdict.Inconclusive || last.Reason == "" {
		t.Errorf("%+v", row)
	}
}

func TestAPlanWithoutRunbooksHasNoRow(t *testing.T) {
	if row := Judge(nil, []string{"QueueDown"}, nil, true); row != nil {
		t.Errorf("%+v", row)
	}
}

func TestMatrix(t *testing.T) {
	scenario := func(name string, expected []string, held bool, seen ...evidence.SeenDiagnosis) evidence.Scenario {
		return evidence.Scenario{Name: name, Diagnoses: Judge(books, expected, seen, held)}
	}
	got := Confusion([]evidence.Scenario{
		scenario("Steady state", nil, true, saw("QueueDown"), saw("QueueSlow"), saw("APIDown")),
		scenario("An API is killed", []string{"APIDown"}, true, saw("QueueDown", 1), saw("QueueSlow"), saw("APIDown", 2, 3)),
		scenario("The queue stops", []string{"QueueDown"}, true, saw("QueueDown"), saw("QueueSlow", 4), saw("APIDown")),
		scenario("The queue stumbles", []string{"QueueSlow"}, false, saw("QueueDown"), saw("QueueSlow", 4), saw("APIDown")),
		{Name: "It was killed"},
	})
	want := &evidence.Confusion{
		Runbooks:  []string{"APIDown", "QueueDown", "QueueSlow"},
		Scenarios: []string{"Steady state", "An API is killed", "The queue stops", "The queue stumbles", "It was killed"},
		Cells: [][]string{
			{False, False, False},
			{True, True, False},
			{False, False, True},
			{Unknown, Unknown, Unknown},
			{Unknown, Unknown, Unknown},
		},
		Wrong: []string{
			`QueueDown is true during "An API is killed", and is not declared`,
			`QueueDown is false during its own fault, "The queue stops"`,
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRunbooksThatNoScenarioBreaksComeLastByName(t *testing.T) {
	got := Confusion([]evidence.Scenario{{Name: "a", Diagnoses: []evidence.Diagnosis{
		{Runbook: "Z", Role: Not}, {Runbook: "Y", Role: May}, {Runbook: "M", Role: Must}}}})
	if want := []string{"M", "Y", "Z"}; !reflect.DeepEqual(got.Runbooks, want) {
		t.Errorf("%v, want %v", got.Runbooks, want)
	}
	if got.Wrong == nil {
		t.Error("nothing wrong is an empty list in JSON, not null")
	}
}

func TestNoDiagnosesNoMatrix(t *testing.T) {
	if got := Confusion([]evidence.Scenario{{Name: "of an older seatrial"}}); got != nil {
		t.Errorf("%+v", got)
	}
	if got := Confusion(nil); got != nil {
		t.Errorf("%+v", got)
	}
}

// TestNotedDiagnosesAreToldAndNotJudged: of a fault that people dealt with.
func TestNotedDiagnosesAreToldAndNotJudged(t *testing.T) {
	row := []evidence.Diagnosis{
		{Runbook: "Down", Role: Must, Asked: 9, Status: verdict.Fail, Reason: "was false", Causes: []evidence.Cause{{Name: "x", Role: Not, Asked: 9, True: 9, Status: verdict.Fail}}},
		{Runbook: "Other", Role: Not, Asked: 9, True: 9, Status: verdict.Fail, Reason: "was true"},
		{Runbook: "Unasked", Role: Not, Status: verdict.Inconclusive, Reason: "cannot judge"},
	}
	Note(row)
	for _, d := range row {
		if !d.Noted || d.Status != verdict.Pass || d.Reason == "" {
			t.Errorf("%+v", d)
		}
	}
	s := evidence.Scenario{Name: "Game day", Diagnoses: row}
	if v := evidence.WorstOf(&s); v.Status != verdict.Pass {
		t.Errorf("%v: %s", v.Status, v.Reason)
	}
	c := Confusion([]evidence.Scenario{s})
	if len(c.Wrong) != 0 || c.Causes != 0 || c.Noted != 1 || c.Cells[0][0] != False || c.Cells[0][1] != True || c.Cells[0][2] != Unknown {
		t.Errorf("%+v, want what was seen, and nothing judged", c)
	}
}
