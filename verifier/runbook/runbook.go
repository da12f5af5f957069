// Package runbook reads runbooks/<AlertName>.md: what a reader woken at night is
// told, and what of it can be decided by PromQL.
//
// It is pure: it reads an fs.FS and nothing else. It knows neither Prometheus nor
// trials, nor which alerts and experiments exist; it turns expectations into
// PromQL and judges values that others have asked for.
package runbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The testbeds that a command may be for; "" is for both.
const (
	Local      = "local"
	Kubernetes = "kubernetes"
)

// Runbook is one file, named like its alert.
type Runbook struct {
	Name string
	// DetectWithin counts from the proven injection to the alert, RecoverWithin from
	// the fault's removal to the alert's end.
	DetectWithin, RecoverWithin time.Duration
	// AlsoTrue are runbooks during whose faults this diagnosis may be true as well.
	AlsoTrue []string
	// AlsoPages are alerts that may page beside its own.
	AlsoPages []string

	Meaning, Impact string // Markdown
	Diagnosis       []Step
	Causes          []Cause
	Mitigations     []Mitigation
	Advice          string // Markdown of the Mitigation after its last command

	Text []byte // the whole file
}

// The kinds of a Step.
const (
	PromQL = "promql"
	Shell  = "sh"
)

// Step is one fenced block of a Diagnosis with what stands around it.
type Step struct {
	Line        int          // of the block, counted from 1
	Question    string       // Markdown before the block
	Kind        string       // PromQL or Shell
	Target      string       // of Shell: "", Local or Kubernetes
	Query       string       // what the block holds: a query, or commands
	Expectation *Expectation // nil for a step that is for the reader alone and decides nothing
	Note        string       // Markdown after the expectation, or after "Look:"
}

// Cause is one of an alert's causes. Its diagnosis is that of the Runbook and its
// own. Either Injected or NotInjectable is set.
type Cause struct {
	Name          string
	Line          int // of its heading
	Steps         []Step
	Injected      []string // experiments, each of which is this cause
	NotInjectable string   // why no experiment is
}

// Mitigation is one block of commands.
type Mitigation struct {
	Line    int    // of the block
	Target  string // "", Local or Kubernetes
	Command string // shell, of one or more lines
	Undo    string // Markdown: how to take it back
	Text    string // Markdown before the block
	// Mitigates are experiments whose harm the commands end while the fault lasts: trials
	// carry them out. Empty for commands that only look, or that need a decision.
	Mitigates []string
}

// For returns, in their order, the blocks that end the harm of one of the experiments on a
// testbed (Local or Kubernetes).
func (r *Runbook) For(target string, experiments []string) (all []Mitigation) {
	for _, m := range r.Mitigations {
		if m.Target != "" && m.Target != target {
			continue
		}
		if slices.ContainsFunc(m.Mitigates, func(name string) bool { return slices.Contains(experiments, name) }) {
			all = append(all, m)
		}
	}
	return all
}

// PlanStep is a step that decides, as a trial needs it: the step holds at a moment
// when Holds has a value then; an Empty one, when it has none.
type PlanStep struct {
	Query  string
	Expect string
	Holds  string
	Empty  bool
}

// Plan returns the steps of the Diagnosis that decide, at least one. The diagnosis
// is true at a moment when all of them hold.
func (r *Runbook) Plan() []PlanStep { return plan(r.Diagnosis) }

// Plan returns the steps that decide of the cause alone. There may be none.
func (c Cause) Plan() []PlanStep { return plan(c.Steps) }

func plan(steps []Step) []PlanStep {
	var all []PlanStep
	for _, s := range steps {
		if s.Expectation != nil {
			all = append(all, PlanStep{Query: s.Query, Expect: s.Expectation.String(), Holds: s.Expectation.Holds(s.Query), Empty: s.Expectation.Empty})
		}
	}
	return all
}

// Set is a folder of runbooks, by name.
type Set map[string]*Runbook

// Names lists the runbooks in the order of the alphabet.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Get returns the runbook of an alert.
func (s Set) Get(name string) (*Runbook, error) {
	if r, ok := s[name]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("no runbook is called %q; there are %s", name, strings.Join(s.Names(), ", "))
}

// Mistake is what is wrong in one line of a runbook, and what is wanted there.
type Mistake struct {
	File string // with its folder
	Line int    // counted from 1
	Text string
}

// Error returns "runbooks/X.md:12: text".
func (m Mistake) Error() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Text) }
