// Package coverage answers what is proven of everything that could be: which
// fault is injected by which scenario, which alert and runbook that proves, when
// it last did, and on which testbed. What is not proven is a gap, and listed.
//
// It joins what others have read and judges nothing: a proof is a verdict that
// says pass. It knows neither features, nor rules, nor how a runbook is written.
package coverage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Testbeds are those that a scenario can be proven on, in the order of the page.
var Testbeds = []string{"local", "kubernetes"}

// Sources are all that there is, and what was seen of it.
type Sources struct {
	Plans       []evidence.Plan
	Experiments []string
	Alerts      []string
	Runbooks    []Runbook
	Trials      []evidence.Scenario // of any runs, in any order, on any testbed
}

// Runbook is an alert's, and named like it.
type Runbook struct {
	Name   string
	Causes []Cause
}

// Cause is one of those that a runbook tells apart. Either experiments inject
// it, each of them alone, or NotInjectable says why none can.
type Cause struct {
	Name          string
	Injected      []string
	NotInjectable string
}

// Matrix is the coverage.
type Matrix struct {
	Rows   []Row
	Causes []CauseRow
	Gaps   []Gaps
	counts string
}

// Row is an alert that a scenario expects of its experiments. Alert and Runbook
// are empty where the scenario expects none, Experiments where it injects none.
type Row struct {
	Experiments    []string
	Alert, Runbook string
	Scenario       string
	Proofs         []Proof // as Testbeds
	quiet          bool
}

// CauseRow is a runbook's cause, the scenarios that inject it and expect the
// runbook's alert, and those that inject it and expect other alerts alone.
type CauseRow struct {
	Runbook string
	Cause
	Scenarios, Others []string
	Proofs            []Proof     // the newest of the Scenarios', as Testbeds
	Named             []time.Time // of the newest trial of the Others that named the cause, as Testbeds; zero where none did
	unnamed           []string    // experiments that are in the Others alone, none of which named it
}

// Gaps are the gaps of one kind, as sentences' ends: "experiment in no scenario".
type Gaps struct {
	Kind string
	What []string
}

// Of joins the sources.
func Of(s Sources) *Matrix {
	m := &Matrix{}
	for i := range s.Plans {
		m.Rows = append(m.Rows, rowsOf(&s.Plans[i], &s)...)
	}
	slices.SortStableFunc(m.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.fault(), b.fault()), cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Alert, b.Alert))
	})
	for _, b := range s.Runbooks {
		for _, c := range b.Causes {
			row := m.causeRow(b.Name, c)
			row.name(&s, m)
			m.Causes = append(m.Causes, row)
		}
	}
	m.Gaps = gaps(&s, m)
	m.counts = counts(&s, m)
	return m
}

// rowsOf is a row an expected alert, or one without.
func rowsOf(p *evidence.Plan, s *Sources) []Row {
	expected := []string{""}
	if len(p.Alerts) > 0 {
		expected = p.AlertNames()
	}
	var rows []Row
	for _, alert := range expected {
		r := Row{Experiments: p.Experiments, Alert: alert, Scenario: p.Name, quiet: p.Quiet}
		if slices.ContainsFunc(s.Runbooks, func(b Runbook) bool { return b.Name == alert }) {
			r.Runbook = alert
		}
		for _, testbed := range Testbeds {
			r.Proofs = append(r.Proofs, proofOf(p, alert, testbed, s.Trials))
		}
		rows = append(rows, r)
	}
	return rows
}

// fault is what is injected, in one word to sort by; nothing comes last.
func (r *Row) fault() string {
	if len(r.Experiments) == 0 {
		return "~"
	}
	return strings.Join(r.Experiments, " + ")
}

// causeRow finds the scenarios that inject a cause.
func (m *Matrix) causeRow(book string, c Cause) CauseRow {
	row := CauseRow{Runbook: book, Cause: c, Proofs: make([]Proof, len(Testbeds))}
	for _, r := range m.Rows {
		switch {
		case !slices.ContainsFunc(c.Injected, func(e string) bool { return slices.Contains(r.Experiments, e) }):
		case r.Alert == book:
			row.Scenarios = append(row.Scenarios, r.Scenario)
			for i, p := range r.Proofs {
				row.Proofs[i] = newer(row.Proofs[i], p)
			}
		case !slices.Contains(row.Others, r.Scenario):
			row.Others = append(row.Others, r.Scenario)
		}
	}
	row.Others = slices.DeleteFunc(row.Others, func(name string) bool { return slices.Contains(row.Scenarios, name) })
	return row
}

// counts is the page's first sentence.
func counts(s *Sources, m *Matrix) string {
	causes := 0
	for _, b := range s.Runbooks {
		causes += len(b.Causes)
	}
	text := fmt.Sprintf("%d experiments, %d alerts, %d runbooks with %d causes, %d scenarios.",
		len(s.Experiments), len(s.Alerts), len(s.Runbooks), causes, len(s.Plans))
	for i, testbed := range Testbeds {
		open := map[string]bool{}
		for _, r := range m.Rows {
			if r.Proofs[i].At.IsZero() {
				open[r.Scenario] = true
			}
		}
		text += fmt.Sprintf(" Proven on %s: %d of %d scenarios.", testbed, len(s.Plans)-len(open), len(s.Plans))
	}
	return text
}

// passed says whether a trial proves an alert and its runbook. A trial of a time
// when no diagnosis was asked proves no runbook.
func passed(t *evidence.Scenario, alert string) bool {
	if t.Status != verdict.Pass {
		return false
	}
	return alert == "" || slices.ContainsFunc(t.Diagnoses, func(d evidence.Diagnosis) bool {
		return d.Runbook == alert && d.Role == "must" && d.Status == verdict.Pass && !d.Noted
	})
}
