package trial

import (
	"math"
	"testing"
	"time"
)

func TestTheWorstTenSeconds(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		stolen  func(second int) float64 // of the two processors' seconds
		seconds int
		share   float64
		at      int
	}{
		"nothing":           {func(int) float64 { return 0 }, 60, 0, 0},
		"too short to tell": {func(int) float64 { return 2 }, 9, 0, 0},
		"one bad second":    {func(s int) float64 { return map[int]float64{30: 2}[s] }, 60, 0.1, 30},
		"ten of them":       {func(s int) float64 { return map[bool]float64{true: 1.2}[s > 20 && s <= 30] }, 60, 0.6, 30},
		"all the time":      {func(int) float64 { return 0.5 }, 60, 0.25, 10},
	} {
		t.Run(name, func(t *testing.T) {
			var w theft
			stolen := 0.0
			for s := 0; s <= c.seconds; s++ {
				if s > 0 {
					stolen += c.stolen(s)
				}
				w.see(counted{start.Add(time.Duration(s) * time.Second), ProcessorTime{Stolen: stolen, All: 500 + 2*float64(s)}})
			}
			if math.Abs(w.worst.Share-c.share) > 1e-9 || c.share > 0 && w.worst.At.Before(start.Add(time.Duration(c.at)*time.Second)) {
				t.Errorf("%+v, want %v from second %d", w.worst, c.share, c.at)
			}
			if len(w.seen) > 12 {
				t.Errorf("%d moments are kept", len(w.seen))
			}
		})
	}
}
