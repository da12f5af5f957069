package postmortem

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func second(n float64) time.Time { return noon.Add(time.Duration(n * float64(time.Second))) }

func at(n float64) *time.Time { t := second(n); return &t }

// sample is a trial in which both workers were down.
func sample() (evidence.Scenario, evidence.Plan, evidence.Record) {
	proofs := []evidence.Proof{{Experiment: "worker-down", Query: `absent(up{job="worker"} == 1)`, Result: "confirmed", InForceAt: at(2)}}
	s := evidence.Scenario{
		Name: "All workers are down", Target: "local", Runbook: "WorkerDown", Experiments: []string{"worker-down"},
		Status: verdict.Fail, Reason: "alert WorkerDown did not fire within 15s of the fault", Started: second(-20),
		Ops: 2000, Accepted: 1900, Refused: 60, Unknown: 40, Lost: 1, BudgetCost: 0.0004,
		AskedRate: 300, AchievedRate: 299.8, InForce: "confirmed", Residue: "none", Victims: []string{"worker-0", "worker-1"},
		Markers: []evidence.Marker{
			{Name: "injected worker-down", At: second(0)}, {Name: "in force: worker-down", At: second(2)},
			{Name: "alert WorkerDown", At: second(9)}, {Name: "removed", At: second(40)},
		},
		Proofs: proofs, SLO: []evidence.Objective{{Name: "availability", Window: "recovery", Objective: 0.99, Measured: 0.99999, Status: verdict.Pass}},
		Alerts:    []evidence.Alert{{Name: "WorkerDown", Expected: true, Fired: true, RunbookURL: "https://example.org/runbooks/WorkerDown.md"}},
		Diagnoses: []evidence.Diagnosis{{Runbook: "WorkerDown", Role: "must", Asked: 38, True: 30, Status: verdict.Pass}, {Runbook: "APIDown", Role: "not", Asked: 38, Status: verdict.Pass}},
		Seconds:   evidence.Seconds{InjectToInForce: 2, InForceToDeviation: 3, InForceToAlert: 7, RecoverToSLO: 5, RecoverToAlertResolved: -1, BacklogDrained: 6},
	}
	rec := evidence.Record{InjectAt: second(0), RemovedAt: second(40), SLOAt: second(45), Objectives: []evidence.MeasuredWindow{{
		ObjectivePlan: evidence.ObjectivePlan{Name: "availability", Window: "recovery"}, Query: "sum(good) - sum(good offset 6s)",
	}}}
	return s, evidence.Plan{Name: s.Name, Seed: 7, Load: evidence.Load{Profile: "steady", Rate: 300}}, rec
}

// folder is a trial's folder with the sample in it.
func folder(t *testing.T, record bool) (evidence.Dir, evidence.Scenario) {
	t.Helper()
	dir, err := evidence.New(t.TempDir(), "All workers are down")
	if err != nil {
		t.Fatal(err)
	}
	s, plan, rec := sample()
	err = dir.Save(evidence.PlanFile, plan)
	if record {
		err = errors.Join(err, dir.Save(evidence.RecordFile, rec), os.Mkdir(dir.Path(evidence.ManifestsDir), 0o755),
			os.WriteFile(dir.Path(evidence.ManifestsDir, "worker-down.yaml"), []byte("kind: PodChaos\n"), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

func saved(t *testing.T, dir evidence.Dir, s evidence.Scenario, moments ...evidence.Marker) string {
	t.Helper()
	if err := Save(dir, s, moments...); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(dir.Path(File))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestWhatAPostMortemSays(t *testing.T) {
	dir, s := folder(t, true)
	page := saved(t, dir, s, evidence.Marker{Name: Mitigated, At: second(39)}, evidence.Marker{Name: Acknowledged, At: second(12)})
	for _, want := range []string{
		"# Post-mortem: All workers are down\n",
		"| Verdict | fail: alert WorkerDown did not fire within 15s of the fault |",
		"local, seed 7",
		"[WorkerDown](../../runbooks/WorkerDown.md)",
		"- Requests: 2000 sent, 100 not accepted (5 %): 60 refused, 40 with an unknown outcome.",
		"- Error budget: 0.04 % of that of 30 days",
		"| availability | recovery | 99 % | 99.999 % |",
		"| 12:00:00.0 | +0.0 | injected worker-down | [manifests/worker-down.yaml](manifests/worker-down.yaml) |",
		"| 12:00:05.0 | +5.0 | users notice",
		"| 12:00:09.0 | +9.0 | alert WorkerDown | [runbook](https://example.org/runbooks/WorkerDown.md), [record.json](record.json) |",
		"| 12:00:12.0 | +12.0 | acknowledged | said by people |",
		"| in force | detected (alert) | 7.0 |",
		"| in force | acknowledged | 10.0 |",
		"| in force | mitigated | 37.0 |",
		"| in force | recovered (users are served) | 43.0 |",
		"| fault removed | alert resolved | not seen |",
		"- Victims: worker-0, worker-1",
		"| WorkerDown | must be true | 30 of 38 s | pass |",
		"## Root cause", "## What went well", "## Actions",
		"```promql\nabsent(up{job=\"worker\"} == 1)\n```",
		"```promql\nsum(good) - sum(good offset 6s)\n```",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "| APIDown |") {
		t.Error("a diagnosis that was rightly false all along is listed")
	}
	order(t, page, "| injected worker-down |", "| in force: worker-down |", "| users notice", "| alert WorkerDown |", "| acknowledged |", "| mitigated |", "| removed |", "| backlog drained |")
}

// order checks that the parts follow each other in the time line.
func order(t *testing.T, page string, parts ...string) {
	t.Helper()
	page = page[strings.Index(page, "## Time line"):]
	for _, p := range parts {
		i := strings.Index(page, p)
		if i < 0 {
			t.Fatalf("%q is missing, or before what it should follow", p)
		}
		page = page[i:]
	}
}

var links = regexp.MustCompile(`\]\(([^)]*)\)`)

// TestEveryLinkLeadsSomewhere: within the trial's folder; what is outside of it
// the run writes later.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for name, record := range map[string]bool{"whole": true, "killed": false} {
		t.Run(name, func(t *testing.T) {
			dir, s := folder(t, record)
			page := saved(t, dir, s)
			found := 0
			for _, m := range links.FindAllStringSubmatch(page, -1) {
				if strings.HasPrefix(m[1], "../../") || strings.HasPrefix(m[1], "https:") || m[1] == "#queries" {
					continue
				}
				found++
				if _, err := os.Stat(filepath.Join(string(dir), m[1])); err != nil {
					t.Errorf("dangling link: %v", err)
				}
			}
			if found == 0 {
				t.Error("no link into the folder")
			}
			if missing := strings.Contains(page, "record.json (missing)"); missing == record {
				t.Errorf("the page says that record.json is missing: %v", missing)
			}
		})
	}
}

func TestWithoutAPlanThereIsNoPostMortem(t *testing.T) {
	dir, s := folder(t, true)
	if err := os.Remove(dir.Path(evidence.PlanFile)); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, s); err == nil || !strings.Contains(err.Error(), evidence.PlanFile) {
		t.Errorf("error %v, want one that names %s", err, evidence.PlanFile)
	}
}

// TestTextOfOthersIsNoMarkdown: names of alerts and reasons come from elsewhere.
func TestTextOfOthersIsNoMarkdown(t *testing.T) {
	dir, s := folder(t, true)
	s.Reason = "a | b\n# c <script> [x](y)"
	s.Alerts[0].RunbookURL = "https://example.org/a) (b|c"
	page := saved(t, dir, s)
	for _, bad := range []string{"<script>", "\n# c", "[x](", "/a) (b"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q as it came", bad)
		}
	}
	for n, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(line, "| Verdict") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 3 {
			t.Errorf("line %d has a column too many: %s", n+1, line)
		}
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{
		0: "0 %", 1: "100 %", 0.9999999: "99.999 %", 0.05: "5 %", 0.0000001: "< 0.001 %", 12.345: "1234 %", 0.12345: "12.3 %",
	} {
		if got := percent(share); got != want {
			t.Errorf("percent(%v) = %q, want %q", share, got, want)
		}
	}
}
