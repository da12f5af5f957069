package trial_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"seatrial/experiments"
	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// pod is what became of a victim.
func pod(before, after string) []evidence.VictimPod {
	return []evidence.VictimPod{{Name: "worker-0", UIDBefore: before, UIDAfter: after}}
}

func TestAFaultThatIsLostWithItsVictimProvesNothing(t *testing.T) {
	const lasts = 4 * time.Second
	restarted := pod("1", "1")
	restarted[0].Restarts = map[string]int{"worker": 2}
	for name, c := range map[string]struct {
		world  world
		status verdict.Status
		reason string
	}{
		"the victim stays":                    {world{lasts: lasts, pods: pod("1", "1")}, verdict.Pass, ""},
		"its container is restarted":          {world{lasts: lasts, pods: restarted}, verdict.Pass, ""},
		"a victim is replaced":                {world{lasts: lasts, pods: pod("1", "2")}, verdict.Inconclusive, "worker-down is not proven to have stayed in force: pod worker-0 (replaced)"},
		"a victim is gone":                    {world{lasts: lasts, pods: pod("1", "")}, verdict.Inconclusive, "pod worker-0 (gone)"},
		"a victim was gone before":            {world{lasts: lasts, pods: pod("", "2")}, verdict.Inconclusive, "pod worker-0 (not there when the fault was injected)"},
		"nobody knows":                        {world{lasts: lasts, podsErr: errors.New("no API server")}, verdict.Inconclusive, "pod worker-0 (not known: no API server)"},
		"a fault that happens once":           {world{pods: pod("1", "")}, verdict.Pass, ""},
		"what would have failed is open":      {world{lasts: lasts, pods: pod("1", "2"), silent: true}, verdict.Inconclusive, "pod worker-0 (replaced)"},
		"what was seen meanwhile is told":     {world{lasts: lasts, pods: pod("1", "2"), unhealthy: true}, verdict.Inconclusive, "pod worker-0 (replaced). Seen meanwhile: the system is not whole"},
		"a lost task is lost under any fault": {world{lasts: lasts, pods: pod("1", "2"), loseTask: true}, verdict.Fail, "exactly once"},
		"a crew replaces what it likes":       {world{lasts: lasts, pods: pod("1", "2"), byCrew: true}, verdict.Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dir := playInto(t, t.Context(), &c.world)
				if s.Status != c.status || !strings.Contains(s.Reason, c.reason) {
					t.Errorf("%v: %s\nwant %v: …%s…", s.Status, s.Reason, c.status, c.reason)
				}
				if lost := c.status != verdict.Pass; lost != (s.InForce == "inconclusive") || lost != strings.Contains(s.Proofs[0].Reason, "pod worker-0 (") {
					t.Errorf("in force: %s, by %+v", s.InForce, s.Proofs)
				}
				var rec evidence.Record
				if err := dir.Load(evidence.RecordFile, &rec); err != nil {
					t.Fatal(err)
				}
				if asJSON(rec.VictimPods) != asJSON(s.VictimPods) || len(s.VictimPods) != 1 || s.VictimPods[0].Experiment != "worker-down" {
					t.Errorf("the record has %s, the verdict %s", asJSON(rec.VictimPods), asJSON(s.VictimPods))
				}
				if rec.Proofs[0].Result != "confirmed" || rec.Proofs[0].InForceAt == nil {
					t.Errorf("what was seen has changed in the record: %+v", rec.Proofs)
				}
			})
		})
	}
}

// TestTheMitigationMayReplaceVictims: what counts is what became of them before it began.
func TestTheMitigationMayReplaceVictims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{lasts: time.Minute, pods: pod("1", "1"), crew: &crew{takes: time.Second}}
		w.crew.onDo = func() { w.pods = pod("1", "2") }
		if s := play(t, t.Context(), &w); s.Status != verdict.Pass || s.VictimPods[0].UIDAfter != "1" {
			t.Errorf("%v: %s, %s", s.Status, s.Reason, asJSON(s.VictimPods))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := world{lasts: time.Minute, pods: pod("1", "2"), crew: &crew{takes: time.Second}}
		if s := play(t, t.Context(), &w); s.Status != verdict.Inconclusive || !strings.Contains(s.Reason, "pod worker-0 (replaced)") {
			t.Errorf("replaced before the mitigation: %v: %s", s.Status, s.Reason)
		}
	})
}

// TestEvidenceThatTellsNothingOfVictims is of a version before they were recorded.
func TestEvidenceThatTellsNothingOfVictims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dir := playInto(t, t.Context(), &world{lasts: 4 * time.Second, pods: pod("1", "2")})
		var rec map[string]any
		if err := dir.Load(evidence.RecordFile, &rec); err != nil {
			t.Fatal(err)
		}
		delete(rec, "victim_pods")
		data, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir.Path(evidence.RecordFile), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := trial.Judge(dir); err != nil || s.Status != verdict.Pass || s.InForce != "confirmed" {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestWhatCannotBeInjectedCostsNoLoad: the testbed is asked before there is any.
func TestWhatCannotBeInjectedCostsNoLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{unable: experiments.UnableTo("Specified qdisc kind is unknown")}
		s := play(t, t.Context(), &w)
		if s.Status != verdict.Inconclusive || !s.Unable || !strings.Contains(s.Reason, "preflight: worker-down: not injected: Specified qdisc kind is unknown") {
			t.Errorf("%v, unable %v: %s", s.Status, s.Unable, s.Reason)
		}
		if slices.Contains(w.log, "load") || slices.Contains(w.log, "inject") {
			t.Errorf("it went on: %v", w.log)
		}
	})
}
