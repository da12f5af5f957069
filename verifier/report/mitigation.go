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

// Nothing says for how long, at least, the service was not restored while nothing was done.
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

// Plainly says what was measured of a mitigation that was carried out in full, "" of any other. How
// long the service would have taken by itself nobody knows: only that it took longer.
func (r *mitigationRow) Plainly() string {
	broke := slices.ContainsFunc(r.Commands, func(c evidence.SeenCommand) bool { return c.Error != "" })
	switch {
	case r.Status == verdict.Pass:
		return fmt.Sprintf("not restored by itself within %s; restored %s after the mitigation began", secs(r.Waited), secs(r.Restored))
	case r.Status == verdict.Fail && !broke:
		return fmt.Sprintf("not restored by itself within %s, nor within %v after the mitigation began", secs(r.Waited), r.Within)
	}
	return ""
}

// mitigationLine tells of all of them in one line.
func mitigationLine(rows []mitigationRow) string {
	var after, waited []float64
	open := 0
	for i := range rows {
		switch m := rows[i].Mitigation; m.Status {
		case verdict.Pass:
			after, waited = append(after, m.Restored), append(waited, m.Waited)
		case verdict.Inconclusive:
			open++
		}
	}
	line := fmt.Sprintf("mitigations: %d of %d restored the service while the fault went on", len(after), len(rows)-open)
	if len(after) > 0 {
		line += fmt.Sprintf(", %s after they began; by itself it was not restored within %s", fromTo(after), fromTo(waited))
	}
	if open > 0 {
		line += fmt.Sprintf("; %d not measured", open)
	}
	return line
}

// fromTo says between which two times some lie.
func fromTo(seconds []float64) string {
	least, most := secs(slices.Min(seconds)), secs(slices.Max(seconds))
	if least == most {
		return least
	}
	return least + " to " + most
}

func summaryMitigations(b *strings.Builder, run *evidence.Run) {
	rows := mitigationRows(run)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "<details><summary>%s</summary>\n\n| | runbook | scenario | restored by itself | from its mitigation's beginning |\n|---|---|---|--:|--:|\n", plain(mitigationLine(rows)))
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(b, "| %s %s | %s | %s | %s | %s |\n", marks[r.Status], r.Status, plain(r.Runbook), plain(r.Scenario), r.Nothing(), r.With())
	}
	b.WriteString("\n</details>\n\n")
}
