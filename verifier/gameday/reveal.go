package gameday

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/postmortem"
)

// File is what a game day adds to the Evidence of its trial.
const File = "gameday.json"

// Log is the content of that file: what was played, by which limits, and what
// people did.
type Log struct {
	Scenario    string            `json:"scenario"` // as the features name it
	Runbook     string            `json:"runbook"`
	Surprise    bool              `json:"surprise,omitempty"`
	Seed        int64             `json:"seed"`
	AbortBudget float64           `json:"abort_budget"` // share of a 30-day error budget
	MaxDuration evidence.Duration `json:"max_duration"`
	Spent       float64           `json:"spent"` // share of the 30-day error budget of which most was spent
	SpentOf     string            `json:"spent_of"`
	Moments     []evidence.Marker `json:"moments"`
}

// Close writes the log and the skeleton of the post-mortem into the trial's
// folder, and returns the reveal: lines for the facilitator.
func Close(dir evidence.Dir, s *evidence.Scenario, l Log) ([]string, error) {
	var rec evidence.Record
	if err := dir.Load(evidence.RecordFile, &rec); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("close the game day: %w", err)
	}
	if err := dir.Save(File, l); err != nil {
		return nil, fmt.Errorf("close the game day: %w", err)
	}
	shown := *s
	shown.Name = fmt.Sprintf("%s: %s", Name, l.Scenario)
	if err := postmortem.Save(dir, shown, l.Moments...); err != nil {
		return nil, fmt.Errorf("close the game day: %w", err)
	}
	return reveal(s, &rec, l), nil
}

// reveal tells what it was, and how long everything took from the moment at
// which the fault was in force.
func reveal(s *evidence.Scenario, rec *evidence.Record, l Log) []string {
	victims := "nobody: it was not injected"
	if !rec.InjectAt.IsZero() {
		victims = strings.Join(s.Victims, ", ")
	}
	lines := []string{
		"it was: " + l.Scenario,
		fmt.Sprintf("  runbook %s, experiments %s, on %s, seed %d", l.Runbook, strings.Join(s.Experiments, ", "), victims, l.Seed),
	}
	row := func(name string, seconds float64) {
		text := "not seen"
		if seconds >= 0 {
			text = fmt.Sprintf("%.1f s", seconds)
		}
		lines = append(lines, fmt.Sprintf("  time to %-12s %s", name, text))
	}
	inForce := inForceAt(s)
	row("detect", s.Seconds.InForceToAlert)
	row("acknowledge", since(inForce, l.moment(postmortem.Acknowledged)))
	row("mitigate", since(inForce, l.moment(postmortem.Mitigated)))
	row("recover", since(inForce, rec.SLOAt))
	return append(lines, fmt.Sprintf("  error budget of %s spent: %s of 30 days", l.SpentOf, share(l.Spent)))
}

// inForceAt is when the last fault was proven, zero if one was not.
func inForceAt(s *evidence.Scenario) (last time.Time) {
	for _, p := range s.Proofs {
		if p.InForceAt == nil {
			return time.Time{}
		}
		if p.InForceAt.After(last) {
			last = *p.InForceAt
		}
	}
	return last
}

func (l *Log) moment(name string) time.Time {
	for _, m := range l.Moments {
		if m.Name == name {
			return m.At
		}
	}
	return time.Time{}
}

// since is the time between two events in seconds, -1 when one was not seen.
func since(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return -1
	}
	return max(0, to.Sub(from).Seconds())
}
