package confusion

import (
	"fmt"
	"slices"
	"strings"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Causes judges, in a row that Judge has judged, which causes the runbooks of expected
// alerts named: one that an experiment of the trial is must be true at some moment,
// and no other that can be injected may be true as often as that one. What no
// experiment is cannot be proven; it is noted, and not judged. So are the causes of a
// runbook that need not be true, was, and names an experiment of the trial.
func Causes(row []evidence.Diagnosis, plan []evidence.RunbookPlan, experiments []string, seen []evidence.SeenDiagnosis) {
	for i := range row {
		d := &row[i]
		b := slices.IndexFunc(plan, func(b evidence.RunbookPlan) bool { return b.Name == d.Runbook })
		if b < 0 || d.Role != Must && !noted(d, &plan[b], experiments, seen) {
			continue
		}
		d.Causes = nil
		for _, c := range plan[b].Causes {
			d.Causes = append(d.Causes, causeOf(d, c, experiments, find(seen, d.Runbook).Causes))
		}
		if d.Role == Must {
			judgeCauses(d)
		}
	}
}

// noted says whether there is something to note of a runbook that need not be true: it was, as
// it may or when the fault had been taken away, and a cause is an experiment of the trial. Old
// records say nothing of such causes.
func noted(d *evidence.Diagnosis, plan *evidence.RunbookPlan, experiments []string, seen []evidence.SeenDiagnosis) bool {
	was := d.Role == May && d.True > 0 || d.After > 0
	return was && plan.Names(experiments) && len(find(seen, d.Runbook).Causes) > 0
}

func judgeCauses(d *evidence.Diagnosis) {
	right, often := rightOnes(d.Causes)
	for j := range d.Causes {
		judgeCause(&d.Causes[j], d, right, often)
	}
}

// causeOf notes what was seen of a cause. It is known as far as its diagnosis is.
func causeOf(d *evidence.Diagnosis, plan evidence.CausePlan, experiments []string, seen []evidence.SeenCause) evidence.Cause {
	c := evidence.Cause{Name: plan.Name, Role: causeRole(&plan, experiments), Status: verdict.Pass}
	i := slices.IndexFunc(seen, func(s evidence.SeenCause) bool { return s.Name == plan.Name })
	switch {
	case d.Asked == 0:
		c.Reason = "its runbook's diagnosis is unknown"
	case i < 0:
		c.Reason = "the record says nothing of it"
	case seen[i].Reason != "":
		c.Reason = seen[i].Reason
	default:
		c.Asked, c.True = d.Asked+d.AskedAfter, len(seen[i].True)
	}
	return c
}

func causeRole(plan *evidence.CausePlan, experiments []string) string {
	switch {
	case len(plan.Injected) == 0:
		return May
	case plan.Is(experiments):
		return Must
	}
	return Not
}

// rightOnes names the causes that must be true, and says how often the one was that was
// true most often.
func rightOnes(causes []evidence.Cause) (names []string, often int) {
	for _, c := range causes {
		if c.Role == Must {
			names, often = append(names, fmt.Sprintf("%q", c.Name)), max(often, c.True)
		}
	}
	return names, often
}

func judgeCause(c *evidence.Cause, d *evidence.Diagnosis, right []string, often int) {
	switch {
	case c.Asked == 0:
		c.Reason = "cannot judge the cause: " + c.Reason
		if c.Role != May {
			c.Status = verdict.Inconclusive
		}
	case c.Role == May:
	case d.True == 0 && c.Role == Must:
		// The diagnosis has failed for it already.
		c.Status, c.Reason = verdict.Inconclusive, "cannot judge the cause: its runbook's diagnosis was never true"
	case c.Role == Must && c.True == 0:
		c.Status, c.Reason = verdict.Fail, fmt.Sprintf("the runbook %s does not name its cause %q: it was false at each of the %d moments at which the diagnosis was true", d.Runbook, c.Name, d.True)
	case c.Role == Not && c.True > 0 && c.True >= often:
		c.Status, c.Reason = verdict.Fail, fmt.Sprintf("the runbook %s names the wrong cause: %q was true at %d moments, %s", d.Runbook, c.Name, c.True, insteadOf(right, often))
	}
}

// insteadOf says how often the right cause was true.
func insteadOf(right []string, often int) string {
	if len(right) == 0 {
		return "and no cause names what was injected"
	}
	return fmt.Sprintf("%s at %d", strings.Join(right, " or "), often)
}

// judgedCauses counts the causes of a scenario that were judged.
func judgedCauses(s *evidence.Scenario) (n int) {
	for _, d := range s.Diagnoses {
		for _, c := range d.Causes {
			if d.Role == Must && c.Role != May && c.Asked > 0 && !d.Noted {
				n++
			}
		}
	}
	return n
}

// wrongCauses are a runbook's wrong causes in a scenario, as sentences.
func wrongCauses(d *evidence.Diagnosis, scenario string) (all []string) {
	for _, c := range d.Causes {
		switch {
		case c.Status != verdict.Fail:
		case c.Role == Must:
			all = append(all, fmt.Sprintf("%s does not name its cause, %q, during %q", d.Runbook, c.Name, scenario))
		default:
			all = append(all, fmt.Sprintf("%s names the wrong cause, %q, during %q", d.Runbook, c.Name, scenario))
		}
	}
	return all
}
