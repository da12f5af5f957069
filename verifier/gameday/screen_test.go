package gameday

import (
	"strings"
	"testing"

	"seatrial/experiments"
	"seatrial/verifier/evidence"
)

func TestWhatTheFacilitatorSees(t *testing.T) {
	g := in(t, Working)
	s := sight(phaseFault, 30, 50)
	s.Backlog = 1234
	s.Alerts = []evidence.SeenAlert{{Name: "WorkerDown", Severity: "page", RunbookURL: "https://example.org/WorkerDown.md"}}
	g.See(second(30), s)
	v := g.View(second(32))
	if got := v.Line(); !strings.HasPrefix(got, "00:30  the crew is at work, 30s left  availability (15 s) ") || !strings.Contains(got, "of 2 %  backlog 1234") || !strings.HasSuffix(got, "ALERT WorkerDown") {
		t.Errorf("line %q", got)
	}
	block := strings.Join(v.Block(), "\n")
	for _, want := range []string{"00:30  the crew is at work", "availability (15 s)", "backlog 1234", "3950 accepted, 50 refused", "ALERT WorkerDown (page)  https://example.org/WorkerDown.md"} {
		if !strings.Contains(block, want) {
			t.Errorf("the block lacks %q:\n%s", want, block)
		}
	}
}

func TestTheBlockHasOneHeight(t *testing.T) {
	var heights []int
	for n := range 8 {
		v := View{}
		for range n {
			v.Alerts = append(v.Alerts, evidence.SeenAlert{Name: "A"})
		}
		block := v.Block()
		heights = append(heights, len(block))
		if n > alertLines && !strings.Contains(block[len(block)-1], "more alerts") {
			t.Errorf("%d alerts: the last line is %q", n, block[len(block)-1])
		}
	}
	for _, h := range heights {
		if h != heights[0] {
			t.Fatalf("heights %v differ: a block could not be rewritten in place", heights)
		}
	}
}

// TestOnATerminalTheBlockIsRewritten: what is typed stays, and what was said stays
// above.
func TestOnATerminalTheBlockIsRewritten(t *testing.T) {
	var out strings.Builder
	s := NewScreen(&out, func() int { return 40 })
	v := View{Alerts: []evidence.SeenAlert{{Name: "X", RunbookURL: strings.Repeat("long", 40)}}}
	s.Paint(v)
	first := out.String()
	if !strings.HasSuffix(first, "\n> ") || strings.Count(first, "\n") != len(v.Block()) {
		t.Errorf("the first block is %q", first)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(first, "> "), "\n") {
		if n := len([]rune(strings.TrimSuffix(line, toEndOfLine))); n > 39 {
			t.Errorf("%d columns of 40 are used: it may wrap", n)
		}
	}
	out.Reset()
	s.Paint(v)
	if got := out.String(); !strings.HasPrefix(got, saveCursor+"\x1b[7A\r") || !strings.HasSuffix(got, restoreCursor) {
		t.Errorf("the block is not rewritten in place: %q", got)
	}
	out.Reset()
	s.Say("ack", "acknowledged")
	if got := out.String(); got != "\x1b[8A\r\x1b[J> ack\nacknowledged\n" {
		t.Errorf("said %q", got)
	}
	out.Reset()
	s.Close()
	if out.Len() > 0 {
		t.Errorf("closing without a block writes %q", out.String())
	}
}

func TestElsewhereThereAreLines(t *testing.T) {
	var out strings.Builder
	s := NewScreen(&out, nil)
	s.Say("ack", "acknowledged")
	s.Say("")
	s.Paint(View{Now: Standing{Name: "availability", Ratio: -1}, Worst: Standing{Name: "freshness"}})
	s.Close()
	if got := out.String(); got != "> ack\nacknowledged\npreparing  availability (15 s) no data  budget of freshness 0 % of 0 %  backlog 0\n" {
		t.Errorf("%q", got)
	}
}

func TestADryRunSaysWhatIsTouched(t *testing.T) {
	e, err := experiments.Embedded().Get("worker-down")
	if err != nil {
		t.Fatal(err)
	}
	if e, err = e.Lasting(rules.MaxDuration); err != nil {
		t.Fatal(err)
	}
	leader, err := experiments.Embedded().Get("nats-leader-kill")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	touch := Touch{
		Scenario: evidence.Plan{Name: "All down", Runbook: "WorkerDown", Feature: "services.feature", Load: evidence.Load{Profile: "steady", Rate: 300}},
		Rules:    rules, Where: "local", Target: "its API",
		Faults: []Touched{
			{Experiment: e, Pods: []string{"worker-0", "worker-1"}, Drawn: []string{"worker-0 and worker-1"}, Manifest: []byte("kind: PodChaos\n")},
			{Experiment: leader, Pods: []string{"nats-0"}},
		},
	}
	if err := touch.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"All down (services.feature)", "steady, 300 requests/s, to its API", "removed after 1m0s, or when 2 % of a 30-day error budget",
		"worker-down: PodChaos pod-failure, at most 1m0s", "worker-0, worker-1 (mode all)", "    kind: PodChaos",
		"nats-leader-kill: PodChaos pod-kill, once", "out of those that answer: nats_jetstream_stream_leader",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, out.String())
		}
	}
}
