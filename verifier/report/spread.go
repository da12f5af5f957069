package report

import (
	"math/bits"
	"time"
)

// spread is a histogram of latencies from 1 µs to 268 s in steps of 3 % at
// most, for medians and percentiles of streams of any length in constant memory.
type spread struct {
	counts [spreadLen]uint32
	total  uint64
}

const (
	spreadSub  = 5 // log2 of the steps in each doubling
	spreadTops = 27
	spreadLen  = (spreadTops - spreadSub + 2) << spreadSub
)

// add enters one latency. What is out of range counts at the range's end.
func (s *spread) add(d time.Duration) {
	s.counts[spreadBin(d.Microseconds())]++
	s.total++
}

func (s *spread) merge(o *spread) {
	for i, n := range o.counts {
		s.counts[i] += n
	}
	s.total += o.total
}

// quantile returns the latency in seconds that the share q in (0,1] of all
// latencies does not exceed, or 0 when there are none.
func (s *spread) quantile(q float64) float64 {
	if s.total == 0 {
		return 0
	}
	want := max(1, uint64(q*float64(s.total)+0.5))
	var seen uint64
	for i, n := range s.counts {
		if seen += uint64(n); seen >= want {
			return spreadMiddle(i) / 1e6
		}
	}
	return spreadMiddle(spreadLen-1) / 1e6
}

// spreadBin returns the step of a latency in µs. Values below 2^spreadSub have a
// step each; above that, the highest bits choose the step.
func spreadBin(us int64) int {
	v := uint64(max(us, 0))
	if v < 1<<spreadSub {
		return int(v)
	}
	shift := bits.Len64(v) - spreadSub - 1
	i := (shift+1)<<spreadSub | int(v>>shift)&(1<<spreadSub-1)
	return min(i, spreadLen-1)
}

// spreadMiddle is the middle of a step in µs.
func spreadMiddle(i int) float64 {
	if i < 1<<spreadSub {
		return float64(i) + 0.5
	}
	shift := i>>spreadSub - 1
	low := uint64(1<<spreadSub|i&(1<<spreadSub-1)) << shift
	return float64(low) + float64(uint64(1)<<shift)/2
}
