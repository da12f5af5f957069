package coverage

import (
	"fmt"
	"slices"

	"seatrial/verifier/evidence"
)

// gaps lists what is missing, a kind at a time, in the order of the chain: fault,
// scenario, alert, runbook, cause.
func gaps(s *Sources, m *Matrix) []Gaps {
	return []Gaps{
		{"Experiments in no scenario", without(s.Experiments, func(name string) bool {
			return slices.ContainsFunc(s.Plans, func(p evidence.Plan) bool { return slices.Contains(p.Experiments, name) })
		})},
		{"Scenarios that no trial has proven, on any testbed", unproven(m)},
		{"Alerts that no scenario expects", without(s.Alerts, m.expects)},
		{"Alerts without a runbook", without(s.Alerts, func(name string) bool { return slices.Contains(names(s.Runbooks), name) })},
		{"Runbooks without a scenario", without(names(s.Runbooks), m.expects)},
		{"Runbooks without an alert", without(names(s.Runbooks), func(name string) bool { return slices.Contains(s.Alerts, name) })},
		{"Runbooks with causes that are injected in no scenario that expects the alert, and named in no other", m.perBook(func(c *CauseRow, e string) string { return unexpected(c, e, s.Experiments) })},
		{"Runbooks with causes that no experiment injects (the reasons are below)", m.perBook(func(c *CauseRow, e string) string {
			if e == "" {
				return c.Name
			}
			return ""
		})},
	}
}

// without keeps the names of which has is not true.
func without(all []string, has func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(all), has)
}

func names(books []Runbook) (all []string) {
	for _, b := range books {
		all = append(all, b.Name)
	}
	return all
}

// expects says whether some scenario expects the alert.
func (m *Matrix) expects(alert string) bool {
	return slices.ContainsFunc(m.Rows, func(r Row) bool { return r.Alert == alert })
}

// unproven are the scenarios with an alert that no trial has proven.
func unproven(m *Matrix) (all []string) {
	for _, r := range m.Rows {
		if !slices.ContainsFunc(r.Proofs, func(p Proof) bool { return !p.At.IsZero() }) && !slices.Contains(all, r.Scenario) {
			all = append(all, r.Scenario)
		}
	}
	return all
}

// perBook says in a line a runbook what is to be said of its causes' experiments, a
// cause without any having one called "".
func (m *Matrix) perBook(say func(c *CauseRow, experiment string) string) (lines []string) {
	book := ""
	for i := range m.Causes {
		c := &m.Causes[i]
		experiments := c.Injected
		if len(experiments) == 0 {
			experiments = []string{""}
		}
		for _, e := range experiments {
			switch text := say(c, e); {
			case text == "":
			case c.Runbook == book:
				lines[len(lines)-1] += "; " + text
			default:
				book, lines = c.Runbook, append(lines, c.Runbook+": "+text)
			}
		}
	}
	return lines
}

// unexpected says that a cause's experiment raises the alert in no scenario, and that no trial
// named it all the same; "" if one did or there is no experiment.
func unexpected(c *CauseRow, experiment string, known []string) string {
	switch {
	case !slices.Contains(c.unnamed, experiment):
		return ""
	case !slices.Contains(known, experiment):
		return fmt.Sprintf("%s (there is no experiment %s)", c.Name, experiment)
	}
	return fmt.Sprintf("%s (%s)", c.Name, experiment)
}

// injects says whether a scenario injects the experiment and expects the alert.
func (m *Matrix) injects(experiment, alert string) bool {
	return slices.ContainsFunc(m.Rows, func(r Row) bool { return r.Alert == alert && slices.Contains(r.Experiments, experiment) })
}
