package report

import "seatrial/loadgen/history"

// spark is the figure of a scenario in the size of a word: the accepted rate,
// with a bar below it while the fault lasted.
type spark struct {
	Fault []sparkBand
	D     string
}

// sparkBand is a window on the plane.
type sparkBand struct{ X, W float64 }

const sparkSteps = 60

// spark makes the miniature, or nil when there is no History.
func (f *figure) spark(t *timeline) *spark {
	if t == nil || len(t.buckets) == 0 {
		return nil
	}
	s := &spark{}
	for _, b := range f.Bands {
		if b.Name == "fault" {
			s.Fault = append(s.Fault, sparkBand{b.Left * planeX / 100, b.Len * planeX / 100})
		}
	}
	group := (len(t.buckets) + sparkSteps - 1) / sparkSteps
	var values []float64
	top := 0.0
	for i := 0; i < len(t.buckets); i += group {
		n := min(group, len(t.buckets)-i)
		var sum bucket
		for j := range n {
			sum.outcome[history.Accepted] += t.buckets[i+j].outcome[history.Accepted]
			top = max(top, float64(t.buckets[i+j].total()))
		}
		values = append(values, float64(sum.outcome[history.Accepted])/float64(n))
	}
	// The lowest part of the plane is left to the fault's bar.
	a := axis{top: max(top, 1)}
	y := func(v float64) float64 { return a.y(v) * 0.8 }
	x := func(i int) float64 { return f.x(min(float64(i*group), float64(len(t.buckets))) * t.width.Seconds()) }
	s.D = area(make([]float64, len(values)), values, x, y)
	return s
}
