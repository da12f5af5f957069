package runbook_test

import (
	"math"
	"testing"

	"seatrial/verifier/runbook"
)

func TestExpectation(t *testing.T) {
	type values = []float64
	for _, c := range []struct {
		text, hold string
		yes, no    []values
	}{
		{"> 0.5", "count((\nup\n) > 0.5)", []values{{0.6}, {0, 1}}, []values{nil, {0.5}, {math.NaN()}}},
		{">= 1", "count((\nup\n) >= 1)", []values{{1}}, []values{nil, {0.9}}},
		{"< -2", "count((\nup\n) < -2)", []values{{-3}}, []values{nil, {-2}}},
		{"<= 3e+06", "count((\nup\n) <= 3e+06)", []values{{3e6}}, []values{nil, {3e6 + 1}}},
		{"== 0", "count((\nup\n) == 0)", []values{{0}, {1, 0}}, []values{nil, {1}, {math.NaN()}}},
		{"!= 1", "count((\nup\n) != 1)", []values{{0}, {1, 2}, {math.NaN()}}, []values{nil, {1}}},
		{"no data", "count(\nup\n)", []values{nil, {}}, []values{{0}, {1}}},
	} {
		e, err := runbook.ParseExpectation(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if e.String() != c.text || e.Empty != (c.text == "no data") {
			t.Errorf("%q is read as %+v, and told as %q", c.text, *e, e)
		}
		if got := e.Holds("up"); got != c.hold {
			t.Errorf("%q holds where %q, want %q", c.text, got, c.hold)
		}
		for _, v := range c.yes {
			if !e.Fits(v) {
				t.Errorf("%q of %v is false", c.text, v)
			}
		}
		for _, v := range c.no {
			if e.Fits(v) {
				t.Errorf("%q of %v is true", c.text, v)
			}
		}
	}
}
