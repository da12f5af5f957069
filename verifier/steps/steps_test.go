package steps_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/steps"
	"seatrial/verifier/verdict"
)

const good = `Feature: A feature
  @runbook:WorkerDown @smoke
  Scenario: Workers go
    Given a steady load of 250 tasks per second
    And 2% of the tasks are sent twice
    And a fault window of 8 seconds
    When the experiment "worker-down" is injected
    Then the fault is in force within 10 seconds
    And the alert "WorkerDown" fires within 1.5 minutes
    And in the fault window at least 99.5% of the requests are accepted
    And in the recovery window at least 90% of the accepted requests are answered within 250 milliseconds
    And the mitigation of "WorkerDown" restores the service within 6 seconds
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 20 seconds after recovery
    And no residue is left
`

func suite(text string) steps.Suite {
	known := func(what string, names ...string) func(string) error {
		return func(name string) error {
			for _, n := range names {
				if n == name {
					return nil
				}
			}
			return fmt.Errorf("no %s is named %q", what, name)
		}
	}
	return steps.Suite{
		Features: fstest.MapFS{"x.feature": {Data: []byte(text)}}, Seed: 7, Target: "local",
		HasExperiment: known("experiment", "worker-down"), HasRunbook: known("runbook", "WorkerDown", "Other"),
		Mitigation: func(runbook string, experiments []string) []evidence.CommandPlan {
			if runbook != "WorkerDown" || len(experiments) != 1 || experiments[0] != "worker-down" {
				return nil
			}
			return []evidence.CommandPlan{{Line: 61, Command: "replace them"}}
		},
	}
}

func TestSentencesMakeAPlan(t *testing.T) {
	plans, err := suite(good).Plans(t.Context())
	if err != nil || len(plans) != 1 {
		t.Fatal(plans, err)
	}
	p := plans[0]
	second := evidence.Duration(time.Second)
	switch {
	case p.Name != "Workers go", p.Runbook != "WorkerDown", p.Seed != 7, p.Target != "local", p.Feature != "x.feature":
	case p.Load.Rate != 250, p.Load.Profile != "steady", p.Load.RepeatRatio != 0.02, p.Fault != 8*second:
	case len(p.Experiments) != 1, p.Experiments[0] != "worker-down", p.InForce != 10*second:
	case len(p.Alerts) != 1, p.Alerts[0] != evidence.AlertPlan{Name: "WorkerDown", Within: 90 * second}:
	case len(p.Objectives) != 2, p.Objectives[0].Ratio != 0.995, p.Objectives[1].Within != second/4, p.Objectives[1].Window != "recovery":
	case p.Mitigation == nil, p.Mitigation.Runbook != "WorkerDown", p.Mitigation.Within != 6*second, p.Mitigation.Commands[0].Line != 61:
	case len(p.Guarantees) != 4, p.Guarantees[3] != evidence.GuaranteePlan{Name: evidence.DoneWithin, Within: 20 * second}:
	default:
		return
	}
	t.Errorf("%+v", p)
}

// TestLoadScale: a scaled load keeps the rest of its sentence, and says that it is scaled.
func TestLoadScale(t *testing.T) {
	const steady = "a steady load of 250 tasks per second"
	for _, c := range []struct {
		words             string
		scale, rate, peak float64
	}{
		{steady, 0, 250, 0},
		{steady, 0.4, 100, 0},
		{"a load of 100 tasks per second that spikes to 400", 2, 200, 800},
		{"a load that ramps from 100 to 300 tasks per second", 0.5, 50, 150},
	} {
		s := suite(strings.Replace(good, steady, c.words, 1))
		s.LoadScale = c.scale
		plans, err := s.Plans(t.Context())
		if err != nil || len(plans) != 1 {
			t.Fatal(plans, err)
		}
		if l := plans[0].Load; l.Rate != c.rate || l.Peak != c.peak || l.Scale != c.scale || l.RepeatRatio != 0.02 || l.Timeout == 0 {
			t.Errorf("%q at %g: %+v", c.words, c.scale, l)
		}
	}
	s := suite(good)
	s.LoadScale = 1
	if plans, err := s.Plans(t.Context()); err != nil || plans[0].Load.Scale != 0 || plans[0].Load.Rate != 250 {
		t.Errorf("at 1: %+v %v", plans, err)
	}
}

func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"undefined step":      {"And no residue is left", "And nobody is harmed", `x.feature:17: undefined step "nobody is harmed"`},
		"missing experiment":  {`"worker-down" is`, `"worker-dawn" is`, `x.feature:7: no experiment is named "worker-dawn"`},
		"missing runbook":     {"@runbook:WorkerDown", "@runbook:Nope", `no runbook is named "Nope"`},
		"no runbook tag":      {"@runbook:WorkerDown", "@x", "no tag @runbook:<Name>"},
		"no such bucket":      {"250 milliseconds", "300 milliseconds", "x.feature:11: objective latency within 300ms: no histogram bucket ends there"},
		"impossible ratio":    {"99.5%", "100%", "x.feature:10: objective availability: ratio 1"},
		"mitigation of what":  {`mitigation of "WorkerDown"`, `mitigation of "Nope"`, `x.feature:12: mitigation of "Nope": no runbook is named "Nope"`},
		"nothing mitigates":   {`mitigation of "WorkerDown"`, `mitigation of "Other"`, "the runbook Other has no block of commands for the local testbed that says Mitigates: worker-down"},
		"no time to compare":  {"within 6 seconds", "within 9 seconds", `nothing is done before for only 8s: that would not show that it is faster than doing nothing; say "And a fault window of 9 seconds"`},
		"no load":             {"Given a steady load of 250 tasks per second", "Given a fault window of 8 seconds", "no load"},
		"not Gherkin":         {"Feature: A feature", "Fleature: A feature", "x.feature: not Gherkin: (1:1): expected"},
		"the same name twice": {"  @runbook:WorkerDown", "\n  @runbook:WorkerDown\n  Scenario: Workers go\n    Given a steady load of 1 tasks per second\n    Then every accepted task is done exactly once\n\n  @runbook:WorkerDown", `scenario "Workers go" has the name of one in x.feature`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			_, err := suite(text).Plans(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant …%s…", err, c.want)
			}
		})
	}
}

// TestNobodyIsCalled: by both names of the sentence. A ticket fails nobody.
func TestNobodyIsCalled(t *testing.T) {
	for _, words := range []string{"no alert pages", "no alert fires"} {
		text := strings.Replace(good, `the alert "WorkerDown" fires within 1.5 minutes`, words, 1)
		plans, err := suite(text).Plans(t.Context())
		if err != nil || len(plans) != 1 || !plans[0].Quiet {
			t.Errorf("%s: %+v, %v", words, plans, err)
		}
		for status, want := range map[verdict.Status]bool{verdict.Pass: false, verdict.Fail: true} {
			var out strings.Builder
			_, err := suite(text).Run(t.Context(), &out, func(context.Context, evidence.Plan) (*evidence.Scenario, error) {
				return &evidence.Scenario{InForce: "confirmed", Alerts: []evidence.Alert{{Name: "X", Fired: true, Status: status, Reason: "X paged"}}}, nil
			})
			if said := strings.Contains(out.String(), "X paged"); err != nil || said != want {
				t.Errorf("%s: an alert that is judged %v is said: %v, %v", words, status, said, err)
			}
		}
	}
}

func TestTagsThatMatchNothingAreAnError(t *testing.T) {
	s := suite(good)
	s.Tags = "@nothing"
	if _, err := s.Plans(t.Context()); !errors.Is(err, steps.ErrNothing) {
		t.Error(err)
	}
	if _, err := s.Run(t.Context(), io.Discard, nil); !errors.Is(err, steps.ErrNothing) {
		t.Error(err)
	}
}

func TestEachTrialRunsOnceAndItsVerdictIsQuoted(t *testing.T) {
	ran := 0
	result := &evidence.Scenario{
		InForce: "confirmed", Residue: "none",
		SLO:    []evidence.Objective{{Status: verdict.Pass}, {Status: verdict.Pass}},
		Alerts: []evidence.Alert{{Name: "WorkerDown", Status: verdict.Pass}},
		Guarantees: []evidence.Guarantee{{Status: verdict.Fail, Reason: "3 tasks lost"},
			{Status: verdict.Pass}, {Status: verdict.Pass}, {Status: verdict.Pass}},
	}
	var out strings.Builder
	results, err := suite(good).Run(t.Context(), &out, func(_ context.Context, p evidence.Plan) (*evidence.Scenario, error) {
		ran++
		if p.Name != "Workers go" || len(p.Guarantees) != 4 {
			t.Errorf("%+v", p)
		}
		return result, nil
	})
	if err != nil || ran != 1 || len(results) != 1 {
		t.Fatalf("ran %d times: %v, %v", ran, results, err)
	}
	if !strings.Contains(out.String(), "fail: 3 tasks lost") {
		t.Errorf("godog's account does not quote the verdict:\n%s", out.String())
	}
}

func TestAnEndedContextBeginsNoTrial(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := suite(good).Run(ctx, io.Discard, func(context.Context, evidence.Plan) (*evidence.Scenario, error) {
		t.Error("a trial was begun")
		return nil, nil
	})
	if len(results) != 0 || err == nil {
		t.Error(results, err)
	}
}

// TestMitigationsMayBeLeftOut: the sentence stays, and nothing is carried out.
func TestMitigationsMayBeLeftOut(t *testing.T) {
	s := suite(good)
	s.Mitigation = nil
	plans, err := s.Plans(t.Context())
	if err != nil || len(plans) != 1 || plans[0].Mitigation != nil {
		t.Error(plans, err)
	}
}
