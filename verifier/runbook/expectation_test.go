package runbook_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"seatrial/verifier/promtool"
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

// TestHoldsIsWhatFits lets Prometheus judge the same values by what Holds says.
func TestHoldsIsWhatFits(t *testing.T) {
	var text strings.Builder
	for _, values := range [][]float64{nil, {0}, {1}, {0, 1, 2}, {-3}, {math.NaN()}} {
		text.WriteString("- interval: 1s\n  input_series:\n  - {series: other, values: '0'}\n")
		for i, v := range values {
			fmt.Fprintf(&text, "  - {series: 'q{n=\"%d\"}', values: '%v'}\n", i, v)
		}
		text.WriteString("  promql_expr_test:\n")
		for _, told := range []string{"> 0.5", ">= 1", "< 0", "<= 0", "== 1", "!= 1", "> -3.5", "no data"} {
			e, err := runbook.ParseExpectation(told)
			if err != nil {
				t.Fatal(err)
			}
			// One that holds has a value; of an Empty one, one that does not.
			value := "[]"
			if n := fitting(e, values); n > 0 {
				value = fmt.Sprintf("[{value: %d}]", n)
			}
			if (value != "[]") != (e.Fits(values) != e.Empty) {
				t.Errorf("%q of %v: %s values are wanted, and it fits: %v", told, values, value, e.Fits(values))
			}
			fmt.Fprintf(&text, "  - {expr: %q, eval_time: 0s, exp_samples: %s}\n", e.Holds("q # a comment"), value)
		}
	}
	promtool.Judge(t, text.String())
}

// fitting counts the values that fit one by one; all of them, when none is expected.
func fitting(e *runbook.Expectation, values []float64) (n int) {
	for _, v := range values {
		if e.Empty || e.Fits([]float64{v}) {
			n++
		}
	}
	return n
}
