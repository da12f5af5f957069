package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// progress shows a run to whoever watches: below each scenario's name one line
// that is rewritten on a terminal, and a line a phase elsewhere.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	width    func() int // of the terminal in columns; nil for plain lines
	total    int
	finished int
	scenario string // shown last
	phase    string // shown last
	begun    time.Time
}

func newProgress(out io.Writer, total int) *progress {
	return &progress{out: out, total: total, width: terminalWidth(out)}
}

// terminalWidth returns the width in columns of the terminal that out is; nil
// where it is none that lines can be rewritten on.
func terminalWidth(out io.Writer) func() int {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("CI") != "" || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}
}

func (p *progress) update(t trial.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.scenario != t.Scenario {
		p.scenario, p.phase, p.begun = t.Scenario, "", time.Now()
		fmt.Fprintf(p.out, "[%d/%d] %s\n", p.finished+1, p.total, t.Scenario)
	}
	changed := p.phase != t.Phase
	p.phase = t.Phase
	switch {
	case p.width != nil:
		// Erased behind the text, not before it, or it would flicker; one
		// column short, or it would wrap.
		fmt.Fprintf(p.out, "\r%s\x1b[K", clip(phaseLine(t), p.width()-1))
	case changed:
		fmt.Fprintln(p.out, phaseLine(t))
	}
}

// phaseLine fits into 80 columns up to five digits a number.
func phaseLine(t trial.Progress) string {
	left := ""
	if t.Left > 0 {
		left = fmt.Sprintf("%.1f s", t.Left.Seconds())
	}
	line := fmt.Sprintf("  %-9s %6s", t.Phase, left)
	if t.Load.Sent > 0 {
		line += fmt.Sprintf("  %.0f/s  backlog %d  %d accepted  %d refused  %d unknown",
			t.Load.AchievedRate, t.Backlog, t.Load.Accepted, t.Load.Refused, t.Load.Unknown)
	}
	return strings.TrimRight(line, " ")
}

func clip(line string, columns int) string {
	if runes := []rune(line); len(runes) > max(0, columns) {
		return string(runes[:max(0, columns)])
	}
	return line
}

func (p *progress) done(s *evidence.Scenario) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished++
	if p.width != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "  %s in %.0f s: %d accepted, %d lost, %d duplicated\n",
		s.Status, time.Since(p.begun).Seconds(), s.Accepted, s.Lost, s.Duplicated)
	if s.Status != verdict.Pass {
		fmt.Fprintf(p.out, "  %s\n", s.Reason)
	}
	p.scenario = ""
}
