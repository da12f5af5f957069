package gameday

import (
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func second(n float64) time.Time { return noon.Add(time.Duration(n * float64(time.Second))) }

var rules = Rules{AbortBudget: 0.02, MaxDuration: time.Minute, Objectives: ObjectivesOf(&evidence.Plan{}), Hints: []string{"first?\n```promql\nup\n```\nExpected: `> 0`", "second?"}}

// sight is a second of a load of 100 requests/s, of which bad were not accepted so far.
func sight(phase string, at int, bad uint64) Sight {
	all := uint64(1000 + at*100)
	return Sight{Phase: phase, Load: trial.LoadStatus{Sent: all, Accepted: all - bad, Refused: bad}}
}

// in returns a game that has got to a state, by the trial's phases.
func in(t *testing.T, s State) *Game {
	t.Helper()
	g := New(rules)
	for i, phase := range []string{"baseline", phaseProving, phaseFault} {
		if s >= Working || i < 2 {
			g.See(second(float64(i)), sight(phase, i, 0))
		}
	}
	if s == Recovering {
		g.Command(second(2.5), "mitigated")
	}
	if s == Over {
		g.End()
	}
	if g.State() != s {
		t.Fatalf("the game is in state %d, want %d", g.State(), s)
	}
	return g
}

// TestEveryCommandInEveryState: what it answers, what it does, where the game is then.
func TestEveryCommandInEveryState(t *testing.T) {
	for _, c := range []struct {
		state   State
		command string
		says    string
		do      Action
		then    State
	}{
		{Preparing, "ack", "not in force yet", Nothing, Preparing},
		{Preparing, "hint", "not in force yet", Nothing, Preparing},
		{Preparing, "mitigated", "not in force yet", Nothing, Preparing},
		{Preparing, "abort", "aborted by the facilitator", Abort, Over},
		{Working, "ack", "acknowledged 00:08 after", Nothing, Working},
		{Working, "hint", "hint 1 of 2:", Nothing, Working},
		{Working, "mitigated", "mitigated 00:08 after", RemoveFault, Recovering},
		{Working, "abort the room is on fire", "aborted by the facilitator: the room is on fire", Abort, Over},
		{Recovering, "ack", "too late", Nothing, Recovering},
		{Recovering, "hint", "too late", Nothing, Recovering},
		{Recovering, "mitigated", "too late", Nothing, Recovering},
		{Recovering, "abort", "aborted by the facilitator", Abort, Over},
		{Over, "ack", "the game is over", Nothing, Over},
		{Over, "hint", "the game is over", Nothing, Over},
		{Over, "mitigated", "the game is over", Nothing, Over},
		{Over, "abort", "the game is over", Nothing, Over},
		{Working, "  ACK  ", "acknowledged", Nothing, Working},
		{Working, "mitigate", `unknown command "mitigate"; commands: ack`, Nothing, Working},
		{Working, "help", "commands: ack", Nothing, Working},
		{Working, "   ", "", Nothing, Working},
	} {
		g := in(t, c.state)
		a := g.Command(second(10), c.command)
		if text := strings.Join(a.Say, "\n"); !strings.Contains(text, c.says) || (c.says == "") != (text == "") {
			t.Errorf("%s: %q answers %q, want %q", words[c.state], c.command, text, c.says)
		}
		if a.Do != c.do || g.State() != c.then {
			t.Errorf("%s: %q does %d and leads to state %d, want %d and %d", words[c.state], c.command, a.Do, g.State(), c.do, c.then)
		}
	}
}

func names(all []evidence.Marker) (names []string) {
	for _, m := range all {
		names = append(names, m.Name)
	}
	return names
}

func TestMomentsAreNoted(t *testing.T) {
	g := in(t, Working)
	for i, line := range []string{"ack", "ack", "hint", "hint", "hint", "mitigated", "mitigated"} {
		g.Command(second(float64(10+i)), line)
	}
	want := []string{"acknowledged", "hint 1 of 2 given", "hint 2 of 2 given", "mitigated"}
	if got := names(g.Moments()); !slices.Equal(got, want) {
		t.Errorf("moments %q, want %q", got, want)
	}
	if at := g.Moments()[0].At; !at.Equal(second(10)) {
		t.Errorf("acknowledged at %v, want the first time, %v", at, second(10))
	}
}

func TestHintsComeOneByOne(t *testing.T) {
	g := in(t, Working)
	var said []string
	for range 3 {
		said = append(said, strings.Join(g.Command(second(5), "hint").Say, "\n"))
	}
	if said[0] != "hint 1 of 2:\n  first?\n  ```promql\n  up\n  ```\n  Expected: `> 0`" || said[1] != "hint 2 of 2:\n  second?" || !strings.Contains(said[2], "Mitigation comes next") {
		t.Errorf("hints:\n%s", strings.Join(said, "\n--\n"))
	}
}

// TestTheBudgetLimitRemovesTheFault: with all requests refused, a 99 % objective
// spends 2 % of its 30 days in 518 s; the limit here is a tenth of a thousandth.
func TestTheBudgetLimitRemovesTheFault(t *testing.T) {
	r := rules
	r.AbortBudget = 0.0001 // 2.6 s without service
	g := New(r)
	g.See(second(0), sight("baseline", 0, 0))
	g.See(second(1), sight(phaseProving, 1, 0))
	for i, c := range []struct {
		bad uint64
		do  Action
	}{{100, Nothing}, {200, Nothing}, {300, RemoveFault}, {400, Nothing}} {
		a := g.See(second(float64(i+2)), sight(phaseFault, i+2, c.bad))
		if a.Do != c.do {
			t.Errorf("with %d requests refused the game does %d, want %d", c.bad, a.Do, c.do)
		}
		if a.Do == RemoveFault && !strings.Contains(strings.Join(a.Say, " "), "abort limit") {
			t.Errorf("it says %q, not why", a.Say)
		}
	}
	if g.State() != Recovering || len(g.Moments()) != 1 || !strings.HasPrefix(g.Moments()[0].Name, "abort limit: ") {
		t.Errorf("state %d, moments %q; want recovering, and the limit", g.State(), names(g.Moments()))
	}
}

// TestBudgetCountsFromTheInjection: errors of the start are not the fault's.
func TestBudgetCountsFromTheInjection(t *testing.T) {
	g := New(rules)
	g.See(second(0), sight("baseline", 0, 500))
	g.See(second(1), sight(phaseProving, 1, 500))
	g.See(second(2), sight(phaseFault, 2, 500))
	if got := g.View(second(2)).Worst.Spent; got != 0 {
		t.Errorf("spent %v before anything failed in the fault", got)
	}
	g.See(second(3), sight(phaseFault, 3, 600))
	if got := g.View(second(3)).Worst.Spent; got <= 0 {
		t.Errorf("spent %v though a hundred requests failed", got)
	}
}

func TestTheTimeLimitRemovesTheFault(t *testing.T) {
	g := in(t, Working)
	if a := g.See(second(61.9), sight(phaseFault, 62, 0)); a.Do != Nothing {
		t.Errorf("the fault is removed %v after its proof, of a minute", second(61.9).Sub(second(2)))
	}
	a := g.See(second(62), sight(phaseFault, 62, 0))
	if a.Do != RemoveFault || !strings.Contains(a.Why, "1m0s") {
		t.Errorf("after a minute the game does %d (%s), want the fault removed", a.Do, a.Why)
	}
}

// TestTheTrialMayBeFirst: its own clock, or an error, may end the window.
func TestTheTrialMayBeFirst(t *testing.T) {
	g := in(t, Working)
	g.See(second(9), sight("recover", 9, 0))
	if a := g.Command(second(10), "mitigated"); g.State() != Recovering || a.Do != Nothing {
		t.Errorf("state %d, and mitigated does %d; want recovering, and nothing", g.State(), a.Do)
	}
}

func TestAnInterruptEndsTheGameOnce(t *testing.T) {
	g := in(t, Working)
	g.Interrupt(second(5))
	g.Interrupt(second(6))
	if got := names(g.Moments()); g.State() != Over || !slices.Equal(got, []string{"interrupted"}) {
		t.Errorf("state %d, moments %q", g.State(), got)
	}
	if a := g.See(second(99), sight(phaseFault, 99, 0)); a.Do != Nothing {
		t.Errorf("after its end the game still does %d", a.Do)
	}
}

func TestAlertsAreToldOnce(t *testing.T) {
	g := in(t, Working)
	s := sight(phaseFault, 5, 0)
	s.Alerts = []evidence.SeenAlert{{Name: "WorkerDown", Severity: "page", RunbookURL: "https://example.org/WorkerDown.md"}, {Name: "BacklogGrowing", Severity: "page", Silenced: true}}
	want := []string{"alert WorkerDown (page)  https://example.org/WorkerDown.md", "alert BacklogGrowing (page, inhibited)  "}
	if got := g.See(second(5), s).Say; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
	if got := g.See(second(6), s).Say; len(got) > 0 {
		t.Errorf("said again: %q", got)
	}
	s.Alerts = s.Alerts[1:]
	if got := g.See(second(7), s).Say; !slices.Equal(got, []string{"resolved WorkerDown"}) {
		t.Errorf("said %q", got)
	}
}

// TestWhatRangBeforeIsNoNews: a testbed's start stirs alerts up.
func TestWhatRangBeforeIsNoNews(t *testing.T) {
	g := New(rules)
	s := sight("preflight", 0, 0)
	s.Alerts = []evidence.SeenAlert{{Name: "WorkerDown"}}
	if got := g.See(second(0), s).Say; len(got) > 0 {
		t.Errorf("said %q before the injection", got)
	}
	if got := g.See(second(1), sight("baseline", 1, 0)).Say; len(got) > 0 {
		t.Errorf("said %q before the injection", got)
	}
}

// TestAnAlertThatIsFasterThanTheTrialsWordIsTold: the phase is heard of a moment after the injection, and an alert
// may ring in between.
func TestAnAlertThatIsFasterThanTheTrialsWordIsTold(t *testing.T) {
	g := New(rules)
	early, known := sight("baseline", 1, 0), sight(phaseProving, 2, 0)
	early.Alerts = []evidence.SeenAlert{{Name: "WorkerDown"}}
	known.Alerts = early.Alerts
	if got := g.See(second(1), early).Say; len(got) > 0 {
		t.Errorf("said %q before the injection was known", got)
	}
	if got := g.See(second(2), known).Say; len(got) != 1 || !strings.HasPrefix(got[0], "alert WorkerDown") {
		t.Errorf("said %q, want the alert that rings", got)
	}
	if got := g.See(second(3), known).Say; len(got) > 0 {
		t.Errorf("said again: %q", got)
	}
}
