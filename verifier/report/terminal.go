package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Terminal writes a run's closing summary as plain text: a line a scenario, the
// reason below those that did not pass, and the totals. Failures are in capitals,
// for readers without colour. What cannot be written to w is lost: there is
// nobody left to tell.
func Terminal(w io.Writer, run *evidence.Run) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nseatrial %s · target %s · seed %d · %s%s\n\n", oneLine(run.Run), oneLine(run.Target), run.Seed, scaled("load ×%.3g · ", run), long(run.Seconds))
	rows := [][]string{{"", "scenario", "in force", "achieved/asked", "accepted", "lost", "twice", "SLO back", "alert"}}
	for i := range run.Scenarios {
		rows = append(rows, terminalRow(&run.Scenarios[i]))
	}
	widths := columns(rows)
	line(&b, widths, rows[0])
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		line(&b, widths, rows[i+1])
		if s.Status != verdict.Pass {
			fmt.Fprintf(&b, "  %s  %s\n", strings.Repeat(" ", widths[0]), oneLine(s.Reason))
		}
		if again := heldAgain(s); again != "" {
			fmt.Fprintf(&b, "  %s  %s\n", strings.Repeat(" ", widths[0]), oneLine(again))
		}
	}
	if n := len(run.NotRun); n > 0 {
		fmt.Fprintf(&b, "\nnot run: %s\n", oneLine(strings.Join(run.NotRun, "; ")))
	}
	if c := run.Confusion; c != nil {
		fmt.Fprintf(&b, "\n%s\n", confusionLine(c))
		for _, wrong := range c.Wrong {
			fmt.Fprintf(&b, "  WRONG  %s\n", oneLine(wrong))
		}
	}
	if rows := mitigationRows(run); len(rows) > 0 {
		fmt.Fprintf(&b, "\n%s\n", mitigationLine(rows))
	}
	t := tallyOf(run)
	fmt.Fprintf(&b, "\n%s\n%s: %s accepted, %d lost, %d done more than once, %d refused but done\n",
		t.sentence(), strings.ToUpper(run.Status.String()), plural(t.Accepted, "task"), t.Lost, t.Duplicated, t.RefusedRun)
	_, _ = io.WriteString(w, b.String())
}

func terminalRow(s *evidence.Scenario) []string {
	status := s.Status.String()
	if s.Status == verdict.Fail {
		status = "FAIL"
	}
	back := "–"
	if len(s.Experiments) > 0 {
		back = secs(s.Seconds.RecoverToSLO)
	}
	return []string{status, clip(oneLine(s.Name), 56), oneLine(s.InForce), rate(s.AchievedRate) + "/" + rate(s.AskedRate),
		num(s.Accepted), num(s.Lost), num(s.Duplicated), back, clip(oneLine(alertWords(s)), 48)}
}

// columns measures the widest cell of each column, in runes.
func columns(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// line writes a row; the columns with figures are flush right.
func line(b *strings.Builder, widths []int, row []string) {
	var cells []string
	for i, cell := range row {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i >= 3 && i <= 7 {
			cells = append(cells, pad+cell)
		} else {
			cells = append(cells, cell+pad)
		}
	}
	b.WriteString("  " + strings.TrimRight(strings.Join(cells, "  "), " ") + "\n")
}

// oneLine takes out everything that could move a cursor or turn the text around.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
