package attack

import (
	"math"
	"math/bits"
	"time"
)

// subBits sets the precision of Latencies: 2^subBits buckets for each doubling,
// which makes a quantile at most 1/2^subBits (0.8 %) too high.
const subBits = 7

// Latencies is a histogram of durations with a bounded relative error, cheap
// enough to be kept for every hit. The zero value is empty. It is not safe for
// concurrent use.
type Latencies struct {
	counts [(64 - subBits) << subBits]uint64
	n      uint64
	sum    float64
	max    time.Duration
}

// Add counts d; a negative d counts as zero.
func (l *Latencies) Add(d time.Duration) {
	d = max(d, 0)
	l.counts[bucket(uint64(d))]++
	l.n++
	l.sum += float64(d)
	l.max = max(l.max, d)
}

// bucket keeps the leading one and the subBits bits behind it.
func bucket(v uint64) int {
	shift := max(0, bits.Len64(v)-subBits-1)
	return shift<<subBits + int(v>>shift)
}

// upper is the highest value of bucket i.
func upper(i int) uint64 {
	shift := max(0, i>>subBits-1)
	return (uint64(i-shift<<subBits)+1)<<shift - 1
}

// Quantile returns the duration that the share q of all durations does not
// exceed; 0 when there are none.
func (l *Latencies) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(l.n)))
	var seen uint64
	for i, n := range l.counts {
		if seen += n; n > 0 && seen >= rank {
			return min(time.Duration(upper(i)), l.max)
		}
	}
	return 0
}

// Quantiles are the numbers that a report shows, in seconds.
type Quantiles struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Quantiles returns l's.
func (l *Latencies) Quantiles() Quantiles {
	if l.n == 0 {
		return Quantiles{}
	}
	at := func(q float64) float64 { return l.Quantile(q).Seconds() }
	return Quantiles{
		Mean: l.sum / float64(l.n) / float64(time.Second),
		P50:  at(0.5), P90: at(0.9), P95: at(0.95), P99: at(0.99), P999: at(0.999),
		Max: l.max.Seconds(),
	}
}
