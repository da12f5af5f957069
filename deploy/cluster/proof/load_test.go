package proof

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"seatrial/loadgen/control"
	"seatrial/loadgen/fleet"
	"seatrial/loadgen/profile"
	"seatrial/verifier/evidence"
	"seatrial/verifier/system"
	"seatrial/verifier/trial"
)

// load is what the cluster's load generators send while something is done to the system.
type load struct {
	cluster *cluster
	fleet   *fleet.Fleet
	name    string
	rate    float64
	started time.Time
	stopped bool
}

// startLoad has all load generators send tasks to the API's Service, together by the
// profile, until stop. name is unique among the loads that the pods still remember.
func (c *cluster) startLoad(t *testing.T, name string, p profile.Config) *load {
	t.Helper()
	pods, err := c.pods(t.Context(), namespace, "app=loadgen")
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, p := range pods {
		urls = append(urls, fmt.Sprintf("http://%s.pod.%s:8090", p.Name, namespace))
	}
	f, err := fleet.New(urls, &http.Client{Transport: c.dialer.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	l := &load{cluster: c, fleet: f, name: fmt.Sprintf("%s-%d", name, time.Now().UnixMilli()), rate: p.Rate, started: time.Now()}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := f.Start(ctx, control.Spec{ID: l.name, Prefix: l.name, Target: "http://api/task", Seed: 1, PayloadBytes: 256,
		Timeout: profile.Duration(6 * time.Second), Profile: p}); err != nil {
		t.Fatal(err)
	}
	cleanup(t, "stop the load "+l.name, l.stop)
	return l
}

// steady is a profile that the end of the test cuts.
func steady(rate float64) profile.Config {
	return profile.Config{Kind: profile.Steady, Rate: rate, Duration: profile.Duration(15 * time.Minute)}
}

func (l *load) stop(ctx context.Context) error {
	if l.stopped {
		return nil
	}
	l.stopped = true
	_, err := l.fleet.Stop(ctx)
	return err
}

// status is how the load is doing.
func (l *load) status(t *testing.T) control.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := l.fleet.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge ends the load, waits until the queue is empty, and leaves a trial's Evidence in
// folder for the judge of trials: every accepted task done exactly once.
func (l *load) judge(t *testing.T, folder string) *evidence.Scenario {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := l.stop(ctx); err != nil {
		t.Fatal(err)
	}
	status := l.status(t)
	path := filepath.Join(l.cluster.dir, folder)
	if err := errors.Join(os.RemoveAll(path), os.MkdirAll(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	dir := evidence.Dir(path)
	api := system.New("http://api."+namespace+":80", l.cluster.dialer.Transport())
	l.cluster.eventually(t, 2*time.Minute, "the queue is empty", func(ctx context.Context) error {
		n, err := api.Backlog(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d tasks are in it", n)
		}
		return err
	})
	held, err := os.Create(dir.Path(evidence.HeldFile))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	plan := evidence.Plan{Name: l.name, Target: "kubernetes", Seed: 1, MinAccepted: 100,
		Load:       evidence.Load{Profile: profile.Steady, Rate: l.rate},
		Guarantees: []evidence.GuaranteePlan{{Name: evidence.ExactlyOnce}, {Name: evidence.RefusedNeverDone}, {Name: evidence.UnknownAtMost}}}
	record := evidence.Record{Started: l.started, Stopped: time.Now(), Residue: "none", AskedRate: status.AskedRate, AchievedRate: status.AchievedRate}
	err = errors.Join(l.fleet.Save(ctx, fleet.Files{control.History: dir.Path(evidence.HistoryFile), control.Results: dir.Path("results.bin"), control.Report: dir.Path("vegeta.txt")}),
		api.Held(ctx, l.name+"-", held), dir.Save(evidence.PlanFile, plan), dir.Save(evidence.RecordFile, record))
	if err != nil {
		t.Fatal(err)
	}
	s, err := trial.Judge(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
