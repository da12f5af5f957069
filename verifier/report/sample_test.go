package report_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// A sample run is made of real files: Histories written by the real writer,
// verdicts and samples as a trial saves them. Only the numbers are made up.

var epoch = time.Date(2027, 3, 14, 9, 26, 53, 0, time.UTC)

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

func ptr(t time.Time) *time.Time { return &t }

// weather is how the system treats a request that is due at second t.
type weather func(rng *rand.Rand, t float64) (outcome history.Outcome, code uint16, cause string, latency time.Duration)

func calm(rng *rand.Rand, _ float64) (history.Outcome, uint16, string, time.Duration) {
	ms := 2.2 * math.Exp(0.45*rng.NormFloat64())
	return history.Accepted, 202, "", time.Duration(ms * float64(time.Millisecond))
}

// during applies w between two seconds, else calm.
func during(from, to float64, w weather) weather {
	return func(rng *rand.Rand, t float64) (history.Outcome, uint16, string, time.Duration) {
		if t >= from && t < to {
			return w(rng, t)
		}
		return calm(rng, t)
	}
}

// some applies w to a share of the requests, else calm.
func some(share float64, w weather) weather {
	return func(rng *rand.Rand, t float64) (history.Outcome, uint16, string, time.Duration) {
		if rng.Float64() < share {
			return w(rng, t)
		}
		return calm(rng, t)
	}
}

func refusing(*rand.Rand, float64) (history.Outcome, uint16, string, time.Duration) {
	return history.Refused, 503, "", 900 * time.Microsecond
}

func timingOut(*rand.Rand, float64) (history.Outcome, uint16, string, time.Duration) {
	return history.Unknown, 0, "context deadline exceeded", 2 * time.Second
}

func slow(by time.Duration) weather {
	return func(rng *rand.Rand, t float64) (history.Outcome, uint16, string, time.Duration) {
		o, c, e, d := calm(rng, t)
		return o, c, e, d + by + time.Duration(rng.ExpFloat64()*0.3*float64(by))
	}
}

// writeHistory makes a History of a load of perSecond over the given seconds and
// counts it into s.
func writeHistory(t testing.TB, path string, s *evidence.Scenario, seconds, perSecond int, w weather) {
	t.Helper()
	out, err := history.Create(path, history.Header{Start: s.Started, Prefix: evidence.Slug(s.Name)[:4] + "-x7", Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, uint64(len(s.Name))))
	for i := range seconds * perSecond {
		planned := time.Duration(float64(i) / float64(perSecond) * float64(time.Second))
		op := history.Op{Task: uint64(i), Planned: planned, Sent: planned + time.Duration(rng.IntN(400))*time.Microsecond}
		var d time.Duration
		op.Outcome, op.Code, op.Cause, d = w(rng, planned.Seconds())
		op.End = op.Sent + d
		if err := out.Append(&op); err != nil {
			t.Fatal(err)
		}
		s.Ops++
		switch op.Outcome {
		case history.Accepted:
			s.Accepted++
		case history.Refused:
			s.Refused++
		case history.Unknown:
			s.Unknown++
		}
	}
	s.Completed = s.Accepted
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// backlogOf makes samples that swell between two seconds and drain after.
func backlogOf(s *evidence.Scenario, seconds int, from, to, perSecond float64) []evidence.Series {
	series := evidence.Series{Name: "backlog", Query: "max(queue_backlog_length)"}
	level := 0.0
	for i := range seconds {
		switch f := float64(i); {
		case f >= from && f < to:
			level += perSecond
		default:
			level = max(level-perSecond*2.3, 3+4*math.Abs(math.Sin(f)))
		}
		series.Points = append(series.Points, [2]float64{float64(s.Started.Unix() + int64(i)), level})
	}
	return []evidence.Series{series}
}

const sampleManifest = `apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata:
  name: valkey-primary-partition
  namespace: seatrial
spec:
  action: partition
  mode: all
  selector:
    pods: {seatrial: [valkey-0]}
  direction: both
  duration: 30s
`

// folder makes the folder of s with everything that a trial leaves.
func folder(t testing.TB, run string, s *evidence.Scenario, seconds, perSecond int, w weather, samples []evidence.Series) {
	t.Helper()
	dir, err := evidence.New(run, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	s.Evidence, _ = filepath.Rel(run, string(dir))
	writeHistory(t, dir.Path(evidence.HistoryFile), s, seconds, perSecond, w)
	plan := evidence.Plan{Name: s.Name, Load: evidence.Load{Profile: "steady", Rate: float64(perSecond), RepeatRatio: 0.01,
		Timeout: evidence.Duration(2 * time.Second)}}
	for file, v := range map[string]any{evidence.PlanFile: plan, evidence.SamplesFile: samples, evidence.VerdictFile: s, evidence.RecordFile: struct{}{}} {
		if err := dir.Save(file, v); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"results.bin": "x", "hdr.txt": "x", "plot.html": "<p>plot</p>", evidence.HeldFile: "{}\n", "logs/api-0.log": "ready\n", "logs/worker-0.log": "ready\n"}
	for _, e := range s.Experiments {
		files["manifests/"+filepath.Base(e)+".yaml"] = sampleManifest
	}
	for name, text := range files {
		put(t, dir.Path(name), text)
	}
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// held are the guarantees of a trial in which all was well.
func held() []evidence.Guarantee {
	var all []evidence.Guarantee
	for _, name := range []string{"an accepted task is done exactly once", "a refused task is never done",
		"an unknown task is done at most once", "everything accepted is done within 30s after recovery"} {
		all = append(all, evidence.Guarantee{Name: name, Status: verdict.Pass, Reason: name + ": held for 11,900 accepted tasks"})
	}
	return all
}

func objective(name, window string, target, measured float64) evidence.Objective {
	o := evidence.Objective{Name: name, Window: window, Objective: target, Measured: measured, Total: 6000, Good: 6000 * measured,
		BurnRate: (1 - measured) / (1 - target), Status: verdict.Pass}
	o.BudgetSpent = (1 - measured) * 40 / (2_592_000 * (1 - target))
	if measured < target {
		o.Status, o.Reason = verdict.Fail, name+" fell short of its target"
	}
	return o
}

// base is a scenario with a fault from second 30 to 70 of 120.
func base(n int, name, runbook string, experiments ...string) *evidence.Scenario {
	start := float64(n * 130)
	s := &evidence.Scenario{Name: name, Feature: "Partitions and crashes", Tags: []string{"@" + runbook}, Runbook: runbook, Experiments: experiments,
		Status: verdict.Pass, Reason: "every objective, guarantee and alert held", Started: at(start), AskedRate: 250, AchievedRate: 249.96,
		InForce: "confirmed", Residue: "none", Guarantees: held(), Latency: evidence.Latency{PlannedP50: 0.0023, PlannedP99: 0.0081, SentP50: 0.0021, SentP99: 0.0079},
		Windows: []evidence.Window{{Name: "baseline", Start: at(start + 5), End: at(start + 30)}, {Name: "fault", Start: at(start + 30.4), End: at(start + 70)},
			{Name: "recovery", Start: at(start + 74), End: at(start + 118)}},
		SLO: []evidence.Objective{objective("availability", "baseline", 0.999, 1), objective("availability", "fault", 0.9, 0.96213),
			objective("availability", "recovery", 0.999, 0.99997), objective("latency", "recovery", 0.99, 0.9989), objective("freshness", "recovery", 0.99, 0.997)},
		Seconds: evidence.Seconds{InjectToInForce: 0.41, InForceToDeviation: 1.2, InForceToAlert: 9.6, RecoverToSLO: 3.1, RecoverToAlertResolved: 17.4, BacklogDrained: 6.2},
	}
	s.Victims = []string{"valkey-0"}
	s.Markers = []evidence.Marker{{Name: "load", At: at(start)}, {Name: "injected " + experiments[0], At: at(start + 30)}, {Name: "in force: " + experiments[0], At: at(start + 30.4)},
		{Name: "alert " + runbook, At: at(start + 40)}, {Name: "removed", At: at(start + 70)}, {Name: "recovered", At: at(start + 73.1)},
		{Name: "resolved " + runbook, At: at(start + 87.4)}, {Name: "load stopped", At: at(start + 119)}}
	s.Alerts = []evidence.Alert{{Name: runbook, Expected: true, Fired: true, FiredAt: ptr(at(start + 40)), ResolvedAt: ptr(at(start + 87.4)), Severity: "page",
		RunbookURL: "https://example.org/runbooks/" + runbook + ".md", Status: verdict.Pass}}
	s.Proofs = []evidence.Proof{{Experiment: experiments[0], Result: "confirmed", InForceAt: ptr(at(start + 30.4)),
		Query: `max(dependency_rtt_seconds{dependency="valkey",pod=~"worker-.*"}) > 1`}}
	s.BudgetCost = 0.0058
	return s
}

// sampleRun writes a run that passes, fails and leaves open, and returns its folder.
func sampleRun(t testing.TB, dir string) string {
	t.Helper()
	run := &evidence.Run{Run: "2027-03-14T09-26-53Z", Seed: 7, Target: "local", Status: verdict.Fail, Started: epoch, Seconds: 794,
		Versions: map[string]string{"nats-server": "2.15.2", "valkey": "8.0.1", "prometheus": "3.15.0", "alertmanager": "0.31.1", "seatrial": "0.1.0"}}

	steady := base(0, "Steady state: nothing is lost, and no alert rings", "SteadyState", "none")
	steady.Experiments, steady.InForce, steady.Victims, steady.Proofs, steady.Alerts = nil, "none", nil, nil, nil
	steady.Markers = []evidence.Marker{{Name: "load", At: at(0)}, {Name: "load stopped", At: at(119)}}
	steady.Windows, steady.BudgetCost, steady.Feature = steady.Windows[:1], 0, "Steady state"
	steady.Windows[0].End, steady.SLO = at(118), steady.SLO[:1]
	folder(t, dir, steady, 120, 250, calm, backlogOf(steady, 120, 0, 0, 0))

	split := base(1, "The Valkey primary partitioned with a worker on its side: fenced, nothing lost", "ValkeySplitBrain", "valkey-primary-partition")
	folder(t, dir, split, 120, 250, during(30, 38, some(0.35, timingOut)), backlogOf(split, 120, 31, 52, 120))
	split.Status = verdict.Fail
	split.Reason = `broke "an accepted task is done exactly once": 3 tasks lost (the-x7-8021, the-x7-8044, the-x7-8107), 1 task done twice (the-x7-8050)`
	split.Lost, split.Duplicated, split.Completed = 3, 1, split.Accepted-3
	split.Guarantees[0] = evidence.Guarantee{Name: split.Guarantees[0].Name, Status: verdict.Fail, Reason: split.Reason, Count: 4,
		Tasks: []string{"the-x7-8021", "the-x7-8044", "the-x7-8107", "the-x7-8050"}}
	split.SLO[1] = objective("availability", "fault", 0.95, 0.9312)
	split.Seconds.RecoverToAlertResolved = -1

	quorum := base(2, "Two of three NATS down: the API refuses cleanly", "NATSQuorumLost", "nats-two-down")
	quorum.AchievedRate, quorum.Residue = 249.99, "none"
	folder(t, dir, quorum, 120, 250, during(30.5, 71, func(rng *rand.Rand, t float64) (history.Outcome, uint16, string, time.Duration) {
		if t < 33 {
			return timingOut(rng, t)
		}
		return refusing(rng, t)
	}), backlogOf(quorum, 120, 0, 0, 0))
	quorum.UnknownDone = 211

	delay := base(3, "Delay between worker and Valkey: the backlog grows and drains", "WorkerBacklogGrowing", "worker-valkey-delay")
	folder(t, dir, delay, 120, 250, during(31, 71, some(0.6, slow(180*time.Millisecond))), backlogOf(delay, 120, 30, 70, 85))
	delay.Status, delay.InForce, delay.Reason = verdict.Inconclusive, "mismatch", "the fault was not proven to be in force"
	delay.Proofs[0].Result, delay.Proofs[0].InForceAt = "mismatch", nil
	delay.Proofs[0].Reason = "the injector says injected, but the round trip to Valkey stayed at 0.4 ms for 10 s"
	delay.Alerts[0] = evidence.Alert{Name: "WorkerBacklogGrowing", Expected: true, Status: verdict.Inconclusive, Reason: "cannot judge: the fault was not in force", Severity: "ticket", RunbookURL: "javascript:alert(1)"}
	delay.Seconds = evidence.Seconds{InjectToInForce: -1, InForceToDeviation: -1, InForceToAlert: -1, RecoverToSLO: 0.2, RecoverToAlertResolved: -1, BacklogDrained: 19.3}

	delay.VictimPods = []evidence.VictimPod{{Experiment: "worker-valkey-delay", Name: "worker-0", UIDBefore: "uid-1", UIDAfter: "uid-2", Lasting: true}}

	kill := base(4, "Worker container killed again and again", "WorkerCrashLooping", "worker-container-kill", "worker-cpu-stress")
	kill.VictimPods = []evidence.VictimPod{{Experiment: "worker-container-kill", Name: "worker-1", UIDBefore: "uid-3", UIDAfter: "uid-3", Restarts: map[string]int{"worker": 3}}}
	folder(t, dir, kill, 120, 250, calm, backlogOf(kill, 120, 33, 36, 240))

	lame := base(5, "Loss between API and NATS", "APIErrorBudgetBurn", "api-nats-loss")
	folder(t, dir, lame, 60, 250, during(30, 60, some(0.08, timingOut)), nil)
	cut(t, filepath.Join(dir, lame.Evidence, evidence.HistoryFile))
	for _, name := range []string{evidence.SamplesFile, "results.bin", "plot.html"} {
		if err := os.Remove(filepath.Join(dir, lame.Evidence, name)); err != nil {
			t.Fatal(err)
		}
	}
	lame.Status, lame.Reason = verdict.Inconclusive, "in the fault phase: interrupted"
	for i := range lame.Guarantees {
		lame.Guarantees[i].Status, lame.Guarantees[i].Reason = verdict.Inconclusive, `cannot judge "`+lame.Guarantees[i].Name+`": the History is cut`
	}
	lame.Windows, lame.Markers, lame.SLO = lame.Windows[:2], lame.Markers[:4], lame.SLO[:2]
	lame.Windows[1].End, lame.Lost = at(5*130+58), 0
	lame.SLO[1] = evidence.Objective{Name: "availability", Window: "fault", Objective: 0.95, Measured: -1, Status: verdict.Inconclusive, Reason: "the window was not reached"}

	for _, s := range []*evidence.Scenario{steady, split, quorum, delay, kill, lame} {
		run.Scenarios = append(run.Scenarios, *s)
	}
	if err := evidence.SaveJSON(filepath.Join(dir, evidence.VerdictFile), run); err != nil {
		t.Fatal(err)
	}
	return dir
}

// cut takes the last bytes off a file, as a full disk would.
func cut(t testing.TB, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()*9/10); err != nil {
		t.Fatal(err)
	}
}
