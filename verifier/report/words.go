package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// notSeen stands for a split time of an event that did not happen.
const notSeen = "not seen"

// scaled puts what a run multiplied the scenarios' load by into words; nothing, if their load was as they say.
func scaled(words string, run *evidence.Run) string {
	if run.LoadScale == 0 {
		return ""
	}
	return fmt.Sprintf(words, run.LoadScale)
}

// num writes a count as readers group it: 12,345.
func num(n int) string {
	s := strconv.Itoa(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rate writes requests a second: 499.8, 12,000.
func rate(f float64) string {
	if f >= 10_000 || f == math.Trunc(f) {
		return num(int(math.Round(f)))
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

// secs writes a time in seconds; a negative one was not seen.
func secs(f float64) string {
	switch {
	case f < 0:
		return notSeen
	case f < 10:
		return strconv.FormatFloat(f, 'f', 2, 64) + " s"
	case f < 100:
		return strconv.FormatFloat(f, 'f', 1, 64) + " s"
	}
	return long(f)
}

// long writes a time of minutes and hours, in seconds.
func long(f float64) string {
	d := time.Duration(f * float64(time.Second)).Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case h > 0:
		return fmt.Sprintf("%d h %02d min", h, m)
	case m > 0:
		return fmt.Sprintf("%d min %02d s", m, s)
	}
	return fmt.Sprintf("%d s", s)
}

// latency writes a latency in seconds with a fitting unit; 0 is none.
func latency(f float64) string {
	switch {
	case f <= 0:
		return "–"
	case f < 0.001:
		return sig(f*1e6) + " µs"
	case f < 1:
		return sig(f*1000) + " ms"
	}
	return sig(f) + " s"
}

// sig keeps three digits or so.
func sig(f float64) string {
	switch {
	case f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// ratio writes a share in [0,1] in percent. It rounds down, so that only what
// is whole is called 100 %. A negative share is no data.
func ratio(f float64) string {
	if f < 0 || math.IsNaN(f) {
		return "no data"
	}
	return trimmed(math.Floor(f*1e5+1e-6)/1e3, 3) + " %"
}

// share writes a part of an error budget in percent; small ones keep their digits.
func share(f float64) string {
	switch p := f * 100; {
	case p <= 0 || math.IsNaN(p):
		return "0 %"
	case p < 0.001:
		return "< 0.001 %"
	case p < 1:
		return trimmed(p, 3) + " %"
	default:
		return trimmed(p, 1) + " %"
	}
}

func trimmed(f float64, digits int) string {
	s := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// size writes a count of bytes.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return strconv.FormatInt(n, 10) + " B"
	case n < 1<<20:
		return sig(float64(n)/(1<<10)) + " KiB"
	}
	return sig(float64(n)/(1<<20)) + " MiB"
}

// plural says "1 scenario", "3 scenarios".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return num(n) + " " + noun + "s"
}

// heldAgain says why a scenario was held once more and where its first Evidence is; ""
// where it was not.
func heldAgain(s *evidence.Scenario) string {
	if s.HeldAgain == "" {
		return ""
	}
	text := "held again: " + s.HeldAgain
	if s.FirstEvidence != "" {
		text += " (" + s.FirstEvidence + ")"
	}
	return text
}

// tally counts scenarios by status and tasks by what became of them.
type tally struct {
	Pass, Fail, Inconclusive                 int
	Ops, Accepted, Completed, Lost           int
	Refused, Unknown, Duplicated, RefusedRun int
	BudgetCost                               float64
}

func tallyOf(run *evidence.Run) tally {
	var t tally
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		switch s.Status {
		case verdict.Pass:
			t.Pass++
		case verdict.Fail:
			t.Fail++
		default:
			t.Inconclusive++
		}
		t.Ops += s.Ops
		t.Accepted += s.Accepted
		t.Completed += s.Completed
		t.Lost += s.Lost
		t.Refused += s.Refused
		t.Unknown += s.Unknown
		t.Duplicated += s.Duplicated
		t.RefusedRun += s.RefusedButDone
		t.BudgetCost += s.BudgetCost
	}
	return t
}

// sentence says how the scenarios of a run ended.
func (t tally) sentence() string {
	all := t.Pass + t.Fail + t.Inconclusive
	return fmt.Sprintf("%s: %d passed, %d failed, %d inconclusive", plural(all, "scenario"), t.Pass, t.Fail, t.Inconclusive)
}

// took is how long a scenario ran, as far as its Evidence tells.
func took(s *evidence.Scenario) time.Duration {
	end := s.Started
	for _, w := range s.Windows {
		if w.End.After(end) {
			end = w.End
		}
	}
	for _, m := range s.Markers {
		if m.At.After(end) {
			end = m.At
		}
	}
	if s.Started.IsZero() {
		return 0
	}
	return end.Sub(s.Started)
}
