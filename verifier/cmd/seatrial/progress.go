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
)

// progress shows a run to whoever watches: one line that is rewritten on a
// terminal, a line a phase elsewhere.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	live     bool
	total    int
	finished int
	phase    string // "scenario/phase" shown last
	begun    time.Time
}

func newProgress(out io.Writer, total int) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, total: total, live: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) update(t trial.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.phase != t.Scenario+"/"+t.Phase
	if changed {
		if p.begun.IsZero() {
			p.begun = time.Now()
		}
		p.phase = t.Scenario + "/" + t.Phase
	}
	if !p.live && !changed {
		return
	}
	line := fmt.Sprintf("[%d/%d] %s  %-9s", p.finished+1, p.total, t.Scenario, t.Phase)
	if t.Left > 0 {
		line += fmt.Sprintf("  %4.1f s left", t.Left.Seconds())
	}
	if t.Load.Sent > 0 {
		line += fmt.Sprintf("  %.0f/s  %d accepted  %d refused  %d unknown  backlog %d",
			t.Load.AchievedRate, t.Load.Accepted, t.Load.Refused, t.Load.Unknown, t.Backlog)
	}
	if p.live {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.out, strings.TrimRight(line, " "))
}

func (p *progress) done(s *evidence.Scenario) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished++
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "[%d/%d] %-12s %s  (%.0f s, %d accepted, %d lost, %d duplicated)", p.finished, p.total,
		s.Status, s.Name, time.Since(p.begun).Seconds(), s.Accepted, s.Lost, s.Duplicated)
	if s.Reason != "" {
		fmt.Fprintf(p.out, "\n      %s", s.Reason)
	}
	fmt.Fprintln(p.out)
	p.begun = time.Time{}
}
