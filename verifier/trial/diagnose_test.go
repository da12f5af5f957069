package trial

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
)

// remembered answers each query with the seconds at which it has a value.
type remembered map[string][]float64

func (m remembered) Vector(context.Context, string, time.Time) ([]Sample, error) { return nil, nil }

func (m remembered) Range(_ context.Context, query string, _, _ time.Time) ([][2]float64, error) {
	seconds, ok := m[query]
	if !ok {
		return nil, errors.New("no such metric")
	}
	var points [][2]float64
	for _, s := range seconds {
		points = append(points, [2]float64{s, 0}) // that there is a value is what counts
	}
	return points, nil
}

func TestADiagnosisIsTrueWhileAllItsStepsHold(t *testing.T) {
	begin := time.Unix(100, 400_000_000)
	metrics := remembered{"a": {101, 102, 103, 104}, "b": {103, 104, 105, 106}, "never": nil}
	step := func(holds string, empty bool) evidence.StepPlan { return evidence.StepPlan{Holds: holds, Empty: empty} }
	r := &run{Trial: &Trial{Metrics: metrics}, rec: &evidence.Record{
		Windows: []evidence.Window{{Name: "fault", Start: begin.Add(-time.Second), End: begin.Add(5 * time.Second)}},
		Proofs:  []evidence.Proof{{InForceAt: &begin}},
	}, faults: []*life{{}}}
	r.Plan.Runbooks = []evidence.RunbookPlan{
		{Name: "Both", Steps: []evidence.StepPlan{step("a", false), step("b", false)}},
		{Name: "OnlyA", Steps: []evidence.StepPlan{step("a", false), step("b", true)}},
		{Name: "Never", Steps: []evidence.StepPlan{step("a", false), step("never", false)}},
		{Name: "Broken", Steps: []evidence.StepPlan{step("renamed", false)}},
	}
	r.diagnose(t.Context())
	for i, want := range [][]int64{{103, 104}, {101, 102}, nil} {
		if got := r.rec.Diagnoses[i]; got.Asked != 5 || !slices.Equal(got.True, want) || got.Reason != "" {
			t.Errorf("%+v; want true at %v of 5", got, want)
		}
	}
	if got := r.rec.Diagnoses[3]; got.Asked != 0 || !strings.Contains(got.Reason, "diagnosis of Broken: no such metric") {
		t.Errorf("%+v", got)
	}
}

// TestOfWhichRunbooksCausesAreAsked: of expected alerts', and of one that is true and names the trial's experiment.
func TestOfWhichRunbooksCausesAreAsked(t *testing.T) {
	begin := time.Unix(100, 0)
	metrics := remembered{"diagnosis": {102, 103, 104, 105, 109}, "cause": {101, 102, 103, 107, 109}, "and": {103, 104}, "healed": {107, 108}}
	step := func(holds string) evidence.StepPlan { return evidence.StepPlan{Holds: holds} }
	book := evidence.RunbookPlan{Name: "Expected", Steps: []evidence.StepPlan{step("diagnosis")}, Causes: []evidence.CausePlan{
		{Name: "one step", Steps: []evidence.StepPlan{step("cause")}},
		{Name: "two steps", Steps: []evidence.StepPlan{step("cause"), step("and")}},
		{Name: "renamed", Steps: []evidence.StepPlan{step("gone")}},
		{Name: "absent", Steps: []evidence.StepPlan{{Holds: "cause", Empty: true}}},
	}}
	other, beside, silent, later := book, book, book, book
	other.Name, beside.Name, silent.Name, later.Name = "Other", "Beside", "Silent", "Later"
	beside.Causes = []evidence.CausePlan{{Name: "this", Injected: []string{"cut"}, Steps: book.Causes[0].Steps}, book.Causes[1]}
	silent.Causes, silent.Steps = beside.Causes, []evidence.StepPlan{step("diagnosis"), {Holds: "diagnosis", Empty: true}}
	later.Causes, later.Steps = beside.Causes, []evidence.StepPlan{step("healed")}
	r := &run{Trial: &Trial{Metrics: metrics}, rec: &evidence.Record{
		Windows: []evidence.Window{
			{Name: "fault", Start: begin, End: begin.Add(5 * time.Second)},
			{Name: "recovery", Start: begin.Add(7 * time.Second), End: begin.Add(9500 * time.Millisecond)},
		},
		Proofs: []evidence.Proof{{InForceAt: &begin}},
	}, faults: []*life{{}}}
	r.Plan.Runbooks = []evidence.RunbookPlan{book, other, beside, silent, later}
	r.Plan.Experiments = []string{"cut"}
	r.Plan.Alerts = []evidence.AlertPlan{{Name: "Expected"}}
	r.diagnose(t.Context())
	seen := r.rec.Diagnoses[0]
	if seen.Reason != "" || seen.Asked != 5 || len(seen.Causes) != 4 {
		t.Fatalf("%+v", seen)
	}
	for i, want := range [][]int64{{102, 103}, {103}, nil, {104, 105}} {
		if got := seen.Causes[i]; got.Name != book.Causes[i].Name || !slices.Equal(got.True, want) {
			t.Errorf("%+v, want true at %v: while the diagnosis holds and all of its own steps", got, want)
		}
	}
	if why := seen.Causes[2].Reason; !strings.Contains(why, `cause "renamed": no such metric`) {
		t.Errorf("one that could not be asked says %q", why)
	}
	if got := r.rec.Diagnoses[1]; got.Causes != nil || len(got.True) != 4 || got.AskedAfter > 0 {
		t.Errorf("the runbook of an alert that is not expected: %+v", got)
	}
	if got := r.rec.Diagnoses[2].Causes; len(got) != 2 || !slices.Equal(got[0].True, []int64{102, 103, 109}) || !slices.Equal(got[1].True, []int64{103}) {
		t.Errorf("the runbook of an alert that is not expected, which names the experiment: %+v", got)
	}
	if got := r.rec.Diagnoses[4]; got.Asked != 5 || len(got.True) > 0 || got.AskedAfter != 4 || !slices.Equal(got.After, []int64{107, 108}) ||
		len(got.Causes) != 2 || !slices.Equal(got.Causes[0].True, []int64{107}) {
		t.Errorf("one that names it and comes true when the fault is gone: %+v", got)
	}
	if got := r.rec.Diagnoses[3]; got.Causes != nil || len(got.True) > 0 {
		t.Errorf("one that names it and is not true: %+v", got)
	}
}

func TestWhenDiagnosesAreAsked(t *testing.T) {
	second := func(n float64) time.Time { return time.UnixMilli(int64(n * 1000)) }
	window := func(name string, from, to float64) evidence.Window {
		return evidence.Window{Name: name, Start: second(from), End: second(to)}
	}
	proven := second(7.2)
	for name, c := range map[string]struct {
		windows  []evidence.Window
		proof    *time.Time
		faults   []*life
		from, to float64
		says     string
	}{
		"from the proof to the end of the fault":  {[]evidence.Window{window("baseline", 0, 6), window("fault", 6, 20.5)}, &proven, []*life{{}}, 8, 20, ""},
		"without a fault, the whole load":         {[]evidence.Window{window("baseline", 0.5, 6), window("recovery", 6, 26.5)}, nil, nil, 1, 26, ""},
		"a fault that was not proven":             {[]evidence.Window{window("fault", 6, 20)}, nil, []*life{{}}, 0, 0, "not seen in force"},
		"a fault that ended as soon as it proven": {[]evidence.Window{window("fault", 6, 7.5)}, &proven, []*life{{}}, 0, 0, "no whole second"},
		"a trial that did not get so far":         {nil, nil, nil, 0, 0, "baseline window was not reached"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &run{Trial: &Trial{}, rec: &evidence.Record{Windows: c.windows, Proofs: []evidence.Proof{{InForceAt: c.proof}}}, faults: c.faults}
			from, to, err := r.diagnosed()
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%v, want …%s…", err, c.says)
				}
				return
			}
			if err != nil || !from.Equal(second(c.from)) || !to.Equal(second(c.to)) {
				t.Errorf("%v to %v, %v; want %v to %v", from, to, err, c.from, c.to)
			}
		})
	}
}
