// Package bench measures the judge: how long it takes over a History of many
// Ops on disk, and how much memory.
//
// It is the only part below check that touches files. It must not know a
// testbed: what the system holds is made up as it is told.
package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/check"
	"seatrial/verifier/verdict"
)

// minOps is the shortest History that holds every kind of Op made up here.
const minOps = 1000

// Bench writes a History of the given number of Ops to a temporary file, judges
// all Guarantees over it, joined with a system that holds a task for every
// accepted one, and removes the file. seconds is the time from opening the file
// to the last Finding; peakBytes the most memory this process had resident in
// that time (all of it, so an upper bound for the judge). One task in the made-up
// system is lost and one is done twice: a judge that does not find exactly
// those two is an error, not a fast judge.
func Bench(ops int) (seconds float64, peakBytes uint64, err error) {
	if ops < minOps {
		return 0, 0, fmt.Errorf("bench the judge: %d ops, want at least %d", ops, minOps)
	}
	dir, err := os.MkdirTemp("", "seatrial-judge-*")
	if err != nil {
		return 0, 0, fmt.Errorf("bench the judge: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "history.seatrial")
	tasks, err := write(path, ops)
	if err != nil {
		return 0, 0, fmt.Errorf("bench the judge: %w", err)
	}

	debug.FreeOSMemory()
	resetPeak()
	start := time.Now()
	err = judge(path, tasks)
	seconds = time.Since(start).Seconds()
	if err != nil {
		return 0, 0, fmt.Errorf("bench the judge: %w", err)
	}
	peakBytes, err = peak()
	return seconds, peakBytes, err
}

// outcomeOf deals outcomes to tasks: 1 in 100 refused, 1 in 200 unknown.
func outcomeOf(task uint64) history.Outcome {
	switch {
	case task%100 == 37:
		return history.Refused
	case task%200 == 11:
		return history.Unknown
	}
	return history.Accepted
}

// write makes the History, as a load of 2,000/s would leave it: Ops end a little
// out of order and every 30th repeats an earlier task. It returns the count of tasks.
func write(path string, ops int) (tasks uint64, err error) {
	w, err := history.Create(path, history.Header{Start: time.Unix(1_800_000_000, 0), Prefix: "bench"})
	if err != nil {
		return 0, err
	}
	last := uint64(ops) - 1
	tasks = last - last/30 + 1
	for i := range uint64(ops) {
		task := i - i/30
		if i%30 == 29 {
			task -= task % 97
		}
		if task^1 < tasks {
			task ^= 1 // neighbours overtake each other
		}
		op := makeOp(i, task)
		if err := w.Append(&op); err != nil {
			return 0, errors.Join(err, w.Close())
		}
	}
	return tasks, w.Close()
}

func makeOp(i, task uint64) history.Op {
	planned := time.Duration(i) * 500 * time.Microsecond
	op := history.Op{Task: task, Planned: planned, Sent: planned + time.Duration(i%7)*11*time.Microsecond,
		Outcome: outcomeOf(task), Code: 202}
	op.End = op.Sent + time.Millisecond + time.Duration(i*2654435761%9_000_000)
	switch op.Outcome {
	case history.Refused:
		op.Code = 503
	case history.Unknown:
		op.Code, op.Cause = 0, "context deadline exceeded"
	}
	return op
}

// judge reads the History, joins it with what the made-up system holds, and asks
// for every Guarantee.
func judge(path string, tasks uint64) error {
	r, err := history.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	l := check.NewLedger(r.Header())
	if err := readOps(l, r); err != nil {
		return err
	}
	lost, twice, err := hold(l, tasks)
	if err != nil {
		return err
	}
	return expect(l, r.Header(), lost, twice)
}

func readOps(l *check.Ledger, r *history.Reader) error {
	var op history.Op
	for {
		switch err := r.Next(&op); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := l.Op(&op); err != nil {
			return err
		}
	}
}

// hold enters what the system holds in the order of a hash table, which is no
// order: it walks all tasks by a step that has no divisor in common with their
// count. The first accepted task it meets is lost, the second is done twice.
func hold(l *check.Ledger, tasks uint64) (lost, twice uint64, err error) {
	step := uint64(2_654_435_761) % tasks
	for step < 2 || gcd(step, tasks) != 1 {
		step++
	}
	met := 0
	for i, n := uint64(0), tasks/3; i < tasks; i, n = i+1, (n+step)%tasks {
		if outcomeOf(n) != history.Accepted {
			continue
		}
		h := check.Held{Task: n, Effects: 1, DoneAt: time.Duration(n) * 500 * time.Microsecond}
		met++
		switch met {
		case 1:
			lost = n
			continue
		case 2:
			twice, h.Effects = n, 2
		}
		if err := l.Hold(h); err != nil {
			return 0, 0, err
		}
	}
	return lost, twice, nil
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// expect asks all Guarantees and insists on the right answers.
func expect(l *check.Ledger, h history.Header, lost, twice uint64) error {
	f := check.ExactlyOnce(l)
	if f.Count != 2 || f.Tasks[0] != h.ID(lost) || f.Tasks[1] != h.ID(twice) {
		return fmt.Errorf("the judge is wrong: want %s lost and %s done twice, got: %s", h.ID(lost), h.ID(twice), f.Verdict.Reason)
	}
	if f := check.DoneWithin(l, time.Second, time.Minute); f.Count != 1 {
		return fmt.Errorf("the judge is wrong: want only %s, got: %s", h.ID(lost), f.Verdict.Reason)
	}
	for _, f := range []check.Finding{check.RefusedNeverDone(l), check.UnknownAtMostOnce(l), check.NoPhantoms(l)} {
		if f.Verdict.Status != verdict.Pass {
			return fmt.Errorf("the judge is wrong: want a pass, got: %s", f.Verdict.Reason)
		}
	}
	return nil
}

// resetPeak makes the kernel forget the process's peak memory so far. Where it
// cannot, the peak covers the writing of the History too, and is still no less
// than the judge's.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peak returns the most bytes that this process had resident.
func peak() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("measure memory: %w", err)
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kb, err := strconv.ParseUint(string(bytes.Fields(rest)[0]), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("measure memory: %w", err)
			}
			return kb << 10, nil
		}
	}
	return 0, errors.New("measure memory: no VmHWM in /proc/self/status")
}
