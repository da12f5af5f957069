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
		{"Causes that nothing injects", uninjected(s, m)},
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

// uninjected are the causes that no scenario brings about, with the reason.
func uninjected(s *Sources, m *Matrix) (all []string) {
	for _, c := range m.Causes {
		if len(c.Injected) == 0 {
			all = append(all, fmt.Sprintf("%s, %s: not injectable: %s", c.Runbook, c.Name, c.NotInjectable))
		}
		for _, e := range c.Injected {
			switch {
			case !slices.Contains(s.Experiments, e):
				all = append(all, fmt.Sprintf("%s, %s: there is no experiment %s", c.Runbook, c.Name, e))
			case !m.injects(e, c.Runbook):
				all = append(all, fmt.Sprintf("%s, %s: no scenario injects %s and expects the alert", c.Runbook, c.Name, e))
			}
		}
	}
	return all
}

// injects says whether a scenario injects the experiment and expects the alert.
func (m *Matrix) injects(experiment, alert string) bool {
	return slices.ContainsFunc(m.Rows, func(r Row) bool { return r.Alert == alert && slices.Contains(r.Experiments, experiment) })
}
