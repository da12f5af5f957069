package vnet

import (
	"math"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	const ms = int64(time.Millisecond)
	type arrival struct {
		at      int64
		size    int
		leaves  int64
		dropped bool
	}
	for _, tc := range []struct {
		name               string
		rate, burst, limit uint64
		arrivals           []arrival
	}{
		{"a full bucket lets a burst pass", 1000, 300, 1000, []arrival{
			{5 * ms, 100, 5 * ms, false}, {5 * ms, 200, 5 * ms, false},
		}},
		{"then the rate counts", 1000, 100, 1000, []arrival{
			{0, 100, 0, false}, {0, 100, 100 * ms, false}, {0, 50, 150 * ms, false},
		}},
		{"it fills while nothing comes", 1000, 100, 1000, []arrival{
			{0, 100, 0, false}, {60 * ms, 50, 60 * ms, false}, {60 * ms, 20, 70 * ms, false},
		}},
		{"but not above the burst", 1000, 100, 1000, []arrival{
			{0, 100, 0, false}, {10_000 * ms, 100, 10_000 * ms, false}, {10_000 * ms, 100, 10_100 * ms, false},
		}},
		{"no more than the limit waits", 1000, 100, 250, []arrival{
			{0, 100, 0, false}, {0, 100, 100 * ms, false}, {0, 100, 200 * ms, false},
			{0, 100, 0, true}, {0, 50, 250 * ms, false},
			{100 * ms, 100, 350 * ms, false}, // 150 wait
		}},
		{"longer than the burst never passes", 1000, 100, 1000, []arrival{
			{0, 101, 0, true}, {9999 * ms, 101, 0, true}, {9999 * ms, 100, 9999 * ms, false},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBucket(tc.rate, tc.burst, tc.limit)
			for i, a := range tc.arrivals {
				leaves, ok := b.take(a.at, a.size)
				if ok == a.dropped {
					t.Fatalf("packet %d: dropped is %v, want %v", i, !ok, a.dropped)
				}
				if ok && math.Abs(float64(leaves-a.leaves)) > 1000 {
					t.Errorf("packet %d leaves at %v, want %v", i, time.Duration(leaves), time.Duration(a.leaves))
				}
			}
		})
	}
}

// Offered twice its rate for long, a bucket passes its rate.
func TestBucketRate(t *testing.T) {
	b := newBucket(1_000_000, 10_000, 20_000)
	passed, last := 0, int64(0)
	for at := int64(0); at < int64(10*time.Second); at += int64(500 * time.Microsecond) {
		if leaves, ok := b.take(at, 1000); ok {
			passed += 1000
			if leaves < last {
				t.Fatalf("a packet leaves at %d, after one that leaves at %d", leaves, last)
			}
			last = leaves
		}
	}
	if rate := float64(passed) / 10; rate < 990_000 || rate > 1_010_000 {
		t.Errorf("passed %.0f bytes/s, want 1,000,000", rate)
	}
}
