package postmortem

import (
	"fmt"
	"strings"
	"time"

	"seatrial/verifier/evidence"
)

// impact is what the fault cost, in requests, tasks and error budget.
func impact(b *strings.Builder, c *Case) {
	s := &c.Scenario
	b.WriteString("## Impact\n\n")
	bad := s.Refused + s.Unknown
	fmt.Fprintf(b, "- Requests: %d sent, %d not accepted%s: %d refused, %d with an unknown outcome.\n", s.Ops, bad, of(bad, s.Ops), s.Refused, s.Unknown)
	fmt.Fprintf(b, "- Tasks: %d accepted, %d lost, %d done more than once, %d refused but done, %d put aside as dead letters.\n",
		s.Accepted, s.Lost, s.Duplicated, s.RefusedButDone, s.Dead)
	fmt.Fprintf(b, "- Error budget: %s of that of 30 days, by requests that were not accepted, from the injection to the end of the load.\n", percent(s.BudgetCost))
	b.WriteString("- *Who noticed, and how.*\n\n")
	if len(s.SLO) == 0 {
		return
	}
	b.WriteString("| objective | window | asked | measured | burn rate | budget of 30 days | status |\n|---|---|--:|--:|--:|--:|---|\n")
	for _, o := range s.SLO {
		measured := "no data"
		if o.Measured >= 0 {
			measured = percent(o.Measured)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %.3g | %s | %s |\n", plain(o.Name), plain(o.Window),
			percent(o.Objective), measured, o.BurnRate, percent(o.BudgetSpent), o.Status)
	}
	b.WriteString("\n")
}

// splits are the times that a crew is measured by. They count from the moment at
// which the fault was proven, but for what follows its removal.
func splits(b *strings.Builder, c *Case) {
	s := &c.Scenario
	b.WriteString("## How long it took\n\n| from | to | seconds |\n|---|---|--:|\n")
	row := func(from, to string, seconds float64) {
		text := "not seen"
		if seconds >= 0 {
			text = fmt.Sprintf("%.1f", seconds)
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", from, to, text)
	}
	row("injected", "in force", s.Seconds.InjectToInForce)
	row("in force", "users notice", s.Seconds.InForceToDeviation)
	row("in force", "detected (alert)", s.Seconds.InForceToAlert)
	for _, name := range []string{Acknowledged, Mitigated} {
		if at, ok := c.moment(name); ok {
			row("in force", name, since(c.inForce(), at))
		}
	}
	row("in force", "recovered (users are served)", since(c.inForce(), c.Record.SLOAt))
	row("fault removed", "recovered (users are served)", s.Seconds.RecoverToSLO)
	row("fault removed", "alert resolved", s.Seconds.RecoverToAlertResolved)
	row("fault removed", "backlog drained", s.Seconds.BacklogDrained)
	b.WriteString("\n")
}

// moment is the first moment of that name that people told.
func (c *Case) moment(name string) (first time.Time, ok bool) {
	for _, m := range c.Moments {
		if m.Name == name && (!ok || m.At.Before(first)) {
			first, ok = m.At, true
		}
	}
	return first, ok
}

// since is the time between two events in seconds, at least 0, or -1 when one was not seen.
func since(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return -1
	}
	return max(0, to.Sub(from).Seconds())
}

// fault says what was injected, into whom, and whether the system agreed.
func fault(b *strings.Builder, c *Case) {
	s := &c.Scenario
	b.WriteString("## What the fault was\n\n")
	if len(s.Experiments) == 0 {
		b.WriteString("None was injected.\n\n")
		return
	}
	for _, name := range s.Experiments {
		fmt.Fprintf(b, "- %s: %s\n", plain(name), c.link(evidence.ManifestsDir+"/"+name+".yaml"))
	}
	victims := "none"
	if len(s.Victims) > 0 {
		victims = plain(strings.Join(s.Victims, ", "))
	}
	fmt.Fprintf(b, "- Victims: %s\n- In force by the system's own metrics: %s\n", victims, plain(s.InForce))
	for _, p := range s.Proofs {
		if p.Reason != "" {
			fmt.Fprintf(b, "- %s: %s\n", plain(p.Experiment), plain(p.Reason))
		}
	}
	fmt.Fprintf(b, "- Residue: %s\n\n", plain(s.Residue))
}

// diagnoses says which runbooks recognised the fault.
func diagnoses(b *strings.Builder, c *Case) {
	all := c.Scenario.Diagnoses
	if len(all) == 0 {
		return
	}
	b.WriteString("## What the runbooks said\n\n")
	b.WriteString("| runbook | its diagnosis | true in | status |\n|---|---|--:|---|\n")
	role := map[string]string{"must": "must be true", "may": "may be true", "not": "must be false"}
	for _, d := range all {
		if d.Role == "must" || d.True > 0 || d.Reason != "" {
			fmt.Fprintf(b, "| %s | %s | %d of %d s | %s |\n", plain(d.Runbook), role[d.Role], d.True, d.Asked, reasoned(d))
		}
	}
	if all[0].Noted {
		b.WriteString("\nNoted, and not judged: how long the fault stayed, and what was done meanwhile, was for the crew to decide. " +
			"Those that are not listed were false throughout.\n\n")
		return
	}
	b.WriteString("\nThose that are not listed were false throughout, and had to be.\n\n")
}

func reasoned(d evidence.Diagnosis) string {
	text := d.Status.String()
	if d.Noted {
		text = "noted"
	}
	if d.Reason == "" {
		return text
	}
	return text + ": " + plain(d.Reason)
}

// questions are the sections for people.
func questions(b *strings.Builder, _ *Case) {
	for _, q := range []struct{ title, ask string }{
		{"Root cause", "*Why could this fault hurt? Ask why until the answer is something that can be changed.*"},
		{"What went well", "- *What shortened it?*"},
		{"What went badly", "- *What lengthened it? Which alert, runbook step or access was missing or wrong?*"},
		{"Where we were lucky", "- *What would have made it worse?*"},
	} {
		fmt.Fprintf(b, "## %s\n\n%s\n\n", q.title, q.ask)
	}
	b.WriteString("## Actions\n\n| what | prevents, detects or mitigates | who | until |\n|---|---|---|---|\n| *…* | *…* | *…* | *…* |\n\n")
}

// data links the files of the trial and writes out the queries.
func data(b *strings.Builder, c *Case) {
	b.WriteString("## Data\n\n")
	for _, file := range c.Files {
		fmt.Fprintf(b, "- %s\n", c.link(file))
	}
	b.WriteString("\n`seatrial replay` judges these files again, offline.\n\n### Queries\n")
	for _, p := range c.Scenario.Proofs {
		query(b, "Proof of "+p.Experiment, p.Query)
	}
	for _, o := range c.Record.Objectives {
		query(b, fmt.Sprintf("Good events for %s in the %s window", o.Name, o.Window), o.Query)
	}
}

func query(b *strings.Builder, title, text string) {
	if text != "" {
		fmt.Fprintf(b, "\n%s:\n\n```promql\n%s\n```\n", plain(title), strings.ReplaceAll(text, "```", ""))
	}
}
