//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// interrupt sends the keeper a signal, waits for the run's end and returns its
// exit status and how long it took.
func (r *runProcess) interrupt(t *testing.T, s os.Signal) (status int, took time.Duration) {
	t.Helper()
	begun := time.Now()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	return r.end(t), time.Since(begun)
}

// end waits for the run's end and returns its exit status.
func (r *runProcess) end(t *testing.T) int {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(90 * time.Second):
		t.Fatalf("the run goes on; it said:\n%s", r.text())
	}
	return r.cmd.ProcessState.ExitCode()
}

// TestInterruptInAFault: the trial ends early, but in order. The fault is
// recovered, the History is whole, and the report says why there is no verdict.
func TestInterruptInAFault(t *testing.T) {
	needTestbed(t)
	run := startRun(t, t.TempDir())
	run.await(t, "\n  fault ", 5*time.Minute)
	run.traces.note()
	status, took := run.interrupt(t, syscall.SIGINT)
	t.Logf("exit status %d after %v", status, took.Round(10*time.Millisecond))
	gone(t, run.traces.all)
	if status != exitInconclusive {
		t.Errorf("exit status %d, want %d", status, exitInconclusive)
	}
	s, rec := run.trial(t)
	if s.Status != verdict.Inconclusive || !strings.Contains(s.Reason, "interrupted") {
		t.Errorf("the verdict is %v: %s; want inconclusive: interrupted", s.Status, s.Reason)
	}
	if rec.RemovedAt.IsZero() || s.Residue != "none" {
		t.Errorf("fault removed at %v, residue %q; want it removed, and none", rec.RemovedAt, s.Residue)
	}
	if s.InForce != "confirmed" || len(s.Victims) == 0 {
		t.Errorf("in force %q on %v; what was proven before the interrupt is gone", s.InForce, s.Victims)
	}
	if s.Accepted == 0 || s.Lost+s.Duplicated > 0 {
		t.Errorf("%d accepted, %d lost, %d duplicated; want some, 0, 0", s.Accepted, s.Lost, s.Duplicated)
	}
}

// TestTerminatedBeforeTheFault: SIGTERM, as a CI system sends it, does the same
// in a window without a fault.
func TestTerminatedBeforeTheFault(t *testing.T) {
	needTestbed(t)
	run := startRun(t, t.TempDir())
	run.await(t, "\n  baseline ", 5*time.Minute)
	run.traces.note()
	status, took := run.interrupt(t, syscall.SIGTERM)
	t.Logf("exit status %d after %v", status, took.Round(10*time.Millisecond))
	gone(t, run.traces.all)
	s, rec := run.trial(t)
	if status != exitInconclusive || s.Status != verdict.Inconclusive || !strings.Contains(s.Reason, "interrupted") {
		t.Errorf("exit status %d, verdict %v: %s; want inconclusive: interrupted", status, s.Status, s.Reason)
	}
	if !rec.InjectAt.IsZero() {
		t.Errorf("the fault was injected at %v, after the interrupt", rec.InjectAt)
	}
}

// trial reads what the run left of its one trial, and checks that it is whole.
func (r *runProcess) trial(t *testing.T) (*evidence.Scenario, *evidence.Record) {
	t.Helper()
	dir := filepath.Join(r.report, "latest")
	for _, file := range []string{"report.html", "junit.xml", "summary.md"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Size() == 0 {
			t.Errorf("the report has no %s (%v)", file, err)
		}
	}
	var run evidence.Run
	if err := evidence.LoadJSON(filepath.Join(dir, evidence.VerdictFile), &run); err != nil {
		t.Fatal(err)
	}
	if len(run.Scenarios) != 1 {
		t.Fatalf("the verdict has %d scenarios, want 1", len(run.Scenarios))
	}
	trials, err := evidence.Trials(dir)
	if err != nil {
		t.Fatal(err)
	}
	var rec evidence.Record
	if err := trials[0].Load(evidence.RecordFile, &rec); err != nil {
		t.Fatal(err)
	}
	if ops := wholeHistory(t, trials[0].Path(evidence.HistoryFile)); ops != run.Scenarios[0].Ops || ops == 0 {
		t.Errorf("the History has %d Ops, the verdict %d", ops, run.Scenarios[0].Ops)
	}
	return &run.Scenarios[0], &rec
}

// wholeHistory reads a History to its end and returns its number of Ops.
func wholeHistory(t *testing.T, path string) (ops int) {
	t.Helper()
	h, err := history.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for {
		var op history.Op
		switch err := h.Next(&op); {
		case errors.Is(err, io.EOF):
			return ops
		case err != nil:
			t.Fatalf("after %d Ops: %v", ops, err)
		}
		ops++
	}
}

// TestSecondInterrupt ends everything at once, wherever the first one has got to.
func TestSecondInterrupt(t *testing.T) {
	needTestbed(t)
	run := startRun(t, t.TempDir())
	run.await(t, "pods", time.Minute)
	run.traces.note()
	if err := run.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	run.await(t, "interrupted", 30*time.Second)
	status, took := run.interrupt(t, syscall.SIGINT)
	t.Logf("exit status %d after %v", status, took.Round(10*time.Millisecond))
	gone(t, run.traces.all)
	if status != 130 && status != exitBroken { // the first may have been quicker
		t.Errorf("exit status %d, want 130", status)
	}
}

// TestInterruptAtOnce: an interrupt that comes before anything is there is
// not lost.
func TestInterruptAtOnce(t *testing.T) {
	needTestbed(t)
	for _, after := range []time.Duration{20, 40, 80} {
		run := startRun(t, t.TempDir())
		time.Sleep(after * time.Millisecond)
		status, took := run.interrupt(t, os.Interrupt)
		t.Logf("exit status %d after %v", status, took.Round(10*time.Millisecond))
		gone(t, run.traces.all)
		if status == 0 || took > 30*time.Second {
			t.Errorf("exit status %d after %v, want an early end", status, took)
		}
	}
}
