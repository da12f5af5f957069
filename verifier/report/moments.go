package report

import (
	"strings"
	"time"

	"seatrial/verifier/evidence"
)

// moments are a scenario's markers, and those events of alerts and proofs that
// have none yet.
func moments(s *evidence.Scenario) []evidence.Marker {
	all := append([]evidence.Marker(nil), s.Markers...)
	add := func(name string, at *time.Time, words ...string) {
		if at == nil || at.IsZero() {
			return
		}
		for _, m := range all {
			if near(m.At, *at) && containsAll(m.Name, words) {
				return
			}
		}
		all = append(all, evidence.Marker{Name: name, At: *at})
	}
	for _, p := range s.Proofs {
		add("in force: "+p.Experiment, p.InForceAt, "in force")
	}
	for _, a := range s.Alerts {
		add("alert "+a.Name, a.FiredAt, "alert", a.Name)
		add("resolved "+a.Name, a.ResolvedAt, "resolved", a.Name)
	}
	return all
}

// near allows for two observers of one event.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < 1500*time.Millisecond }

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// kindOf sorts a marker by its name, for its looks alone.
func kindOf(name string) string {
	switch {
	case strings.HasPrefix(name, "inject"):
		return "inject"
	case strings.HasPrefix(name, "in force"):
		return "proof"
	case strings.HasPrefix(name, "alert"):
		return "alert"
	case strings.HasPrefix(name, "recover"), strings.HasPrefix(name, "removed"), strings.Contains(name, "resolved"):
		return "recover"
	}
	return "note"
}
