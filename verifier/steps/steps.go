package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cucumber/godog"

	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
	"seatrial/verifier/verdict"
)

// What a scenario need not say.
const (
	defaultWindow   = 6 * time.Second
	defaultPatience = 6 * time.Second // longer than the API's own deadline, so that its answer is heard
	defaultRecover  = 45 * time.Second
	defaultInForce  = 10 * time.Second
	// leastTasks is the least number of accepted tasks that a guarantee is judged on.
	leastTasks = 100
)

// session is one scenario in one walk.
type session struct {
	suite  Suite
	plan   evidence.Plan
	trial  func() (*evidence.Scenario, error) // nil in the planning walk
	failed bool                               // a step was wrong, and those after it were skipped
	result *evidence.Scenario
	err    error
}

func (s *session) planning() bool { return s.trial == nil }

func newPlan(s Suite, sc *godog.Scenario) evidence.Plan {
	p := evidence.Plan{
		Name: sc.Name, Feature: sc.Uri, Seed: s.Seed, Target: s.Target,
		Baseline: evidence.Duration(defaultWindow), Fault: evidence.Duration(defaultWindow),
		Recovery: evidence.Duration(defaultWindow), InForce: evidence.Duration(defaultInForce),
		Recover: evidence.Duration(defaultRecover), MinAccepted: leastTasks, Runbooks: s.Runbooks,
	}
	p.Load.Timeout = evidence.Duration(defaultPatience)
	for _, tag := range sc.Tags {
		p.Tags = append(p.Tags, tag.Name)
		if name, ok := strings.CutPrefix(tag.Name, "@runbook:"); ok {
			p.Runbook = name
		}
	}
	return p
}

// check finds what the sentences of a whole scenario leave out.
func (s *session) check() (mistakes []error) {
	switch {
	case s.plan.Runbook == "":
		mistakes = append(mistakes, errors.New("no tag @runbook:<Name> says which runbook it belongs to"))
	default:
		if err := s.suite.HasRunbook(s.plan.Runbook); err != nil {
			mistakes = append(mistakes, fmt.Errorf("tag @runbook:%s: %w", s.plan.Runbook, err))
		}
	}
	if s.failed {
		return mistakes // the skipped steps may have said what seems to be left out
	}
	if s.plan.Load.Rate <= 0 {
		mistakes = append(mistakes, errors.New(`no load: say "Given a steady load of 250 tasks per second"`))
	}
	if err := s.arm(); err != nil {
		mistakes = append(mistakes, err)
	}
	if len(s.plan.Guarantees) == 0 {
		mistakes = append(mistakes, errors.New(`no guarantee: say "Then every accepted task is done exactly once"`))
	}
	return mistakes
}

// register binds the sentences. docs/features.md is the same list for readers.
func register(sc *godog.ScenarioContext) {
	const (
		num      = `(\d+(?:\.\d+)?)`
		duration = num + ` (milliseconds?|seconds?|minutes?)`
		window   = `(baseline|fault|recovery)`
	)
	sc.Given(`^a steady load of `+num+` tasks per second$`, steadyLoad)
	sc.Given(`^a load that ramps from `+num+` to `+num+` tasks per second$`, rampLoad)
	sc.Given(`^a load of `+num+` tasks per second that spikes to `+num+`$`, spikeLoad)
	sc.Given(`^`+num+`% of the tasks are sent twice$`, repeats)
	sc.Given(`^clients wait `+duration+` for an answer$`, patience)
	sc.Given(`^a `+window+` window of `+duration+`$`, windowLength)
	sc.When(`^the experiment "([^"]*)" is injected$`, injected)
	sc.When(`^no fault is injected$`, func(context.Context) error { return nil })

	sc.Then(`^the fault is in force within `+duration+`$`, inForce)
	sc.Then(`^the system recovers within `+duration+`$`, recovers)
	sc.Then(`^the alert "([^"]*)" fires within `+duration+`$`, alertFires)
	sc.Then(`^no alert (?:pages|fires)$`, nobodyCalled) // "fires" is what it was called at first
	sc.Then(`^the mitigation of "([^"]*)" restores the service within `+duration+`$`, mitigated)
	sc.Then(`^in the `+window+` window at least `+num+`% of the requests are accepted$`, available)
	sc.Then(`^in the `+window+` window at least `+num+`% of the accepted requests are answered within `+duration+`$`, answered)
	sc.Then(`^in the `+window+` window at least `+num+`% of the tasks are done within `+duration+`$`, fresh)
	sc.Then(`^every accepted task is done exactly once$`, guarantee(evidence.ExactlyOnce))
	sc.Then(`^no refused task is ever done$`, guarantee(evidence.RefusedNeverDone))
	sc.Then(`^no unknown task is done more than once$`, guarantee(evidence.UnknownAtMost))
	sc.Then(`^every accepted task is done within `+duration+` after recovery$`, doneWithin)
	sc.Then(`^no residue is left$`, noResidue)
}

// span reads "6" "seconds".
func span(n float64, unit string) time.Duration {
	switch strings.TrimSuffix(unit, "s") {
	case "millisecond":
		return time.Duration(n * float64(time.Millisecond))
	case "minute":
		return time.Duration(n * float64(time.Minute))
	}
	return time.Duration(n * float64(time.Second))
}

func steadyLoad(ctx context.Context, rate float64) error {
	return setLoad(ctx, evidence.Load{Profile: "steady", Rate: rate})
}

func rampLoad(ctx context.Context, from, to float64) error {
	return setLoad(ctx, evidence.Load{Profile: "ramp", Rate: from, Peak: to})
}

func spikeLoad(ctx context.Context, base, peak float64) error {
	return setLoad(ctx, evidence.Load{Profile: "spike", Rate: base, Peak: peak})
}

func setLoad(ctx context.Context, l evidence.Load) error {
	s := sessionOf(ctx)
	p := &s.plan
	if scale := s.suite.LoadScale; scale != 0 && scale != 1 {
		l.Rate, l.Peak, l.Scale = l.Rate*scale, l.Peak*scale, scale
	}
	l.Timeout, l.RepeatRatio = p.Load.Timeout, p.Load.RepeatRatio
	p.Load = l
	return nil
}

func repeats(ctx context.Context, percent float64) error {
	if percent > 50 {
		return fmt.Errorf("%g %% of the tasks sent twice: want at most 50", percent)
	}
	sessionOf(ctx).plan.Load.RepeatRatio = percent / 100
	return nil
}

func patience(ctx context.Context, n float64, unit string) error {
	sessionOf(ctx).plan.Load.Timeout = evidence.Duration(span(n, unit))
	return nil
}

func windowLength(ctx context.Context, window string, n float64, unit string) error {
	p, d := &sessionOf(ctx).plan, evidence.Duration(span(n, unit))
	switch window {
	case "baseline":
		p.Baseline = d
	case "fault":
		p.Fault = d
	default:
		p.Recovery = d
	}
	return nil
}

func injected(ctx context.Context, name string) error {
	s := sessionOf(ctx)
	if !s.planning() {
		return nil
	}
	if err := s.suite.HasExperiment(name); err != nil {
		return err
	}
	if slices.Contains(s.plan.Experiments, name) {
		return fmt.Errorf("experiment %q is injected twice", name)
	}
	s.plan.Experiments = append(s.plan.Experiments, name)
	return nil
}

func inForce(ctx context.Context, n float64, unit string) error {
	s := sessionOf(ctx)
	if s.planning() {
		if len(s.plan.Experiments) == 0 {
			return errors.New("no experiment is injected that could be in force")
		}
		s.plan.InForce = evidence.Duration(span(n, unit))
		return nil
	}
	return s.quote(func(r *evidence.Scenario) error {
		if r.InForce != "confirmed" {
			return fmt.Errorf("in force: %s", r.InForce)
		}
		return nil
	})
}

func recovers(ctx context.Context, n float64, unit string) error {
	s := sessionOf(ctx)
	if s.planning() {
		s.plan.Recover = evidence.Duration(span(n, unit))
		return nil
	}
	return s.quote(func(r *evidence.Scenario) error {
		if r.Seconds.RecoverToSLO < 0 && len(s.plan.Experiments) > 0 {
			return fmt.Errorf("not recovered: %s", r.Reason)
		}
		return nil
	})
}

func alertFires(ctx context.Context, name string, n float64, unit string) error {
	s := sessionOf(ctx)
	if s.planning() {
		if err := s.suite.HasRunbook(name); err != nil {
			return fmt.Errorf("alert %q: %w", name, err)
		}
		s.plan.Alerts = append(s.plan.Alerts, evidence.AlertPlan{Name: name, Within: evidence.Duration(span(n, unit))})
		return nil
	}
	return s.quote(func(r *evidence.Scenario) error {
		for _, a := range r.Alerts {
			if a.Name == name {
				return answer(a.Status, a.Reason)
			}
		}
		return fmt.Errorf("alert %s was not judged", name)
	})
}

func mitigated(ctx context.Context, name string, n float64, unit string) error {
	s := sessionOf(ctx)
	if s.planning() {
		if err := s.suite.HasRunbook(name); err != nil {
			return fmt.Errorf("mitigation of %q: %w", name, err)
		}
		if s.plan.Mitigation != nil {
			return errors.New("a second mitigation, want one")
		}
		s.plan.Mitigation = &evidence.MitigationPlan{Runbook: name, Within: evidence.Duration(span(n, unit))}
		return nil
	}
	return s.quote(func(r *evidence.Scenario) error {
		if r.Mitigation == nil { // it was asked not to be carried out
			return nil
		}
		return answer(r.Mitigation.Status, r.Mitigation.Reason)
	})
}

// arm looks the mitigation's commands up, or takes it out of a plan of which it is not to
// be carried out.
func (s *session) arm() error {
	m := s.plan.Mitigation
	if m == nil {
		return nil
	}
	if s.suite.Mitigation == nil {
		s.plan.Mitigation = nil
		return nil
	}
	if m.Within > s.plan.Fault {
		return fmt.Errorf("the mitigation has %v, and nothing is done before for only %v: that would not show that it is faster than doing nothing; say \"And a fault window of %g seconds\" or more",
			m.Within, s.plan.Fault, time.Duration(m.Within).Seconds())
	}
	if m.Commands = s.suite.Mitigation(m.Runbook, s.plan.Experiments); len(m.Commands) == 0 {
		return fmt.Errorf("the runbook %s has no block of commands for the %s testbed that says Mitigates: %s",
			m.Runbook, s.plan.Target, strings.Join(s.plan.Experiments, " or "))
	}
	return nil
}

func nobodyCalled(ctx context.Context) error {
	s := sessionOf(ctx)
	if s.planning() {
		s.plan.Quiet = true
		return nil
	}
	return s.quote(func(r *evidence.Scenario) error {
		for _, a := range r.Alerts {
			if a.Status != verdict.Pass {
				return answer(a.Status, a.Reason)
			}
		}
		return nil
	})
}

func available(ctx context.Context, window string, percent float64) error {
	return objective(ctx, evidence.ObjectivePlan{Name: slo.Availability, Window: window, Ratio: percent / 100})
}

func answered(ctx context.Context, window string, percent, n float64, unit string) error {
	return objective(ctx, evidence.ObjectivePlan{Name: slo.Latency, Window: window, Ratio: percent / 100, Within: evidence.Duration(span(n, unit))})
}

func fresh(ctx context.Context, window string, percent, n float64, unit string) error {
	return objective(ctx, evidence.ObjectivePlan{Name: slo.Freshness, Window: window, Ratio: percent / 100, Within: evidence.Duration(span(n, unit))})
}

func objective(ctx context.Context, o evidence.ObjectivePlan) error {
	s := sessionOf(ctx)
	if s.planning() {
		s.plan.Objectives = append(s.plan.Objectives, o)
		return slo.Validate(o)
	}
	i := slices.Index(s.plan.Objectives, o)
	return s.quote(func(r *evidence.Scenario) error {
		if i < 0 || i >= len(r.SLO) {
			return fmt.Errorf("the %s objective was not judged", o.Name)
		}
		return answer(r.SLO[i].Status, r.SLO[i].Reason)
	})
}

func guarantee(name string) func(context.Context) error {
	return func(ctx context.Context) error { return promise(ctx, evidence.GuaranteePlan{Name: name}) }
}

func doneWithin(ctx context.Context, n float64, unit string) error {
	return promise(ctx, evidence.GuaranteePlan{Name: evidence.DoneWithin, Within: evidence.Duration(span(n, unit))})
}

func promise(ctx context.Context, g evidence.GuaranteePlan) error {
	s := sessionOf(ctx)
	if s.planning() {
		s.plan.Guarantees = append(s.plan.Guarantees, g)
		return nil
	}
	i := slices.Index(s.plan.Guarantees, g)
	return s.quote(func(r *evidence.Scenario) error {
		if i < 0 || i >= len(r.Guarantees) {
			return fmt.Errorf("the guarantee %s was not judged", g.Name)
		}
		return answer(r.Guarantees[i].Status, r.Guarantees[i].Reason)
	})
}

func noResidue(ctx context.Context) error {
	s := sessionOf(ctx)
	if s.planning() {
		return nil
	}
	return s.quote(func(r *evidence.Scenario) error {
		if r.Residue != "none" {
			return fmt.Errorf("residue: %s", r.Residue)
		}
		return nil
	})
}

// quote runs the trial if this is the first sentence about its verdict, and
// lets f answer from it.
func (s *session) quote(f func(*evidence.Scenario) error) error {
	if s.result == nil && s.err == nil {
		s.result, s.err = s.trial()
	}
	if s.err != nil {
		return s.err
	}
	return f(s.result)
}

func answer(status verdict.Status, reason string) error {
	if status == verdict.Pass {
		return nil
	}
	return fmt.Errorf("%s: %s", status, reason)
}
