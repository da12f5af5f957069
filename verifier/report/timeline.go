package report

import (
	"errors"
	"io"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
)

// maxBuckets is how many buckets a chart can show; a longer trial has wider ones.
const maxBuckets = 600

// bucket is what happened to the requests that were due in one step of time.
type bucket struct {
	outcome [4]uint32 // count by history.Outcome
	latency *spread   // of the accepted, from the planned send time; nil when there were none
}

func (b *bucket) total() uint32 { return b.outcome[1] + b.outcome[2] + b.outcome[3] }

func (b *bucket) add(op *history.Op) {
	b.outcome[op.Outcome]++
	if op.Outcome == history.Accepted {
		if b.latency == nil {
			b.latency = new(spread)
		}
		b.latency.add(op.End - op.Planned)
	}
}

func (b *bucket) merge(o *bucket) {
	for i, n := range o.outcome {
		b.outcome[i] += n
	}
	switch {
	case b.latency == nil:
		b.latency = o.latency
	case o.latency != nil:
		b.latency.merge(o.latency)
	}
}

// timeline is a History in steps of equal width, by the time at which requests
// were due: what a user met who came then.
type timeline struct {
	start   time.Time // wall clock of the first bucket's start
	width   time.Duration
	buckets []bucket
	windows []bucket // one for each of the windows asked for
	unknown []string // ids of the first tasks whose every answer left them open
	cut     error    // why the History ended early, nil if it did not
}

// readTimeline streams the History at path. It returns what could be read, and
// why there is no more; an error means there is nothing at all.
func readTimeline(path string, windows []evidence.Window) (*timeline, error) {
	r, err := history.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t := &timeline{start: r.Header().Start, width: time.Second, windows: make([]bucket, len(windows))}
	spans := spansOf(windows, t.start)
	doubts := doubts{}
	var op history.Op
	for {
		if err := r.Next(&op); err != nil {
			if !errors.Is(err, io.EOF) {
				t.cut = err
			}
			break
		}
		t.add(&op)
		for i, s := range spans {
			if op.Planned >= s.from && op.Planned < s.to {
				t.windows[i].add(&op)
			}
		}
		doubts.see(&op)
	}
	for _, n := range doubts.first(20) {
		t.unknown = append(t.unknown, r.Header().ID(n))
	}
	return t, nil
}

// span is a window in offsets of the History.
type span struct{ from, to time.Duration }

func spansOf(windows []evidence.Window, start time.Time) []span {
	var spans []span
	for _, w := range windows {
		spans = append(spans, span{w.Start.Sub(start), w.End.Sub(start)})
	}
	return spans
}

// add enters one Op, widening the buckets until it has a place.
func (t *timeline) add(op *history.Op) {
	at := max(op.Planned, 0)
	for at/t.width >= maxBuckets {
		t.widen()
	}
	i := int(at / t.width)
	for len(t.buckets) <= i {
		t.buckets = append(t.buckets, bucket{})
	}
	t.buckets[i].add(op)
}

// widen joins neighbours.
func (t *timeline) widen() {
	t.width *= 2
	for i := range t.buckets {
		if i%2 == 1 {
			t.buckets[i/2].merge(&t.buckets[i])
		} else {
			t.buckets[i/2] = t.buckets[i]
		}
	}
	t.buckets = t.buckets[:(len(t.buckets)+1)/2]
}

// end is the offset at which the last bucket ends, in seconds.
func (t *timeline) end() float64 { return float64(len(t.buckets)) * t.width.Seconds() }

// perSecond turns a count in a bucket into a rate.
func (t *timeline) perSecond(n uint32) float64 { return float64(n) / t.width.Seconds() }
