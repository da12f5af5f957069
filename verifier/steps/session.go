// Package steps is the language of the features: each step is a sentence that
// adds one line to a trial's plan, or quotes one line of its verdict.
//
// A feature is walked twice. The planning walk touches nothing: it turns the
// sentences into Plans and finds every mistake (an undefined step, an
// experiment or a runbook that does not exist) before anything is deployed.
// The judging walk runs each trial once, at its first Then, and lets each
// sentence answer with its own part of the verdict. Steps decide nothing
// themselves, and never clean up: a trial recovers its own faults.
package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	gherkin "github.com/cucumber/gherkin/go/v26"
	"github.com/cucumber/godog"

	"seatrial/verifier/evidence"
)

// Suite is a set of features and what their sentences may name.
type Suite struct {
	Features fs.FS // *.feature files
	Tags     string
	Seed     int64
	Target   string
	// LoadScale multiplies the rate of every load, for a machine that is too small for the features' or a system that takes
	// more. 0 and 1 leave them as they are.
	LoadScale float64
	Runbooks  []evidence.RunbookPlan // all; each trial is held against them
	// HasExperiment and HasRunbook return an error for a name that does not
	// exist.
	HasExperiment func(name string) error
	HasRunbook    func(name string) error
	// Mitigation returns the commands by which a runbook mitigates one of the experiments
	// on the target. Nil: no scenario's mitigation is carried out.
	Mitigation func(runbook string, experiments []string) []evidence.CommandPlan
}

// RunTrial runs the trial of a plan once. An error means that there is no verdict.
type RunTrial func(context.Context, evidence.Plan) (*evidence.Scenario, error)

// ErrNothing says that no scenario was executed, which never is a success.
var ErrNothing = errors.New("no scenario matches")

// Plans walks the features and returns a plan a scenario, in their order. The
// error names every mistake with file and line.
func (s Suite) Plans(ctx context.Context) ([]evidence.Plan, error) {
	if err := s.parse(); err != nil {
		return nil, err
	}
	var plans []evidence.Plan
	var mistakes []error
	begin := func(sc *godog.Scenario) *session {
		return &session{suite: s, plan: newPlan(s, sc)}
	}
	end := func(ss *session, sc *godog.Scenario) {
		for _, m := range ss.check() {
			mistakes = append(mistakes, fmt.Errorf("%s: scenario %q: %w", sc.Uri, sc.Name, m))
		}
		plans = append(plans, ss.plan)
	}
	failed := func(sc *godog.Scenario, text string, err error) {
		mistakes = append(mistakes, fmt.Errorf("%s: %w", s.place(sc, text), err))
	}
	s.walk(ctx, io.Discard, begin, end, failed)
	if len(mistakes) == 0 && len(plans) == 0 {
		return nil, s.nothing()
	}
	return plans, errors.Join(append(mistakes, sameNames(plans)...)...)
}

// nothing says why there is no scenario.
func (s Suite) nothing() error {
	if s.Tags == "" {
		return fmt.Errorf("%w: the features hold none", ErrNothing)
	}
	return fmt.Errorf("%w the tags %q", ErrNothing, s.Tags)
}

// parse finds what is not Gherkin; godog itself would only print it. It tells
// the first mistake of each file: what follows is mostly its echo.
func (s Suite) parse() error {
	files, err := fs.Glob(s.Features, "*.feature")
	if err != nil {
		return fmt.Errorf("list features: %w", err)
	}
	if len(files) == 0 {
		return fmt.Errorf("%w: there is no *.feature file", ErrNothing)
	}
	var mistakes []error
	for _, name := range files {
		data, err := fs.ReadFile(s.Features, name)
		if err != nil {
			return fmt.Errorf("read feature: %w", err)
		}
		if _, err := gherkin.ParseGherkinDocument(bytes.NewReader(data), func() string { return "" }); err != nil {
			lines := strings.Split(strings.TrimPrefix(err.Error(), "Parser errors:\n"), "\n")
			mistakes = append(mistakes, fmt.Errorf("%s: not Gherkin: %s", name, lines[0]))
		}
	}
	return errors.Join(mistakes...)
}

func sameNames(plans []evidence.Plan) (mistakes []error) {
	seen := map[string]string{}
	for _, p := range plans {
		if other, ok := seen[evidence.Slug(p.Name)]; ok {
			mistakes = append(mistakes, fmt.Errorf("%s: scenario %q has the name of one in %s", p.Feature, p.Name, other))
		}
		seen[evidence.Slug(p.Name)] = p.Feature
	}
	return mistakes
}

// Run walks the features, running each trial, and writes godog's own account
// to out. It returns the verdicts in order; once ctx is done no further trial
// is begun.
func (s Suite) Run(ctx context.Context, out io.Writer, run RunTrial) ([]*evidence.Scenario, error) {
	plans, err := s.Plans(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]evidence.Plan{}
	for _, p := range plans {
		byName[p.Name] = p
	}
	var results []*evidence.Scenario
	var failures []error
	begin := func(sc *godog.Scenario) *session {
		ss := &session{suite: s, plan: byName[sc.Name]}
		ss.trial = func() (*evidence.Scenario, error) {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("not run: %w", ctx.Err())
			}
			result, err := run(ctx, ss.plan)
			if err != nil {
				failures = append(failures, fmt.Errorf("scenario %q: %w", ss.plan.Name, err))
				return nil, err
			}
			results = append(results, result)
			return result, nil
		}
		return ss
	}
	s.walk(context.WithoutCancel(ctx), out, begin, func(*session, *godog.Scenario) {}, func(*godog.Scenario, string, error) {})
	if len(results) == 0 && len(failures) == 0 {
		failures = append(failures, s.nothing())
	}
	return results, errors.Join(failures...)
}

type sessionKey struct{}

// walk runs godog once over the features.
func (s Suite) walk(ctx context.Context, out io.Writer, begin func(*godog.Scenario) *session,
	end func(*session, *godog.Scenario), failed func(*godog.Scenario, string, error)) int {
	suite := godog.TestSuite{
		Name: "seatrial",
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			var current *godog.Scenario
			sc.Before(func(ctx context.Context, scenario *godog.Scenario) (context.Context, error) {
				current = scenario
				return context.WithValue(ctx, sessionKey{}, begin(scenario)), nil
			})
			sc.StepContext().After(func(ctx context.Context, st *godog.Step, status godog.StepResultStatus, err error) (context.Context, error) {
				if status == godog.StepUndefined {
					err = fmt.Errorf("undefined step %q: docs/features.md lists the sentences", st.Text)
				}
				if err != nil {
					sessionOf(ctx).failed = true
					failed(current, st.Text, err)
				}
				return ctx, nil
			})
			sc.After(func(ctx context.Context, scenario *godog.Scenario, _ error) (context.Context, error) {
				end(sessionOf(ctx), scenario)
				return ctx, nil
			})
			register(sc)
		},
		Options: &godog.Options{
			Format: "pretty", NoColors: true, Strict: true, Tags: s.Tags, FS: s.Features,
			Paths: []string{"."}, Output: out, DefaultContext: ctx, Concurrency: 1,
		},
	}
	return suite.Run()
}

func sessionOf(ctx context.Context) *session { return ctx.Value(sessionKey{}).(*session) }

// place finds the file and line of a step. godog hands over texts without
// lines, so it is the first line with the text below the scenario's name.
func (s Suite) place(sc *godog.Scenario, text string) string {
	data, err := fs.ReadFile(s.Features, path.Clean(sc.Uri))
	if err != nil {
		return sc.Uri
	}
	below := false
	for n, line := range strings.Split(string(data), "\n") {
		below = below || strings.Contains(line, sc.Name)
		if below && strings.HasSuffix(strings.TrimSpace(line), text) {
			return fmt.Sprintf("%s:%d", sc.Uri, n+1)
		}
	}
	return sc.Uri
}
