package gameday

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
)

// Wish says which scenario a game day is to be held with.
type Wish struct {
	Runbook  string // its first scenario
	Scenario string // by name; with a Runbook, one of its scenarios
	Surprise bool   // draw among those that are left
	Seed     int64
}

// Matches are the plans that a wish leaves: those that inject something, and are
// what it names.
func (w Wish) Matches(plans []evidence.Plan) ([]evidence.Plan, error) {
	if !w.Surprise && w.Runbook == "" && w.Scenario == "" {
		return nil, errors.New("what is to be played? Name a runbook or a --scenario, or ask for a --surprise")
	}
	var left []evidence.Plan
	var books, names []string
	for _, p := range plans {
		if len(p.Experiments) == 0 {
			continue
		}
		names = append(names, fmt.Sprintf("%q", p.Name))
		if !slices.Contains(books, p.Runbook) {
			books = append(books, p.Runbook)
		}
		if (w.Runbook == "" || p.Runbook == w.Runbook) && (w.Scenario == "" || p.Name == w.Scenario) {
			left = append(left, p)
		}
	}
	slices.Sort(books)
	switch {
	case len(left) > 0:
		return left, nil
	case len(names) == 0:
		return nil, errors.New("no scenario injects anything: there is nothing to play")
	case w.Scenario != "":
		return nil, fmt.Errorf("no scenario is named %q that injects a fault%s; there are %s", w.Scenario, of(w.Runbook), strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("no scenario of the runbook %s injects a fault; runbooks with one are %s", w.Runbook, strings.Join(books, ", "))
}

func of(runbook string) string {
	if runbook == "" {
		return ""
	}
	return " for the runbook " + runbook
}

// Choose returns the plan of a wish: the first that matches, or the one that the
// seed draws.
func (w Wish) Choose(plans []evidence.Plan) (evidence.Plan, error) {
	left, err := w.Matches(plans)
	if err != nil {
		return evidence.Plan{}, err
	}
	if !w.Surprise {
		return left[0], nil
	}
	return left[rand.New(rand.NewPCG(uint64(w.Seed), 0)).IntN(len(left))], nil
}

// Name is what the trial of every game day is called: task ids, folders and logs
// carry it, and must not tell the crew what was drawn.
const Name = "Game day"

// margin is what the trial's clock leaves the game's, which ends the fault.
const margin = 5 * time.Second

// PlanOf makes the plan of a game day out of a scenario's: the fault stays for up
// to longest from its proof. What the scenario asks of its own short fault window
// is left out, and what the runbooks say is noted: a crew that is quicker than a
// diagnosis, or lets the fault do its worst, must not fail for it.
func PlanOf(p evidence.Plan, longest time.Duration) evidence.Plan {
	p.Name = Name
	p.Fault = evidence.Duration(longest + time.Duration(p.InForce) + margin)
	p.Objectives = slices.DeleteFunc(slices.Clone(p.Objectives), func(o evidence.ObjectivePlan) bool { return o.Window == "fault" })
	p.Mitigation = nil // that is the crew's
	p.ByCrew = true
	return p
}

// longestGame keeps the questions to Prometheus below what it answers.
const longestGame = 2 * time.Hour

// Validate names every mistake in the limits.
func (r Rules) Validate() error {
	var mistakes []error
	if r.AbortBudget <= 0 || r.AbortBudget > 1 {
		mistakes = append(mistakes, fmt.Errorf("the abort limit is %s of a 30-day error budget: want more than 0 %% and at most 100 %%", share(r.AbortBudget)))
	}
	if r.MaxDuration < 10*time.Second || r.MaxDuration > longestGame {
		mistakes = append(mistakes, fmt.Errorf("the longest duration is %v: want 10s to %v", r.MaxDuration, longestGame))
	}
	if len(r.Objectives) == 0 {
		mistakes = append(mistakes, errors.New("no objective has a budget that could be spent"))
	}
	for _, o := range r.Objectives {
		if err := slo.Validate(o); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return errors.Join(mistakes...)
}
