package vnet

// bucket is a token bucket with a queue before it, as Linux tbf: it fills at
// rate bytes a second up to burst bytes, and up to limit bytes wait for it.
// It holds no packet, but tells when one may go. Times are nanoseconds on any
// one clock that does not run backwards.
type bucket struct {
	rate, burst, limit float64
	tokens             float64
	last               int64 // when tokens was true: the departure of the packet before, or now
	begun              bool
}

func newBucket(rate, burst, limit uint64) *bucket {
	return &bucket{rate: float64(rate), burst: float64(burst), limit: float64(limit), tokens: float64(burst)}
}

// take reserves size bytes for a packet that arrives at now and returns when
// it leaves. It returns false if the packet must be dropped: it is larger than
// the bucket, or the queue has no room for it.
func (b *bucket) take(now int64, size int) (departure int64, ok bool) {
	n := float64(size)
	if n > b.burst {
		return 0, false
	}
	if !b.begun {
		b.begun, b.last = true, now
	}
	if waiting := float64(b.last-now) / 1e9 * b.rate; waiting > 0 && waiting+n > b.limit {
		return 0, false
	}
	at := max(now, b.last)
	b.tokens = min(b.burst, b.tokens+float64(at-b.last)/1e9*b.rate)
	b.last = at
	if b.tokens >= n {
		b.tokens -= n
		return at, true
	}
	if n > b.limit {
		return 0, false
	}
	wait := int64((n - b.tokens) / b.rate * 1e9)
	b.tokens = 0
	b.last = at + wait
	return b.last, true
}
