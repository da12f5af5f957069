package coverage

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

var monday = time.Date(2027, 3, 15, 9, 0, 0, 0, time.UTC)

func day(n int) time.Time { return monday.AddDate(0, 0, n) }

func plan(name string, experiments, alerts []string) evidence.Plan {
	p := evidence.Plan{Name: name, Experiments: experiments, Quiet: len(alerts) == 0}
	for _, a := range alerts {
		p.Alerts = append(p.Alerts, evidence.AlertPlan{Name: a})
	}
	return p
}

// held is a trial of the plan that passed, with the diagnoses that were asked.
func held(p evidence.Plan, testbed string, at time.Time) evidence.Scenario {
	s := evidence.Scenario{Name: p.Name, Target: testbed, Started: at, Status: verdict.Pass, Experiments: p.Experiments,
		Alerts: []evidence.Alert{{Name: "SomethingElse", Fired: true}}}
	for _, a := range p.Alerts {
		s.Alerts = append(s.Alerts, evidence.Alert{Name: a.Name, Expected: true, Fired: true})
		s.Diagnoses = append(s.Diagnoses, evidence.Diagnosis{Runbook: a.Name, Role: "must", Asked: 9, True: 3, Status: verdict.Pass})
	}
	return s
}

func with(s evidence.Scenario, change func(*evidence.Scenario)) evidence.Scenario {
	change(&s)
	return s
}

func TestWhenSomethingIsProven(t *testing.T) {
	p := plan("The queue stops", []string{"queue-kill"}, []string{"QueueDown"})
	pass := func(n int) evidence.Scenario { return held(p, "local", day(n)) }
	fails := func(s *evidence.Scenario) { s.Status = verdict.Fail }
	for name, c := range map[string]struct {
		trials []evidence.Scenario
		want   string
	}{
		"no trial at all":           {nil, "never tried"},
		"one that passed":           {[]evidence.Scenario{pass(1)}, "2027-03-16 09:00"},
		"the newest of those":       {[]evidence.Scenario{pass(1), pass(3), pass(2)}, "2027-03-18 09:00"},
		"one that failed":           {[]evidence.Scenario{with(pass(1), fails)}, "never: fail, 2027-03-16 09:00"},
		"failed after it passed":    {[]evidence.Scenario{with(pass(2), fails), pass(1)}, "2027-03-16 09:00; since then fail"},
		"passed after it failed":    {[]evidence.Scenario{pass(2), with(pass(1), fails)}, "2027-03-17 09:00"},
		"on the other testbed":      {[]evidence.Scenario{held(p, "kubernetes", day(1))}, "never tried"},
		"another scenario":          {[]evidence.Scenario{with(pass(1), func(s *evidence.Scenario) { s.Name = "The queue stumbles" })}, "never tried"},
		"other experiments then":    {[]evidence.Scenario{with(pass(1), func(s *evidence.Scenario) { s.Experiments = []string{"queue-slow"} })}, "never tried"},
		"another alert then":        {[]evidence.Scenario{with(pass(1), func(s *evidence.Scenario) { s.Alerts[1].Name = "QueueGone" })}, "never tried"},
		"no diagnosis asked":        {[]evidence.Scenario{with(pass(1), func(s *evidence.Scenario) { s.Diagnoses = nil })}, "never: passed, its diagnosis not asked, 2027-03-16 09:00"},
		"impossible on the testbed": {[]evidence.Scenario{with(pass(1), func(s *evidence.Scenario) { s.Status, s.Unable = verdict.Inconclusive, true })}, "never: cannot be injected here, 2027-03-16 09:00"},
		"inconclusive":              {[]evidence.Scenario{with(pass(1), func(s *evidence.Scenario) { s.Status = verdict.Inconclusive })}, "never: inconclusive, 2027-03-16 09:00"},
	} {
		t.Run(name, func(t *testing.T) {
			if have := proofOf(&p, "QueueDown", "local", c.trials).String(); have != c.want {
				t.Errorf("%q, want %q", have, c.want)
			}
		})
	}
}

// house is a small system with one gap of each kind, and what it lacks.
func house() Sources {
	steady := plan("Steady state", nil, nil)
	stops := plan("The queue stops", []string{"queue-kill"}, []string{"QueueDown"})
	both := plan("The queue | and the API stop", []string{"queue-kill", "api-kill"}, []string{"QueueDown", "APIDown"})
	return Sources{
		Plans:       []evidence.Plan{steady, both, stops},
		Experiments: []string{"api-kill", "queue-kill", "queue-slow"},
		Alerts:      []string{"APIDown", "Orphan", "QueueDown", "QueueSlow"},
		Runbooks: []Runbook{{Name: "APIDown"}, {Name: "Forgotten"}, {Name: "QueueDown", Causes: []Cause{
			{Name: "Killed", Injected: []string{"queue-kill"}}, {Name: "Disk full", NotInjectable: "the disk is everybody's"},
			{Name: "Slow", Injected: []string{"queue-kill", "queue-slow"}}, {Name: "Ghost", Injected: []string{"queue-ghost"}},
			{Name: "Cable cut", NotInjectable: "see [APIDown](APIDown.md#causes)"}}},
			{Name: "QueueSlow", Causes: []Cause{{Name: "Queue gone", Injected: []string{"queue-kill"}}}}},
		Trials: []evidence.Scenario{held(steady, "local", day(1)), held(stops, "local", day(2)), held(stops, "kubernetes", day(3)),
			with(held(both, "local", day(4)), func(s *evidence.Scenario) { s.Status = verdict.Fail })},
	}
}

func TestGaps(t *testing.T) {
	want := map[string][]string{
		"Experiments in no scenario":                         {"queue-slow"},
		"Scenarios that no trial has proven, on any testbed": {"The queue | and the API stop"},
		"Alerts that no scenario expects":                    {"Orphan", "QueueSlow"},
		"Alerts without a runbook":                           {"Orphan"},
		"Runbooks without a scenario":                        {"Forgotten", "QueueSlow"},
		"Runbooks without an alert":                          {"Forgotten"},
		"Runbooks with causes that are injected in no scenario that expects the alert, and named in no other": {"QueueDown: Slow (queue-slow); Ghost (there is no experiment queue-ghost)", "QueueSlow: Queue gone (queue-kill)"},
		"Runbooks with causes that no experiment injects (the reasons are below)":                             {"QueueDown: Disk full; Cable cut"},
	}
	m := Of(house())
	if len(m.Gaps) != len(want) {
		t.Errorf("%d kinds of gaps, want %d", len(m.Gaps), len(want))
	}
	for _, g := range m.Gaps {
		if !slices.Equal(g.What, want[g.Kind]) {
			t.Errorf("%s: %q, want %q", g.Kind, g.What, want[g.Kind])
		}
	}
}

// TestACauseIsNamedBesideOthers: by a trial that passed, of a plan as it is now, in which the cause was true more often
// than any other that is injected.
func TestACauseIsNamedBesideOthers(t *testing.T) {
	said := func(role string, right, wrong int) func(*evidence.Scenario) {
		return func(s *evidence.Scenario) {
			s.Diagnoses = append(s.Diagnoses, evidence.Diagnosis{Runbook: "QueueSlow", Role: role, Asked: 9, True: 5, Causes: []evidence.Cause{
				{Name: "Queue gone", Role: "must", Asked: 9, True: right}, {Name: "Far away", Role: "not", Asked: 9, True: wrong},
				{Name: "By hand", Role: "may", Asked: 9, True: 5}}})
		}
	}
	twice := func(change func(*evidence.Scenario)) func(*evidence.Scenario) {
		return func(s *evidence.Scenario) { said("may", 3, 1)(s); change(s) }
	}
	for name, c := range map[string]struct {
		change func(*evidence.Scenario)
		named  bool
	}{
		"named":            {said("may", 3, 1), true},
		"another as often": {said("may", 3, 3), false},
		"never true":       {said("may", 0, 0), false},
		"not declared":     {said("not", 3, 1), false},
		"when it was gone": {func(s *evidence.Scenario) {
			said("not", 3, 1)(s)
			s.Diagnoses[1].True, s.Diagnoses[1].After = 0, 5
		}, true},
		"not asked":         {func(*evidence.Scenario) {}, false},
		"the trial failed":  {twice(func(s *evidence.Scenario) { s.Status = verdict.Fail }), false},
		"another plan":      {twice(func(s *evidence.Scenario) { s.Name = "The queue stumbles" }), false},
		"another fault":     {twice(func(s *evidence.Scenario) { s.Experiments = []string{"api-kill"} }), false},
		"people dealt with": {twice(func(s *evidence.Scenario) { s.Diagnoses[1].Noted = true }), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := house()
			s.Trials = append(s.Trials, with(held(s.Plans[2], "kubernetes", day(5)), c.change))
			m := Of(s)
			row := m.Causes[slices.IndexFunc(m.Causes, func(c CauseRow) bool { return c.Name == "Queue gone" })]
			if got := row.Named[1].Equal(day(5)); got != c.named || !row.Named[0].IsZero() {
				t.Errorf("named at %v, want it: %v", row.Named, c.named)
			}
			for _, g := range m.Gaps {
				if strings.HasSuffix(g.Kind, "named in no other") && slices.Contains(g.What, "QueueSlow: Queue gone (queue-kill)") == c.named {
					t.Errorf("gaps %q", g.What)
				}
			}
			var page bytes.Buffer
			if err := m.Write(&page); err != nil || strings.Contains(page.String(), "| – | named 2027-03-20 09:00 |\n") != c.named {
				t.Errorf("%v in\n%s", err, page.String())
			}
		})
	}
}

func TestWhereNothingIsMissing(t *testing.T) {
	p := plan("The queue stops", []string{"queue-kill"}, []string{"QueueDown"})
	m := Of(Sources{Plans: []evidence.Plan{p}, Experiments: p.Experiments, Alerts: []string{"QueueDown"},
		Runbooks: []Runbook{{Name: "QueueDown", Causes: []Cause{{Name: "Killed", Injected: []string{"queue-kill"}}}}},
		Trials:   []evidence.Scenario{held(p, "kubernetes", monday)}})
	for _, g := range m.Gaps {
		if len(g.What) > 0 {
			t.Errorf("%s: %q", g.Kind, g.What)
		}
	}
}

func TestPage(t *testing.T) {
	var b, again bytes.Buffer
	if err := Of(house()).Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := Of(house()).Write(&again); err != nil || again.String() != b.String() {
		t.Errorf("the same sources give another text (%v)", err)
	}
	for _, want := range []string{
		"3 experiments, 4 alerts, 4 runbooks with 6 causes, 3 scenarios. Proven on local: 2 of 3 scenarios. Proven on kubernetes: 1 of 3 scenarios.\n",
		"| queue-kill | QueueDown | [QueueDown](../runbooks/QueueDown.md) | The queue stops | 2027-03-17 09:00 | 2027-03-18 09:00 |\n",
		`| queue-kill + api-kill | APIDown | [APIDown](../runbooks/APIDown.md) | The queue \| and the API stop | never: fail, 2027-03-19 09:00 | never tried |` + "\n",
		"| no fault | none may fire | – | Steady state | 2027-03-16 09:00 | never tried |\n",
		`| [QueueSlow](../runbooks/QueueSlow.md) | Queue gone | queue-kill | injected, with other alerts expected: The queue stops; The queue \| and the API stop | – | – |` + "\n",
		"| Cable cut | nothing: see [APIDown](../runbooks/APIDown.md#causes) | none | – | – |\n",
		`| [QueueDown](../runbooks/QueueDown.md) | Slow | queue-kill, queue-slow | The queue stops; The queue \| and the API stop | 2027-03-17 09:00 | 2027-03-18 09:00 |` + "\n",
		"| [QueueDown](../runbooks/QueueDown.md) | Ghost | queue-ghost | none | – | – |\n",
		`| [QueueDown](../runbooks/QueueDown.md) | Killed | queue-kill | The queue stops; The queue \| and the API stop | 2027-03-17 09:00 | 2027-03-18 09:00 |` + "\n",
		"| [QueueDown](../runbooks/QueueDown.md) | Disk full | nothing: the disk is everybody's | none | – | – |\n",
		"- Experiments in no scenario: 1\n  - queue-slow\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	columns := 0
	for line := range strings.Lines(b.String()) {
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if n > 0 && columns > 0 && n != columns {
			t.Errorf("a table fell apart: %s", line)
		}
		columns = n
	}
}

func TestReadRuns(t *testing.T) {
	save := func(v any, elem ...string) {
		t.Helper()
		path := filepath.Join(elem...)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := evidence.SaveJSON(path, v); err != nil {
			t.Fatal(err)
		}
	}
	whole, killed, bad := t.TempDir(), t.TempDir(), t.TempDir()
	save(evidence.Run{Run: "a", Target: "kubernetes", Scenarios: []evidence.Scenario{{Name: "one"}, {Name: "two", Target: "local"}}}, whole, evidence.VerdictFile)
	save(evidence.Plan{}, killed, "evidence", "three", evidence.PlanFile)
	save(evidence.Scenario{Name: "three", Target: "local"}, killed, "evidence", "three", evidence.VerdictFile)
	save(evidence.Plan{}, killed, "evidence", "four", evidence.PlanFile)
	save("no run", bad, evidence.VerdictFile)

	all, err := Read([]string{whole, killed})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, s.Name+" on "+s.Target)
	}
	if want := []string{"one on kubernetes", "two on local", "three on local"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, dir := range []string{t.TempDir(), bad} {
		if _, err := Read([]string{whole, dir}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v, want one that names %s", err, dir)
		}
	}
}
