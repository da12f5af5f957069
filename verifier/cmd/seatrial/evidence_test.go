//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// makeEvidence (evidence DIR [LOST…]) writes the Evidence of a run with one
// small trial into DIR; the tasks whose numbers are named were lost.
func makeEvidence(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: evidence DIR [LOST...]")
	}
	dir, err := evidence.New(ts.MkAbs(args[0]), "A small trial")
	ts.Check(err)
	lost := map[string]bool{}
	for _, n := range args[1:] {
		lost[n] = true
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	ts.Check(dir.Save(evidence.PlanFile, evidence.Plan{
		Name: "A small trial", Feature: "small.feature", Runbook: "WorkerDown", Seed: 7, Target: "local", MinAccepted: 100,
		Load:       evidence.Load{Profile: "steady", Rate: 50, Timeout: evidence.Duration(time.Second)},
		Guarantees: []evidence.GuaranteePlan{{Name: evidence.ExactlyOnce}, {Name: evidence.RefusedNeverDone}},
	}))
	ts.Check(dir.Save(evidence.RecordFile, evidence.Record{
		Started: start, Stopped: at(10), AskedRate: 50, AchievedRate: 50, Residue: "none",
		Windows: []evidence.Window{{Name: "baseline", Start: start, End: at(5)}, {Name: "recovery", Start: at(5), End: at(10)}},
	}))
	h, err := history.Create(dir.Path(evidence.HistoryFile), history.Header{Start: start, Prefix: "small", Target: "http://api/task", Seed: 7})
	ts.Check(err)
	held, err := os.Create(dir.Path(evidence.HeldFile))
	ts.Check(err)
	count := 0
	for n := range uint64(500) {
		planned := time.Duration(n) * 20 * time.Millisecond
		ts.Check(h.Append(&history.Op{Task: n, Planned: planned, Sent: planned, End: planned + 3*time.Millisecond, Outcome: history.Accepted, Code: 202}))
		if lost[strconv.FormatUint(n, 10)] {
			continue
		}
		count++
		fmt.Fprintf(held, `{"id":"small-%d","status":"done","effects":1,"done_at":%q}`+"\n", n, start.Add(planned+time.Second).Format(time.RFC3339Nano))
	}
	fmt.Fprintf(held, `{"end":true,"count":%d}`+"\n", count)
	ts.Check(errors.Join(h.Close(), held.Close()))
	ts.Check(evidence.SaveJSON(filepath.Join(ts.MkAbs(args[0]), evidence.VerdictFile), evidence.Run{
		Run: "small-run", Seed: 7, Target: "local", Started: start, Seconds: 12, Status: verdict.Pass, Versions: map[string]string{"nats-server": "2.15.2"},
	}))
}

// diagnosed DIR [RUNBOOK…] lets the trial of such Evidence have had a fault, during which the
// diagnosis of its own runbook was true and, of Doubted and Other, those that are named.
func diagnosed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: diagnosed DIR [RUNBOOK...]")
	}
	dir := evidence.Dir(filepath.Join(ts.MkAbs(args[0]), "evidence", "a-small-trial"))
	var plan evidence.Plan
	var rec evidence.Record
	ts.Check(errors.Join(dir.Load(evidence.PlanFile, &plan), dir.Load(evidence.RecordFile, &rec)))
	at := func(s int) time.Time { return rec.Started.Add(time.Duration(s) * time.Second) }
	inForce, cleared := at(4), at(9)
	plan.Experiments = []string{"worker-down"}
	plan.Alerts = []evidence.AlertPlan{{Name: "WorkerDown", Within: evidence.Duration(10 * time.Second)}}
	rec.InjectAt, rec.RemovedAt, rec.HealthyAt, rec.SLOAt = at(3), at(7), at(8), at(8)
	rec.Windows = []evidence.Window{{Name: "baseline", Start: at(0), End: at(3)}, {Name: "fault", Start: at(3), End: at(7)}, {Name: "recovery", Start: at(8), End: at(10)}}
	rec.Proofs = []evidence.Proof{{Experiment: "worker-down", Query: "up", Result: "confirmed", InForceAt: &inForce}}
	rec.Alerts = []evidence.SeenAlert{{Name: "WorkerDown", Severity: "page", RunbookURL: "runbooks/WorkerDown.md", FiredAt: at(6), ResolvedAt: &cleared}}
	for _, name := range []string{"WorkerDown", "Doubted", "Other"} {
		plan.Runbooks = append(plan.Runbooks, evidence.RunbookPlan{Name: name, Steps: []evidence.StepPlan{{Query: "vector(1)", Expect: "> 0", Holds: "vector(1) > 0"}}})
		seen := evidence.SeenDiagnosis{Runbook: name, Asked: 3}
		if name == "WorkerDown" || slices.Contains(args[1:], name) {
			seen.True = []int64{at(5).Unix(), at(6).Unix(), at(7).Unix()}
		}
		rec.Diagnoses = append(rec.Diagnoses, seen)
	}
	ts.Check(errors.Join(dir.Save(evidence.PlanFile, plan), dir.Save(evidence.RecordFile, rec)))
}
