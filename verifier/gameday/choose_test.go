package gameday

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
)

var plans = []evidence.Plan{
	{Name: "Steady", Runbook: "BacklogGrowing"},
	{Name: "A kill", Runbook: "WorkerRestarting", Experiments: []string{"worker-kill"}},
	{Name: "All down", Runbook: "WorkerDown", Experiments: []string{"worker-down"}},
	{Name: "Kills", Runbook: "WorkerRestarting", Experiments: []string{"worker-container-kill"}},
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		wish      Wish
		want, err string
	}{
		{Wish{Runbook: "WorkerRestarting"}, "A kill", ""},
		{Wish{Runbook: "WorkerRestarting", Scenario: "Kills"}, "Kills", ""},
		{Wish{Scenario: "All down"}, "All down", ""},
		{Wish{}, "", "what is to be played?"},
		{Wish{Runbook: "BacklogGrowing"}, "", "no scenario of the runbook BacklogGrowing injects a fault; runbooks with one are WorkerDown, WorkerRestarting"},
		{Wish{Scenario: "Steady"}, "", `no scenario is named "Steady" that injects a fault`},
		{Wish{Runbook: "WorkerDown", Scenario: "Kills"}, "", "for the runbook WorkerDown"},
	} {
		p, err := c.wish.Choose(plans)
		if p.Name != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %q, %v; want %q, %q", c.wish, p.Name, err, c.want, c.err)
		}
	}
	if _, err := (Wish{Surprise: true}).Choose(plans[:1]); err == nil {
		t.Error("a surprise among scenarios that inject nothing")
	}
}

// TestASurpriseIsDrawnByTheSeed: every scenario with a fault comes, and a seed
// brings the same one again.
func TestASurpriseIsDrawnByTheSeed(t *testing.T) {
	var drawn []string
	for seed := range int64(50) {
		w := Wish{Surprise: true, Seed: seed}
		p, err := w.Choose(plans)
		again, _ := w.Choose(plans)
		if err != nil || p.Name != again.Name {
			t.Fatalf("seed %d: %q, then %q, %v", seed, p.Name, again.Name, err)
		}
		if !slices.Contains(drawn, p.Name) {
			drawn = append(drawn, p.Name)
		}
	}
	slices.Sort(drawn)
	if want := []string{"A kill", "All down", "Kills"}; !slices.Equal(drawn, want) {
		t.Errorf("fifty seeds draw %q, want %q", drawn, want)
	}
}

func TestPlanOfAGame(t *testing.T) {
	p := evidence.Plan{
		Name: "All down", Runbook: "WorkerDown", Experiments: []string{"worker-down"}, InForce: evidence.Duration(10 * time.Second),
		Objectives: []evidence.ObjectivePlan{{Window: "baseline"}, {Window: "fault"}, {Window: "recovery"}},
	}
	got := PlanOf(p, 15*time.Minute)
	if got.Name != Name || got.Runbook != "WorkerDown" {
		t.Errorf("the plan is called %q, runbook %s: the crew reads names in task ids", got.Name, got.Runbook)
	}
	if time.Duration(got.Fault) < 15*time.Minute+10*time.Second {
		t.Errorf("the trial's own clock ends the fault after %v, before the game's", got.Fault)
	}
	if len(got.Objectives) != 2 || len(p.Objectives) != 3 {
		t.Errorf("%d objectives of %d: want the fault window's left out, and the scenario's plan as it was", len(got.Objectives), len(p.Objectives))
	}
}

func TestRulesAreChecked(t *testing.T) {
	if err := rules.Validate(); err != nil {
		t.Errorf("good rules: %v", err)
	}
	bad := Rules{AbortBudget: 1.5, MaxDuration: time.Second, Objectives: []evidence.ObjectivePlan{{Name: "availability", Ratio: 1}, {Name: "latency", Ratio: 0.9, Within: evidence.Duration(time.Minute)}}}
	err := bad.Validate()
	for _, want := range []string{"abort limit is 150 %", "longest duration is 1s", "objective availability: ratio 1", "objective latency within 1m0s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q among the mistakes", err, want)
		}
	}
}

const page = "---\ndetect_within: 15s\n---\n# A\n## Meaning\nExpected: nothing here\n## Diagnosis\nIs it?\n\n```promql\nup == 0\n\nor absent(up)\n```\n\n" +
	"Expected: `> 0`\n\nWhere?\n\n```sh\nls\n```\nLook: at it\n\nLook: again\n\n### Cause: Memory\n\n```promql\noom\n```\n\nExpected: `> 0`\n\nInjected by: `worker-memory-stress`\n\n" +
	"### Cause: Else\nAsk around.\n\nNot injectable: people\n\n## Mitigation\nExpected: no hint\n"

func TestHintsAreTheStepsOfTheDiagnosis(t *testing.T) {
	got := Hints(page)
	want := []string{
		"Is it?\n```promql\nup == 0\n\nor absent(up)\n```\nExpected: `> 0`",
		"Where?\n```sh\nls\n```\nLook: at it",
		"Look: again",
		"### Cause: Memory\n```promql\noom\n```\nExpected: `> 0`",
		"### Cause: Else\nAsk around.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("hints\n%s\nwant\n%s", strings.Join(got, "\n--\n"), strings.Join(want, "\n--\n"))
	}
	if got := Hints("# no sections"); got != nil {
		t.Errorf("hints of nothing: %q", got)
	}
}

// TestEveryRunbookHasHints: a facilitator must have something to give.
func TestEveryRunbookHasHints(t *testing.T) {
	pages, err := filepath.Glob("../../runbooks/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		hints := Hints(string(text))
		if strings.Contains(string(text), "\n## Diagnosis") && len(hints) == 0 {
			t.Errorf("%s has a Diagnosis without steps", path)
		}
		for _, h := range hints {
			if strings.Contains(h, "Injected by:") {
				t.Errorf("%s: a hint names the experiment: %s", path, h)
			}
		}
	}
}
