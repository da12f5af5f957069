// Package gameday holds a game day: a trial whose fault stays until people have
// dealt with it. It picks the scenario, keeps the limits, takes the
// facilitator's commands, and tells at the end what was the fault and how long
// everything took.
//
// A Game decides and is pure: it has no clock, no terminal and no network. Run
// is the one who acts. The package knows no testbed; it holds the trial that it
// is given.
package gameday

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/postmortem"
	"seatrial/verifier/trial"
)

// State is how far a game is. It only grows.
type State int

// The states.
const (
	Preparing  State = iota // preflight, load, baseline, injection, proof
	Working                 // the fault is proven, and the crew's to deal with
	Recovering              // the fault is being removed; the system gets well
	Over
)

// Rules are a game's limits, and what it needs to know of its scenario.
type Rules struct {
	AbortBudget float64                  // share of a 30-day error budget at which the fault is removed
	MaxDuration time.Duration            // from the proof of the fault to its removal
	Objectives  []evidence.ObjectivePlan // whose budgets are spent, each its own
	Hints       []string                 // the steps of the diagnosis, in order
}

// Action is what is to be done after an event.
type Action int

// The actions.
const (
	Nothing     Action = iota
	RemoveFault        // end the fault window; the trial then goes on to its end
	Abort              // end the trial: remove the fault, stop the load, judge nothing
)

// Answer is what the game makes of an event.
type Answer struct {
	Say []string // lines for the facilitator
	Do  Action
	Why string // the reason of an Action
}

// Sight is what the game is shown, about once a second.
type Sight struct {
	Phase   string // the trial's
	Load    trial.LoadStatus
	Backlog int
	Alerts  []evidence.SeenAlert // firing
	Events  map[string]Events    // since the injection, by the objective's name; of availability the Load tells
}

// Game is one game day. The zero value is not useful: see New.
type Game struct {
	rules   Rules
	state   State
	last    Sight
	moments []evidence.Marker
	told    []evidence.SeenAlert // what rings, as the facilitator has read; from the injection on
	hinted  int

	injected count     // zero time before the injection
	inForce  time.Time // when the game saw the proof
	counts   []count   // as far back as an objective looks, and a bit
}

// New returns a game that has not begun.
func New(r Rules) *Game { return &Game{rules: r} }

// State returns how far the game is.
func (g *Game) State() State { return g.state }

// Moments are what people said and what the limits did, in order.
func (g *Game) Moments() []evidence.Marker { return slices.Clone(g.moments) }

func (g *Game) mark(at time.Time, name string) {
	g.moments = append(g.moments, evidence.Marker{Name: name, At: at})
}

// phases of the trial in which the fault may act, before and after its proof.
const (
	phaseProving = "in force?"
	phaseFault   = "fault"
)

// See takes what is seen at a moment.
func (g *Game) See(at time.Time, s Sight) Answer {
	g.enter(at, s)
	g.last = s
	var say []string
	if !g.injected.at.IsZero() { // what began and ended before is of the testbed's start
		say = alertNews(g.told, s.Alerts)
		g.told = s.Alerts
	}
	if g.state == Working {
		if a := g.limits(at); a.Do != Nothing {
			a.Say = append(say, a.Say...)
			return a
		}
	}
	return Answer{Say: say}
}

// enter follows the trial's phases and keeps count.
func (g *Game) enter(at time.Time, s Sight) {
	now := g.note(at, s)
	if g.injected.at.IsZero() && (s.Phase == phaseProving || s.Phase == phaseFault) {
		g.injected = now
	}
	switch {
	case g.state == Preparing && s.Phase == phaseFault:
		g.state, g.inForce = Working, at
	case g.state == Working && s.Phase != phaseFault && s.Phase != phaseProving:
		g.state = Recovering // the trial's own clock was first
		g.mark(at, "the fault's time is up")
	}
}

// limits removes the fault when the budget or the time is used up.
func (g *Game) limits(at time.Time) Answer {
	why := ""
	switch _, worst := g.Worst(); {
	case worst.Spent >= g.rules.AbortBudget:
		why = fmt.Sprintf("abort limit: %s of the 30-day error budget of %s is spent, the limit is %s", share(worst.Spent), worst.Name, share(g.rules.AbortBudget))
	case at.Sub(g.inForce) >= g.rules.MaxDuration:
		why = fmt.Sprintf("the time is up: %v since the fault was in force", g.rules.MaxDuration)
	default:
		return Answer{}
	}
	g.state = Recovering
	g.mark(at, why)
	return Answer{Say: []string{why, "the fault is being removed"}, Do: RemoveFault, Why: why}
}

// Interrupt is an end that nobody at the game asked for: a Ctrl-C, a lost lease.
func (g *Game) Interrupt(at time.Time) {
	if g.state != Over {
		g.state = Over
		g.mark(at, "interrupted")
	}
}

// End ends the game: nothing is taken any more.
func (g *Game) End() { g.state = Over }

// Usage names the commands.
const Usage = "commands: ack, hint, mitigated, abort [REASON]"

// Command takes a line that the facilitator typed.
func (g *Game) Command(at time.Time, line string) Answer {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word == "" {
		return Answer{}
	}
	if g.state == Over {
		return say("the game is over")
	}
	switch strings.ToLower(word) {
	case "ack":
		return g.ack(at)
	case "hint":
		return g.hint(at)
	case "mitigated":
		return g.mitigated(at)
	case "abort":
		return g.abort(at, strings.TrimSpace(rest))
	case "help", "?":
		return say(Usage)
	}
	return say(fmt.Sprintf("unknown command %q; %s", word, Usage))
}

func say(lines ...string) Answer { return Answer{Say: lines} }

// notNow says why a command for the crew's time cannot be taken; "" if it can.
func (g *Game) notNow(command string) string {
	switch g.state {
	case Preparing:
		return command + ": the fault is not in force yet"
	case Recovering:
		return command + ": too late, the fault is being removed"
	}
	return ""
}

func (g *Game) ack(at time.Time) Answer {
	if no := g.notNow("ack"); no != "" {
		return say(no)
	}
	if g.said(postmortem.Acknowledged) {
		return say("ack: it was acknowledged before; the first time counts")
	}
	g.mark(at, postmortem.Acknowledged)
	return say("acknowledged " + g.clock(at) + " after the fault was in force")
}

func (g *Game) said(moment string) bool {
	return slices.ContainsFunc(g.moments, func(m evidence.Marker) bool { return m.Name == moment })
}

func (g *Game) hint(at time.Time) Answer {
	if no := g.notNow("hint"); no != "" {
		return say(no)
	}
	if g.hinted == len(g.rules.Hints) {
		return say("hint: that was all of the runbook's Diagnosis; its Mitigation comes next")
	}
	text := g.rules.Hints[g.hinted]
	g.hinted++
	g.mark(at, fmt.Sprintf("hint %d of %d given", g.hinted, len(g.rules.Hints)))
	lines := []string{fmt.Sprintf("hint %d of %d:", g.hinted, len(g.rules.Hints))}
	for line := range strings.Lines(text) {
		lines = append(lines, "  "+strings.TrimRight(line, "\n"))
	}
	return say(lines...)
}

// mitigated takes the time and removes the fault, whether the crew's mitigation
// has dealt with it or the facilitator only saw that it would.
func (g *Game) mitigated(at time.Time) Answer {
	if no := g.notNow("mitigated"); no != "" {
		return say(no)
	}
	g.state = Recovering
	g.mark(at, postmortem.Mitigated)
	return Answer{
		Say: []string{"mitigated " + g.clock(at) + " after the fault was in force; what is left of the fault is being removed"},
		Do:  RemoveFault, Why: postmortem.Mitigated,
	}
}

func (g *Game) abort(at time.Time, reason string) Answer {
	why := "aborted by the facilitator"
	if reason != "" {
		why += ": " + reason
	}
	g.state = Over
	g.mark(at, why)
	return Answer{Say: []string{why + "; everything is being taken back"}, Do: Abort, Why: why}
}

// clock is the time since the fault was in force.
func (g *Game) clock(at time.Time) string {
	d := at.Sub(g.inForce).Round(time.Second)
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// alertNews says which alerts began and ended between two looks.
func alertNews(before, now []evidence.SeenAlert) (say []string) {
	has := func(all []evidence.SeenAlert, name string) bool {
		return slices.ContainsFunc(all, func(a evidence.SeenAlert) bool { return a.Name == name })
	}
	for _, a := range now {
		if !has(before, a.Name) {
			say = append(say, "alert "+alertWords(a))
		}
	}
	for _, a := range before {
		if !has(now, a.Name) {
			say = append(say, "resolved "+a.Name)
		}
	}
	return say
}

func alertWords(a evidence.SeenAlert) string {
	words := a.Name
	if a.Severity != "" {
		words += " (" + a.Severity
		if a.Silenced {
			words += ", inhibited"
		}
		words += ")"
	}
	return words + "  " + a.RunbookURL
}
