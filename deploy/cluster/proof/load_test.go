package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
	pods    []string // the load generators'
	name    string
	profile profile.Config
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
	var urls, names []string
	for _, pod := range pods {
		urls, names = append(urls, loadgen(pod.Name)), append(names, pod.Name)
	}
	f, err := fleet.New(urls, c.web())
	if err != nil {
		t.Fatal(err)
	}
	l := &load{cluster: c, fleet: f, pods: names, name: fmt.Sprintf("%s-%d", name, time.Now().UnixMilli()), profile: p, started: time.Now()}
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
	plan := evidence.Plan{Name: l.name, Target: "kubernetes", Seed: 1, MinAccepted: 100,
		Load:       evidence.Load{Profile: l.profile.Kind, Rate: max(l.profile.Rate, l.profile.From), Peak: l.profile.To},
		Guarantees: []evidence.GuaranteePlan{{Name: evidence.ExactlyOnce}, {Name: evidence.RefusedNeverDone}, {Name: evidence.UnknownAtMost}}}
	record := evidence.Record{Started: l.started, Stopped: time.Now(), Residue: "none", AskedRate: status.AskedRate, AchievedRate: status.AchievedRate}
	err := errors.Join(l.fleet.Save(ctx, fleet.Files{control.History: dir.Path(evidence.HistoryFile), control.Results: dir.Path("results.bin"), control.Report: dir.Path("vegeta.txt")}),
		dir.Save(evidence.PlanFile, plan), dir.Save(evidence.RecordFile, record))
	if err != nil {
		t.Fatal(err)
	}
	return l.settled(t, dir, api)
}

// settled judges what the system holds, and for a while again if a task is missing: that the queue is empty may be
// the word of a server that lags behind.
func (l *load) settled(t *testing.T, dir evidence.Dir, api *system.Client) *evidence.Scenario {
	t.Helper()
	var s *evidence.Scenario
	since := time.Now()
	err := insist(time.Minute, func(ctx context.Context) error {
		held, err := os.Create(dir.Path(evidence.HeldFile))
		if err != nil {
			return err
		}
		if err := errors.Join(api.Held(ctx, l.name+"-", held), held.Close()); err != nil {
			return err
		}
		if s, err = trial.Judge(dir); err == nil && s.Lost > 0 && time.Since(since) < 15*time.Second {
			err = fmt.Errorf("%d tasks are missing", s.Lost)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shares is how many requests a second each load generator sent of the load, by its pod.
func (l *load) shares(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, pod := range l.pods {
		attacks, err := l.cluster.attacks(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range attacks {
			if strings.HasPrefix(s.ID, l.name) {
				all[pod] = s.AchievedRate
			}
		}
	}
	return all
}

// attacks is what a load generator remembers of what it was told to send.
func (c *cluster) attacks(ctx context.Context, pod string) (all []control.Status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, loadgen(pod)+"/attacks", nil)
	if err != nil {
		return nil, err
	}
	res, err := c.web().Do(req)
	if err != nil {
		return nil, err
	}
	err = errors.Join(json.NewDecoder(res.Body).Decode(&all), res.Body.Close())
	return all, err
}

// web speaks HTTP to pods and Services.
func (c *cluster) web() *http.Client { return &http.Client{Transport: c.dialer.Transport()} }

// loadgen is where a load generator is told what to send.
func loadgen(pod string) string { return fmt.Sprintf("http://%s.pod.%s:8090", pod, namespace) }
