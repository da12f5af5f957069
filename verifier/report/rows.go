package report

import (
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// confirmed is the Result of a Proof that agrees.
const confirmed = "confirmed"

// split is one of a trial's times between two events.
type split struct {
	From, To string
	Value    string
	Seen     bool
}

func splits(s *evidence.Scenario) []split {
	if len(s.Experiments) == 0 {
		return nil
	}
	all := []split{
		{From: "injected", To: "in force", Value: secs(s.Seconds.InjectToInForce)},
		{From: "in force", To: "users notice", Value: secs(s.Seconds.InForceToDeviation)},
		{From: "in force", To: "alert fires", Value: secs(s.Seconds.InForceToAlert)},
		{From: "removed", To: "SLO back", Value: secs(s.Seconds.RecoverToSLO)},
		{From: "removed", To: "alert resolved", Value: secs(s.Seconds.RecoverToAlertResolved)},
		{From: "removed", To: "backlog drained", Value: secs(s.Seconds.BacklogDrained)},
	}
	for i := range all {
		all[i].Seen = all[i].Value != notSeen
	}
	return all
}

// entry is one figure of the ledger.
type entry struct {
	Name, Value, Note string
	Bad               bool
}

func ledger(s *evidence.Scenario) []entry {
	open := notJudged(s)
	all := []entry{
		{Name: "requests", Value: num(s.Ops)},
		{Name: "accepted", Value: num(s.Accepted)},
		{Name: "completed", Value: num(s.Completed)},
		{Name: "lost", Value: num(s.Lost), Bad: s.Lost > 0, Note: open},
		{Name: "done more than once", Value: num(s.Duplicated), Bad: s.Duplicated > 0, Note: open},
		{Name: "refused", Value: num(s.Refused)},
		{Name: "refused but done", Value: num(s.RefusedButDone), Bad: s.RefusedButDone > 0, Note: open},
		{Name: "unknown", Value: num(s.Unknown), Note: unknownDone(s)},
	}
	// These are shown when there are any: Evidence of a trial that did not count
	// them has zeros too.
	if s.Dead > 0 {
		all = append(all, entry{Name: "dead letters", Value: num(s.Dead)})
	}
	if s.Phantoms > 0 {
		all = append(all, entry{Name: "done unasked", Value: num(s.Phantoms), Bad: true})
	}
	return all
}

func unknownDone(s *evidence.Scenario) string {
	if s.UnknownDone == 0 {
		return ""
	}
	return num(s.UnknownDone) + " of them done"
}

// notJudged qualifies a ledger that no guarantee could be judged by: a 0 there
// is not good news.
func notJudged(s *evidence.Scenario) string {
	for _, g := range s.Guarantees {
		if g.Status != verdict.Inconclusive {
			return ""
		}
	}
	return "not judged"
}

// idList names some tasks.
type idList struct {
	Name string
	IDs  []string
	More int
}

// idLists names the tasks that broke a guarantee, and those left unknown.
func idLists(s *evidence.Scenario, t *timeline) []idList {
	var all []idList
	for _, g := range s.Guarantees {
		if len(g.Tasks) > 0 {
			all = append(all, idList{Name: "broke “" + g.Name + "”", IDs: g.Tasks, More: max(0, g.Count-len(g.Tasks))})
		}
	}
	if t != nil && len(t.unknown) > 0 {
		all = append(all, idList{Name: "unknown", IDs: t.unknown, More: max(0, s.Unknown-len(t.unknown))})
	}
	return all
}

// windowRow is what users met in one window.
type windowRow struct {
	Name, Length               string
	Accepted, Refused, Unknown string
	Errors, P50, P99, Backlog  string
}

func windowRows(s *evidence.Scenario, m *material) []windowRow {
	if m.timeline == nil {
		return nil
	}
	var rows []windowRow
	for i, w := range s.Windows {
		b := &m.timeline.windows[i]
		row := windowRow{Name: w.Name, Length: secs(max(0, w.End.Sub(w.Start).Seconds())),
			Accepted: num(int(b.outcome[history.Accepted])), Refused: num(int(b.outcome[history.Refused])),
			Unknown: num(int(b.outcome[history.Unknown])), Errors: "–", P50: "–", P99: "–", Backlog: backlogIn(m.samples, w)}
		if n := b.total(); n > 0 {
			row.Errors = share(float64(n-b.outcome[history.Accepted]) / float64(n))
		}
		if b.latency != nil {
			row.P50, row.P99 = latency(b.latency.quantile(0.5)), latency(b.latency.quantile(0.99))
		}
		rows = append(rows, row)
	}
	return rows
}

// backlogIn is the longest backlog that was seen in a window.
func backlogIn(samples []evidence.Series, w evidence.Window) string {
	most := -1.0
	for _, s := range samples {
		for _, p := range s.Points {
			if at := unix(p[0]); s.Name == "backlog" && !at.Before(w.Start) && !at.After(w.End) {
				most = max(most, p[1])
			}
		}
	}
	if most < 0 {
		return "–"
	}
	return num(int(math.Round(most)))
}

// latencyRow shows latency from the planned and from the real send time.
type latencyRow struct{ Name, P50, P99 string }

func latencyRows(s *evidence.Scenario) []latencyRow {
	l := s.Latency
	if l == (evidence.Latency{}) {
		return nil
	}
	return []latencyRow{
		{"from the planned send time (what a user waits)", latency(l.PlannedP50), latency(l.PlannedP99)},
		{"from the real send time (what Vegeta prints)", latency(l.SentP50), latency(l.SentP99)},
	}
}

// alertRow is an alert with its times as offsets from the fault being in force.
type alertRow struct {
	evidence.Alert
	Story   string // what was expected and what came
	FiredIn string
	Lasted  string
	Link    string // a link that is safe to follow, or ""
}

func alertRows(s *evidence.Scenario) []alertRow {
	var rows []alertRow
	for _, a := range s.Alerts {
		row := alertRow{Alert: a, FiredIn: "–", Lasted: "–", Link: safeLink(a.RunbookURL)}
		switch {
		case a.Expected && a.Fired:
			row.Story = "expected, fired"
		case a.Expected:
			row.Story = "expected, did not fire"
		case a.Fired:
			row.Story = "not expected, fired"
		default:
			row.Story = "quiet, as expected"
		}
		if at := inForceAt(s); a.FiredAt != nil && !at.IsZero() {
			row.FiredIn = momentWord(a.FiredAt.Sub(at).Seconds())
		}
		if a.FiredAt != nil && a.ResolvedAt != nil {
			row.Lasted = secs(max(0, a.ResolvedAt.Sub(*a.FiredAt).Seconds()))
		}
		rows = append(rows, row)
	}
	return rows
}

// inForceAt is when the last fault was proven in force; zero if none was.
func inForceAt(s *evidence.Scenario) (last time.Time) {
	for _, p := range s.Proofs {
		if p.InForceAt != nil && p.InForceAt.After(last) {
			last = *p.InForceAt
		}
	}
	return last
}

// safeLink returns a URL that a reader may follow, or "".
func safeLink(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || raw == "" {
		return ""
	}
	switch strings.ToLower(u.Scheme) {
	case "", "http", "https":
		return raw
	}
	return ""
}

// runbookLink finds the scenario's runbook: the copy in the run's folder, else
// the link of the alert of that name.
func runbookLink(dir string, s *evidence.Scenario) string {
	if s.Runbook == "" {
		return ""
	}
	if link := bookLink(dir, s.Runbook); link != "" {
		return link
	}
	for _, a := range s.Alerts {
		if strings.Contains(a.RunbookURL, s.Runbook) {
			return safeLink(a.RunbookURL)
		}
	}
	return ""
}

// bookLink is the way to the copy of a runbook in the run's folder, "" when
// there is none.
func bookLink(dir, name string) string {
	book := filepath.Join("runbooks", filepath.Base(name)+".md")
	if _, err := os.Stat(filepath.Join(dir, book)); err != nil {
		return ""
	}
	return (&url.URL{Path: filepath.ToSlash(book)}).String()
}
