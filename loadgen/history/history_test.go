package history

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var header = Header{
	Start:  time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
	Prefix: "t", Target: "http://127.0.0.1:8080/task", Seed: 7,
}

// steadyOps are what a healthy load of 2,000/s looks like, in completion order.
func steadyOps(n int, rng *rand.Rand) []Op {
	ops := make([]Op, n)
	for i := range ops {
		planned := time.Duration(i) * 500 * time.Microsecond
		sent := planned + time.Duration(rng.IntN(300_000))
		ops[i] = Op{Task: uint64(i), Planned: planned, Sent: sent, End: sent + 400_000 + time.Duration(rng.IntN(3_000_000)),
			Outcome: Accepted, Code: 202}
		if rng.IntN(100) == 0 {
			ops[i].Outcome, ops[i].Code, ops[i].Cause = Unknown, 0, "timeout"
		}
	}
	return ops
}

// wildOps are any Ops that the types allow.
func wildOps(n int, rng *rand.Rand) []Op {
	causes := []string{"", "timeout", "x", strings.Repeat("é", 100), "\x00\xff"}
	edge := []int64{0, 1, -1, math.MaxInt64, math.MinInt64}
	wild := func() time.Duration {
		if rng.IntN(4) == 0 {
			return time.Duration(edge[rng.IntN(len(edge))])
		}
		return time.Duration(rng.Uint64())
	}
	ops := make([]Op, n)
	for i := range ops {
		ops[i] = Op{Task: rng.Uint64() >> rng.IntN(64), Planned: wild(), Sent: wild(), End: wild(),
			Outcome: Outcome(1 + rng.IntN(3)), Code: uint16(rng.Uint32()), Cause: causes[rng.IntN(len(causes))]}
	}
	return ops
}

func encode(t testing.TB, ops []Op) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, header)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ops {
		if err := w.Append(&ops[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decode returns the Ops up to the first error, and that error (nil at a proper end).
func decode(src io.Reader) ([]Op, error) {
	r, err := NewReader(src)
	if err != nil {
		return nil, err
	}
	var ops []Op
	for op, err := range r.All() {
		if err != nil {
			return ops, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func equal(t *testing.T, got, want []Op) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d ops, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("op %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestRoundTripAnyOps(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ops := wildOps(rng.IntN(4000), rng)
		got, err := decode(bytes.NewReader(encode(t, ops)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		equal(t, got, ops)
	}
}

func TestHeaderSurvives(t *testing.T) {
	r, err := NewReader(bytes.NewReader(encode(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	got := r.Header()
	if !got.Start.Equal(header.Start) || got.Prefix != header.Prefix || got.Target != header.Target || got.Seed != header.Seed {
		t.Errorf("header %+v, want %+v", got, header)
	}
	if got.ID(42) != "t-42" {
		t.Errorf("id %q", got.ID(42))
	}
	if err := r.Next(new(Op)); err != io.EOF {
		t.Errorf("an empty History ends with %v, want io.EOF", err)
	}
	if err := r.Next(new(Op)); err != io.EOF {
		t.Errorf("the end does not repeat: %v", err)
	}
}

func TestSteadyLoadIsCompact(t *testing.T) {
	ops := steadyOps(100_000, rand.New(rand.NewPCG(1, 1)))
	size := float64(len(encode(t, ops))) / float64(len(ops))
	if size > 16 {
		t.Errorf("%.1f bytes an Op, want at most 16", size)
	}
	t.Logf("%.1f bytes an Op", size)
}

// A History cut anywhere gives a prefix of its Ops and ErrTruncated, never anything else.
func TestCutAnywhere(t *testing.T) {
	ops := steadyOps(20_000, rand.New(rand.NewPCG(2, 2)))
	whole := encode(t, ops)
	rng := rand.New(rand.NewPCG(3, 3))
	cuts := []int{0, 1, len(magic), len(magic) + 1, len(whole) - 1, len(whole) - 4}
	for range 200 {
		cuts = append(cuts, rng.IntN(len(whole)))
	}
	for _, cut := range cuts {
		got, err := decode(bytes.NewReader(whole[:cut]))
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v, want ErrTruncated", cut, err)
		}
		fe, _ := errors.AsType[*FormatError](err)
		if fe == nil || fe.Offset > int64(cut) || fe.Ops != uint64(len(got)) {
			t.Fatalf("cut at %d: %#v", cut, fe)
		}
		// At most one block is lost, and what is left is exact.
		if lost := int64(cut) - fe.Offset; lost > blockBytes+causeMax+32 {
			t.Fatalf("cut at %d: sound only up to %d", cut, fe.Offset)
		}
		equal(t, got, ops[:len(got)])
	}
}

// A changed byte is always noticed, and never yields a wrong Op.
func TestChangedByte(t *testing.T) {
	ops := steadyOps(10_000, rand.New(rand.NewPCG(4, 4)))
	whole := encode(t, ops)
	rng := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		at := rng.IntN(len(whole))
		bad := bytes.Clone(whole)
		bad[at] ^= 1 << rng.IntN(8)
		got, err := decode(bytes.NewReader(bad))
		// A changed length may point behind the end: that looks like a cut.
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTruncated) && !(at <= len(magic) && errors.Is(err, ErrForeign)) {
			t.Fatalf("byte %d changed: %v", at, err)
		}
		equal(t, got, ops[:len(got)])
	}
}

func TestForeignFiles(t *testing.T) {
	newer := encode(t, nil)
	newer[len(magic)] = version + 1
	for name, data := range map[string][]byte{
		"json":          []byte(`{"start":"2026-01-02T03:04:05Z"}`),
		"short":         []byte("x"),
		"newer version": newer,
	} {
		if _, err := decode(bytes.NewReader(data)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v, want ErrForeign", name, err)
		}
	}
}

func TestBytesAfterTheFooter(t *testing.T) {
	_, err := decode(bytes.NewReader(append(encode(t, steadyOps(3, rand.New(rand.NewPCG(1, 1)))), 0)))
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
}

// fullDisk takes room bytes, then fails like a disk without space.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (d *fullDisk) Name() string { return "/evidence/history" }

func (d *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), d.room-d.Len())
	d.Buffer.Write(b[:n])
	if n < len(b) {
		return n, &os.PathError{Op: "write", Path: d.Name(), Err: syscall.ENOSPC}
	}
	return n, nil
}

func TestDiskFull(t *testing.T) {
	ops := steadyOps(20_000, rand.New(rand.NewPCG(6, 6)))
	disk := &fullDisk{room: 100_000}
	w, err := NewWriter(disk, header)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(ops) && err == nil; i++ {
		err = w.Append(&ops[i])
	}
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != "write /evidence/history: no space left on device" {
		t.Fatalf("append on a full disk: %v", err)
	}
	if err := w.Append(&ops[0]); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error does not stick: %v", err)
	}
	if err := w.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
	got, err := decode(&disk.Buffer)
	if !errors.Is(err, ErrTruncated) || len(got) < 4000 {
		t.Errorf("%d ops readable, then %v", len(got), err)
	}
	equal(t, got, ops[:len(got)])
}

func TestWriterRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard, header)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(&Op{}); err == nil || !strings.Contains(err.Error(), "outcome(0)") {
		t.Errorf("an op without outcome: %v", err)
	}
	if err := w.Append(&Op{Outcome: Accepted}); err != nil {
		t.Errorf("a refused op spoils the writer: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Append(&Op{Outcome: Accepted}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestCreateRefusesAnExistingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	w, err := Create(path, header)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, header); !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("create again: %v", err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close()); err != nil {
		t.Error(err)
	}
}

// locked is a buffer that may be read while the writer's goroutine flushes.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) copy() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func TestOpsReachTheFileWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out locked
		w, err := NewWriter(&out, header)
		if err != nil {
			t.Fatal(err)
		}
		op := Op{Task: 9, Outcome: Refused, Code: 503}
		if err := w.Append(&op); err != nil {
			t.Fatal(err)
		}
		time.Sleep(flushPeriod + time.Millisecond)
		got, err := decode(bytes.NewReader(out.copy()))
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("while open: %v", err)
		}
		equal(t, got, []Op{op})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestConcurrentAppends(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, header)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				if err := w.Append(&Op{Task: uint64(g*5000 + i), Outcome: Accepted}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ops, err := decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for _, op := range ops {
		seen[op.Task] = true
	}
	if len(ops) != 40_000 || len(seen) != 40_000 || w.Ops() != 40_000 {
		t.Errorf("%d ops, %d tasks, writer says %d", len(ops), len(seen), w.Ops())
	}
}

func reader(t *testing.T, h Header, complete bool, ops ...Op) *Reader {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ops {
		if err := w.Append(&ops[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.finish(complete); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func op(task uint64, planned time.Duration) Op {
	return Op{Task: task, Planned: planned, Sent: planned + 1, End: planned + 2, Outcome: Accepted, Code: 202}
}

func TestMergeByPlannedTime(t *testing.T) {
	later := header
	later.Start = header.Start.Add(time.Second)
	a := reader(t, later, true, op(2, 30), op(0, 10))
	b := reader(t, header, true, op(1, time.Second+20), op(3, time.Second+40))
	var out bytes.Buffer
	h, err := Merge(&out, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Start.Equal(header.Start) {
		t.Errorf("start %v", h.Start)
	}
	got, err := decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, []Op{op(0, time.Second+10), op(1, time.Second+20), op(2, time.Second+30), op(3, time.Second+40)})
}

func TestMergeOfATruncatedSourceIsTruncated(t *testing.T) {
	var out bytes.Buffer
	_, err := Merge(&out, reader(t, header, true, op(0, 1)), reader(t, header, false, op(1, 2)))
	if !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), "source 1") {
		t.Errorf("merge: %v", err)
	}
	got, err := decode(&out)
	if !errors.Is(err, ErrTruncated) {
		t.Errorf("the result hides the cut: %v", err)
	}
	equal(t, got, []Op{op(0, 1), op(1, 2)})
}

func TestMergeWithoutASourceIsTruncated(t *testing.T) {
	var out bytes.Buffer
	if _, err := Merge(&out, nil, reader(t, header, true, op(1, 2))); err == nil || !strings.Contains(err.Error(), "source 0") {
		t.Errorf("merge: %v", err)
	}
	got, err := decode(&out)
	if !errors.Is(err, ErrTruncated) {
		t.Errorf("the result hides what is gone: %v", err)
	}
	equal(t, got, []Op{op(1, 2)})
	if _, err := Merge(io.Discard, nil, nil); err == nil {
		t.Error("merging what is gone gave no error")
	}
}

func TestMergeRefusesOtherPrefixes(t *testing.T) {
	other := header
	other.Prefix = "u"
	if _, err := Merge(io.Discard, reader(t, header, true), reader(t, other, true)); err == nil || !strings.Contains(err.Error(), `"u"`) {
		t.Errorf("merge: %v", err)
	}
	if _, err := Merge(io.Discard); err == nil {
		t.Error("merging nothing gave no error")
	}
}

func TestReadErrorIsNotATruncation(t *testing.T) {
	whole := encode(t, steadyOps(10, rand.New(rand.NewPCG(1, 1))))
	broken := errors.New("input/output error")
	_, err := decode(io.MultiReader(bytes.NewReader(whole[:len(whole)-3]), errReader{broken}))
	if !errors.Is(err, broken) || errors.Is(err, ErrTruncated) {
		t.Errorf("%v", err)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func BenchmarkAppend(b *testing.B) {
	ops := steadyOps(100_000, rand.New(rand.NewPCG(1, 1)))
	w, err := NewWriter(io.Discard, header)
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		if err := w.Append(&ops[i%len(ops)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.StopTimer()
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkNext(b *testing.B) {
	data := encode(b, steadyOps(1_000_000, rand.New(rand.NewPCG(1, 1))))
	var op Op
	r, err := NewReader(bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := r.Next(&op); err == io.EOF {
			if r, err = NewReader(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		} else if err != nil {
			b.Fatal(err)
		}
	}
}
