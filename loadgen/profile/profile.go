// Package profile says when an open-loop load sends: it turns a rate that is
// steady, ramps, spikes or swings like a day into the planned time of every hit.
//
// It is pure: the same Config gives the same times on every machine, which is
// what makes a load replayable and latency from the planned time possible. It
// knows no clock, no HTTP and not what is sent.
package profile

import (
	"math"
	"time"
)

// Profile is the schedule of a load, or of one replica's share of it. Build it
// with New; the zero Profile has no hits.
type Profile struct {
	curve    curve
	length   time.Duration
	total    uint64 // hits of all replicas together
	peak     float64
	index    uint64 // this replica's
	replicas uint64
}

// curve is a rate over time, by its integral. Time is in seconds.
type curve interface {
	rate(t float64) float64 // hits per second at t
	hits(t float64) float64 // integral of rate from 0 to t
	at(n float64) float64   // the t where hits(t) = n
}

// rounding is the share of a hit below which an integral counts as whole: 0.1
// hits/s for 30 s are 3 hits although floating point says 3.0000000000000004.
const rounding = 1e-6

// New validates c and returns its Profile. The error is a Mistakes.
func New(c Config) (Profile, error) {
	if err := c.Validate(); err != nil {
		return Profile{}, err
	}
	p := Profile{curve: c.curve(), length: time.Duration(c.Duration), replicas: 1}
	p.total = uint64(math.Ceil(p.curve.hits(p.length.Seconds()) - rounding))
	p.peak = c.peak()
	return p, nil
}

// Shard returns replica index's share of p among of replicas: every of-th hit,
// beginning with index. The shares of all replicas are exactly p, hit by hit.
// index must be below of.
func (p Profile) Shard(index, of uint64) Profile {
	p.index, p.replicas = index, of
	return p
}

// Duration is how long the load lasts.
func (p Profile) Duration() time.Duration { return p.length }

// Hits is how many hits this share has.
func (p Profile) Hits() uint64 { return p.shareOf(p.total) }

// shareOf returns how many of the first n hits of all replicas are this one's.
func (p Profile) shareOf(n uint64) uint64 {
	if n <= p.index {
		return 0
	}
	return (n-p.index-1)/p.replicas + 1
}

// Number returns the number that this share's hit n has among all replicas'
// hits. Without Shard it is n.
func (p Profile) Number(n uint64) uint64 { return n*p.replicas + p.index }

// At returns when this share's hit n is planned, from the start of the load.
// It never decreases with n. Hits past the end are planned after Duration.
func (p Profile) At(n uint64) time.Duration {
	g := p.Number(n)
	if g >= p.total {
		return p.length + time.Nanosecond
	}
	t := time.Duration(math.Round(p.curve.at(float64(g)) * float64(time.Second)))
	return min(t, p.length)
}

// HitsBy returns how many hits of this share are planned from the start up to elapsed.
func (p Profile) HitsBy(elapsed time.Duration) uint64 {
	if elapsed < 0 || p.curve == nil {
		return 0
	}
	if elapsed >= p.length {
		return p.Hits()
	}
	n := uint64(p.curve.hits(elapsed.Seconds())+rounding) + 1
	return p.shareOf(min(n, p.total))
}

// Rate is this share's rate at elapsed, in hits per second.
func (p Profile) Rate(elapsed time.Duration) float64 {
	if elapsed < 0 || elapsed > p.length || p.curve == nil {
		return 0
	}
	return p.curve.rate(elapsed.Seconds()) / float64(p.replicas)
}

// Peak is this share's highest rate, in hits per second.
func (p Profile) Peak() float64 {
	if p.replicas == 0 {
		return 0
	}
	return p.peak / float64(p.replicas)
}

// Pace makes a Profile one of Vegeta's pacers: how long to wait at elapsed before
// hit number hits, and whether all have been sent.
func (p Profile) Pace(elapsed time.Duration, hits uint64) (wait time.Duration, stop bool) {
	if hits >= p.Hits() {
		return 0, true
	}
	return max(0, p.At(hits)-elapsed), false
}
