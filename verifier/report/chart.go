package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Charts are SVG that stretches to whatever room there is: the plane is 1000 by
// 100, strokes keep their width, and all words stand in HTML around it.
const planeX, planeY = 1000, 100

// axis maps a range of values to the plane's height, from the bottom.
type axis struct {
	top, low float64 // the values at the upper and at the lower edge
	log      bool
	ticks    []tick
}

// tick is a value with a word, at a share of the height (or width) in percent,
// from the top (or left).
type tick struct {
	Pct   float64
	Label string
}

// y returns a value's height on the plane, 0 being the upper edge.
func (a *axis) y(v float64) float64 {
	share := (v - a.low) / (a.top - a.low)
	if a.log {
		share = math.Log(max(v, a.low)/a.low) / math.Log(a.top/a.low)
	}
	return planeY * (1 - min(max(share, 0), 1))
}

// linear makes an axis from 0 to a round number not below top, with words for
// its ticks.
func linear(top float64, word func(float64) string) axis {
	step := roundStep(top / 2)
	a := axis{top: step * math.Ceil(max(top, step/1e6)/step)}
	for v := step; v <= a.top*1.0001; v += step {
		a.ticks = append(a.ticks, tick{a.y(v), word(v)})
	}
	return a
}

// roundStep is the largest of 1, 2 and 5 times a power of ten that is not above f.
func roundStep(f float64) float64 {
	if f <= 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(f)))
	for _, m := range []float64{5, 2} {
		if f >= m*power {
			return m * power
		}
	}
	return power
}

// decades makes a logarithmic axis of whole decades of seconds around low and top.
func decades(low, top float64) axis {
	a := axis{log: true, low: 0.001, top: 0.1}
	for a.low > low && a.low > 1e-6 {
		a.low /= 10
	}
	for a.top < top && a.top < 1000 {
		a.top *= 10
	}
	for v := a.low * 10; v <= a.top*1.0001; v *= 10 {
		a.ticks = append(a.ticks, tick{a.y(v), decadeWord(v)})
	}
	return a
}

func decadeWord(v float64) string {
	switch {
	case v < 0.00099:
		return strconv.Itoa(int(math.Round(v*1e6))) + " µs"
	case v < 0.99:
		return strconv.Itoa(int(math.Round(v*1e3))) + " ms"
	}
	return strconv.Itoa(int(math.Round(v))) + " s"
}

// path builds the d attribute of an SVG path.
type path struct{ b strings.Builder }

func (p *path) to(op byte, v ...float64) {
	p.b.WriteByte(op)
	for i, f := range v {
		if i > 0 {
			p.b.WriteByte(' ')
		}
		p.b.WriteString(short(f))
	}
}

// short writes a coordinate with one decimal at most.
func short(f float64) string {
	s := strconv.FormatFloat(f, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}

// steps draws a line of steps: value i from x(i) to x(i+1). A negative value is
// a gap. y maps values to the plane.
func steps(values []float64, x func(int) float64, y func(float64) float64) string {
	var p path
	drawing := false
	for i, v := range values {
		if v < 0 {
			drawing = false
			continue
		}
		if drawing {
			p.to('V', y(v))
		} else {
			p.to('M', x(i), y(v))
		}
		p.to('H', x(i+1))
		drawing = true
	}
	return p.b.String()
}

// area draws the ground between two rows of steps of equal length.
func area(lower, upper []float64, x func(int) float64, y func(float64) float64) string {
	if len(upper) == 0 {
		return ""
	}
	var p path
	p.to('M', x(0), y(upper[0]))
	for i, v := range upper {
		p.to('V', y(v))
		p.to('H', x(i+1))
	}
	for i := len(lower) - 1; i >= 0; i-- {
		p.to('V', y(lower[i]))
		p.to('H', x(i))
	}
	p.b.WriteByte('Z')
	return p.b.String()
}

// polyline draws points; ground closes it down to the lower edge.
func polyline(points [][2]float64, x, y func(float64) float64, ground bool) string {
	if len(points) == 0 {
		return ""
	}
	var p path
	for i, pt := range points {
		p.to("ML"[min(i, 1)], x(pt[0]), y(pt[1]))
	}
	if ground {
		p.to('V', planeY)
		p.to('H', x(points[0][0]))
		p.b.WriteByte('Z')
	}
	return p.b.String()
}

// timeTicks labels a time axis from and to (seconds) at round moments.
func timeTicks(from, to float64) []tick {
	length := to - from
	step := 1.0
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400} {
		step = s
		if length/s <= 7 {
			break
		}
	}
	var ticks []tick
	for v := math.Ceil(from/step) * step; v <= to; v += step {
		if pct := (v - from) / length * 100; pct < 96 {
			ticks = append(ticks, tick{pct, offset(v)})
		}
	}
	return ticks
}

// offset writes seconds since the load began: 0 s, 45 s, 2:30, 1:02:30.
func offset(f float64) string {
	n := int(math.Round(math.Abs(f)))
	sign := ""
	if f < 0 && n > 0 {
		sign = "−"
	}
	switch {
	case n < 120:
		return fmt.Sprintf("%s%d s", sign, n)
	case n < 3600:
		return fmt.Sprintf("%s%d:%02d", sign, n/60, n%60)
	}
	return fmt.Sprintf("%s%d:%02d:%02d", sign, n/3600, n/60%60, n%60)
}
