package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
)

// figure is the time line of one scenario: panels over one time axis.
type figure struct {
	Bands  []band
	Marks  []mark
	Lanes  int // rows that the flags of the marks need
	Ticks  []tick
	Panels []panel
	Data   figureData
	Step   string // width of a bucket, in words
}

// band is a window, as shares of the axis in percent.
type band struct {
	Name      string
	Left, Len float64
}

// mark is a numbered moment.
type mark struct {
	N    int
	Pct  float64
	X    string // on the plane
	Lane int
	Name string
	At   string // offset in words
	Kind string // inject, proof, alert, recover or note
}

// panel is one chart of a figure.
type panel struct {
	Key, Title, Unit string
	Grid             []tick
	Shapes           []shape
	Keys             []legend
	Note             string // instead of a chart
}

// shape is a path with its look.
type shape struct{ Class, D string }

// legend explains a shape and holds what is read off: at rest a figure for the
// whole trial, under the pointer the value there.
type legend struct{ Key, Class, Name, Value string }

// figureData is what the page's script needs to read values off. Times are
// seconds, latencies µs; -1 is no value.
type figureData struct {
	From  float64      `json:"from"`
	To    float64      `json:"to"`
	Width float64      `json:"width"`
	Rate  [][3]uint32  `json:"rate"`
	Lat   [][2]int     `json:"lat"`
	Extra [][2]float64 `json:"backlog"`
}

// draw makes the figure of a scenario. t may be nil: then only what samples and
// markers tell is drawn.
func draw(s *evidence.Scenario, t *timeline, samples []evidence.Series, missing string) *figure {
	zero := startOf(s, t)
	f := &figure{}
	f.extent(s, t, zero, samples)
	for _, w := range s.Windows {
		f.band(w, zero)
	}
	f.marks(s, zero)
	f.Ticks = timeTicks(f.Data.From, f.Data.To)
	if t != nil && len(t.buckets) > 0 {
		f.Step = long(t.width.Seconds())
		f.Data.Width = t.width.Seconds()
		f.Panels = append(f.Panels, f.ratePanel(t), f.errorPanel(t), f.latencyPanel(t, s))
	} else {
		f.Panels = append(f.Panels, panel{Key: "rate", Title: "Requests, errors and latency", Note: missing})
	}
	f.Panels = append(f.Panels, f.backlogPanel(samples, zero))
	return f
}

// startOf is the moment that the axis calls 0: the History's start, else the
// earliest that is known.
func startOf(s *evidence.Scenario, t *timeline) time.Time {
	switch {
	case t != nil && !t.start.IsZero():
		return t.start
	case len(s.Windows) > 0:
		return s.Windows[0].Start
	}
	return s.Started
}

// farthest is how far from the start a moment may lie to be believed.
const farthest = 14 * 24 * time.Hour

func believable(at, zero time.Time) bool {
	d := at.Sub(zero)
	return !at.IsZero() && d > -farthest && d < farthest
}

// extent finds the axis' ends.
func (f *figure) extent(s *evidence.Scenario, t *timeline, zero time.Time, samples []evidence.Series) {
	to := 0.0
	if t != nil {
		to = t.end()
	}
	see := func(at time.Time) {
		if believable(at, zero) {
			to = max(to, at.Sub(zero).Seconds())
			f.Data.From = min(f.Data.From, at.Sub(zero).Seconds())
		}
	}
	for _, w := range s.Windows {
		see(w.Start)
		see(w.End)
	}
	for _, m := range moments(s) {
		see(m.At)
	}
	for _, series := range samples {
		if n := len(series.Points); to == 0 && n > 0 {
			see(unix(series.Points[n-1][0]))
		}
	}
	f.Data.To = max(to, f.Data.From+1)
}

func unix(seconds float64) time.Time {
	return time.UnixMilli(int64(seconds * 1000))
}

// pct is a moment's place on the axis in percent.
func (f *figure) pct(seconds float64) float64 {
	p := (seconds - f.Data.From) / (f.Data.To - f.Data.From) * 100
	return math.Round(min(max(p, 0), 100)*100) / 100
}

// x is a moment's place on the plane.
func (f *figure) x(seconds float64) float64 { return f.pct(seconds) * planeX / 100 }

func (f *figure) band(w evidence.Window, zero time.Time) {
	if !believable(w.Start, zero) || !believable(w.End, zero) {
		return
	}
	left := f.pct(w.Start.Sub(zero).Seconds())
	f.Bands = append(f.Bands, band{w.Name, left, f.pct(w.End.Sub(zero).Seconds()) - left})
}

// flagRoom is how much of a phone's width a flag takes, in percent.
const flagRoom = 6.5

// marks numbers the moments by time and deals them to lanes, so that flags do
// not cover each other.
func (f *figure) marks(s *evidence.Scenario, zero time.Time) {
	all := moments(s)
	slices.SortStableFunc(all, func(a, b evidence.Marker) int { return a.At.Compare(b.At) })
	var ends []float64 // of the last flag in each lane
	for _, m := range all {
		if !believable(m.At, zero) {
			continue
		}
		at := m.At.Sub(zero).Seconds()
		mk := mark{N: len(f.Marks) + 1, Pct: f.pct(at), X: short(f.x(at)), Name: m.Name, At: momentWord(at), Kind: kindOf(m.Name)}
		for mk.Lane < len(ends) && mk.Pct-ends[mk.Lane] < flagRoom {
			mk.Lane++
		}
		if mk.Lane == len(ends) {
			ends = append(ends, 0)
		}
		ends[mk.Lane] = mk.Pct
		f.Marks = append(f.Marks, mk)
	}
	f.Lanes = len(ends)
}

func momentWord(at float64) string {
	sign := "+"
	if at < 0 {
		sign, at = "−", -at
	}
	if at >= 600 {
		return sign + offset(at)
	}
	return sign + strconv.FormatFloat(at, 'f', 1, 64) + " s"
}

// ratePanel stacks the requests of each step by outcome.
func (f *figure) ratePanel(t *timeline) panel {
	n := len(t.buckets)
	rows := [4][]float64{make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)}
	var totals [4]int
	top := 0.0
	for i := range t.buckets {
		b := &t.buckets[i]
		sum := 0.0
		for o := 1; o <= 3; o++ {
			sum += t.perSecond(b.outcome[o])
			rows[o][i] = sum
			totals[o] += int(b.outcome[o])
		}
		top = max(top, sum)
		f.Data.Rate = append(f.Data.Rate, [3]uint32{b.outcome[1], b.outcome[2], b.outcome[3]})
	}
	a := linear(top*1.04, rate)
	p := panel{Key: "rate", Title: "Requests", Unit: "a second, by outcome", Grid: a.ticks}
	for o := 1; o <= 3; o++ {
		name := history.Outcome(o).String()
		if totals[o] > 0 {
			p.Shapes = append(p.Shapes, shape{"area s-" + name, area(rows[o-1], rows[o], f.bucketX(t), a.y)})
		}
		p.Keys = append(p.Keys, legend{name, "s-" + name, name, num(totals[o])})
	}
	return p
}

// bucketX is where bucket i begins.
func (f *figure) bucketX(t *timeline) func(int) float64 {
	return func(i int) float64 { return f.x(float64(i) * t.width.Seconds()) }
}

// errorPanel shows the share of requests that were not accepted.
func (f *figure) errorPanel(t *timeline) panel {
	shares := make([]float64, len(t.buckets))
	top := 0.0
	for i := range t.buckets {
		b := &t.buckets[i]
		if n := b.total(); n > 0 {
			shares[i] = float64(n-b.outcome[history.Accepted]) / float64(n) * 100
		}
		top = max(top, shares[i])
	}
	a := linear(max(top, 1), func(v float64) string { return trimmed(v, 1) + " %" })
	p := panel{Key: "errors", Title: "Errors", Unit: "share of requests not accepted", Grid: a.ticks}
	worst := "none"
	if top > 0 {
		worst = trimmed(top, 1) + " % at worst"
		p.Shapes = []shape{
			{"area s-errors", area(make([]float64, len(shares)), shares, f.bucketX(t), a.y)},
			{"line s-errors", steps(shares, f.bucketX(t), a.y)},
		}
	}
	p.Keys = []legend{{"errors", "s-errors", "errors", worst}}
	return p
}

// latencyPanel shows median and 99th percentile of what was accepted.
func (f *figure) latencyPanel(t *timeline, s *evidence.Scenario) panel {
	p50, p99 := make([]float64, len(t.buckets)), make([]float64, len(t.buckets))
	low, top := math.Inf(1), 0.0
	all := new(spread)
	for i := range t.buckets {
		p50[i], p99[i] = -1, -1
		if l := t.buckets[i].latency; l != nil {
			p50[i], p99[i] = l.quantile(0.5), l.quantile(0.99)
			low, top = min(low, p50[i]), max(top, p99[i])
			all.merge(l)
		}
		f.Data.Lat = append(f.Data.Lat, [2]int{micros(p50[i]), micros(p99[i])})
	}
	a := decades(min(low, 0.01), top)
	return panel{Key: "latency", Title: "Latency", Unit: "of accepted requests, from the planned send time, log scale", Grid: a.ticks,
		Shapes: []shape{{"line s-p99", steps(p99, f.bucketX(t), a.y)}, {"line s-p50", steps(p50, f.bucketX(t), a.y)}},
		Keys: []legend{
			{"p50", "s-p50", "p50", latency(cmp.Or(s.Latency.PlannedP50, all.quantile(0.5)))},
			{"p99", "s-p99", "p99", latency(cmp.Or(s.Latency.PlannedP99, all.quantile(0.99)))},
		}}
}

func micros(seconds float64) int {
	if seconds < 0 {
		return -1
	}
	return int(math.Round(seconds * 1e6))
}

// backlogPanel shows what Prometheus saw waiting in the queue.
func (f *figure) backlogPanel(samples []evidence.Series, zero time.Time) panel {
	p := panel{Key: "backlog", Title: "Backlog", Unit: "tasks waiting in the queue"}
	i := slices.IndexFunc(samples, func(s evidence.Series) bool { return s.Name == "backlog" })
	if i < 0 {
		p.Note = "No samples of the backlog in the Evidence."
		return p
	}
	top := 0.0
	for _, pt := range samples[i].Points {
		at := pt[0] - float64(zero.UnixMilli())/1000
		if at < f.Data.From || at > f.Data.To || math.IsNaN(pt[1]) {
			continue
		}
		f.Data.Extra = append(f.Data.Extra, [2]float64{math.Round(at*10) / 10, pt[1]})
		top = max(top, pt[1])
	}
	if len(f.Data.Extra) == 0 {
		p.Note = "The backlog has no samples from the time of the trial."
		return p
	}
	a := linear(max(top, 10), rate)
	y := func(v float64) float64 { return a.y(v) }
	p.Grid = a.ticks
	p.Shapes = []shape{
		{"area s-backlog", polyline(f.Data.Extra, f.x, y, true)},
		{"line s-backlog", polyline(f.Data.Extra, f.x, y, false)},
	}
	p.Keys = []legend{{"backlog", "s-backlog", "waiting", "at most " + num(int(math.Round(top)))}}
	return p
}
