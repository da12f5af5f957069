package main

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seatrial/loadgen/control"
	"seatrial/loadgen/fleet"
	"seatrial/loadgen/history"
	"seatrial/loadgen/profile"
)

// asProgram makes the test's binary the program, for tests that need processes.
const asProgram = "LOADGEN_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a `loadgen serve` of its own.
type process struct {
	url string
	cmd *exec.Cmd
}

// crash ends a process as a machine that dies would.
func (p *process) crash() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func startProcesses(t *testing.T, n int) []*process {
	t.Helper()
	var all []*process
	for range n {
		addr := freeAddress(t)
		cmd := exec.Command(os.Args[0], "serve", "--listen", addr, "--dir", filepath.Join(t.TempDir(), "attacks"))
		cmd.Env = append(os.Environ(), asProgram+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := &process{"http://" + addr, cmd}
		t.Cleanup(p.crash)
		all = append(all, p)
	}
	for _, p := range all {
		client := control.NewClient(p.url, http.DefaultClient)
		for deadline := time.Now().Add(20 * time.Second); client.Health(t.Context()) != nil; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not listen", p.url)
			}
		}
	}
	return all
}

// target takes every task, and keeps its body.
type target struct {
	url string
	mu  sync.Mutex
	got []string
}

func newTarget(t *testing.T) *target {
	t.Helper()
	a := &target{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // one that was cut differs from those that were not
		a.mu.Lock()
		a.got = append(a.got, string(body))
		a.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(s.Close)
	a.url = s.URL + "/task"
	return a
}

func (a *target) bodies() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.got)
	slices.Sort(all)
	return all
}

func newFleet(t *testing.T, processes []*process) *fleet.Fleet {
	t.Helper()
	var urls []string
	for _, p := range processes {
		urls = append(urls, p.url)
	}
	f, err := fleet.New(urls, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func spikeSpec(id, url string) control.Spec {
	second := profile.Duration(time.Second)
	return control.Spec{ID: id, Prefix: "t", Target: url, Seed: 7, PayloadBytes: 16, RepeatRatio: 0.1, Timeout: 5 * second,
		Profile: profile.Config{Kind: profile.Spike, Base: 50, Peak: 250, At: second, For: second, Duration: 3 * second}}
}

func untilDone(t *testing.T, f *fleet.Fleet) control.Status {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		s, err := f.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.State == control.Done {
			return s
		}
	}
	t.Fatal("the load does not end")
	return control.Status{}
}

// save saves a load's files and returns the Ops of its History, and why they are not all.
func save(t *testing.T, f *fleet.Fleet) (dir string, ops []history.Op, saveErr, readErr error) {
	t.Helper()
	dir = t.TempDir()
	saveErr = f.Save(t.Context(), fleet.Files{
		control.History: filepath.Join(dir, "history"), control.Results: filepath.Join(dir, "results"),
		control.Report: filepath.Join(dir, "report"), control.HDR: filepath.Join(dir, "hdr"), control.Plot: filepath.Join(dir, "plot"),
	})
	r, err := history.Open(filepath.Join(dir, "history"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for op, err := range r.All() {
		if err != nil {
			return dir, ops, saveErr, err
		}
		ops = append(ops, op)
	}
	return dir, ops, saveErr, nil
}

// Whether one process sends a load or three do, the target gets the same tasks,
// and the record is the same but for when answers came.
func TestAFleetSendsWhatOneSends(t *testing.T) {
	const hits = 2*50 + 250
	processes := startProcesses(t, 4)
	var plans [2][]history.Op
	var bodies [2][]string
	for i, members := range [][]*process{processes[:1], processes[1:]} {
		to := newTarget(t)
		f := newFleet(t, members)
		if err := f.Start(t.Context(), spikeSpec("spike", to.url)); err != nil {
			t.Fatal(err)
		}
		s := untilDone(t, f)
		if s.Sent != hits || s.Asked != hits || s.Outcomes.Accepted != hits || s.InFlight != 0 || s.AchievedRate < 0.9*s.AskedRate {
			t.Errorf("fleet of %d: %+v", len(members), s)
		}
		dir, ops, err, readErr := save(t, f)
		if err != nil || readErr != nil || len(ops) != hits {
			t.Fatalf("fleet of %d: %d ops, %v, %v", len(members), len(ops), err, readErr)
		}
		for file, want := range map[string]string{"report": "202:350", "hdr": "Value(ms)", "plot": "uPlot"} {
			if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("fleet of %d: %s: %v, %.300s", len(members), file, err, text)
			}
		}
		for _, op := range ops {
			// What is asked does not depend on when it is answered.
			plans[i] = append(plans[i], history.Op{Task: op.Task, Planned: op.Planned, Outcome: op.Outcome})
		}
		// One process writes Ops as they are answered, a merge as they were planned.
		slices.SortFunc(plans[i], func(a, b history.Op) int { return cmp.Compare(a.Planned, b.Planned) })
		bodies[i] = to.bodies()
	}
	for i := range plans[0] {
		if plans[0][i] != plans[1][i] {
			t.Fatalf("op %d: one planned %+v, three %+v", i, plans[0][i], plans[1][i])
		}
	}
	if !slices.Equal(bodies[0], bodies[1]) {
		t.Error("the target got other tasks of three than of one")
	}
}

// A replica that dies leaves a load that is not proven: every way to ask says so,
// and what the others recorded is kept as a History that was cut.
func TestAReplicaThatIsGoneIsAnError(t *testing.T) {
	to := newTarget(t)
	processes := startProcesses(t, 3)
	f := newFleet(t, processes)
	spec := spikeSpec("cut", to.url)
	spec.Profile = profile.Config{Kind: profile.Steady, Rate: 90, Duration: profile.Duration(time.Hour)}
	if err := f.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(to.bodies()) < 60; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the load does not arrive")
		}
	}
	gone := processes[1]
	gone.crash()
	if _, err := f.Status(t.Context()); err == nil || !strings.Contains(err.Error(), gone.url) {
		t.Errorf("status: %v", err)
	}
	if _, err := f.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), gone.url) {
		t.Errorf("stop: %v", err)
	}
	at := len(to.bodies())
	_, ops, err, readErr := save(t, f)
	if err == nil || !strings.Contains(err.Error(), gone.url) || !strings.Contains(err.Error(), "source 1") {
		t.Errorf("save: %v", err)
	}
	if readErr == nil || len(ops) < 30 {
		t.Errorf("%d ops without a cut, %v", len(ops), readErr)
	}
	if n := len(to.bodies()); n != at {
		t.Errorf("%d tasks were sent after all were stopped", n-at)
	}
}

func TestAFleetThatCannotStartSendsNothing(t *testing.T) {
	to := newTarget(t)
	processes := startProcesses(t, 2)
	processes[1].crash()
	f := newFleet(t, processes)
	if err := f.Start(t.Context(), spikeSpec("never", to.url)); err == nil || !strings.Contains(err.Error(), processes[1].url) {
		t.Errorf("%v", err)
	}
	s, err := control.NewClient(processes[0].url, http.DefaultClient).Status(t.Context(), "never-0")
	if err != nil || s.State != control.Done || s.Sent != 0 || !s.Report.Stopped {
		t.Errorf("the share that could start: %+v, %v", s, err)
	}
}

func TestAFleetOfNobody(t *testing.T) {
	if _, err := fleet.New(nil, http.DefaultClient); err == nil {
		t.Error("a fleet of nobody")
	}
	if _, err := fleet.New([]string{"http://a", "http://a"}, http.DefaultClient); err == nil || !strings.Contains(err.Error(), "http://a") {
		t.Errorf("the same one twice: %v", err)
	}
}
