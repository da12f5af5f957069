package report

import (
	"fmt"
	"slices"
	"strings"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// mitigationRow is a scenario's mitigation as readers see it.
type mitigationRow struct {
	*evidence.Mitigation
	Scenario string
	Link     string // of the runbook, "" when no such file is known or nobody follows it
}

// mitigationRows are the mitigations that a run was to carry out, in the order of its scenarios.
func mitigationRows(run *evidence.Run) (rows []mitigationRow) {
	for i := range run.Scenarios {
		if s := &run.Scenarios[i]; s.Mitigation != nil {
			rows = append(rows, mitigationRow{Mitigation: s.Mitigation, Scenario: s.Name})
		}
	}
	return rows
}

// Nothing says what came of doing nothing.
func (r *mitigationRow) Nothing() string {
	if r.Waited < 0 {
		return "–"
	}
	return "not within " + secs(r.Waited)
}

// With says what came of the mitigation.
func (r *mitigationRow) With() string {
	if r.Restored < 0 {
		return "–"
	}
	return secs(r.Restored)
}

// mitigationLine tells of all of them in one line.
func mitigationLine(rows []mitigationRow) string {
	var after []float64
	open := 0
	for i := range rows {
		switch m := rows[i].Mitigation; m.Status {
		case verdict.Pass:
			after = append(after, m.Restored)
		case verdict.Inconclusive:
			open++
		}
	}
	line := fmt.Sprintf("mitigations: %d of %d restored the service while the fault went on", len(after), len(rows)-open)
	if len(after) > 0 {
		line += fmt.Sprintf(", after %s to %s; doing nothing had not", secs(slices.Min(after)), secs(slices.Max(after)))
	}
	if open > 0 {
		line += fmt.Sprintf("; %d not measured", open)
	}
	return line
}

func summaryMitigations(b *strings.Builder, run *evidence.Run) {
	rows := mitigationRows(run)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "<details><summary>%s</summary>\n\n| | runbook | scenario | restored by doing nothing | by its mitigation |\n|---|---|---|--:|--:|\n", plain(mitigationLine(rows)))
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(b, "| %s %s | %s | %s | %s | %s |\n", marks[r.Status], r.Status, plain(r.Runbook), plain(r.Scenario), r.Nothing(), r.With())
	}
	b.WriteString("\n</details>\n\n")
}
