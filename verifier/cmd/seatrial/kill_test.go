//go:build linux

package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// victim is who is killed of a testbed's two processes.
type victim string

const (
	keeper      victim = "keeper"
	confinedOne victim = "confined process"
	both        victim = "both"
)

// runProcess is a `seatrial run` of the brief feature.
type runProcess struct {
	cmd    *exec.Cmd
	traces *traces
	report string

	mu    sync.Mutex
	said  []string      // lines printed so far
	ended chan struct{} // closed when the keeper has ended
	err   error         // of Wait
}

// startRun starts a run with its state below state. Whatever the test does, the
// run is over when the test is.
func startRun(t *testing.T, state string, args ...string) *runProcess {
	t.Helper()
	r := &runProcess{report: t.TempDir(), ended: make(chan struct{})}
	r.cmd = exec.Command(filepath.Join(commands(t), "seatrial"), append([]string{"run", "--deps", dependencies(t),
		"--features", "testdata/brief/features", "--experiments", "testdata/brief/experiments", "--report", r.report}, args...)...)
	r.cmd.Env = append(os.Environ(), "SEATRIAL_STATE="+state)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = in, in
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	go r.listen(out)
	go func() { r.err = r.cmd.Wait(); close(r.ended) }()
	r.traces = newTraces(state, fmt.Sprintf("run-%d", r.cmd.Process.Pid))
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		if t.Failed() {
			t.Logf("it said:\n%s", r.text())
		}
	})
	return r
}

func (r *runProcess) listen(out *os.File) {
	defer out.Close()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		r.mu.Lock()
		r.said = append(r.said, lines.Text())
		r.mu.Unlock()
	}
}

func (r *runProcess) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.said, "\n")
}

// await waits until the run has printed a line with phase in it.
func (r *runProcess) await(t *testing.T, phase string, limit time.Duration) {
	t.Helper()
	deadline := time.After(limit)
	for !strings.Contains(r.text(), phase) {
		select {
		case <-r.ended:
			t.Fatalf("the run ended (%v) before %q; it said:\n%s", r.err, phase, r.text())
		case <-deadline:
			t.Fatalf("no %q within %v; it said:\n%s", phase, limit, r.text())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// confinedPID is the keeper's child, 0 when it has none (yet).
func (r *runProcess) confinedPID() int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, _ := os.ReadFile(path)
		// pid (comm) state ppid …; comm may hold anything, also blanks.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(r.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

// kill kills who with SIGKILL; the keeper too when there is no confined process.
func (r *runProcess) kill(t *testing.T, who victim) {
	t.Helper()
	child := r.confinedPID()
	r.traces.note()
	switch {
	case who == keeper || child == 0:
		_ = r.cmd.Process.Kill()
	case who == confinedOne:
		_ = syscall.Kill(child, syscall.SIGKILL)
	default: // stopped, neither can see the other die
		_ = r.cmd.Process.Signal(syscall.SIGSTOP)
		_ = syscall.Kill(child, syscall.SIGSTOP)
		// The child first: the kernel continues it when its parent dies.
		_ = syscall.Kill(child, syscall.SIGKILL)
		_ = r.cmd.Process.Kill()
	}
}

// moment is when a run is killed: some time after it has said something.
type moment struct {
	said  string
	after time.Duration
	who   victim
}

func (m moment) String() string {
	return fmt.Sprintf("%v after %q: %s", m.after.Round(time.Millisecond), m.said, m.who)
}

// moments draws n of them. Most are in the start-up, where most things are
// made, the more the earlier; the others are spread over a trial.
func moments(n int, seed uint64) (all []moment) {
	rng := rand.New(rand.NewPCG(seed, 0))
	phases := []string{"", "in force?", "", "load", "", "", "recover", "", "", "drain"}
	for i := range n {
		m := moment{said: phases[i%len(phases)], who: []victim{keeper, confinedOne, both}[i%3]}
		u := rng.Float64()
		m.after = time.Duration(u * float64(2*time.Second))
		if m.said == "" {
			m.after = time.Duration(u * u * float64(3*time.Second))
		}
		all = append(all, m)
	}
	return all
}

// TestKilledAtAnyMoment kills a run with SIGKILL at random moments. Afterwards
// nothing may be left: no process, namespace, device, mount, socket, cgroup or
// folder. SEATRIAL_KILLS is how often (5), SEATRIAL_SEED draws other moments.
func TestKilledAtAnyMoment(t *testing.T) {
	needTestbed(t)
	kills, seed := number(t, "SEATRIAL_KILLS", 5), number(t, "SEATRIAL_SEED", 1)
	state := t.TempDir()
	var took []time.Duration
	for i, m := range moments(kills, uint64(seed)) {
		ok := t.Run(fmt.Sprintf("%d", i+1), func(t *testing.T) {
			t.Log(m)
			took = append(took, m.strike(t, state))
		})
		if !ok {
			break // the next would be blamed for what this one left
		}
	}
	slices.Sort(took)
	t.Logf("%d kills (seed %d): nothing left after %v at the median, %v at most", len(took), seed,
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
}

// strike kills a run at the moment and returns how long it took until nothing
// of it was left.
func (m moment) strike(t *testing.T, state string) time.Duration {
	r := startRun(t, state)
	r.await(t, m.said, 5*time.Minute)
	select {
	case <-time.After(m.after):
	case <-r.ended:
		t.Fatalf("the run ended by itself: %v", r.err)
	}
	r.kill(t, m.who)
	if m.who != both {
		return gone(t, r.traces.all)
	}
	took := gone(t, r.traces.living)
	if len(r.traces.lasting()) > 0 { // nobody was left to remove it: the next start does
		next := startRun(t, state)
		begun := time.Now()
		gone(t, func() []string {
			return slices.DeleteFunc(r.traces.lasting(), func(s string) bool { return strings.HasSuffix(s, next.traces.name+".testbed") })
		})
		took = max(took, time.Since(begun))
		next.kill(t, keeper)
		gone(t, next.traces.all)
	}
	return took
}

// number reads a whole number from the environment.
func number(t *testing.T, key string, byDefault int) int {
	t.Helper()
	text := os.Getenv(key)
	if text == "" {
		return byDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a positive number", key, text)
	}
	return n
}
