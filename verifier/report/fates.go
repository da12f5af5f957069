package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"seatrial/verifier/evidence"
)

// fateRow is what became of a victim.
type fateRow struct {
	evidence.VictimPod
	Story    string
	Restarts string
	Lost     bool // the fault went with it
}

func fateRows(s *evidence.Scenario) (rows []fateRow) {
	for _, v := range s.VictimPods {
		row := fateRow{VictimPod: v, Story: v.Story(), Restarts: "–"}
		row.Lost = v.Lasting && row.Story != evidence.SamePod
		var all []string
		for _, c := range slices.Sorted(maps.Keys(v.Restarts)) {
			all = append(all, fmt.Sprintf("%s %d×", c, v.Restarts[c]))
		}
		if len(all) > 0 {
			row.Restarts = strings.Join(all, ", ")
		}
		rows = append(rows, row)
	}
	return rows
}
