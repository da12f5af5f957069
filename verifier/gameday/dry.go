package gameday

import (
	"fmt"
	"io"
	"strings"
	"time"

	"seatrial/experiments"
	"seatrial/verifier/evidence"
)

// Touch is what a game day would touch, found without touching it.
type Touch struct {
	Scenario evidence.Plan // as the features have it
	Rules    Rules
	Where    string // the testbed, in words
	Target   string // where the load is sent to
	Faults   []Touched
}

// Touched is one experiment and the pods that it is about.
type Touched struct {
	Experiment *experiments.Experiment // as it would last
	Pods       []string                // that the selector matches
	Drawn      []string                // out of them, by the seed; nil where a query decides when it begins
	Manifest   []byte                  // as it would be applied
}

// Write tells it to a reader.
func (t Touch) Write(w io.Writer) error {
	var b strings.Builder
	p := PlanOf(t.Scenario, t.Rules.MaxDuration)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s "+format+"\n", append([]any{name}, args...)...)
	}
	row("scenario", "%s (%s)", t.Scenario.Name, t.Scenario.Feature)
	row("runbook", "%s", p.Runbook)
	row("testbed", "%s", t.Where)
	row("load", "%s, %g requests/s, to %s, until the queue is empty after the game", p.Load.Profile, p.Load.Rate, t.Target)
	row("windows", "baseline %v, fault until `mitigated`, recovery %v", p.Baseline, p.Recovery)
	row("limits", "the fault is removed after %v, or when %s of a 30-day error budget is spent (of %s)",
		t.Rules.MaxDuration, share(t.Rules.AbortBudget), objectiveWords(t.Rules.Objectives))
	for _, f := range t.Faults {
		f.write(&b, row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *Touched) write(b *strings.Builder, row func(string, string, ...any)) {
	e := f.Experiment
	row("experiment", "%s: %s %s, %s", e.Name, e.Kind, e.Action, lasts(e))
	row("pods", "%s (mode %s)", strings.Join(f.Pods, ", "), e.Mode())
	if f.Drawn != nil {
		row("drawn", "%s", strings.Join(f.Drawn, ", "))
	} else {
		row("drawn", "when it begins, out of those that answer: %s", e.Victims)
	}
	b.WriteString("\n")
	for line := range strings.Lines(string(f.Manifest)) {
		b.WriteString("    " + line)
	}
	b.WriteString("\n")
}

// lasts is how long an experiment acts, in words.
func lasts(e *experiments.Experiment) string {
	switch {
	case e.Repeat.Times > 0:
		return fmt.Sprintf("%d times, %v apart", e.Repeat.Times, e.Repeat.Every)
	case e.Duration > 0:
		return fmt.Sprintf("at most %v", e.Duration.Round(time.Second))
	}
	return "once: nothing is left to be removed"
}
