package bench

import (
	"testing"
	"time"
)

// The figures themselves belong to `make bench`; here it is proven that they can be measured.
func TestAchieved(t *testing.T) {
	got, err := achieved(t.Context(), 500, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got < 0.5 || got > 1.01 {
		t.Errorf("achieved %v of the asked rate", got)
	}
}

func TestSustained(t *testing.T) {
	got, err := sustained(t.Context(), 1, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got < 0.1 || got > 10 {
		t.Errorf("ratio %v", got)
	}
}

func BenchmarkAchievedRate(b *testing.B) {
	for b.Loop() {
		got, err := AchievedRate(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(got, "achieved/asked")
	}
}

func BenchmarkSustainedRatio(b *testing.B) {
	for b.Loop() {
		got, err := SustainedRatio(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(got, "seatrial/vegeta")
	}
}
