package gameday

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"seatrial/verifier/evidence"
)

// View is what the facilitator sees at a moment.
type View struct {
	State   State
	Phase   string
	Clock   string        // since the fault was in force, "" before
	Left    time.Duration // until the time is up
	Now     Standing      // of the objective that is served worst
	Worst   Standing      // of the one of whose budget most is spent
	Limit   float64       // share of a 30-day error budget
	Backlog int
	Load    string
	Alerts  []evidence.SeenAlert
}

// View returns what there is to see at a moment.
func (g *Game) View(at time.Time) View {
	l := g.last.Load
	now, worst := g.Worst()
	v := View{
		State: g.state, Phase: g.last.Phase, Now: now, Worst: worst, Limit: g.rules.AbortBudget, Backlog: g.last.Backlog, Alerts: g.last.Alerts,
		Load: fmt.Sprintf("%.0f/s, %d accepted, %d refused, %d unknown", l.AchievedRate, l.Accepted, l.Refused, l.Unknown),
	}
	if !g.inForce.IsZero() {
		v.Clock = g.clock(at)
		v.Left = max(0, g.rules.MaxDuration-at.Sub(g.inForce))
	}
	return v
}

// words of the states, as the facilitator reads them.
var words = map[State]string{
	Preparing: "preparing", Working: "the crew is at work", Recovering: "recovering", Over: "ending",
}

// head is the view in one line.
func (v View) head() string {
	text := words[v.State]
	if v.Phase != "" && (v.State == Preparing || v.State == Recovering) {
		text += " (" + v.Phase + ")"
	}
	if v.Clock == "" {
		return text
	}
	if v.State == Working {
		text += fmt.Sprintf(", %v left", v.Left.Round(time.Second))
	}
	return v.Clock + "  " + text
}

func (v View) service() string {
	good := "no data"
	if v.Now.Ratio >= 0 {
		good = share(v.Now.Ratio)
	}
	return fmt.Sprintf("%s (15 s) %s  budget of %s %s of %s  backlog %d", v.Now.Name, good, v.Worst.Name, share(v.Worst.Spent), share(v.Limit), v.Backlog)
}

// Line is the view for those who read lines.
func (v View) Line() string {
	line := v.head() + "  " + v.service()
	for _, a := range v.Alerts {
		line += "  ALERT " + a.Name
	}
	return line
}

// alertLines is how many alerts have room; the block has the same height always.
const alertLines = 4

// Block is the view for a terminal: always the same number of lines.
func (v View) Block() []string {
	lines := []string{"-- " + v.head(), "   " + v.service(), "   load " + v.Load}
	for i := range alertLines {
		switch left := len(v.Alerts) - i; {
		case left <= 0 && i == 0:
			lines = append(lines, "   no alert fires")
		case left <= 0:
			lines = append(lines, "")
		case i == alertLines-1 && left > 1:
			lines = append(lines, fmt.Sprintf("   and %d more alerts", left))
		default:
			lines = append(lines, "   ALERT "+alertWords(v.Alerts[i]))
		}
	}
	return lines
}

// share writes a ratio in percent.
func share(f float64) string {
	switch p := f * 100; {
	case p <= 0:
		return "0 %"
	case p < 0.001:
		return "< 0.001 %"
	case p < 1:
		return strconv.FormatFloat(p, 'f', 3, 64) + " %"
	default:
		return strconv.FormatFloat(float64(int(p*100))/100, 'f', -1, 64) + " %"
	}
}

// Screen shows a game: on a terminal as a block above a prompt, rewritten in
// place, elsewhere as lines.
type Screen struct {
	out    io.Writer
	width  func() int // of the terminal in columns; nil for lines
	height int        // of the block that is on the terminal, 0 for none
}

// NewScreen returns a screen on out. width is the terminal's, nil where out is none.
func NewScreen(out io.Writer, width func() int) *Screen { return &Screen{out: out, width: width} }

const (
	saveCursor, restoreCursor = "\x1b7", "\x1b8"
	toEndOfLine, toEnd        = "\x1b[K", "\x1b[J"
	prompt                    = "> "
)

// Paint shows a view, below what was said before.
func (s *Screen) Paint(v View) {
	if s.width == nil {
		fmt.Fprintln(s.out, v.Line())
		return
	}
	var b strings.Builder
	block := v.Block()
	if s.height == 0 {
		s.put(&b, block)
		b.WriteString(prompt)
	} else { // what is being typed stays where it is
		fmt.Fprintf(&b, "%s\x1b[%dA\r", saveCursor, s.height)
		s.put(&b, block)
		b.WriteString(restoreCursor)
	}
	s.height = len(block)
	_, _ = io.WriteString(s.out, b.String())
}

func (s *Screen) put(b *strings.Builder, lines []string) {
	for _, line := range lines {
		b.WriteString(clip(line, s.width()-1) + toEndOfLine + "\n") // the terminal adds the return
	}
}

func clip(line string, columns int) string {
	if runes := []rune(line); len(runes) > max(0, columns) {
		return string(runes[:max(0, columns)])
	}
	return line
}

// Say prints lines that stay. typed is the line that the facilitator ended with
// Enter, which the terminal has shown already.
func (s *Screen) Say(typed string, lines ...string) {
	if typed == "" && len(lines) == 0 {
		return
	}
	var b strings.Builder
	if typed = strings.TrimSpace(typed); s.width != nil && s.height == 0 {
		typed = "" // it is there to be read
	}
	if s.height > 0 {
		up := s.height
		if typed != "" {
			up++ // Enter has moved the cursor down
		}
		fmt.Fprintf(&b, "\x1b[%dA\r%s", up, toEnd)
		s.height = 0
	}
	if typed != "" {
		b.WriteString(prompt + typed + "\n")
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	_, _ = io.WriteString(s.out, b.String())
}

// Close leaves the screen to whoever prints next.
func (s *Screen) Close() {
	if s.width != nil && s.height > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\r%s", s.height, toEnd)
		s.height = 0
	}
}
