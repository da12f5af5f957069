package bench_test

import (
	"os"
	"path/filepath"
	"testing"

	"seatrial/verifier/check/bench"
)

func TestBenchJudgesAndCleansUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	seconds, peak, err := bench.Bench(100_000)
	if err != nil {
		t.Fatal(err)
	}
	if seconds <= 0 || peak < 1<<20 {
		t.Errorf("%.3f s, %d bytes: that was not measured", seconds, peak)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBenchRefusesTooFewOps(t *testing.T) {
	if _, _, err := bench.Bench(10); err == nil {
		t.Error("10 ops were benched")
	}
}

// BenchmarkJudge is the aim: 10,000,000 Ops in at most 10 s and 1 GiB.
func BenchmarkJudge(b *testing.B) {
	for range b.N {
		seconds, peak, err := bench.Bench(10_000_000)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(seconds, "s/judgement")
		b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
	}
}
