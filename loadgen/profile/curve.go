package profile

import "math"

// steady is the same rate all the time.
type steady float64

func (s steady) rate(float64) float64   { return float64(s) }
func (s steady) hits(t float64) float64 { return float64(s) * t }
func (s steady) at(n float64) float64   { return n / float64(s) }

// ramp changes from one rate to another in a straight line, and stays there.
type ramp struct {
	from  float64
	slope float64 // hits/s per second
	over  float64 // seconds until it is there
}

func (r ramp) rate(t float64) float64 { return r.from + r.slope*min(t, r.over) }

func (r ramp) hits(t float64) float64 {
	on := min(t, r.over)
	return r.from*on + r.slope*on*on/2 + r.rate(r.over)*(t-on)
}

// at solves the quadratic in the form that does not cancel when slope is small.
func (r ramp) at(n float64) float64 {
	if n == 0 {
		return 0
	}
	if up := r.hits(r.over); n > up && r.rate(r.over) > 0 {
		return r.over + (n-up)/r.rate(r.over)
	}
	return 2 * n / (r.from + math.Sqrt(max(0, r.from*r.from+2*r.slope*n)))
}

// spike is a base rate with one plateau at a peak rate.
type spike struct {
	base, peak float64
	start, end float64 // of the plateau
}

func (s spike) rate(t float64) float64 {
	if t >= s.start && t < s.end {
		return s.peak
	}
	return s.base
}

func (s spike) hits(t float64) float64 {
	plateau := max(0, min(t, s.end)-s.start)
	return s.base*(t-plateau) + s.peak*plateau
}

func (s spike) at(n float64) float64 {
	before := s.base * s.start
	during := s.peak * (s.end - s.start)
	switch {
	case n < before:
		return n / s.base
	case n < before+during:
		return s.start + (n-before)/s.peak
	case s.base == 0:
		return s.end
	}
	return s.end + (n-before-during)/s.base
}

// diurnal swings around a mean like the traffic of days. It begins at the
// trough, which is night.
type diurnal struct {
	mean, amplitude float64
	period          float64
}

func (d diurnal) rate(t float64) float64 {
	return d.mean - d.amplitude*math.Cos(2*math.Pi*t/d.period)
}

func (d diurnal) hits(t float64) float64 {
	return d.mean*t - d.amplitude*d.period/(2*math.Pi)*math.Sin(2*math.Pi*t/d.period)
}

// at has no closed form. The swing displaces a hit from its steady time by at
// most amplitude*period/(2*pi*mean), which brackets Newton's method; a step out
// of the bracket, as near a trough of zero, is replaced by a bisection.
func (d diurnal) at(n float64) float64 {
	t := n / d.mean
	swing := d.amplitude * d.period / (2 * math.Pi * d.mean)
	low, high := max(0, t-swing), t+swing
	for range 60 {
		miss := d.hits(t) - n
		if math.Abs(miss) < rounding/1000 {
			break
		}
		if miss > 0 {
			high = t
		} else {
			low = t
		}
		next := t - miss/d.rate(t)
		if !(next > low && next < high) { // also when it is not a number
			next = (low + high) / 2
		}
		t = next
	}
	return t
}
