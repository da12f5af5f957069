// Package confusion judges whether runbooks tell faults apart: the diagnosis of
// a fault's own runbook must be true while the fault lasts, and every other
// one false, unless its runbook declares that it may be true as well. Of the causes
// that the fault's own runbook tells apart, the right one must be found.
//
// It decides from what was seen and asks nobody: it knows neither Prometheus,
// nor files, nor how a runbook is written.
package confusion

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// What is asked of a runbook's diagnosis in a trial: evidence.Diagnosis.Role. It is said
// of causes too: evidence.Cause.Role.
const (
	Must = "must" // the fault is the runbook's own
	May  = "may"  // the runbook declares that its diagnosis can be true then
	Not  = "not"  // anything else, and everything in a trial without a fault
)

// What a cell of the matrix says: evidence.Confusion.Cells.
const (
	True    = "true"  // at some moment
	False   = "false" // at none
	Unknown = "unknown"
)

// Judge judges the row of one trial: each runbook of plan, in that order, by
// what was seen of its diagnosis. Expected are the alerts that the trial's
// scenario expects; an alert's runbook has its name. Held says that there was
// something to diagnose: that the fault was proven to be in force, or that a
// trial without a fault was held. A plan without runbooks has no row.
func Judge(plan []evidence.RunbookPlan, expected []string, seen []evidence.SeenDiagnosis, held bool) []evidence.Diagnosis {
	if len(plan) == 0 {
		return nil
	}
	var row []evidence.Diagnosis
	for i := range plan {
		d := evidence.Diagnosis{Runbook: plan[i].Name, Role: roleOf(&plan[i], expected)}
		judge(&d, find(seen, d.Runbook), expected, held)
		row = append(row, d)
	}
	for _, name := range expected {
		if !slices.ContainsFunc(plan, func(b evidence.RunbookPlan) bool { return b.Name == name }) {
			row = append(row, evidence.Diagnosis{Runbook: name, Role: Must, Reason: "no runbook of the alert " + name + " was in the plan"})
		}
	}
	return row
}

// Note takes a judged row's verdicts back and leaves what they say: of a fault that people
// dealt with.
func Note(row []evidence.Diagnosis) {
	for i := range row {
		row[i].Noted, row[i].Status = true, verdict.Pass
		for j := range row[i].Causes {
			row[i].Causes[j].Status = verdict.Pass
		}
	}
}

func roleOf(b *evidence.RunbookPlan, expected []string) string {
	switch {
	case slices.Contains(expected, b.Name):
		return Must
	case slices.ContainsFunc(expected, func(name string) bool { return slices.Contains(b.AlsoTrue, name) }):
		return May
	}
	return Not
}

// find returns what was seen of a runbook's diagnosis. One that could be asked
// only in part counts as not asked.
func find(seen []evidence.SeenDiagnosis, runbook string) evidence.SeenDiagnosis {
	i := slices.IndexFunc(seen, func(s evidence.SeenDiagnosis) bool { return s.Runbook == runbook })
	switch {
	case i < 0:
		return evidence.SeenDiagnosis{Reason: "the record says nothing of it"}
	case seen[i].Reason != "":
		return evidence.SeenDiagnosis{Reason: seen[i].Reason}
	case seen[i].Asked == 0:
		return evidence.SeenDiagnosis{Reason: "no moment was asked for"}
	}
	return seen[i]
}

func judge(d *evidence.Diagnosis, seen evidence.SeenDiagnosis, expected []string, held bool) {
	if !held {
		seen = evidence.SeenDiagnosis{Reason: cmp.Or(seen.Reason, "the fault was not proven to be in force")}
	}
	d.Asked, d.True = seen.Asked, len(seen.True)
	d.AskedAfter, d.After = seen.AskedAfter, len(seen.After)
	d.Status = verdict.Pass
	switch {
	case d.Asked == 0:
		// Mostly all of a row share the reason; without a name in it they can be told together.
		d.Reason = "cannot judge the runbook's diagnosis: " + seen.Reason
		if d.Role != May {
			d.Status = verdict.Inconclusive
		}
	case d.Role == Must && d.True == 0:
		d.Status, d.Reason = verdict.Fail, fmt.Sprintf("the diagnosis of %s was false at each of %d moments of its own fault", d.Runbook, d.Asked)
	case d.Role == Not && d.True > 0:
		d.Status, d.Reason = verdict.Fail, fmt.Sprintf("the diagnosis of %s was true at %d of %d moments, %s", d.Runbook, d.True, d.Asked, undeclared(expected))
	}
}

// undeclared says what a runbook would have to declare, if it could.
func undeclared(expected []string) string {
	if len(expected) == 0 {
		return "and no alert's fault was there"
	}
	return "and its runbook does not declare it under also_true for " + strings.Join(expected, " or ")
}

// Confusion puts the rows of a run's scenarios together. Runbooks stand in the
// order in which the scenarios break them, so that what must be true lies along
// the diagonal, then by name. A scenario that was not judged has a row of unknowns;
// without any judged diagnosis there is no matrix, and the result is nil.
func Confusion(scenarios []evidence.Scenario) *evidence.Confusion {
	c := &evidence.Confusion{Runbooks: columns(scenarios), Wrong: []string{}}
	if len(c.Runbooks) == 0 {
		return nil
	}
	for i := range scenarios {
		s := &scenarios[i]
		row := slices.Repeat([]string{Unknown}, len(c.Runbooks))
		for j := range s.Diagnoses {
			d := &s.Diagnoses[j]
			row[slices.Index(c.Runbooks, d.Runbook)] = cell(d)
			if d.Status == verdict.Fail {
				c.Wrong = append(c.Wrong, sentence(d, s.Name))
			}
			c.Wrong = append(c.Wrong, wrongCauses(d, s.Name)...)
		}
		c.Causes += judgedCauses(s)
		if slices.ContainsFunc(s.Diagnoses, func(d evidence.Diagnosis) bool { return d.Noted }) {
			c.Noted++
		}
		c.Scenarios = append(c.Scenarios, s.Name)
		c.Cells = append(c.Cells, row)
	}
	return c
}

func columns(scenarios []evidence.Scenario) []string {
	var own, other []string
	for i := range scenarios {
		for _, d := range scenarios[i].Diagnoses {
			switch {
			case d.Role == Must && !slices.Contains(own, d.Runbook):
				own = append(own, d.Runbook)
			case d.Role != Must && !slices.Contains(other, d.Runbook):
				other = append(other, d.Runbook)
			}
		}
	}
	other = slices.DeleteFunc(other, func(name string) bool { return slices.Contains(own, name) })
	slices.Sort(other)
	return append(own, other...)
}

func cell(d *evidence.Diagnosis) string {
	switch {
	case d.Asked == 0:
		return Unknown
	case d.True > 0:
		return True
	}
	return False
}

func sentence(d *evidence.Diagnosis, scenario string) string {
	if d.Role == Must {
		return fmt.Sprintf("%s is false during its own fault, %q", d.Runbook, scenario)
	}
	return fmt.Sprintf("%s is true during %q, and is not declared", d.Runbook, scenario)
}
