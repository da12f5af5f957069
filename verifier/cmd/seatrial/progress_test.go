package main

import (
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// watched is a trial as it goes by.
func watched(p *progress) {
	load := trial.LoadStatus{AchievedRate: 300, Sent: 12345, Accepted: 12300, Refused: 40, Unknown: 5}
	for range 2 { // twice: only a terminal shows a phase again
		p.update(trial.Progress{Scenario: "A worker is killed", Phase: "preflight"})
	}
	for left := range 2 {
		p.update(trial.Progress{Scenario: "A worker is killed", Phase: "fault", Left: time.Duration(6-left) * time.Second, Load: load, Backlog: 12345})
	}
	p.done(&evidence.Scenario{Name: "A worker is killed", Status: verdict.Pass, Accepted: 12300, Reason: "all held"})
	p.update(trial.Progress{Scenario: "A worker is killed", Phase: "preflight"})
	p.done(&evidence.Scenario{Name: "A worker is killed", Status: verdict.Fail, Reason: "2 tasks were lost", Lost: 2})
}

func TestProgressInPlainLines(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out, 2)
	watched(p)
	want := `[1/2] A worker is killed
  preflight
  fault      6.0 s  300/s  backlog 12345  12300 accepted  40 refused  5 unknown
  pass in 0 s: 12300 accepted, 0 lost, 0 duplicated
[2/2] A worker is killed
  preflight
  fail in 0 s: 0 accepted, 2 lost, 0 duplicated
  2 tasks were lost
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// screen is what a terminal of so many columns shows in the end, and how many
// rows were wrapped on the way.
func screen(text string, columns int) (rows []string, wrapped int) {
	row, at := []rune{}, 0
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b[K"):
			row, text = row[:at], text[3:]
			continue
		case text[0] == '\r':
			at = 0
		case text[0] == '\n':
			rows, row, at = append(rows, string(row)), nil, 0
		default:
			if at == columns {
				rows, row, at = append(rows, string(row)), nil, 0
				wrapped++
			}
			row = append(row[:at], append([]rune{rune(text[0])}, row[min(at+1, len(row)):]...)...)
			at++
		}
		text = text[1:]
	}
	return append(rows, string(row)), wrapped
}

// TestProgressOnATerminal: whatever its width, nothing of the line that was
// rewritten is left, and it never wraps.
func TestProgressOnATerminal(t *testing.T) {
	want := []string{
		"[1/2] A worker is killed", "  pass in 0 s: 12300 accepted, 0 lost, 0 duplicated",
		"[2/2] A worker is killed", "  fail in 0 s: 0 accepted, 2 lost, 0 duplicated", "  2 tasks were lost", "",
	}
	for _, columns := range []int{200, 80, 60} {
		var out strings.Builder
		p := newProgress(&out, 2)
		p.width = func() int { return columns }
		watched(p)
		rows, wrapped := screen(out.String(), columns)
		if strings.Join(rows, "\n") != strings.Join(want, "\n") || wrapped > 0 {
			t.Errorf("%d columns, %d rows wrapped:\n%s", columns, wrapped, strings.Join(rows, "\n"))
		}
		if columns >= 80 && !strings.Contains(out.String(), "5 unknown") {
			t.Errorf("%d columns do not show the whole line:\n%q", columns, out.String())
		}
	}
}
